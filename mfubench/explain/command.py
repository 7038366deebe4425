"""`mfubench explain [LOG]`: what it takes, what it refuses, and which form it prints."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from mfubench_model.presets import PRESETS

from mfubench.arguments import (
    ACCUMULATION,
    LARGEST_SIZE,
    SIZES,
    UserError,
    add_json,
    add_results_dir,
    add_sizes,
    sizes_given,
    this_device,
    user_path,
)
from mfubench.hardware.dtypes import DTYPES

if TYPE_CHECKING:
    from mfubench.explain.account import RunAccount
    from mfubench.explain.device import NamedDevice
    from mfubench.explain.log import TrainingLog
    from mfubench.explain.run import LoggedRun

LARGEST_TFLOPS = 1e9


def add_parser(commands: Any) -> None:
    """Add `explain` to the command line."""
    parser = commands.add_parser(
        "explain", help="read a log of nanoGPT's train.py; report its speed and real MFU"
    )
    parser.add_argument("log", nargs="?", help="a log; - or nothing for the standard input")
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="what it ran on, as the driver names it; this: this machine; cpu: its CPU",
    )
    parser.add_argument(
        "--follow",
        action="store_true",
        help="LOG is still being written: a line each time it grows; Ctrl-C explains it",
    )
    parser.add_argument(
        "--peak-tflops", type=float, metavar="X", help="dense peak of a device that is not known"
    )
    parser.add_argument("--dtype", choices=DTYPES, help="format of the matrix multiplications")
    parser.add_argument("--preset", choices=tuple(PRESETS), help="sizes the log does not have")
    add_sizes(parser, SIZES | ACCUMULATION)
    parser.add_argument("--ranks", type=int, metavar="N", help="processes that shared an iteration")
    add_json(parser)
    add_results_dir(parser, "where a probe of this machine is looked for")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the explanation; raises UserError or ConfigError for what cannot be explained."""
    from mfubench.explain.account import explain_run
    from mfubench.explain.data import explain_as_json
    from mfubench.explain.device import named_device
    from mfubench.explain.follow import follow
    from mfubench.explain.log import LogError, read_log, read_stream
    from mfubench.explain.sizes import given_sizes
    from mfubench.explain.text import explain_as_text

    sizes = sizes_given(arguments, SIZES | ACCUMULATION)
    if arguments.ranks is not None and arguments.ranks > LARGEST_SIZE:
        raise UserError(f"--ranks is too large; allowed: at most {LARGEST_SIZE:,}")
    given = given_sizes(arguments.preset, sizes, bias=arguments.bias, ranks=arguments.ranks)
    peak_tflops = arguments.peak_tflops
    if peak_tflops is not None and not 0 < peak_tflops <= LARGEST_TFLOPS:
        raise UserError(
            f"--peak-tflops is {peak_tflops}; it must be a positive number up to {LARGEST_TFLOPS:g}"
        )
    from_stdin = arguments.log in (None, "-")
    if from_stdin and (sys.stdin is None or (arguments.log is None and sys.stdin.isatty())):
        raise UserError("give a log file, or pipe one in: python train.py | mfubench explain")
    if from_stdin and arguments.follow:
        raise UserError("--follow needs a log file; what is piped in is read to its end")

    def device_of(run: LoggedRun) -> NamedDevice:
        name = arguments.device
        if name is not None and name.strip().casefold() == "this":
            name = this_device(run.settings.get("device", "cuda"))
        return named_device(name, peak_tflops)

    def account_of(log: TrainingLog) -> RunAccount:
        last = log.runs[-1]
        return explain_run(last, given=given, device=device_of(last), dtype=arguments.dtype)

    try:
        if from_stdin:
            log = read_stream(sys.stdin.buffer, "standard input")
        elif arguments.follow:
            log = follow(user_path(arguments.log), account_of, _say)
        else:
            log = read_log(user_path(arguments.log))
    except (LogError, argparse.ArgumentTypeError) as error:
        raise UserError(str(error)) from None
    last = log.runs[-1]
    device = device_of(last)
    known = None
    if arguments.device:
        from mfubench.explain.predicted import known_of

        kind = last.settings.get("device", "cuda")
        known = known_of(arguments.device, kind, arguments.results_dir)
    runs = [
        explain_run(run, given=given, device=device, dtype=arguments.dtype, known=known)
        for run in log.runs
    ]
    print((explain_as_json if arguments.json else explain_as_text)(log, runs, device))
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
