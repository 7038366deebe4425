"""What people type for what we call otherwise, and the nearest word to a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

OTHER_WORDS: dict[str, tuple[str, ...]] = {
    # devices
    "gpu": ("cuda", "cpu"),
    "nvidia": ("cuda",),
    "rocm": ("cuda",),
    "hip": ("cuda",),
    "amd": ("cuda",),
    "intel": ("xpu", "cpu"),
    "metal": ("mps",),
    "apple": ("mps",),
    # dtypes
    "fp32": ("float32",),
    "f32": ("float32",),
    "float": ("float32",),
    "single": ("float32",),
    "fp16": ("float16", "bfloat16"),
    "f16": ("float16", "bfloat16"),
    "half": ("float16", "bfloat16"),
    "bf16": ("bfloat16",),
    "bfp16": ("bfloat16",),
    # sweeps
    "quick": ("smoke",),
    "fast": ("smoke",),
    "all": ("full",),
    # commands
    "benchmark": ("bench",),
    "measure": ("bench", "run"),
    "test": ("bench",),
    "profile": ("breakdown", "trace"),
    "tune": ("advise",),
    "advice": ("advise",),
    "optimize": ("advise",),
    "print": ("show",),
    "info": ("device",),
    "html": ("report",),
}
"""What is meant, the likeliest first."""

_LIKE_ENOUGH = 0.6


def nearest(word: str, allowed: Iterable[str], *, like: float = _LIKE_ENOUGH) -> tuple[str, ...]:
    """The words among `allowed` that were meant by `word`, the likeliest first; empty if none is.

    >>> nearest("gpu", ("cpu", "cuda", "xpu", "mps")), nearest("fp16", ("float32", "float16"))
    (('cuda', 'cpu'), ('float16',))
    >>> nearest("--device", ("--dtypes", "--devices")), nearest("gtp2", ("gpt2", "gpt2-xl"))
    (('--devices',), ('gpt2',))
    >>> nearest("tpu", ("cuda", "mps"))
    ()
    """
    known = tuple(allowed)
    asked = word.strip().casefold()
    if meant := tuple(other for other in OTHER_WORDS.get(asked, ()) if other in known):
        return meant
    return tuple(difflib.get_close_matches(asked, known, n=1, cutoff=like))


def did_you_mean(word: str, allowed: Iterable[str], *, like: float = _LIKE_ENOUGH) -> str:
    """The end of a sentence that refuses a word; empty where nothing is near.

    >>> did_you_mean("bf16", ("float32", "bfloat16")), did_you_mean("tpu", ("cuda",))
    ('; did you mean bfloat16?', '')
    """
    found = nearest(word, allowed, like=like)
    return f"; did you mean {' or '.join(found)}?" if found else ""
