"""`mfubench advise`: which settings make training faster here, found and verified."""

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
    refuse_corpus,
    refuse_device,
    refuse_threads,
)

if TYPE_CHECKING:
    from mfubench.advise.advice import Advice
    from mfubench.measure.loop_config import LoopConfig

PRESET = "nanogpt-cpu"
LEAST_BUDGET_S = 30.0
EXIT_INTERRUPTED = 130


def add_parser(commands: Any) -> None:
    """Declare the command; docs/commands.md describes it."""
    parser = commands.add_parser(
        "advise", help="find the settings that train fastest here, each measured, the best verified"
    )
    parser.add_argument(
        "training",
        nargs="?",
        metavar="COMMAND",
        help='a training script of yours, with its arguments: "train.py config/small.py"',
    )
    parser.add_argument(
        "--preset", choices=tuple(PRESETS), help=f"what our own loop trains (default: {PRESET})"
    )
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu, cuda, cuda:1, …")
    parser.add_argument(
        "--budget",
        type=duration_s,
        default=300.0,
        metavar="TIME",
        help="how long it may take: 300, 90s, 5m (default: 5m)",
    )
    parser.add_argument(
        "--knobs", metavar="NAMES", help="only these, separated by commas (default: all)"
    )
    add_corpus_and_threads(parser)
    add_results_dir(parser, "where the advice is kept, and a breakdown is looked for")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Exit status 0 with an advice (to stay as it is, too), 130 when it was interrupted."""
    from mfubench.advise.advice import INTERRUPTED
    from mfubench.advise.text import advice_text
    from mfubench.results import document
    from mfubench.show.terminal import has_color

    if arguments.budget < LEAST_BUDGET_S:
        raise UserError(
            f"a budget of {arguments.budget:g} s is too short to measure anything twice; "
            f"allowed: {LEAST_BUDGET_S:g} s and more"
        )
    results_dir = arguments.results_dir
    if refusal := document.refusal_to_write(document.machine_dir(results_dir)):
        raise UserError(refusal)
    if arguments.training is None:
        advice = _advice_of_our_loop(arguments)
    else:
        from mfubench.advise.script_command import advice_of_script

        advice = advice_of_script(arguments)
    where = document.save("advice", advice, results_dir)
    if arguments.json:
        print(document.body_text(advice))
    else:
        print(advice_text(advice, color=has_color(sys.stdout)))
        print(f"\n{where}")
    return EXIT_INTERRUPTED if advice.ended == INTERRUPTED else 0


def _advice_of_our_loop(arguments: argparse.Namespace) -> Advice:
    from mfubench.advise.search import Search
    from mfubench.knobs.bench import KnobBench
    from mfubench.pairs.side import SideError
    from mfubench.predict.elsewhere import known_here
    from mfubench.results import document

    knobs = _knobs(arguments.knobs)
    base = _baseline(arguments)
    account = _stored_account(document.machine_dir(arguments.results_dir), base)
    bench = KnobBench(base, corpus=arguments.corpus)
    try:
        return Search(
            bench,
            budget_s=arguments.budget,
            winnable=account,
            known=known_here(arguments.results_dir, base.device, base.threads),
            knobs=knobs,
            say=lambda text: print(f"  {text}", file=sys.stderr, flush=True),
        ).run()
    except SideError as error:
        raise UserError(f"the baseline could not be run: {error}") from None
    finally:
        bench.close()


def _knobs(names: str | None) -> tuple[Any, ...]:
    from mfubench.knobs.catalogue import KNOBS, KNOBS_BY_NAME

    if names is None:
        return KNOBS
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in KNOBS_BY_NAME:
            raise UserError(f"{name!r} is no knob; there are: {', '.join(KNOBS_BY_NAME)}")
    if not wanted:
        raise UserError("--knobs names none; type for instance --knobs 'adamw fused,batch x2'")
    return tuple(KNOBS_BY_NAME[name] for name in wanted)


def _baseline(arguments: argparse.Namespace) -> Any:
    """nanoGPT's own loop of a preset, refused where the device or the corpus is not there."""
    from mfubench.knobs.bench import nanogpt_baseline

    refuse_threads(arguments.threads)
    refuse_corpus(arguments.corpus)
    refuse_device(arguments.device)
    return nanogpt_baseline(arguments.preset or PRESET, arguments.device, threads=arguments.threads)


def _stored_account(folder: Path, base: LoopConfig) -> dict[str, float] | None:
    """What each bar has to win, from the newest stored breakdown of the baseline's loop."""
    from mfubench.advise.advice import to_win
    from mfubench.results.folder import saved_runs
    from mfubench.results.read import ResultError, read_result

    for path in reversed(saved_runs(folder)):
        try:
            records = [record for record, _ in read_result(path).records]
        except ResultError:
            continue
        for one in records:
            asked = (one.question, one.preset, one.device, one.dtype)
            is_base = asked == ("breakdown-loop", base.preset, base.device, base.dtype) and bool(
                one.compile
            ) == (base.compile != "no")
            if is_base and one.breakdown and one.breakdown_step_s:
                return to_win(one.breakdown, one.breakdown_step_s)
    return None
