"""Predicted settings that are run after all: what was said beside what is."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from mfubench.predict.document import Prediction, Setting
from mfubench.predict.fastest import ranked
from mfubench.predict.here import machine_held
from mfubench.predict.machine import threads_of
from mfubench.predict.text import name_of
from mfubench.show.units import format_duration

Asked = Sequence[tuple[Setting, Prediction]]


def run_here(
    asked: Asked, arguments: argparse.Namespace, *, only_first: bool
) -> list[dict[str, Any]]:
    """Run what has a number, or of a search its first; gives a row for each, with its index in what
    was asked. Raises UserError where the machine is taken. torch is needed from here on."""
    import torch

    from mfubench.hardware.devices import is_out_of_memory, parse_device
    from mfubench.measure.train_step import use_once
    from mfubench.predict.steps import measure_step

    best = ranked(prediction for _, prediction in asked)[:1]
    wanted = [
        (number, setting, prediction)
        for number, (setting, prediction) in enumerate(asked)
        if prediction.step_s is not None and (not only_first or prediction in best)
    ]
    torch.set_num_threads(threads_of(arguments.threads))
    rows: list[dict[str, Any]] = []
    with machine_held(arguments.wait):
        for number, setting, prediction in wanted:
            print(f"  running {name_of(prediction)}", file=sys.stderr, flush=True)
            device = parse_device(setting.device.partition(" ")[0])
            use_once(device)
            try:
                found = measure_step(setting, device)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                rows.append({"index": number, "step_s": None, "problem": "out of memory"})
                continue
            assert prediction.step_s is not None
            assert prediction.low_s is not None
            assert prediction.high_s is not None
            rows.append(
                {
                    "index": number,
                    "name": name_of(prediction),
                    "step_s": found.step_s,
                    "predicted_s": prediction.step_s,
                    "error_ratio": prediction.step_s / found.step_s - 1,
                    "in_interval": prediction.low_s <= found.step_s <= prediction.high_s,
                    "peak_memory_bytes": found.peak_memory_bytes,
                    "predicted_memory_bytes": prediction.peak_memory_bytes,
                }
            )
    return rows


def measured_lines(asked: Asked, rows: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence for each setting that was run."""
    lines = []
    for row in rows:
        name = name_of(asked[row["index"]][1])
        if row["step_s"] is None:
            lines.append(f"{name}: it was said to fit, and ran out of memory.")
            continue
        where = "inside" if row["in_interval"] else "outside"
        lines.append(
            f"{name}: predicted {format_duration(row['predicted_s'])}, measured "
            f"{format_duration(row['step_s'])} ({row['error_ratio'] * 100:+.1f} %), {where} of the "
            "interval."
        )
    return lines
