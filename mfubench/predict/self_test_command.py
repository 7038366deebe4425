"""`mfubench predict --self-test`: the error of the predictions on this machine, measured."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import msgspec

from mfubench.arguments import UserError
from mfubench.pairs.journal import JournalError, PairJournal
from mfubench.predict.document import FrozenPredictions, HeldOut, PredictionTest, Probe, Setting
from mfubench.predict.self_test import (
    PREDICTION,
    TEST,
    document_of,
    frozen_of,
    modes_of,
    run_held_out,
)
from mfubench.results.folder import saved_documents
from mfubench.results.read import ResultError, read_document

LEAST_BUDGET_S = 30.0
EXIT_INTERRUPTED = 130


def run_self_test(arguments: argparse.Namespace) -> int:
    """Exit status 0 when all was run or the budget is spent: its figures are a result."""
    from mfubench.predict.here import machine_held, probe_here
    from mfubench.predict.intervals import half_widths_of
    from mfubench.predict.text import errors_text
    from mfubench.results import document
    from mfubench.show.terminal import has_color

    if arguments.budget < LEAST_BUDGET_S:
        raise UserError(
            f"a budget of {arguments.budget:g} s is too short for a self-test; allowed: "
            f"{LEAST_BUDGET_S:g} s and more"
        )
    machine = document.machine_dir(arguments.results_dir)
    if refusal := document.refusal_to_write(machine / TEST):
        raise UserError(refusal)
    resumed = _unfinished(machine) if arguments.resume else None
    if resumed is None:
        probe, _ = probe_here(arguments, modes_of)
        frozen = frozen_of(probe, half_widths_of(machine, probe.device))
        where = document.save(PREDICTION, frozen, arguments.results_dir)
        print(f"  what is predicted is {where}", file=sys.stderr)
        path = saved_documents(machine, PREDICTION)[0]
    else:
        path, frozen = resumed
        print(f"  going on with {path}", file=sys.stderr)
    journal = PairJournal(_journal_path(machine, path))
    try:
        journal.begin(HeldOut, resume=arguments.resume)
    except JournalError as error:
        raise UserError(str(error)) from None
    done = msgspec.convert(journal.pairs, list[HeldOut])
    start_s = time.monotonic()

    def keep(held: HeldOut) -> None:
        done.append(held)
        journal.add(msgspec.to_builtins(held))

    with machine_held(arguments.wait):
        ended = run_held_out(
            frozen,
            list(done),
            _measuring(frozen.probe),
            keep,
            budget_s=arguments.budget,
            say=lambda text: print(f"  {text}", file=sys.stderr, flush=True),
        )
    body: PredictionTest = document_of(
        frozen,
        path.name,
        done,
        budget_s=arguments.budget,
        spent_s=time.monotonic() - start_s,
        ended=ended,
    )
    where = document.save(TEST, body, arguments.results_dir)
    if ended == "complete":
        journal.finish()
    if arguments.json:
        print(document.body_text(body, without="measured"))
    else:
        print(errors_text(body, color=has_color(sys.stdout)))
        print(f"\n{where}")
    return EXIT_INTERRUPTED if ended == "interrupted" else 0


def _journal_path(machine: Path, frozen: Path) -> Path:
    return machine / TEST / f"unfinished-{frozen.stem}.jsonl"


def _unfinished(machine: Path) -> tuple[Path, FrozenPredictions] | None:
    """The newest predictions whose settings were not all run; None where all were."""
    for path in saved_documents(machine, PREDICTION):
        if _journal_path(machine, path).is_file():
            try:
                return path, read_document(path).read(FrozenPredictions)
            except ResultError as error:
                raise UserError(str(error)) from None
    return None


def _measuring(probe: Probe):  # type: ignore[no-untyped-def]
    """What runs a setting on the device of the probe. torch is needed from here on."""
    import torch

    from mfubench.hardware.devices import parse_device
    from mfubench.measure.failures import classify
    from mfubench.measure.train_step import use_once
    from mfubench.predict.self_test import STEP_BUDGET_S
    from mfubench.predict.steps import control_s, measure_step

    torch.set_num_threads(probe.threads)
    device = parse_device(probe.device.partition(" ")[0])
    use_once(device)

    def measure(setting: Setting) -> HeldOut:
        at_s, beside_s = time.time(), control_s(device)
        try:
            found = measure_step(setting, device, budget_s=STEP_BUDGET_S)
            step_s, peak_bytes, problem = found.step_s, found.peak_memory_bytes, None
        except (RuntimeError, MemoryError, ValueError) as error:
            step_s, peak_bytes = None, None
            _, problem = classify(error, compiled=setting.compile)
        return HeldOut(
            setting=setting,
            step_s=step_s,
            peak_memory_bytes=peak_bytes,
            control_s=beside_s,
            at_s=at_s,
            problem=problem,
        )

    return measure
