"""What the commands share: bad input as one sentence, and the words for amounts of time."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

SIZES = {
    "n_layer": "layers",
    "n_head": "attention heads",
    "n_embd": "embedding width",
    "block_size": "context length in tokens",
    "vocab_size": "vocabulary",
    "batch_size": "sequences per step",
}
ACCUMULATION = {"gradient_accumulation_steps": "batches per optimizer step, over all ranks"}
"""What a user may say of a model and its step: names as in nanoGPT's configuration, and helps."""


class UserError(Exception):
    """Bad input: the message is the whole answer."""


def duration_s(text: str) -> float:
    """Seconds from `300`, `90s`, `5m` or `1h`.

    >>> duration_s("5m"), duration_s("90"), duration_s("1.5 min")
    (300.0, 90.0, 90.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)?", text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a valid duration; type 300, 90s, 5m or 1h"
        )
    return float(match[1]) * UNITS_S[match[2] or ""]


LARGEST_SIZE = 10**12
"""Larger ones overflow in the counts, and no model comes near."""


def option_of(name: str) -> str:
    """The option for a size: `--n-layer` for `n_layer`."""
    return "--" + name.replace("_", "-")


def add_sizes(parser: argparse.ArgumentParser, sizes: Mapping[str, str]) -> None:
    """An option for each size, and `--bias`; `sizes_given` reads them."""
    for name, what in sizes.items():
        parser.add_argument(option_of(name), type=int, default=None, metavar="N", help=what)
    parser.add_argument("--bias", action="store_true", default=None, help="with biases, as GPT-2")


def sizes_given(arguments: argparse.Namespace, sizes: Iterable[str]) -> dict[str, int]:
    """The sizes that the user gave; raises UserError for one that is beyond all reason."""
    given = {n: value for n in sizes if (value := getattr(arguments, n)) is not None}
    for name, value in given.items():
        if value > LARGEST_SIZE:
            raise UserError(f"{option_of(name)} is too large; allowed: at most {LARGEST_SIZE:,}")
    return given


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="machine-readable")


def add_corpus_and_threads(parser: argparse.ArgumentParser) -> None:
    """`--corpus` and `--threads`; `refuse_corpus` and `refuse_threads` check them."""
    parser.add_argument(
        "--corpus", type=Path, default=None, metavar="PATH", help="a text, or train.bin's folder"
    )
    parser.add_argument("--threads", type=int, default=None, metavar="N", help="CPU threads")


def refuse_corpus(path: Path | None) -> None:
    """Raise UserError for a corpus that is not there."""
    if path is not None and not path.exists():
        raise UserError(f"There is no {path}; give a text file, or train.bin's folder")


def refuse_threads(threads: int | None) -> None:
    """Raise UserError for a number of threads that cannot be."""
    from mfubench.suite.sweep import MAX_THREADS

    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise UserError(f"{threads} is not a number of threads; allowed: 1 to {MAX_THREADS}")


def refuse_device(name: str) -> None:
    """Raise UserError for a device that is none, or that cannot be used here."""
    from mfubench.hardware.devices import parse_device

    try:
        reason = parse_device(name).unavailable_reason()
    except ValueError as error:
        raise UserError(str(error)) from None
    if reason is not None:
        raise UserError(f"{name} cannot be used: {reason}")


def add_results_dir(parser: argparse.ArgumentParser, what: str) -> None:
    """`--results-dir`, with what is kept there."""
    parser.add_argument(
        "--results-dir",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help=f"{what} (default: %(default)s)",
    )


def refuse_trace_file(path: Path) -> None:
    """Raise UserError for a trace that could not be written where it is asked for."""
    if not path.name.endswith((".json", ".json.gz")):
        raise UserError(f"--save-trace {path}: the name must end in .json or .json.gz")
    if path.exists():
        raise UserError(f"--save-trace {path} exists, and nothing is overwritten; give a new name")
    if not path.parent.is_dir():
        raise UserError(f"--save-trace {path}: there is no folder {path.parent}; make it first")
