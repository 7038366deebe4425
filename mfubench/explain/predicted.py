"""What a step of a logged run should take, by a stored probe or a device's peaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mfubench.explain.run import LoggedRun
from mfubench.explain.sizes import RunSizes
from mfubench.hardware.peaks import lookup
from mfubench.predict.document import GRADES, Grade, Setting
from mfubench.predict.elsewhere import KnownDevice, known_here
from mfubench.predict.machine import was_busy
from mfubench.predict.predict import HALF_WIDTHS, predict
from mfubench.predict.table import from_peaks
from mfubench.results.outcomes import Dtype
from mfubench.show.units import format_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedStep:
    """An iteration's step beside what the log says; `problem` says why there is no number."""

    device_name: str
    setting: str
    """What is predicted, in words; empty where the log does not tell it."""
    grade: Grade | None
    step_s: float | None = None
    low_s: float | None = None
    high_s: float | None = None
    """The 80 % interval."""
    took_ratio: float | None = None
    """The median plain iteration over the predicted step."""
    problem: str | None = None
    doubt: str | None = None
    """Why not to trust it: the machine was busy while it was probed."""

    def in_words(self, median_s: float | None) -> str:
        """Predicted, beside the median plain iteration of the log."""
        if self.step_s is None or self.low_s is None or self.high_s is None or self.grade is None:
            return f"no step on {self.device_name}: {self.problem}"
        low, high = format_duration(self.low_s), format_duration(self.high_s)
        text = f"a step takes {format_duration(self.step_s)} on {self.device_name} "
        text += f"({self.setting}); 80 % interval {low} to {high}"
        if self.took_ratio is not None and median_s is not None:
            where = "inside" if self.low_s <= median_s <= self.high_s else "outside"
            text += f"; in this log it took {format_duration(median_s)}, {self.took_ratio:.2f} "
            text += f"times as long, {where} of the interval"
        text += f". Grade {GRADES[self.grade]}"
        return f"{text}. {self.doubt}" if self.doubt else text


def known_of(name: str | None, logged_device: str, results_dir: Path) -> KnownDevice | None:
    """What is stored of `--device`: `this` and `cpu` by the probe of this machine, any other by its
    maker's peaks; None where nothing is."""
    asked = (name or "").strip()
    if asked.casefold() == "this":
        return known_here(results_dir, logged_device.removesuffix(":0"))
    if asked.casefold() == "cpu":
        return known_here(results_dir, "cpu")
    peaks = lookup(asked) if asked else None
    if peaks is None or peaks.bandwidth_bytes_per_s is None:
        return None
    return KnownDevice(machine=from_peaks(peaks, asked), half_widths=HALF_WIDTHS)


def predicted_step(
    run: LoggedRun,
    sizes: RunSizes,
    known: KnownDevice,
    *,
    dtype: str | None,
    median_s: float | None,
) -> PredictedStep | None:
    """The step of a run's sizes on a device; None where the account has no sizes or format.

    An iteration of `train.py` draws its batch too, which a step does not.
    """
    machine = known.machine
    config, sequences = sizes.config, sizes.sequences_per_iter
    if not sizes.usable or config is None or sequences is None or dtype is None:
        return None
    batch = sizes.batch_size
    problem = None
    if sizes.ranks > 1:
        problem = "ranks wait for each other, which is not predicted"
    elif "n_head" not in sizes.sources:
        problem = "the number of heads is not known; give --n-head N"
    elif batch is None or sequences % batch:
        problem = "the batch size is not known; give --batch-size N"
    if problem is not None or batch is None:
        return PredictedStep(device_name=machine.name, setting="", grade=None, problem=problem)
    parts = sequences // batch
    setting = Setting.of(
        config,
        preset=None,
        device=machine.device,
        dtype=cast(Dtype, dtype),
        batch_size=batch,
        compile=is_compiled(run.compiled, run.has_header, run.settings),
        gradient_accumulation_steps=parts,
    )
    found = predict(setting, machine, iterations=1, half_widths=known.half_widths)
    how = "compiled" if setting.compile else "eager"
    several = f" accumulated {parts} times" if parts > 1 else ""
    return PredictedStep(
        device_name=machine.name,
        setting=f"{dtype}, batch {batch}{several}, {how}",
        grade=found.grade,
        step_s=found.step_s,
        low_s=found.low_s,
        high_s=found.high_s,
        took_ratio=median_s / found.step_s if median_s and found.step_s else None,
        problem=found.outside,
        doubt=was_busy(machine),
    )


def is_compiled(said: bool, has_header: bool, settings: Mapping[str, str]) -> bool:
    """Whether the model was compiled: `train.py` says so below its header; a log without one is
    taken to have its default.

    >>> is_compiled(False, True, {}), is_compiled(False, False, {})
    (False, True)
    >>> is_compiled(False, False, {"compile": "False"})
    False
    """
    return said or settings.get("compile", "False" if has_header else "True") == "True"
