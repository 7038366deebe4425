"""`mfubench trace`: where the time of a step goes, by a profiler's trace from any machine."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from mfubench.arguments import UserError, add_json, add_results_dir, user_path

EXIT_NO_DEVICE = 2


def add_parser(commands: Any) -> None:
    """Declare the command; docs/commands.md describes it."""
    parser = commands.add_parser(
        "trace", help="account for a step from a trace of torch.profiler, made on any machine"
    )
    parser.add_argument(
        "files",
        nargs="+",
        type=user_path,
        metavar="FILE",
        help="what prof.export_chrome_trace(…) wrote, plain or gzip; of several ranks, one each",
    )
    parser.add_argument(
        "--device", metavar="NAME", help="what it ran on, where the trace does not say"
    )
    parser.add_argument("--kernels", action="store_true", help="the longest kernels, too")
    add_results_dir(parser, "where the account is kept")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Exit status 0, or 2 for a file that is no trace and for one without device events, whose
    host side is printed all the same."""
    from mfubench.results import document
    from mfubench.show.terminal import has_color
    from mfubench.trace.build import NoDeviceError, trace_account
    from mfubench.trace.read import TraceError
    from mfubench.trace.text import trace_text

    if refusal := document.refusal_to_write(document.machine_dir(arguments.results_dir)):
        raise UserError(refusal)
    problem = None
    try:
        account = trace_account(arguments.files, device=arguments.device)
    except NoDeviceError as error:
        account, problem = error.account, str(error)
    except TraceError as error:
        raise UserError(str(error)) from None
    where = document.save("trace", account, arguments.results_dir)
    if arguments.json:
        print(document.body_text(account))
    else:
        text = trace_text(account, kernels=arguments.kernels, color=has_color(sys.stdout))
        print(f"{text}\n{where}")
    if problem is None:
        return 0
    print(f"mfubench trace: {problem}", file=sys.stderr)
    return EXIT_NO_DEVICE
