"""`mfubench gate`: is this working tree slower than that revision, on this machine, now?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfubench_model.presets import PRESETS

from mfubench.arguments import (
    UserError,
    add_corpus_and_threads,
    add_results_dir,
    duration_s,
    output_path,
    refuse_output,
    user_path,
)
from mfubench.files import write_output
from mfubench.gate.command.scripts import refuse_mixed
from mfubench.gate.command.setup import PRESET
from mfubench.streams import shortened

if TYPE_CHECKING:
    from mfubench.gate.rules.document import GateVerdict

COULD_NOT_RUN = 3


def add_parser(commands: Any) -> None:
    """Declare the command; docs/commands.md and docs/gate.md describe it."""
    parser = commands.add_parser(
        "gate", help="judge whether the working tree trains slower than another revision"
    )
    parser.error = lambda message: parser.exit(
        COULD_NOT_RUN, f"mfubench gate: {shortened(message)}; see mfubench gate --help\n"
    )
    add = parser.add_argument
    add("--base", metavar="REV", help="the revision to compare with (default: the merge base)")
    add(
        "--script",
        action="append",
        default=[],
        metavar="COMMAND",
        help='a training script of yours, with its arguments: "train.py config/ci.py"',
    )
    add(
        "--base-script",
        action="append",
        default=[],
        metavar="COMMAND",
        help="what the base runs for it, where it is typed otherwise there",
    )
    add(
        "--link",
        action="append",
        default=[],
        metavar="PATH",
        help="what a script reads and git has not: data, say",
    )
    add("--python", metavar="PATH", help="the scripts' Python (default: this one)")
    add(
        "--base-python",
        type=user_path,
        metavar="PATH",
        help="the base's Python: another environment",
    )
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a candidate's setting")
    add("--set-base", action="append", default=[], metavar="KEY=VALUE", help="a base's setting")
    add(
        "--under-test",
        default="model/mfubench_model",
        metavar="PATHS",
        help="packages or modules of the revisions to compare (default: %(default)s)",
    )
    add(
        "--against",
        type=user_path,
        metavar="FILE",
        help="judge the newest stored run against this one",
    )
    add("--advisory", action="store_true", help="across machines, and never fail")
    add("--preset", choices=tuple(PRESETS), help=f"our own loop (default: {PRESET})")
    add("--device", default="cpu", metavar="NAME", help="cpu, cuda, … (default: %(default)s)")
    add("--cases", metavar="PATTERNS", help="only these, separated by commas (default: all eight)")
    add("--pairs", type=int, default=None, metavar="N", help="pairs until the second look")
    add(
        "--floor",
        type=float,
        default=None,
        metavar="X",
        help="slow-downs below this never fail (default 0.01)",
    )
    add(
        "--tolerance",
        type=float,
        default=None,
        metavar="X",
        help="slow-downs certainly below this may pass (default 0.05)",
    )
    add_corpus_and_threads(parser)
    add("--resume", action="store_true", help="use the pairs that an interrupted gate kept")
    add("--wait", type=duration_s, default=0.0, metavar="TIME", help="for another gate to end")
    add("--self-test", action="store_true", help="measure how often the gate errs here")
    add(
        "--load",
        nargs="?",
        choices=("none", "both", "candidate"),
        default="none",
        const="both",
        help="with --self-test: a planted load, beside both sides or the candidate alone",
    )
    add("--ledger", action="store_true", help="count the kept gates of a commit against itself")
    add("--json", action="store_true", help="machine-readable")
    add("--markdown", action="store_true", help="for a pull request")
    add("--junit", type=output_path, metavar="FILE", help="write JUnit XML too")
    add_results_dir(parser, "where verdicts are kept")
    parser.set_defaults(run=run, could_not_run=COULD_NOT_RUN)


def run(arguments: argparse.Namespace) -> int:
    """Exit status 0 pass, 1 regressed, 2 inconclusive, 3 could not run."""
    from mfubench.gate.measure.cases import CaseChoiceError
    from mfubench.gate.measure.variants import VariantError
    from mfubench.gate.measure.verdict_run import CouldNotRunError
    from mfubench.pairs.machine_lock import BusyError, machine_lock
    from mfubench.pairs.revisions import RevisionError

    try:
        if arguments.ledger:
            return _ledger(arguments)
        refuse_mixed(arguments)
        if arguments.against is not None:
            from mfubench.gate.command.against import run_against

            return run_against(arguments)
        with machine_lock(arguments.wait):
            if arguments.self_test:
                from mfubench.gate.command.self_test import run_self_test

                return run_self_test(arguments)
            return _gate(arguments)
    except RevisionError as error:
        hint = "" if arguments.base else "; --base-python or --set compare without revisions"
        print(f"mfubench gate: {error}{hint}", file=sys.stderr)
    except (UserError, CaseChoiceError, VariantError, BusyError, CouldNotRunError) as error:
        print(f"mfubench gate: {shortened(str(error))}", file=sys.stderr)
    except OSError as error:
        what = error.strerror or error
        print(
            f"mfubench gate: {what} ({error.filename}); pairs are kept: --resume", file=sys.stderr
        )
    except KeyboardInterrupt:
        print("mfubench gate: interrupted; whole pairs are kept: --resume", file=sys.stderr)
    return COULD_NOT_RUN


def _gate(arguments: argparse.Namespace) -> int:
    import msgspec

    from mfubench.gate.command.setup import gate_bench, gate_settings, open_journal
    from mfubench.gate.measure.history import newest_self_test
    from mfubench.gate.measure.verdict_run import Gate, comparison_key
    from mfubench.gate.rules.document import GateVerdict
    from mfubench.gate.rules.policy import PAIRS
    from mfubench.gate.show.text import gate_junit, gate_markdown, gate_text
    from mfubench.results import document
    from mfubench.show.terminal import has_color

    settings = gate_settings(arguments)
    refuse_output("--junit", arguments.junit)
    machine = document.machine_dir(arguments.results_dir)
    if refusal := document.refusal_to_write(machine / "gate"):
        raise UserError(refusal)
    with gate_bench(arguments, settings) as (bench, cases, about):
        key = comparison_key(bench, cases)
        journal = open_journal(machine / "gate", key, resume=arguments.resume)
        pairs = arguments.pairs if arguments.pairs is not None else settings.get("pairs", PAIRS)
        measured = Gate(bench, cases, journal, pairs=pairs, settings=settings).run()
        found = about()
    is_ours = found["preset"] is not None
    found["self_test"] = newest_self_test(machine, pairs) if is_ours else None
    gate = msgspec.convert(measured | found, GateVerdict)
    where = document.save("gate", gate, arguments.results_dir)
    _keep_if_quiet(gate, arguments.results_dir)
    journal.finish()
    problem = _write_junit(arguments.junit, gate_junit(gate))
    if arguments.json:
        print(document.body_text(gate, without="measured"))
    elif arguments.markdown:
        print(gate_markdown(gate), end="")
    else:
        print(gate_text(gate, color=has_color(sys.stdout)))
        print(f"\n{where}")
    if problem is not None:
        print(f"mfubench gate: {problem}; the verdict is saved", file=sys.stderr)
        return gate.exit_status or COULD_NOT_RUN
    return gate.exit_status


def _write_junit(path: Path | None, text: str) -> str | None:
    """Why it could not be written; None where it was, or is not wanted."""
    if path is None:
        return None
    try:
        write_output(path, text)
    except OSError as error:
        return f"--junit {path} could not be written: {error.strerror or error}"
    return None


def _keep_if_quiet(gate: GateVerdict, results_dir: Path) -> None:
    """A gate of some code against itself counts as one more without a change."""
    import datetime

    from mfubench.gate.rules.ledger import add_to_ledger, quiet_gate
    from mfubench.hardware.fingerprint import fingerprint

    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    line = quiet_gate(gate, created=now, machine=fingerprint().id)
    if line is None:
        return
    try:
        add_to_ledger(results_dir, line)
    except OSError as error:  # the verdict is saved, and is what was asked for
        words = error.strerror or error
        print(
            f"mfubench gate: not added to the ledger: {words} ({error.filename})", file=sys.stderr
        )


def _ledger(arguments: argparse.Namespace) -> int:
    from mfubench.gate.rules.ledger import counted, ledger_text, read_ledger
    from mfubench.results import document
    from mfubench.show.console import wrapped

    found = counted(read_ledger(arguments.results_dir))
    if arguments.json:
        print("null" if found is None else document.body_text(found))
    else:
        print(wrapped(ledger_text(found)))
    return 0
