"""The bars of a breakdown: their names, once, and what a file keeps of each."""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct

PEAK, CEILING, SHAPES, IN_PLACE = "peak", "ceiling", "gemm shapes", "gemm in place"
UNEXPLAINED = "unexplained"
FUSED = "fused: "
"""Before the components that torch.compile put into one kernel."""
Binds = Literal[
    "compute-bound",
    "memory-bound",
    "launch/dispatch-bound",
    "input-bound",
    "synchronisation-bound",
]
BINDS: tuple[Binds, ...] = get_args(Binds)
COMPUTE, MEMORY, DISPATCH_BOUND, INPUT, SYNC = BINDS
OUTSIDE = "evaluation and checkpoint"
"""A group of seconds that bind nothing: they are asked for, not waited for."""


class Bar(Struct):
    """One part of a step. Bars add up to the step; a bar's points are its share of it."""

    name: str
    seconds: float
    floor_s: float | None
    """Roofline time; None where no count says what it must do. 0 for work that could be removed."""
    flops: int | None = None
    bytes: int | None = None
    source: str = ""
    whole_s: float | None = None
    """The component with its share of peak and ceiling, where the bar is only what lies above."""
    ablation_s: float | None = None
    """What the step saved when the component was taken out."""
    reliable: bool | None = None
    """Whether bar and ablation agree; None where it was not taken out."""
    points: float = 0.0
    """Seconds over the step's."""
    to_win_s: float | None = None
    """Seconds above the floor; None where there is no floor."""

    def __post_init__(self) -> None:
        if self.to_win_s is None and self.floor_s is not None:
            self.to_win_s = max(0.0, self.seconds - self.floor_s)


class Operator(Struct, kw_only=True):
    """One operator's own time per step, as a profile gives it."""

    name: str
    component: str
    phase: str
    seconds: float
    calls: float
    is_dispatch: bool
    """No arithmetic of its own: views, composite operators, the autograd engine, Python."""


class BarChange(Struct, frozen=True):
    """One bar before and after a change, in seconds of an iteration of the same tokens."""

    name: str
    before_s: float
    after_s: float

    @property
    def saved_s(self) -> float:
        """Seconds that the change took from it; negative where it grew."""
        return self.before_s - self.after_s
