"""The other machine of a claim about two: a training loop in a saved run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mfubench.results.outcomes import TRAINING, Outcome
from mfubench.results.read import Result, ResultError, read_result


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherLoop:
    """A training loop as another run measured it."""

    name: str
    """The device, its dtype and the machine, to be named in a sentence."""
    on_cpu: bool
    tokens_per_s: float
    predicted_training_s: float | None
    batch_size: int


def loops_of(result: Result, *, preset: str, batch_size: int) -> list[OtherLoop]:
    """The eager training loops of a preset at a batch size, fastest first; a run that timed no loop
    gives its steps."""
    header = result.run.header
    machine = result.run.machine or result.path.stem
    found: dict[str, list[OtherLoop]] = {question: [] for question in TRAINING}
    for record, _ in result.records:
        wanted = (record.preset, record.batch_size, bool(record.compile))
        if record.outcome is not Outcome.OK or record.question not in found:
            continue
        if wanted != (preset, batch_size, False) or not record.tokens_per_s:
            continue
        described = header.devices.get(record.device, {}) if header else {}
        found[record.question].append(
            OtherLoop(
                name=f"{described.get('name', record.device)} ({record.dtype}, {machine})",
                on_cpu=record.device == "cpu",
                tokens_per_s=record.tokens_per_s,
                predicted_training_s=record.predicted_training_s,
                batch_size=batch_size,
            )
        )
    return sorted(found["train-loop"] or found["train-step"], key=lambda loop: -loop.tokens_per_s)


def gpu_loop_among(
    paths: Iterable[Path], *, preset: str, batch_size: int
) -> tuple[OtherLoop, Path] | None:
    """The first loop on a GPU in these files, in their order; files that are no results are passed
    over."""
    for path in paths:
        try:
            loops = loops_of(read_result(path), preset=preset, batch_size=batch_size)
        except ResultError:
            continue
        for loop in loops:
            if not loop.on_cpu:
                return loop, path
    return None
