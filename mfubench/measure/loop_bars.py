"""The bars of a configured loop's iteration, to name those that a change moved."""

from __future__ import annotations

from torch.profiler import record_function

from mfubench.analysis.bar_changes import UNEXPLAINED
from mfubench.measure import events
from mfubench.measure.configured_loop import ConfiguredLoop
from mfubench.measure.profiling import ProfileError, operators, phase, profile_phased


def bars_of(loop: ConfiguredLoop) -> dict[str, float]:
    """Seconds of each bar of one iteration of a warm loop, without evaluation and checkpoint. With
    what no bar holds (`unexplained`, also below 0) they add up to the unprofiled iteration.

    Raises ProfileError when the profiler gives nothing, and for a loop compiled for a CPU: its
    kernels are seen only where the code was compiled to be seen.
    """
    on_host = loop.device.kind == "cpu"
    if loop.compiled and on_host:
        raise ProfileError("the kernels of a loop compiled for a CPU have no bars")

    def phased() -> None:
        with record_function(events.STEP):
            loop.iterate(phase)

    profile = profile_phased(loop, phased)
    bars: dict[str, float] = {}
    for row in operators(profile, on_host=on_host):
        bars[row.component] = bars.get(row.component, 0.0) + row.seconds
    bars[UNEXPLAINED] = profile.step_s - sum(bars.values())
    return bars
