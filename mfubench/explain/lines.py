"""The lines that nanoGPT's `train.py`, `model.py` and `configurator.py` print, one at a time.

Everything works on bytes: a log may hold any encoding, and the lines of interest are plain ASCII.
Numbers are written as Python's `:.4f`, `:.2f` and (token and parameter counts) `:,` write them. A
line with a decimal comma or with other fields was printed by something else.
"""

from __future__ import annotations

import functools
import math
import re
from typing import Final

_NUMBER: Final = rb"(-?(?:\d{1,15}(?:\.\d{1,6})?|nan|inf))"

ITER: Final = re.compile(
    rb"iter (\d{1,12}): loss "
    + _NUMBER
    + rb", time "
    + _NUMBER
    + rb"ms(?:, mfu "
    + _NUMBER
    + rb"%(?=[ \t,;]|\r?$)|[ \t]*\r?$)"
)
"""`iter 10: loss 3.1000, time 37.11ms, mfu 0.03%`: iteration, loss, milliseconds, percent. Before
March 2023 there was no mfu; what forks add after it is let through."""

LIKE_ITER: Final = re.compile(rb"iter \d")
"""An iteration's line that may be cut, or another program's."""

STEP: Final = re.compile(rb"step (\d{1,12}): train loss " + _NUMBER + rb", val loss " + _NUMBER)
"""`step 250: train loss 1.9, val loss 2.0`: an evaluation, printed before its iteration's line."""

OVERRIDING: Final = re.compile(rb"Overriding: ([a-z]\w{0,40}) = (.{0,80}?)\s*$")
"""`Overriding: batch_size = 12`: a setting given on the command line."""

ASSIGNMENT: Final = re.compile(
    rb"(?:\[?[a-z]{0,8}\d{1,5}\]?[:|])?\s*([a-z]\w{0,40}) = ([^#]{1,80}?)\s*(?:#.*)?$"
)
"""A line of a configuration file, which `configurator.py` prints whole."""

FILE: Final = re.compile(rb"Overriding config with .*:")
"""`Overriding config with config/train_gpt2.py:`: the file's text follows."""

_HEADERS: Final = (
    ("evaluation", STEP),
    ("setting", OVERRIDING),
    ("file", FILE),
    ("tokens", re.compile(rb"tokens per iteration will be: (\d[\d,]{0,19})\s*$")),
    ("vocabulary", re.compile(rb"found vocab_size = (\d{1,9})\b")),
    ("vocabulary", re.compile(rb"defaulting to vocab_size of GPT-2 to (\d{1,9})\b")),
    ("parameters", re.compile(rb"number of parameters: (\d{1,9}\.\d\d)M")),
    ("decayed", re.compile(rb"num decayed parameter tensors: \d+, with (\d[\d,]{0,19}) param")),
    ("other", re.compile(rb"num non-decayed parameter tensors: \d")),
    ("fused", re.compile(rb"using fused AdamW: (True|False)")),
    ("compiling", re.compile(rb"compiling the model\.\.\.")),
    ("pretrained", re.compile(rb"loading weights from pretrained gpt: (gpt2(?:-[a-z]{1,8})?)")),
    ("other", re.compile(rb"Initializing a new model from scratch")),
    ("other", re.compile(rb"Initializing from OpenAI GPT-2 weights")),
    ("other", re.compile(rb"Resuming training from ")),
    ("checkpoint", re.compile(rb"saving checkpoint to ")),
)

NOTABLE: Final = re.compile(
    rb"step \d|Overriding|tokens per iteration|number of parameters|parameter tensors|vocab_size"
    rb"|loading weights|fused AdamW|model from|Resuming training|from OpenAI|compiling the model"
    rb"|saving checkpoint"
)
"""One search that lets nearly every other line go by."""

_RANK: Final = re.compile(
    rb"\[?(?:rank|default|worker|process|proc|node)[ _=:#-]?(\d{1,5})\b"
    rb"|^\[?(\d{1,5})\]?[:|]\s*$"  # srun --label; the whole prefix, or a clock would be a rank
    rb"|^\[\d{1,5},(\d{1,5})\]<std(?:out|err)>:",  # mpirun --tag-output
    re.IGNORECASE,
)
_LONGEST_PREFIX_BYTES: Final = 80

KEYS: Final = frozenset(
    """n_layer n_head n_embd block_size vocab_size bias dropout batch_size
    gradient_accumulation_steps device dtype compile log_interval eval_interval eval_iters
    max_iters init_from""".split()  # noqa: SIM905 - a list to read
)
"""The settings that the account needs."""


def find(pattern: re.Pattern[bytes], line: bytes) -> re.Match[bytes] | None:
    """What nanoGPT printed in a line, if what stands before it may be a launcher's prefix.

    >>> find(ITER, b"[rank0]: iter 10: loss 3.1, time 37.11ms, mfu 0.03%").group(1)
    b'10'
    >>> find(ITER, b"[rank0]: xiter 10: loss 3.1, time 37.11ms, mfu 0.03%") is None
    True
    """
    found = pattern.search(line)
    if found is None or (at := found.start()) > _LONGEST_PREFIX_BYTES:
        return None
    before = line[at - 1 : at] if at else b" "
    return None if before.isalnum() or before == b"_" else found


def header(line: bytes) -> tuple[str, re.Match[bytes] | None]:
    """What a line that is not an iteration's says: its kind, and the match."""
    for kind, pattern in _HEADERS:
        if found := find(pattern, line):
            return kind, found
    return "", None


def rank_before(found: re.Match[bytes]) -> int | None:
    """The rank named before what was found in a line."""
    return rank_of(found.string[: found.start()]) if found.start() else None


@functools.lru_cache(maxsize=256)
def rank_of(prefix: bytes) -> int | None:
    """The rank that a launcher's prefix names, None where it names none.

    >>> rank_of(b"[rank3]: "), rank_of(b"[default1]:"), rank_of(b"2: "), rank_of(b"12:30:05 ")
    (3, 1, 2, None)
    """
    found = _RANK.search(prefix)
    return int(found[1] or found[2] or found[3]) if found else None


def plain_value(text: bytes) -> str:
    """A setting's value as text, without quotes; a product of integers is multiplied out.

    >>> plain_value(b"5 * 8"), plain_value(b"'cpu'"), plain_value(b"True")
    ('40', 'cpu', 'True')
    """
    value = text.decode("utf-8", errors="replace").strip().strip("'\"")
    if re.fullmatch(r"\d{1,6}(?:\s*\*\s*\d{1,6}){1,3}", value):
        return str(math.prod(int(factor) for factor in value.split("*")))
    return value
