"""The other machine of a claim about two: a training loop in a saved run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

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
    ours = result.data.get("mfubench", {})
    machine = result.machine or result.path.stem
    found: dict[str, list[OtherLoop]] = {"train-loop": [], "train-step": []}
    for info in result.infos:
        wanted = (
            info.get("outcome") == "ok"
            and info.get("question") in found
            and info.get("preset") == preset
            and info.get("batch_size") == batch_size
            and not info.get("compile")
            and info.get("tokens_per_s")
        )
        if not wanted:
            continue
        described = ours.get("devices", {}).get(info["device"], {})
        name = described.get("name", info["device"])
        found[info["question"]].append(
            OtherLoop(
                name=f"{name} ({info['dtype']}, {machine})",
                on_cpu=info["device"] == "cpu",
                tokens_per_s=info["tokens_per_s"],
                predicted_training_s=info.get("predicted_training_s"),
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
