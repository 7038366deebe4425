"""What happens once a run is over: its record is made, held against the machine, and saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mfubench.results.outcomes import Outcome
from mfubench.results.record import CaseRecord
from mfubench.script import ceiling
from mfubench.script.account import fill_breakdown
from mfubench.script.record import build_record, fill_nanogpt, fill_shares, typical_count
from mfubench.script.run import Found, TrainingRun
from mfubench.script.save import save_run


def finish(
    run: TrainingRun,
    found: Found,
    *,
    label: str,
    argv: list[str],
    tokens_per_step: int | None = None,
    ended: str | None = None,
    results_dir: Path | None = None,
    with_ceiling: bool = True,
    may_measure: bool = False,
    variables: dict[str, Any] | None = None,
) -> tuple[CaseRecord, list[str]]:
    """The record, saved where `results_dir` is given, and what is to be said about saving it.

    `may_measure` allows a ceiling that is not in the cache to be measured now, in a process of its
    own.
    """
    record = build_record(
        run, found, label=label, argv=argv, tokens_per_step=tokens_per_step, ended=ended
    )
    device = _device(record.device)
    stored = None
    if with_ceiling and results_dir is not None and device is not None:
        stored = _ceiling(record, device, results_dir, may_measure=may_measure)
    fill_shares(record, typical_count(found), device, stored)
    notes = [text for text in (run.recorder.trouble,) if text]
    if record.outcome is Outcome.OK:
        try:  # what may fail without taking the rest with it
            if found.wants_phases:
                fill_breakdown(record, found, typical_count(found))
            if variables is not None:
                fill_nanogpt(record, variables)
        except Exception as error:
            notes.append(f"not all could be said of this run: {type(error).__name__}: {error}")
    if results_dir is not None:
        notes.append(
            save_run(
                record,
                found.rounds_s,
                results_dir=results_dir,
                started_at_s=run.started_at_s,
                device=device.description() if device is not None else {},
                complete=ended is None,
            )
        )
    return record, notes


def _device(name: str) -> Any:
    from mfubench.hardware.devices import UnknownDeviceError, parse_device

    try:
        return parse_device(name)
    except UnknownDeviceError:
        return None


def _ceiling(record: CaseRecord, device: Any, results_dir: Path, *, may_measure: bool) -> Any:
    if record.dtype is None or record.threads is None or record.step_s is None:
        return None
    found = ceiling.stored(results_dir, device, record.dtype, record.threads)
    if found is None and may_measure:
        ceiling.measure_apart(
            results_dir, device=record.device, dtype=record.dtype, threads=record.threads
        )
        found = ceiling.stored(results_dir, device, record.dtype, record.threads)
    return found
