"""Rows of devices that the presets were not run on: predicted, and marked so."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from mfubench_model.flops import model_flops_per_step
from mfubench_model.presets import PRESETS, Preset

from mfubench.predict.document import GRADES, Prediction, Setting
from mfubench.predict.elsewhere import KnownDevice, known_device
from mfubench.predict.machine import Machine, was_busy
from mfubench.predict.predict import predict
from mfubench.results.outcomes import Dtype, known
from mfubench.show.blocks import Cell
from mfubench.show.units import UNKNOWN, format_duration, format_share, format_si

NOT_HERE = "NVIDIA GeForce RTX 4070 Ti"
"""The device whose row is predicted unasked: nanoGPT's readers have it more often than an A100."""
_ON_A_GPU: tuple[Dtype, ...] = ("bfloat16", "float16", "float32")
"""What nanoGPT trains in, the first that the GPU has."""


def not_here(measured: Collection[str]) -> list[KnownDevice]:
    """The device that is predicted unasked; none where it was measured."""
    return [] if NOT_HERE in measured else [known_device(NOT_HERE, Path())]


def predicted_rows(devices: Sequence[KnownDevice], presets: Sequence[Preset]) -> list[list[Cell]]:
    """A row for each device and preset, in the columns of the machines' table. What cannot be
    predicted says why."""
    return [_row(device, preset) for device in devices for preset in presets]


def has_number(row: Sequence[Cell]) -> bool:
    """Whether a row could be predicted."""
    return any(cell.value is not None for cell in row)


def predicted_note(devices: Sequence[KnownDevice]) -> str:
    """What the marks of such rows mean."""
    grades = dict.fromkeys(_predicted(device, PRESETS["nanogpt-cpu"]).grade for device in devices)
    words = "; ".join(GRADES[grade] for grade in grades)
    doubts = dict.fromkeys(filter(None, (was_busy(device.machine) for device in devices)))
    text = (
        "Rows marked predicted were not measured. nanoGPT's own settings are predicted: on a CPU "
        "eager and in float32, on a GPU compiled and in bfloat16 where it has that. Grades: "
        f"{words}. Ranges are 80 % intervals. mfubench predict says how, and how wrong that is."
    )
    return " ".join([text, *doubts])


def _row(device: KnownDevice, preset: Preset) -> list[Cell]:
    machine = device.machine
    found = _predicted(device, preset)
    how = "compiled" if found.compile else "eager"
    first = [
        Cell(text=machine.name, note=f"predicted, grade {found.grade}"),
        Cell(text=preset.name, note=f"{found.dtype}, batch {found.batch_size}, {how}"),
        Cell(text=UNKNOWN),
    ]
    if found.step_s is None:
        return [*first, *(Cell(text=UNKNOWN) for _ in range(3)), Cell(text=str(found.outside))]
    flops = model_flops_per_step(preset.config, preset.batch_size)
    steps_s = (found.step_s, known(found.low_s), known(found.high_s))
    achieved, most, least = (flops / seconds for seconds in steps_s)
    run_s = known(found.run_s)
    low, high = (format_duration(run_s * seconds / found.step_s) for seconds in steps_s[1:])
    peak = machine.peaks.get(found.dtype)
    return [
        *first,
        Cell(
            text=format_si(achieved, "FLOP/s"),
            value=achieved,
            note=f"predicted; {format_si(least, 'FLOP/s')} to {format_si(most, 'FLOP/s')}",
        ),
        Cell(
            text=format_share(found.mfu),
            value=found.mfu,
            note=f"predicted, of {format_si(peak, 'FLOP/s') if peak else 'an unknown peak'}",
        ),
        Cell(
            text=format_duration(run_s),
            value=run_s,
            note=f"{found.iterations:,} iterations; {low} to {high}",
        ),
        Cell(text=str(found.binds)),
    ]


def _predicted(device: KnownDevice, preset: Preset) -> Prediction:
    machine = device.machine
    setting = Setting.of(
        preset.config,
        preset=preset.name,
        device=machine.device,
        dtype=_dtype(machine),
        batch_size=preset.batch_size,
        compile=machine.device != "cpu",
    )
    return predict(setting, machine, iterations=preset.max_iters, half_widths=device.half_widths)


def _dtype(machine: Machine) -> Dtype:
    if machine.device == "cpu":
        return "float32"
    there = machine.rates.dtypes
    return next((dtype for dtype in _ON_A_GPU if dtype in there), "float32")
