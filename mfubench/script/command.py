"""`mfubench run`: a training script, measured as it is."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfubench.arguments import (
    LARGEST_SIZE,
    UserError,
    add_results_dir,
    output_path,
    refuse_trace_file,
)
from mfubench.files import write_output
from mfubench.interrupts import Held
from mfubench.script.launch import Target, before_hard_exit, leave, refuse_missing
from mfubench.script.launch import run as run_target
from mfubench.streams import SafeStream, safe_streams

if TYPE_CHECKING:
    from mfubench.results.record import CaseRecord
    from mfubench.script.finish import Wanted
    from mfubench.script.found import Found
    from mfubench.script.journal import RunJournal
    from mfubench.script.run import TrainingRun


def add_parser(commands: Any) -> None:
    """Declare the command; docs/commands.md describes it."""
    parser = commands.add_parser(
        "run",
        help="measure any training script without changing it",
        usage="mfubench run [options] SCRIPT [arguments]\n"
        "       mfubench run [options] -m MODULE [arguments]",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--steps",
        type=_count,
        metavar="N",
        help="end the script after N measured steps (default: when it ends)",
    )
    parser.add_argument(
        "--tokens-per-step",
        type=_count,
        metavar="N",
        help="tokens of one step, where the embedding does not tell",
    )
    parser.add_argument(
        "--breakdown",
        action="store_true",
        help="time the parts of a few steps and print where a step's time goes",
    )
    parser.add_argument(
        "--save-trace",
        type=Path,
        metavar="FILE",
        help="write the profiler's trace of five steps to FILE, which ends in .json or .json.gz, "
        "and print the account that `mfubench trace` makes of it",
    )
    parser.add_argument(
        "--count",
        action="store_true",
        help="count the operators of a step, end the script, and save them for "
        "`mfubench predict --counted`; nothing is timed",
    )
    parser.add_argument(
        "--no-ceilings", action="store_true", help="without the share of the measured ceiling"
    )
    parser.add_argument(
        "--json", type=output_path, metavar="PATH", help="write the record to this file too"
    )
    parser.add_argument(
        "--rescue",
        action="store_true",
        help="save what killed runs had measured (the next run does it too), and run nothing",
    )
    add_results_dir(parser, "where the run is saved and ceilings are kept")
    parser.add_argument(
        "-m", dest="is_module", action="store_true", help="SCRIPT is the name of a module"
    )
    parser.add_argument(
        "script", nargs=argparse.REMAINDER, metavar="SCRIPT", help="the script and its arguments"
    )
    parser.set_defaults(run=run)


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= LARGEST_SIZE:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no count; give a whole number from 1 on, at most {LARGEST_SIZE:,}"
        )
    return number


def run(arguments: argparse.Namespace) -> int:
    """Run the script; the exit status is the script's own."""
    results_dir: Path = arguments.results_dir.absolute()  # the script may change the folder
    if arguments.rescue:
        return _rescue_alone(arguments, results_dir)
    target = _target(arguments)
    refuse_missing(target)
    _refuse_unwritable(results_dir)
    if arguments.count:
        from mfubench.script.count_command import run_count

        return run_count(arguments, target, results_dir, say=_say)
    if arguments.json is not None:
        arguments.json = arguments.json.absolute()
    trace: Path | None = arguments.save_trace
    if trace is not None:
        trace = trace.absolute()
        refuse_trace_file(trace)
    if not arguments.no_ceilings:
        _measure_ceilings_first(results_dir)

    from mfubench.results.document import machine_dir
    from mfubench.results.single import commit_of_start
    from mfubench.script.journal import RunJournal, rescue
    from mfubench.script.run import TrainingRun

    for sentence in rescue(results_dir):
        _say(sentence)
    commit_of_start()
    report = _Report(arguments, target, results_dir, RunJournal(machine_dir(results_dir)))
    run = TrainingRun(
        steps=arguments.steps,
        breakdown=arguments.breakdown,
        save_trace=trace,
        say=_say,
        keep=report.keep,
    )
    run.start()

    def at_hard_exit(why: str) -> None:
        report.print_and_save(run, run.look(), ended=why)

    restore = before_hard_exit(at_hard_exit)
    ending = run_target(target, over=report.held.begin)
    restore()
    if run.is_ours:
        try:
            found = run.stop()
            report.print_and_save(
                run,
                found,
                ended=ending.reason,
                may_measure=ending.is_clean and os.environ.get("RANK", "0") == "0",
                variables=vars(sys.modules["__main__"]),
            )
        except Exception as error:  # the script's end is its own, whatever becomes of our part
            _say(f"the measurement could not be finished: {type(error).__name__}: {error}")
    report.held.end()
    return leave(ending)


def _rescue_alone(arguments: argparse.Namespace, results_dir: Path) -> int:
    from mfubench.script.journal import rescue

    if arguments.script:
        raise UserError("--rescue runs nothing; leave the script out")
    for sentence in rescue(results_dir) or ["no killed run has left anything behind"]:
        _say(sentence)
    return 0


def _target(arguments: argparse.Namespace) -> Target:
    if not arguments.script:
        raise UserError(
            "name the script to run: mfubench run train.py --its-options, or mfubench run -m MODULE"
        )
    name, *rest = arguments.script
    return Target(name=name, is_module=arguments.is_module, arguments=tuple(rest))


def _refuse_unwritable(results_dir: Path) -> None:
    from mfubench.results import document

    if refusal := document.refusal_to_write(document.machine_dir(results_dir)):
        raise UserError(f"{refusal}. The script was not started.")


def _measure_ceilings_first(results_dir: Path) -> None:
    from mfubench.script import ceiling

    is_first_here = os.environ.get("LOCAL_RANK", "0") == "0"  # several would slow each other
    if is_first_here and not ceiling.any_is_stored(results_dir):
        _say("measuring this machine's ceilings first, about 10 s (--no-ceilings leaves them out)")
        ceiling.measure_apart(results_dir)


def _say(text: str) -> None:
    """A quiet line on standard error, by the first rank only."""
    if os.environ.get("RANK", "0") == "0" and not getattr(sys.stderr, "closed", False):
        with safe_streams(only_stderr=True):
            print(f"mfubench run: {text}", file=sys.stderr, flush=True)


class _Report:
    """What is made of a run: kept while it lasts, saved and printed at its end."""

    def __init__(
        self, arguments: argparse.Namespace, target: Target, results_dir: Path, journal: RunJournal
    ) -> None:
        self._arguments, self._target = arguments, target
        self._results_dir, self._journal = results_dir, journal
        self.held = Held()
        """An interrupt that comes when the script is over waits until all is saved."""

    def _wanted(self) -> Wanted:
        from mfubench.script.finish import Wanted

        return Wanted(
            label=self._target.label,
            argv=[self._target.label, *self._target.arguments],
            tokens_per_step=self._arguments.tokens_per_step,
            results_dir=self._results_dir,
            with_ceiling=not self._arguments.no_ceilings,
            held=self.held,
        )

    def keep(self, run: TrainingRun, found: Found) -> None:
        """Write the journal."""
        from mfubench.script.finish import made

        if run.is_ours:
            ended = f"the process was killed after its step {len(found.steps.steps)} or later"
            self._journal.write(made(run, found, self._wanted(), ended=ended)[1])

    def print_and_save(self, run: TrainingRun, found: Found, **how: Any) -> None:
        """Save first, then print."""
        if getattr(sys.stderr, "closed", False):  # by the script
            sys.stderr = None
        if "torch" not in sys.modules:
            _say(f"nothing was measured: {self._target.label} does not use torch")
            return
        from mfubench.script.finish import finish

        record, notes = finish(run, found, self._wanted(), **how)
        self._journal.finish()
        path: Path | None = self._arguments.json
        if path is not None:
            from mfubench.results.write import json_text

            try:
                write_output(path, json_text(record.as_extra_info()))
            except OSError as error:
                notes.append(f"{path} could not be written: {error.strerror or error}")
        if os.environ.get("RANK", "0") != "0":
            return
        try:
            with self.held.let_through():
                if self.held.came:
                    raise KeyboardInterrupt
                self._print(record, notes)
                self._print_trace(run)
        except KeyboardInterrupt:
            _say(f"interrupted again: the table is left out; {'; '.join(notes)}")

    def _print(self, record: CaseRecord, notes: list[str]) -> None:
        from mfubench.script.text import run_text
        from mfubench.show.terminal import has_color, width_of

        color, width = has_color(sys.stderr), width_of(sys.stderr)
        with safe_streams(table_on_stderr=True, only_stderr=True):
            if isinstance(sys.stderr, SafeStream):
                sys.stderr.keep_styles = color
            text = run_text(record, color=color, notes=notes, width=width)
            print("\n" + text, file=sys.stderr, flush=True)

    def _print_trace(self, run: TrainingRun) -> None:
        if run.trace is None:
            return
        if run.trace.problem is not None:
            _say(f"no trace was written: {run.trace.problem}")
            return
        from mfubench.script.live_trace import account_text
        from mfubench.show.terminal import has_color
        from mfubench.trace.read import TraceError

        try:
            text = account_text(run.trace.path, self._results_dir, color=has_color(sys.stderr))
        except TraceError as error:
            text = f"mfubench run: wrote {run.trace.path}, which gave no account: {error}"
        with safe_streams(table_on_stderr=True, only_stderr=True):
            print(text, file=sys.stderr, flush=True)
