"""The options of a sweep, of `pytest benchmarks/` and `mfubench bench` alike: declared, parsed.

Parsing needs neither torch nor pytest, so that a wrong value is refused at once.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mfubench_model.presets import PRESETS

from mfubench.arguments import user_path
from mfubench.hardware.dtypes import DTYPES
from mfubench.results.case_id import DEVICE_KINDS, SCALINGS, STRATEGIES
from mfubench.streams import escaped, shortened
from mfubench.suite.sweep import MAX_BATCH_SIZE, MAX_RANKS, MAX_THREADS, SWEEPS
from mfubench.words import did_you_mean

Item = TypeVar("Item")
DEFAULT_RESULTS_DIR = "results"
DEFAULT_REPORT = "report.html"
MOST_DIGITS = 12
COMPILE_MODES = {"auto": None, "no": (False,), "yes": (True,), "both": (False, True)}


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
        raise _wrong(
            f"unknown {what} {item!r}; allowed: {', '.join(allowed)}{did_you_mean(item, allowed)}"
        )

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


def parse_ranks(item: str) -> int:
    """A whole number of ranks."""
    if not item.isdecimal() or len(item) > MOST_DIGITS or not 1 <= int(item) <= MAX_RANKS:
        raise _wrong(
            f"{item!r} is not a number of ranks; allowed: 1 to {MAX_RANKS}, for instance "
            "--ranks 1,2"
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


QUESTIONS = {
    "ceilings": "test_ceilings",
    "train-step": "test_train_step",
    "train-loop": "test_train_loop",
    "harness": "test_harness",
    "breakdown": "test_breakdown",
    "knobs": "test_knobs",
    "claims": "test_claims",
    "planted-costs": "test_planted_costs",
    "script": "test_script",
    "ranks": "test_ranks",
}
"""Each question and its file, in the order in which they are asked."""


class Option:
    """One option: its name, and what argparse and pytest take to declare it."""

    def __init__(self, name: str, **settings: Any) -> None:
        self.name = name
        self.settings = settings


OPTIONS = (
    Option(
        "--sweep",
        choices=SWEEPS,
        default="default",
        help="How much to measure: smoke (seconds), default (minutes), full (every dtype, "
        "batch size and compile mode). Default: %(default)s.",
    ),
    Option(
        "--preset",
        type=listed("preset", known("preset", tuple(PRESETS)), auto=False),
        default=("nanogpt-cpu",),
        metavar="NAMES",
        help=f"Model presets, separated by commas: {', '.join(PRESETS)}. Default: nanogpt-cpu.",
    ),
    Option(
        "--devices",
        type=listed("device", parse_device),
        metavar="NAMES",
        help="Devices, separated by commas: cpu, cuda (ROCm too), xpu, mps, cuda:1. "
        "Default: auto, all that are present.",
    ),
    Option(
        "--dtypes",
        type=listed("dtype", known("dtype", DTYPES)),
        metavar="NAMES",
        help=f"What matmuls run in, separated by commas: {', '.join(DTYPES)}. "
        "Default: auto, those the device has instructions for.",
    ),
    Option(
        "--batch-sizes",
        type=listed("batch size", parse_batch_size),
        metavar="SIZES",
        help="Sequences per step, separated by commas. Default: auto, the preset's and multiples.",
    ),
    Option(
        "--compile",
        choices=tuple(COMPILE_MODES),
        default="auto",
        help="Without torch.compile, with it, or both. Default: auto, as the sweep has it.",
    ),
    Option(
        "--corpus",
        type=user_path,
        metavar="PATH",
        help="A text file, or a directory with nanoGPT's train.bin. Default: Python's own "
        "language reference, which needs no download.",
    ),
    Option(
        "--threads",
        type=parse_threads,
        metavar="N",
        help="CPU threads for one operator. Default: the usable cores.",
    ),
    Option(
        "--gate",
        action="store_true",
        help="Judge this run by the stored runs of this machine, and fail unless all of it passes.",
    ),
    Option(
        "--script",
        action="append",
        default=[],
        metavar="COMMAND",
        help="Measure a training script too: the script and its arguments in one pair of quotes. "
        "May be repeated.",
    ),
    Option(
        "--ranks",
        type=listed("number of ranks", parse_ranks),
        metavar="NUMBERS",
        help="Numbers of ranks to train on together, separated by commas. Default: auto, 2 and "
        "its doubles up to the devices; 2 on a CPU.",
    ),
    Option(
        "--strategy",
        type=listed("strategy", known("strategy", STRATEGIES), auto=False),
        default=STRATEGIES,
        metavar="NAMES",
        help=f"How ranks train together, separated by commas: {', '.join(STRATEGIES)}. "
        "Default: both.",
    ),
    Option(
        "--scaling",
        type=listed("scaling", known("scaling", SCALINGS), auto=False),
        default=("weak",),
        metavar="NAMES",
        help="weak: each rank has the batch; strong: the ranks share it; separated by commas. "
        "Default: weak.",
    ),
    Option(
        "--results-dir",
        type=user_path,
        default=Path(DEFAULT_RESULTS_DIR),
        metavar="DIR",
        help="Where results are saved, one folder per machine fingerprint. Default: %(default)s.",
    ),
    Option(
        "--ceiling-max-age",
        type=parse_age,
        default=7.0,
        metavar="DAYS",
        help="How long the best measured ceiling counts before a newer, lower one replaces it. "
        "Default: %(default)s.",
    ),
    Option(
        "--claims-against",
        type=user_path,
        metavar="FILE",
        help="A saved run of another machine, for the claims about two. Default: the last one "
        "with a GPU under --results-dir.",
    ),
    Option(
        "--report",
        nargs="?",
        type=user_path,
        const=Path(DEFAULT_REPORT),
        metavar="PATH",
        help="Write a page about this run when it has ended, last on the line or with its PATH. "
        f"Default PATH: {DEFAULT_REPORT}.",
    ),
    Option(
        "--json",
        action="store_true",
        help="Print the run as JSON on the standard output; all else goes to the standard error.",
    ),
)
"""Each is documented in docs/options.md, which a test holds to this."""
