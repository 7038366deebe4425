"""What a reader must know of a trace before believing its bars, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from mfubench.show.units import format_share
from mfubench.trace import idle
from mfubench.trace.account import MOSTLY_LINKED, DeviceAccount
from mfubench.trace.document import Step
from mfubench.trace.steps import WHOLE


def notes_on(account: DeviceAccount, own: Sequence[Step]) -> list[str]:
    """What a reader must know before believing the bars, in sentences."""
    recording = account.recording
    notes = []
    if own[0].name == WHOLE:
        notes.append(
            "no step is marked in it: the account is of the whole trace; call prof.step() in the "
            "loop to mark steps"
        )
    elsewhere = [e for e in recording.device_events if e.device != account.events[0].device]
    if elsewhere:
        seconds = sum(e.end - e.start for e in elsewhere) / 1e9
        notes.append(
            f"{len(elsewhere)} events ({seconds * 1e3:.3g} ms) ran on other devices and are not "
            "in the account"
        )
    unlinked_s = sum(step.unlinked_s or 0.0 for step in own)
    late_s = unlinked_s + sum(step.earlier_launch_s for step in own)
    busy_s = sum(step.device_sum_s or 0.0 for step in own)
    if busy_s and late_s > 0.5 * busy_s:
        notes.append(
            f"the device runs behind the host: {format_share(late_s / busy_s, digits=2)} of what "
            "it ran in a step was launched before the step began, so a step's kernels are mostly "
            "those of the step before"
        )
    if unlinked_s > MOSTLY_LINKED * busy_s:
        known = [e.correlation for e in account.events if e.launch and e.correlation]
        lost = [e.correlation for e in account.events if not e.is_linked and e.correlation]
        early = bool(known and lost) and max(lost) < min(known)
        notes.append(
            f"{unlinked_s * 1e3:.3g} ms of device time link to no call on the host"
            + (": it was launched before the recording began" if early else "")
        )
    lost_launches = sum(step.lost_launches for step in own)
    if lost_launches:
        notes.append(
            f"of {lost_launches} launches no kernel is recorded: the time in which they may have "
            f"run is in {idle.LOST!r}, and it is not known to be idle"
        )
    gap_s = sum(bar.seconds for step in own for bar in step.account if bar.name == idle.GRAPH)
    total_s = sum(step.step_s for step in own)
    if gap_s > 0.05 * total_s:
        notes.append(
            f"{format_share(gap_s / total_s, digits=2)} of the time lies between nodes of replayed "
            "graphs: graphs wait little, so the profiler probably kept no record of many of their "
            "kernels"
        )
    flushes = sum(n for name, n in recording.overheads.items() if "Buffer" in name)
    if flushes:
        times = "once" if flushes == 1 else f"{flushes} times"
        notes.append(f"the profiler emptied its buffers {times}, which slows what it measures")
    return notes
