"""What happens once a run is over: its record is made, held against the machine, and saved."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfubench.interrupts import Held
from mfubench.results.outcomes import Outcome
from mfubench.results.record import CaseRecord
from mfubench.results.single import result_data, save_result
from mfubench.script import ceiling, together
from mfubench.script.account import fill_breakdown
from mfubench.script.found import Found
from mfubench.script.naming import case_name
from mfubench.script.own_profiler import WHY
from mfubench.script.parts import part
from mfubench.script.record import build_record, fill_nanogpt, fill_shares, typical_count
from mfubench.script.run import TrainingRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is known of a run beside what was seen of it."""

    label: str
    """What the case is called."""
    argv: list[str]
    tokens_per_step: int | None = None
    results_dir: Path | None = None
    """Where it is saved and its ceiling kept; None for neither."""
    with_ceiling: bool = True
    held: Held = field(default_factory=Held)
    """An interrupt in it ends whatever lasts, and leaves that out."""


def finish(
    run: TrainingRun,
    found: Found,
    wanted: Wanted,
    *,
    ended: str | None = None,
    may_measure: bool = False,
    variables: dict[str, Any] | None = None,
) -> tuple[CaseRecord, list[str]]:
    """The record, saved where that is wanted, and what is to be said about saving it.

    `ended` says what stopped the script early. `may_measure` allows a ceiling that is not in the
    cache to be measured now, in a process of its own. `variables` are the script's, among which
    nanoGPT's are looked for.
    """
    record, data = made(
        run, found, wanted, ended=ended, may_measure=may_measure, variables=variables
    )
    notes = [text for text in (run.recorder.trouble,) if text]
    if wanted.results_dir is None:
        return record, notes
    if together.is_one_of_many():
        record, said = _together(record, data, found, run, wanted, ended=ended)
        return record, [*notes, *said]
    return record, [*notes, save_result(data, wanted.results_dir)]


def _together(
    record: CaseRecord,
    data: dict[str, Any],
    found: Found,
    run: TrainingRun,
    wanted: Wanted,
    *,
    ended: str | None,
) -> tuple[CaseRecord, list[str]]:
    """One file for all ranks, which rank 0 writes. A rank whose record may not have come into it
    writes its own, so that nothing is lost."""
    assert wanted.results_dir is not None
    meeting = together.Meeting(wanted.held)
    handed_in = meeting.hand_in(record, found)
    if meeting.rank > 0:
        # After an error others may be waiting for this process to end: it does not wait for them.
        if handed_in and ended is None and meeting.is_merged():
            return record, []
        return record, [save_result(data, wanted.results_dir)]
    if not handed_in:
        return record, [save_result(data, wanted.results_dir)]
    name = case_name(wanted.label, wanted.argv, ranks=meeting.ranks)
    of_all, rounds_s = meeting.merged(name)
    device = _device(of_all.device)
    merged_data = result_data(
        of_all,
        rounds_s,
        started_at_s=run.started_at_s,
        device=device.description() if device is not None else {},
        complete=ended is None and of_all.outcome is Outcome.OK,
    )
    said = save_result(merged_data, wanted.results_dir)
    meeting.tell()
    return of_all, [said]


def made(
    run: TrainingRun,
    found: Found,
    wanted: Wanted,
    *,
    ended: str | None,
    may_measure: bool = False,
    variables: dict[str, Any] | None = None,
) -> tuple[CaseRecord, dict[str, Any]]:
    """The record and the result file that holds it. A part that fails costs that part alone, and
    the record says so (`parts_lost`)."""
    record = build_record(
        run,
        found,
        label=wanted.label,
        argv=wanted.argv,
        tokens_per_step=wanted.tokens_per_step,
        ended=ended,
    )
    if found.left_out:
        said = f"{' and '.join(found.left_out)}: {WHY}"
        record.parts_lost = [*(record.parts_lost or ()), said]
    device = _device(record.device)
    stored = None
    if wanted.with_ceiling and wanted.results_dir is not None and device is not None:
        with part(record, "the ceiling"):
            stored = _ceiling(record, device, wanted, may_measure=may_measure)
    with part(record, "rates and shares"):
        fill_shares(record, typical_count(found), device, stored)
    if record.outcome is Outcome.OK:
        if found.wants_breakdown:
            with part(record, "the breakdown"):
                fill_breakdown(record, found, typical_count(found))
        if variables is not None:
            with part(record, "what nanoGPT prints"):
                fill_nanogpt(record, variables)
    description: dict[str, Any] = {}
    with part(record, "the device's description"):
        description = device.description() if device is not None else {}
    data = result_data(
        record,
        found.rounds_s,
        started_at_s=run.started_at_s,
        device=description,
        complete=ended is None,
    )
    return record, data


def _device(name: str) -> Any:
    from mfubench.hardware.devices import UnknownDeviceError, parse_device

    try:
        return parse_device(name)
    except UnknownDeviceError:
        return None


def _ceiling(record: CaseRecord, device: Any, wanted: Wanted, *, may_measure: bool) -> Any:
    results_dir = wanted.results_dir
    if results_dir is None or None in (record.dtype, record.threads, record.step_s):
        return None
    dtype, threads = str(record.dtype), int(record.threads or 0)
    found = ceiling.stored(results_dir, device, dtype, threads)
    if found is None and may_measure:
        with contextlib.suppress(KeyboardInterrupt), wanted.held.let_through():
            if not wanted.held.came:
                ceiling.measure_apart(
                    results_dir, device=record.device, dtype=dtype, threads=threads
                )
        found = ceiling.stored(results_dir, device, dtype, threads)
    return found
