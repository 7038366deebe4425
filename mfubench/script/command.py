"""`mfubench run`: a training script, measured as it is."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfubench.arguments import LARGEST_SIZE, UserError, add_results_dir, output_path
from mfubench.files import write_output
from mfubench.script.launch import Ending, Target, leave, refuse_missing
from mfubench.script.launch import run as run_target
from mfubench.streams import SafeStream, safe_streams

if TYPE_CHECKING:
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
        "--no-ceilings", action="store_true", help="without the share of the measured ceiling"
    )
    parser.add_argument(
        "--json", type=output_path, metavar="PATH", help="write the record to this file too"
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
    target = _target(arguments)
    refuse_missing(target)
    results_dir: Path = arguments.results_dir.absolute()  # the script may change the folder
    _refuse_unwritable(results_dir)
    if not arguments.no_ceilings:
        _measure_ceilings_first(results_dir)

    from mfubench.script.run import TrainingRun

    run = TrainingRun(steps=arguments.steps, breakdown=arguments.breakdown, say=_say)
    run.start()
    ending = run_target(target)
    if run.is_ours:
        try:
            _report(run, ending, target, arguments, results_dir)
        except KeyboardInterrupt:
            _say("interrupted again: the report was left out")
        except Exception as error:  # the script's end is its own, whatever becomes of our part
            _say(f"the measurement could not be finished: {type(error).__name__}: {error}")
    return leave(ending)


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

    if not ceiling.any_is_stored(results_dir):
        _say("measuring this machine's ceilings first, about 10 s (--no-ceilings leaves them out)")
        ceiling.measure_apart(results_dir)


def _say(text: str) -> None:
    """A quiet line on standard error, by the first rank only."""
    if os.environ.get("RANK", "0") == "0":
        with safe_streams():
            print(f"mfubench run: {text}", file=sys.stderr, flush=True)


def _report(
    run: TrainingRun,
    ending: Ending,
    target: Target,
    arguments: argparse.Namespace,
    results_dir: Path,
) -> None:
    """Save first, then print."""
    found = run.stop()
    if "torch" not in sys.modules:
        _say(f"nothing was measured: {target.label} does not use torch")
        return
    from mfubench.script.finish import finish

    record, notes = finish(
        run,
        found,
        label=target.label,
        argv=[target.label, *target.arguments],
        tokens_per_step=arguments.tokens_per_step,
        ended=ending.reason,
        results_dir=results_dir,
        with_ceiling=not arguments.no_ceilings,
        may_measure=ending.is_clean,
        variables=vars(sys.modules["__main__"]),
    )
    if arguments.json is not None:
        from mfubench.results.write import json_text

        try:
            write_output(arguments.json, json_text(record.as_extra_info()))
        except OSError as error:
            notes.append(f"{arguments.json} could not be written: {error.strerror or error}")
    if os.environ.get("RANK", "0") == "0":
        from mfubench.script.text import run_text
        from mfubench.show.terminal import has_color, width_of

        color, width = has_color(sys.stderr), width_of(sys.stderr)
        with safe_streams(table_on_stderr=True):
            if isinstance(sys.stderr, SafeStream):
                sys.stderr.keep_styles = color
            text = run_text(record, color=color, notes=notes, width=width)
            print("\n" + text, file=sys.stderr)
