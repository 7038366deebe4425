"""`mfubench breakdown [CASE]`: measure one case and account for where its time goes."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from mfubench.arguments import (
    UserError,
    add_corpus_and_threads,
    add_json,
    add_results_dir,
    refuse_threads,
)


def add_parser(commands: Any) -> None:
    """Add `breakdown` to the command line."""
    parser = commands.add_parser(
        "breakdown", help="measure one case and account for where its time goes"
    )
    parser.add_argument(
        "case",
        nargs="?",
        default="nanogpt-cpu",
        help="a preset, or a case as the table prints it: nanogpt-cpu/cpu-float32-b12-eager "
        "(default: %(default)s, on the CPU)",
    )
    parser.add_argument("--loop", action="store_true", help="an iteration of the training loop")
    parser.add_argument("--operators", action="store_true", help="the operators behind the bars")
    add_corpus_and_threads(parser)
    add_results_dir(parser, "where measured ceilings are kept")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the account; the exit status is 1 when the case has none."""
    # torch's profiler writes a line to standard error at each start and stop unless told not to.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    from mfubench_model.corpus import CorpusError

    from mfubench.results.write import json_text
    from mfubench.show.account import breakdown_text
    from mfubench.suite.single import CaseNameError, breakdown_of, names_a_loop, parse_case
    from mfubench.suite.sweep import SweepOptions

    refuse_threads(arguments.threads)
    options = SweepOptions(
        corpus=arguments.corpus, threads=arguments.threads, results_dir=arguments.results_dir
    )
    try:
        case = parse_case(arguments.case, device="cpu", dtype="float32")
        loop = arguments.loop or names_a_loop(arguments.case)
        record = breakdown_of(case, options, loop=loop)
    except (CaseNameError, CorpusError) as error:
        raise UserError(str(error)) from None
    info = record.as_extra_info()
    if arguments.json:
        print(json_text(info))
    else:
        print(breakdown_text(info, operators=arguments.operators, color=sys.stdout.isatty()))
    return 0 if "breakdown" in info and info["outcome"] == "ok" else 1
