"""What others ask of a stored probe: what a sweep's cases should take, for its estimate of time,
and what a knob should win, for the order in which a search tries them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mfubench_model.presets import PRESETS

from mfubench.measure.loop_config import LoopConfig
from mfubench.predict.document import Setting
from mfubench.predict.elsewhere import KnownDevice, known_here
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


PREDICTED = ("batch_size", "gradient_accumulation", "schedule_scale", "dtype", "compile")
"""What a loop's configuration may change for a prediction to say what it wins."""


def predicted_gain(base: LoopConfig, config: LoopConfig, known: KnownDevice | None) -> float | None:
    """The share of a sequence's time that a configuration should win over another one, negative
    where it should lose; None where a prediction cannot tell the two apart, or does not reach."""
    same = {name: getattr(base, name) for name in PREDICTED}
    if known is None or config == base or replace(config, **same) != base:
        return None
    before_s, after_s = _sequence_s(base, known), _sequence_s(config, known)
    return None if before_s is None or after_s is None else 1 - after_s / before_s


def _sequence_s(config: LoopConfig, known: KnownDevice) -> float | None:
    preset = PRESETS.get(config.preset)
    if preset is None or config.compile not in ("no", "default"):
        return None
    setting = Setting.of(
        preset.config,
        preset=preset.name,
        device=known.machine.device,
        dtype=config.dtype,
        batch_size=config.batch_size,
        compile=config.compile != "no",
        gradient_accumulation_steps=config.gradient_accumulation,
    )
    step_s = predict(setting, known.machine, iterations=1).step_s
    return None if step_s is None else step_s / config.tokens_factor
