"""The commands that are not a pytest run; the longer ones are in `mfubench/commands/`.

Nothing heavy is imported before a command needs it; `mfubench --help` answers at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfubench_model.config import ConfigError, GPTConfig
from mfubench_model.presets import PRESETS

from mfubench import __version__
from mfubench.advise import command as advise
from mfubench.arguments import (
    UserError,
    add_corpus_and_threads,
    add_results_dir,
    refuse_threads,
)
from mfubench.gate.command import run as gate
from mfubench.hardware.dtypes import DTYPES
from mfubench.interrupts import terminated_as_interrupted
from mfubench.trace import command as trace

if TYPE_CHECKING:
    from mfubench.explain.device import NamedDevice

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return 0
    try:
        with terminated_as_interrupted():
            status: int = arguments.run(arguments)
    except (UserError, ConfigError) as error:
        print(f"mfubench {arguments.command}: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except BrokenPipeError:  # `mfubench … | head`
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print(f"mfubench {arguments.command}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return status


def build_parser() -> argparse.ArgumentParser:
    """The command line. docs/commands.md describes it; a test holds the two together."""
    parser = argparse.ArgumentParser(
        prog="mfubench",
        description="What share of this machine does GPT training use? To measure, type: "
        "pytest benchmarks/",
    )
    parser.add_argument("--version", action="version", version=f"mfubench {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    flops = commands.add_parser(
        "flops", help="count the FLOPs of a training step, per component and per convention"
    )
    flops.add_argument("--preset", choices=tuple(PRESETS), default=None, help="a named set-up")
    for name, what in SIZES.items():
        option = "--" + name.replace("_", "-")
        flops.add_argument(option, type=int, default=None, metavar="N", help=what)
    flops.add_argument("--bias", action="store_true", default=None, help="with biases, as GPT-2")
    flops.add_argument("--json", action="store_true", help="machine-readable")
    flops.set_defaults(run=run_flops)

    explain = commands.add_parser(
        "explain", help="what a log of nanoGPT's train.py says, and what its mfu does not say"
    )
    explain.add_argument("log", nargs="?", help="a log; - or nothing for the standard input")
    explain.add_argument("--device", metavar="NAME", help="what it ran on, as the driver names it")
    explain.add_argument(
        "--peak-tflops", type=float, metavar="X", help="dense peak of a device that is not known"
    )
    explain.add_argument("--dtype", choices=DTYPES, help="format of the matrix multiplications")
    explain.add_argument("--preset", choices=tuple(PRESETS), help="sizes the log does not have")
    for name, what in (SIZES | ACCUMULATION).items():
        option = "--" + name.replace("_", "-")
        explain.add_argument(option, type=int, default=None, metavar="N", help=what)
    explain.add_argument("--bias", action="store_true", default=None, help="with biases, as GPT-2")
    explain.add_argument(
        "--ranks", type=int, metavar="N", help="processes that shared an iteration"
    )
    explain.add_argument("--json", action="store_true", help="machine-readable")
    explain.set_defaults(run=run_explain)

    breakdown = commands.add_parser(
        "breakdown", help="measure one case and account for where its time goes"
    )
    breakdown.add_argument(
        "case",
        nargs="?",
        default="nanogpt-cpu",
        help="a preset, or a case as the table prints it: nanogpt-cpu/cpu-float32-b12-eager "
        "(default: %(default)s, on the CPU)",
    )
    breakdown.add_argument("--loop", action="store_true", help="an iteration of the training loop")
    breakdown.add_argument("--operators", action="store_true", help="the operators behind the bars")
    add_corpus_and_threads(breakdown)
    add_results_dir(breakdown, "where measured ceilings are kept")
    breakdown.add_argument("--json", action="store_true", help="machine-readable")
    breakdown.set_defaults(run=run_breakdown)
    advise.add_parser(commands)
    gate.add_parser(commands)
    trace.add_parser(commands)

    report = commands.add_parser("report", help="one page about stored runs, to read and to share")
    add_report_options(report)

    device = commands.add_parser(
        "device", help="what this machine is, and where its peaks come from"
    )
    device.add_argument("--json", action="store_true", help="machine-readable")
    add_results_dir(device, "where runs were saved, to show the ceilings they measured")
    device.set_defaults(run=run_device)

    show = commands.add_parser("show", help="print the table of a saved run again")
    show.add_argument("result", type=Path, help="a result file")
    show.set_defaults(run=run_show)

    validate = commands.add_parser("validate", help="check result files against the schema")
    validate.add_argument("results", type=Path, nargs="+", help="result files")
    validate.set_defaults(run=run_validate)
    return parser


SIZES = {
    "n_layer": "layers",
    "n_head": "attention heads",
    "n_embd": "embedding width",
    "block_size": "context length in tokens",
    "vocab_size": "vocabulary",
    "batch_size": "sequences per step",
}

ACCUMULATION = {"gradient_accumulation_steps": "batches per optimizer step, over all ranks"}


def run_flops(arguments: argparse.Namespace) -> int:
    """`mfubench flops`: a preset, explicit sizes, or a preset with some sizes changed."""
    from mfubench.show.flops import flops_as_json, flops_as_text

    given = {name: value for name in SIZES if (value := getattr(arguments, name)) is not None}
    batch_size = given.pop("batch_size", None)
    if arguments.preset is not None:
        preset = PRESETS[arguments.preset]
        base: dict[str, Any] = {name: getattr(preset.config, name) for name in CONFIG_FIELDS}
        batch_size = preset.batch_size if batch_size is None else batch_size
        name = preset.name if not given else f"{preset.name}, changed"
    else:
        if not given:
            raise UserError(
                f"give --preset ({', '.join(PRESETS)}) or explicit sizes, for instance "
                "--n-layer 12 --n-head 12 --n-embd 768 --block-size 1024 --vocab-size 50304"
            )
        missing = [n for n in SIZES if n != "batch_size" and n not in given]
        if missing:
            options = " ".join("--" + n.replace("_", "-") for n in missing)
            raise UserError(f"without --preset every size is needed; missing: {options}")
        base = {"bias": False}
        batch_size = 1 if batch_size is None else batch_size
        name = "explicit sizes"
    if arguments.bias:
        base["bias"] = True
    config = GPTConfig(**{**base, **given})
    as_what = flops_as_json if arguments.json else flops_as_text
    print(as_what(name, config, batch_size))
    return 0


CONFIG_FIELDS = ("block_size", "vocab_size", "n_layer", "n_head", "n_embd", "dropout", "bias")


def run_explain(arguments: argparse.Namespace) -> int:
    """`mfubench explain`: the log, the sizes and the device are inputs, this machine is not."""
    from mfubench.explain.account import explain_run
    from mfubench.explain.data import explain_as_json
    from mfubench.explain.log import LogError, read_log, read_stream
    from mfubench.explain.sizes import given_sizes
    from mfubench.explain.text import explain_as_text

    sizes = {n: v for n in SIZES | ACCUMULATION if (v := getattr(arguments, n)) is not None}
    given = given_sizes(arguments.preset, sizes, bias=arguments.bias, ranks=arguments.ranks)
    device = _named_device(arguments.device, arguments.peak_tflops)
    from_stdin = arguments.log in (None, "-")
    if from_stdin and (sys.stdin is None or (arguments.log is None and sys.stdin.isatty())):
        raise UserError("give a log file, or pipe one in: python train.py | mfubench explain")
    try:
        if from_stdin:
            log = read_stream(sys.stdin.buffer, "standard input")
        else:
            log = read_log(Path(arguments.log))
    except LogError as error:
        raise UserError(str(error)) from None
    runs = [explain_run(r, given=given, device=device, dtype=arguments.dtype) for r in log.runs]
    as_what = explain_as_json if arguments.json else explain_as_text
    print(as_what(log, runs, device))
    return 0


def _named_device(name: str | None, peak_tflops: float | None) -> NamedDevice:
    """A device's peaks from the table, or the one that was given; none is no error."""
    from mfubench.explain.device import NamedDevice, close_names
    from mfubench.hardware.peaks import lookup, rows

    if peak_tflops is not None:
        if not 0 < peak_tflops < float("inf"):
            raise UserError(f"--peak-tflops is {peak_tflops}; it must be a positive number")
        peaks = dict.fromkeys(DTYPES, peak_tflops * 1e12)
        return NamedDevice(
            name=name or "this device", flops_per_s_by_dtype=peaks, source="--peak-tflops"
        )
    if name is None:
        return NamedDevice()
    if found := lookup(name):
        return NamedDevice(
            name=name, flops_per_s_by_dtype=found.flops_per_s_by_dtype, source=found.source
        )
    known = [known_name for row in rows() for known_name in row["names"]]
    return NamedDevice(name=name, close_names=close_names(name, known))


def run_breakdown(arguments: argparse.Namespace) -> int:
    """`mfubench breakdown [CASE]`: exit status 1 when the case has no account."""
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


def add_report_options(report: argparse.ArgumentParser) -> None:
    """The options of `mfubench report`."""
    report.add_argument(
        "results",
        nargs="*",
        default=["results"],
        metavar="RESULT|DIR",
        help="result files, and folders that are searched (default: results)",
    )
    report.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="the page (default: report.html, where no other form is asked for)",
    )
    report.add_argument(
        "--markdown", action="store_true", help="print it in short, for a pull request's comment"
    )
    report.add_argument(
        "--csv", type=Path, metavar="PATH", help="the tidy frame: a row per case, and per round"
    )
    report.add_argument("--parquet", type=Path, metavar="PATH", help="the same as Parquet")
    report.add_argument("--png", type=Path, metavar="DIR", help="the pictures, one file each")
    report.set_defaults(run=run_report)


def run_report(arguments: argparse.Namespace) -> int:
    """`mfubench report [RESULT|DIR …]`: files that cannot be used are named, and left out."""
    from mfubench.report.write import ReportError, Wanted, write_report

    others = arguments.markdown or arguments.csv or arguments.parquet or arguments.png
    html = arguments.output or (None if others else Path("report.html"))
    wanted = Wanted(
        html=html,
        markdown=arguments.markdown,
        csv=arguments.csv,
        parquet=arguments.parquet,
        png=arguments.png,
    )
    try:
        written = write_report(arguments.results, wanted)
    except ReportError as error:
        raise UserError(str(error)) from None
    for reason in written.skipped_in_words():
        print(f"mfubench report: {reason}", file=sys.stderr)
    if written.markdown is not None:
        print(written.markdown)
    for path in written.paths:
        print(f"wrote {path}", file=sys.stderr if arguments.markdown else sys.stdout)
    return 0


def run_device(arguments: argparse.Namespace) -> int:
    """`mfubench device`."""
    from mfubench.hardware.describe import describe_machine
    from mfubench.show.machine import machine_as_text

    machine = describe_machine(arguments.results_dir)
    print(json.dumps(machine, indent=1) if arguments.json else machine_as_text(machine))
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """`mfubench show FILE`."""
    from mfubench.results.read import ResultError, read_result
    from mfubench.results.schema import problems
    from mfubench.show.table import render

    try:
        result = read_result(arguments.result)
    except ResultError as error:
        raise UserError(str(error)) from None
    if "mfubench" not in result.data:
        raise UserError(f"{result.path} has no case of this suite; pytest-benchmark reads it")
    if found := problems(result.data):
        raise UserError(f"{result.path} is no valid result: {found[0]}")
    print(render(result.infos, color=sys.stdout.isatty()), end="")
    return 0


def run_validate(arguments: argparse.Namespace) -> int:
    """`mfubench validate FILE…`: exit status 1 when a file breaks the schema."""
    from mfubench.results.read import ResultError, read_json
    from mfubench.results.schema import problems

    status = 0
    for path in arguments.results:
        try:
            found = problems(read_json(path))
        except ResultError as error:
            found = [str(error)]
        for problem in found:
            print(f"{path}: {problem}", file=sys.stderr)
        if not found:
            print(f"{path}: valid")
        status |= bool(found)
    return status
