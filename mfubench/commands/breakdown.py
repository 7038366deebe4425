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
    output_path,
    refuse_threads,
    refuse_trace_file,
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
    parser.add_argument(
        "--save-trace",
        type=output_path,
        metavar="FILE",
        help="write the profiler's trace of three steps, too, for `mfubench trace`: to FILE, "
        "which ends in .json or .json.gz",
    )
    add_corpus_and_threads(parser)
    add_results_dir(parser, "where measured ceilings are kept")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the account; the exit status is 1 when the case has none."""
    # torch's profiler writes a line to standard error at each start and stop unless told not to.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    from mfubench_model.corpus import CorpusError

    from mfubench.results.case_id import CaseIdError
    from mfubench.results.outcomes import Outcome
    from mfubench.results.write import json_text
    from mfubench.show.account import breakdown_text
    from mfubench.show.terminal import has_color
    from mfubench.suite.single import breakdown_of, named_case
    from mfubench.suite.sweep import SweepOptions

    refuse_threads(arguments.threads)
    if arguments.save_trace is not None:
        refuse_trace_file(arguments.save_trace)
    options = SweepOptions(
        corpus=arguments.corpus,
        threads=arguments.threads,
        results_dir=arguments.results_dir,
        save_trace=arguments.save_trace,
    )
    try:
        record = breakdown_of(named_case(arguments.case), options, loop=arguments.loop)
    except (CaseIdError, CorpusError) as error:
        raise UserError(str(error)) from None
    if arguments.json:
        print(json_text(record.as_extra_info()))
    else:
        print(breakdown_text(record, operators=arguments.operators, color=has_color(sys.stdout)))
        if record.breakdown:
            print("\nNext: mfubench advise (what makes training faster here; 5 minutes).")
    if arguments.save_trace is not None and arguments.save_trace.exists():
        print(f"wrote {arguments.save_trace}", file=sys.stderr)
    return 0 if record.breakdown and record.outcome is Outcome.OK else 1
