"""From trace files to the document: read, check, account for every step of every rank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mfubench.hardware.peaks import DevicePeaks, lookup
from mfubench.trace.account import DeviceAccount
from mfubench.trace.document import Device, Rank, Step, TraceAccount
from mfubench.trace.events import Recording, is_launch
from mfubench.trace.host import HostAccount
from mfubench.trace.notes import notes_on
from mfubench.trace.ranks import refuse_different_runs, waiting_s
from mfubench.trace.read import DeviceProperties, TraceError
from mfubench.trace.recording import read_recording
from mfubench.trace.steps import Window, windows


class NoDeviceError(TraceError):
    """A trace without device events. `account` holds what there is: the host's side."""

    def __init__(self, message: str, account: TraceAccount) -> None:
        super().__init__(message)
        self.account = account


def trace_account(paths: Sequence[Path], *, device: str | None = None) -> TraceAccount:
    """The account of traces, one per rank of a run. `device` names what they ran on, where the
    trace does not or is to be overruled. Raises TraceError in one sentence."""
    recordings = [read_recording(path) for path in paths]
    refuse_different_runs(recordings)
    recordings.sort(key=lambda recording: recording.rank or 0)
    without = [r for r in recordings if not r.device_events]
    if without:
        _raise_no_device(recordings, without[0], device)
    known, peaks = _device_of(recordings[0], _main_device(recordings[0]), device)
    rates = dict(peaks.flops_per_s_by_dtype) if peaks else {}
    accounts = [DeviceAccount(r, _main_device(r), rates) for r in recordings]
    steps: list[Step] = []
    ranks: list[Rank] = []
    for account in accounts:
        own_windows = windows(account.recording)
        middle = _median(account.linked(own_windows) or own_windows)
        own = [account.step(w, draw=w is middle) for w in own_windows]
        ranks.append(_rank(account, own, middle.name))
        steps += own
    if len(accounts) > 1:
        _add_waiting(accounts, steps)
    notes = []
    if device is None and known.name is not None and peaks is None:
        notes.append(
            f"no peak is known for {known.name!r}: MFU and shares of the peak are unknown; "
            "--device NAME names a device of the table"
        )
    return TraceAccount(
        device=known,
        ranks=ranks,
        marked=bool(recordings[0].marks),
        steps=steps,
        notes=notes,
    )


def _raise_no_device(
    recordings: Sequence[Recording], without: Recording, device: str | None
) -> None:
    launched = [call for call in without.calls if is_launch(call.name)]
    if launched:
        why = (
            f"{without.path} records {len(launched)} launches and not one kernel: the profiler "
            "lost them, and idle time cannot be told from work"
        )
    else:
        why = (
            f"{without.path} holds no device events, so that no device can be accounted for; "
            "profile with ProfilerActivity.CUDA (or XPU) as well"
        )
    with_ops = [r for r in recordings if any(op.kind == "op" for op in r.ops)]
    if len(with_ops) < len(recordings):
        raise TraceError(why)
    steps: list[Step] = []
    ranks: list[Rank] = []
    for recording in recordings:
        account = HostAccount(recording)
        own_windows = windows(recording)
        steps += [account.step(window) for window in own_windows]
        ranks.append(
            Rank(
                file=recording.path.name,
                rank=recording.rank,
                world_size=recording.world_size,
                device=None,
                steps=len(own_windows),
                median_step=_median(own_windows).name,
                record_s=0.0,
                record_busy_s=0.0,
                record_communication_s=0.0,
                record_exposed_s=0.0,
                record_unlinked_s=0.0,
                notes=["no device events: the bars are the host's"],
            )
        )
    known = Device(name=device)
    marked = bool(recordings[0].marks)
    account_of_host = TraceAccount(device=known, ranks=ranks, marked=marked, steps=steps)
    raise NoDeviceError(f"{why}; the host's side is printed", account_of_host)


def _main_device(recording: Recording) -> int:
    """The device with most events: a process that trains uses one."""
    return Counter(event.device for event in recording.device_events).most_common(1)[0][0]


def _median(own: Sequence[Window]) -> Window:
    return sorted(own, key=lambda window: window.end - window.start)[(len(own) - 1) // 2]


def _device_of(
    recording: Recording, index: int, asked: str | None
) -> tuple[Device, DevicePeaks | None]:
    properties = _properties(recording, index)
    if asked is not None:
        peaks = lookup(asked)
        if peaks is None:
            raise TraceError(
                f"no peaks are known for {asked!r}; give --device a name as the driver prints it, "
                "'NVIDIA A100-SXM4-80GB' for instance, or leave it out"
            )
        name: str | None = asked
    else:
        name, peaks = None, None
        if properties is not None:
            named = named_by_size(properties)
            peaks = lookup(named or properties.name, memory_bytes=properties.total_bytes)
            name = f"{properties.name} (by its size: {named})" if named else properties.name
    if peaks is None:
        return Device(name=name), None
    return (
        Device(
            name=name,
            peaks_flops_per_s=dict(peaks.flops_per_s_by_dtype),
            bandwidth_bytes_per_s=peaks.bandwidth_bytes_per_s,
            source=peaks.source,
        ),
        peaks,
    )


def _properties(recording: Recording, index: int) -> DeviceProperties | None:
    """What the driver says of a device. AMD's kernels count devices as they sit in the machine and
    the properties as the process sees them: where all are alike, any will do."""
    known = recording.header.device_properties
    found = next((d for d in known if d.id == index), None)
    if found is None and known and len({d.name for d in known}) == 1:
        found = known[0]
    return found if found is not None and found.name else None


_BY_SIZE = {
    (104, 64): "AMD Instinct MI210",  # and a die of an MI250, which is the same chip
    (110, 64): "AMD Instinct MI250X",
    (304, 192): "AMD Instinct MI300X",
    (304, 256): "AMD Instinct MI325X",
}


def named_by_size(properties: DeviceProperties) -> str | None:
    """Some ROCm installations call every card "AMD Radeon Graphics". Compute units and memory tell
    the data centre's cards apart; None for a card with a name."""
    if properties.name != "AMD Radeon Graphics" or properties.total_bytes is None:
        return None
    gib = round(properties.total_bytes / 2**30)
    return _BY_SIZE.get((properties.multiprocessors or 0, gib))


def _add_waiting(accounts: Sequence[DeviceAccount], steps: Sequence[Step]) -> None:
    """Write each step's waiting for the slowest rank, where all ranks have the step."""
    by_name = [{w.name: w for w in windows(account.recording)} for account in accounts]
    for name in by_name[0]:
        found = [own.get(name) for own in by_name]
        if None in found:
            continue
        pairs = [(a, w) for a, w in zip(accounts, found, strict=True) if w is not None]
        waited = waiting_s(pairs)
        if waited is None:
            continue
        for step in steps:
            for account, seconds in zip(accounts, waited, strict=True):
                if step.name == name and step.rank == account.recording.rank:
                    step.communication_waiting_s = seconds


def _rank(account: DeviceAccount, own: Sequence[Step], median_step: str) -> Rank:
    recording = account.recording
    whole = account.whole()
    device = account.events[0].device
    properties = _properties(recording, device)
    return Rank(
        file=recording.path.name,
        rank=recording.rank,
        world_size=recording.world_size,
        device=properties.name if properties else None,
        steps=len(own),
        median_step=median_step,
        record_s=whole.seconds,
        record_busy_s=whole.busy_s,
        record_communication_s=whole.communication_s,
        record_exposed_s=whole.exposed_s,
        record_unlinked_s=whole.unlinked_s,
        notes=notes_on(account, own),
    )
