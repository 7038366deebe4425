"""The suite's options on the pytest command line: declared, parsed and refused in one place.

Parsing needs no torch, so that a wrong value is refused at once.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from mfubench_model.presets import PRESETS

from mfubench.arguments import user_path
from mfubench.files import output_problem
from mfubench.hardware.dtypes import DTYPES
from mfubench.results.case_id import DEVICE_KINDS
from mfubench.results.read import ResultError, read_result
from mfubench.streams import escaped, shortened
from mfubench.suite.sweep import MAX_BATCH_SIZE, MAX_THREADS, SWEEPS, SweepOptions

Item = TypeVar("Item")
DEFAULT_RESULTS_DIR = "results"
DEFAULT_REPORT = "report.html"
MOST_DIGITS = 12
COMPILE_MODES = {"auto": None, "no": (False,), "yes": (True,), "both": (False, True)}


def refusal(text: str) -> pytest.UsageError:
    """What cannot be, in one sentence that quotes no more than a line of what was given."""
    return pytest.UsageError(shortened(escaped(text)))


def _wrong(text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(shortened(escaped(text)))


def listed(
    what: str, parse: Callable[[str], Item], *, auto: bool = True
) -> Callable[[str], tuple[Item, ...] | None]:
    """A parser of items that are separated by commas, each kept once; None for `auto`."""

    def parse_list(text: str) -> tuple[Item, ...] | None:
        if auto and text == "auto":
            return None
        items = [item.strip() for item in text.split(",")]
        if not all(items):
            raise _wrong(
                f"{text!r} has an empty {what} in it; give one or more, separated by commas"
            )
        return tuple(dict.fromkeys(map(parse, items)))

    return parse_list


def known(what: str, allowed: Sequence[str]) -> Callable[[str], str]:
    """A parser of one word among `allowed`."""

    def parse(item: str) -> str:
        if item in allowed:
            return item
        near = difflib.get_close_matches(item, allowed, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise _wrong(f"unknown {what} {item!r}; allowed: {', '.join(allowed)}{hint}")

    return parse


def parse_device(item: str) -> str:
    """A kind with an optional index: cpu, cuda, cuda:1, xpu, mps. cuda:0 is cuda."""
    kind, _, index = item.partition(":")
    known("device", (*DEVICE_KINDS, "auto"))(kind)
    indexed = kind in ("cuda", "xpu") and re.fullmatch(r"\d{1,4}", index)
    if kind == "auto" or (":" in item and not indexed):
        raise _wrong(
            f"device {item!r} is not one; allowed: auto alone, or {', '.join(DEVICE_KINDS)}, "
            "with an index where there are several (cuda:1)"
        )
    return kind if not index or int(index) == 0 else f"{kind}:{int(index)}"


def parse_batch_size(item: str) -> int:
    """A whole number from 1."""
    if not item.isdecimal() or len(item) > MOST_DIGITS or not 1 <= int(item) <= MAX_BATCH_SIZE:
        raise _wrong(
            f"batch size {item!r} is not a whole number from 1 to {MAX_BATCH_SIZE}; "
            "give for instance --batch-sizes 12,48"
        )
    return int(item)


def parse_threads(text: str) -> int:
    """A whole number of intra-operator threads."""
    if not text.isdecimal() or len(text) > MOST_DIGITS or not 1 <= int(text) <= MAX_THREADS:
        raise _wrong(
            f"{text!r} is not a number of threads; allowed: 1 to {MAX_THREADS}, for instance "
            "--threads 2"
        )
    return int(text)


def parse_age(text: str) -> float:
    """Days, zero included."""
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < 1e6:
        raise _wrong(f"{text!r} is not an age in days; give 0 (measure again) or more")
    return days


def add_options(parser: pytest.Parser) -> None:
    """Declare the options. Each is documented in docs/options.md, which a test holds to this."""
    group = parser.getgroup("mfubench", "mfubench: what share of this machine training uses")
    group.addoption(
        "--sweep",
        choices=SWEEPS,
        default="default",
        help="How much to measure: smoke (seconds), default (minutes), full (every dtype, "
        "batch size and compile mode). Default: %(default)s.",
    )
    group.addoption(
        "--preset",
        type=listed("preset", known("preset", tuple(PRESETS)), auto=False),
        default=("nanogpt-cpu",),
        metavar="NAMES",
        help=f"Model presets, separated by commas: {', '.join(PRESETS)}. Default: nanogpt-cpu.",
    )
    group.addoption(
        "--devices",
        type=listed("device", parse_device),
        metavar="NAMES",
        help="Devices, separated by commas: cpu, cuda (ROCm too), xpu, mps, cuda:1. "
        "Default: auto, all that are present.",
    )
    group.addoption(
        "--dtypes",
        type=listed("dtype", known("dtype", DTYPES)),
        metavar="NAMES",
        help=f"What matmuls run in, separated by commas: {', '.join(DTYPES)}. "
        "Default: auto, those the device has instructions for.",
    )
    group.addoption(
        "--batch-sizes",
        type=listed("batch size", parse_batch_size),
        metavar="SIZES",
        help="Sequences per step, separated by commas. Default: auto, the preset's and multiples.",
    )
    group.addoption(
        "--compile",
        choices=tuple(COMPILE_MODES),
        default="auto",
        help="Without torch.compile, with it, or both. Default: auto, as the sweep has it.",
    )
    group.addoption(
        "--corpus",
        type=user_path,
        metavar="PATH",
        help="A text file, or a directory with nanoGPT's train.bin. Default: Python's own "
        "language reference, which needs no download.",
    )
    group.addoption(
        "--threads",
        type=parse_threads,
        metavar="N",
        help="CPU threads for one operator. Default: the usable cores.",
    )
    group.addoption(
        "--gate",
        action="store_true",
        help="Judge this run by the stored runs of this machine, and fail unless all of it passes.",
    )
    group.addoption(
        "--script",
        action="append",
        default=[],
        metavar="COMMAND",
        help="Measure a training script too: the script and its arguments in one pair of quotes. "
        "May be repeated.",
    )
    group.addoption(
        "--results-dir",
        type=user_path,
        default=Path(DEFAULT_RESULTS_DIR),
        metavar="DIR",
        help="Where results are saved, one folder per machine fingerprint. Default: %(default)s.",
    )
    group.addoption(
        "--ceiling-max-age",
        type=parse_age,
        default=7.0,
        metavar="DAYS",
        help="How long the best measured ceiling counts before a newer, lower one replaces it. "
        "Default: %(default)s.",
    )
    group.addoption(
        "--claims-against",
        type=user_path,
        metavar="FILE",
        help="A saved run of another machine, for the claims about two. Default: the last one "
        "with a GPU under --results-dir.",
    )

    group.addoption(
        "--report",
        nargs="?",
        type=user_path,
        const=Path(DEFAULT_REPORT),
        metavar="PATH",
        help="Write a page about this run when it has ended, last on the line or with its PATH. "
        f"Default PATH: {DEFAULT_REPORT}.",
    )


def _result_file(base: Path, given: Path | None) -> Path | None:
    """The path of a result; refused at once when it is none."""
    if given is None:
        return None
    path = base / given
    try:
        read_result(path)
    except ResultError as error:
        raise refusal(f"--claims-against: {error}") from None
    return path


def report_path(config: pytest.Config) -> Path | None:
    """Where the page goes, absolute; refused before anything is timed where it cannot be.

    `--report benchmarks/` takes the word after it: a folder is no page, so that is refused too.
    """
    given: Path | None = config.getoption("report")
    if given is None:
        return None
    path = config.invocation_params.dir / given
    if problem := output_problem(path):
        raise refusal(
            f"--report {given}: the page cannot be written: {problem}. Give a file, for instance "
            f"--report={DEFAULT_REPORT}, or put --report last."
        )
    return path


def read_options(config: pytest.Config) -> SweepOptions:
    """The parsed options of this run, with paths made absolute from where pytest was typed."""
    get = config.getoption
    corpus: Path | None = get("corpus")
    base = config.invocation_params.dir
    results_dir: Path = get("results_dir")
    # The default folder belongs to the project, wherever pytest was typed. What is run by the name
    # of a package (--pyargs) belongs to no project.
    is_of_project = results_dir == Path(DEFAULT_RESULTS_DIR) and not get("pyargs")
    return SweepOptions(
        sweep=get("sweep"),
        presets=get("preset"),
        devices=get("devices"),
        dtypes=get("dtypes"),
        batch_sizes=get("batch_sizes"),
        compile=COMPILE_MODES[get("compile")],
        corpus=None if corpus is None else base / corpus,
        threads=get("threads"),
        results_dir=(config.rootpath if is_of_project else base) / results_dir,
        ceiling_max_age_s=get("ceiling_max_age") * 86400.0,
        claims_against=_result_file(base, get("claims_against")),
    )
