"""What is known of a run while it lasts and when it is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mfubench.script.steps import Steps

if TYPE_CHECKING:
    from mfubench.script.device_profile import DeviceProfile
    from mfubench.script.phases import PhaseClock
    from mfubench.script.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """The FLOPs of one step, and between which rows it lies."""

    first_row: int
    last_row: int
    tally: Tally


@dataclass(slots=True)
class Found:
    """What is left when the run is over."""

    steps: Steps
    is_over: bool = True
    """False for a look into a run that goes on."""
    rounds_s: list[float] = field(default_factory=list)
    """The measured steps: without warm-up, and without those in which FLOPs were counted."""
    warmup_s: list[float] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)
    wants_breakdown: bool = False
    clock: PhaseClock | DeviceProfile | None = None
    """What timed the parts of some steps, where a breakdown was asked for."""
    beside_clock_s: list[float] = field(default_factory=list)
    """The plain steps between those."""
    left_out: list[str] = field(default_factory=list)
    """What is missing because the script's own profiler ran."""
