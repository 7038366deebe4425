"""What the gate measures unless told otherwise: eight cases of a preset on a device."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import Protocol, TypeVar

from mfubench_model.presets import PRESETS

from mfubench.measure.loop_config import IDLE_THREADS, LoopConfig

ENVIRONMENT = {**IDLE_THREADS, "OMP_PROC_BIND": "true", "OMP_PLACES": "cores"}
"""Sleeping at once, `OMP_WAIT_POLICY=passive`, made the step 1.4 to 1.7 times as slow, and its
threads, woken again and again, ended up on one core in some turns and on two in others. Bound to
cores, they stay. docs/findings.md has it."""
BINDING = ("OMP_PROC_BIND", "OMP_PLACES")
"""What would overrule a setting `cpus`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateCase:
    """One case."""

    id: str
    config: LoopConfig
    evaluates: bool = False

    @property
    def timed_metrics(self) -> int:
        """A step, and of a compiled case its start-up."""
        return 2 if self.is_compiled else 1

    @property
    def is_compiled(self) -> bool:
        """Whether its start-up is worth comparing."""
        return self.config.compile != "no"

    @property
    def has_bars(self) -> bool:
        """Whether a profile says to which bar of its step the time went."""
        return not self.evaluates and not self.is_compiled

    @property
    def key(self) -> str:
        """What identifies it beside the code of both sides."""
        return f"{self.id} {self.config} {self.evaluates}"


class CaseChoiceError(ValueError):
    """Patterns that choose no case, in one sentence."""


class Named(Protocol):
    """A case of any kind."""

    @property
    def id(self) -> str:
        """What the user chooses it by."""


C = TypeVar("C", bound=Named)


def gate_cases(preset: str, device: str, *, threads: int | None = None) -> list[GateCase]:
    """Eight: the step at three batch sizes and compiled, the loop at two, evaluation at two.

    Twice the preset's batch is the largest: four times does not fit into the shared cache of a
    small machine, where pairs without a change then differ by twice as much.
    """
    batch = PRESETS[preset].batch_size
    base = LoopConfig(preset=preset, device=device, batch_size=batch, threads=threads)
    base = base.steadied.changed({"environment": ENVIRONMENT})
    step = base.changed({"loader": "fixed", "log_interval": 1_000_000})
    steps = [step.changed({"batch_size": size}) for size in dict.fromkeys((1, batch, 2 * batch))]
    loops = [base.changed({"batch_size": size}) for size in (batch, 2 * batch)]
    compiled = step.changed({"compile": "default"})
    return [
        *(_case("train-step", config) for config in steps),
        *(_case("train-loop", config) for config in loops),
        *(_case("evaluation", config, evaluates=True) for config in loops),
        _case("train-step", compiled),
    ]


def _case(question: str, config: LoopConfig, *, evaluates: bool = False) -> GateCase:
    how = "eager" if config.compile == "no" else "compiled"
    return GateCase(
        id=f"{question}/{config.preset}/{config.device}-{config.dtype}-b{config.batch_size}-{how}",
        config=config,
        evaluates=evaluates,
    )


def chosen(cases: list[C], patterns: str | None) -> list[C]:
    """The cases that a comma-separated list of patterns or parts of names chooses.

    Raises CaseChoiceError when a pattern fits none.
    """
    if patterns is None:
        return cases
    kept: set[str] = set()
    for pattern in (part.strip() for part in patterns.split(",")):
        fits = {c.id for c in cases if pattern in c.id or fnmatch.fnmatchcase(c.id, pattern)}
        if not pattern or not fits:
            raise CaseChoiceError(
                f"{pattern!r} fits no case; there are: {', '.join(c.id for c in cases)}"
            )
        kept |= fits
    return [case for case in cases if case.id in kept]
