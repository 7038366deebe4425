"""What the training cases of a sweep should take, by the stored probe: for its estimate of time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mfubench_model.presets import PRESETS

from mfubench.predict.document import Setting
from mfubench.predict.elsewhere import known_here
from mfubench.predict.predict import predict


def predicted_steps_s(
    cases: Mapping[str, Mapping[str, Any]], machine_dir: Path, threads: int
) -> dict[str, float]:
    """Seconds per step of training cases, by their names, where a probe of the device is stored.

    A case has preset, device, dtype, batch_size and compile. One without a prediction is left out.
    """
    kinds = {case["device"] for case in cases.values()}
    devices = {kind: known_here(machine_dir, kind, threads) for kind in kinds}
    found: dict[str, float] = {}
    for name, case in cases.items():
        known, preset = devices[case["device"]], PRESETS.get(case["preset"])
        if known is None or preset is None:
            continue
        how = {part: case[part] for part in ("dtype", "batch_size", "compile")}
        setting = Setting.of(preset.config, preset=preset.name, device=known.machine.device, **how)
        step_s = predict(setting, known.machine, iterations=1).step_s
        if step_s is not None:
            found[name] = step_s
    return found
