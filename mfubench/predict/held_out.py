"""The settings of a self-test: whole factors that no anchor varies."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from mfubench.predict.document import Setting

SIZES = ("n_layer", "n_head", "n_embd", "block_size", "vocab_size", "batch_size")
BASE = (4, 4, 128, 64, 65, 12)
DEPTHS = (1, 2, 6, 8, 12, 16, 24)
WIDTHS = (32, 64, 96, 192, 256, 320, 512, 768)
CONTEXTS = (32, 96, 128, 256, 512, 1024)
BATCHES = (1, 2, 4, 8, 24, 48, 96)
VOCABULARIES = (128, 256, 1024, 4096, 16384)
SEVERAL = (
    (1, 1, 32, 32, 65, 4),
    (2, 2, 32, 64, 65, 4),
    (24, 2, 32, 32, 65, 2),
    (2, 2, 64, 512, 65, 8),
    (2, 2, 64, 128, 65, 64),
    (1, 1, 64, 64, 16384, 8),
    (3, 4, 192, 128, 1024, 8),
    (3, 5, 320, 96, 512, 10),
    (6, 6, 384, 64, 65, 1),
    (6, 6, 384, 256, 65, 4),
    (2, 8, 512, 128, 2048, 2),
    (2, 8, 256, 512, 65, 4),
    (8, 8, 256, 128, 256, 6),
    (2, 12, 768, 128, 65, 4),
    (4, 12, 768, 64, 50304, 1),
    (12, 12, 768, 64, 50304, 1),
    (12, 12, 768, 128, 50304, 1),
)
"""From ten thousand to 124 million parameters."""
QUESTION = ((4, 4, 192, 128, 256), (2, 4, 64, 64, 65), (6, 4, 128, 128, 1024))
QUESTION_BATCHES = (2, 8, 32)
"""Models of which several batch sizes are run: which trains fastest?"""
COMPILED = (
    *((n, 4, 128, 64, 65, 12) for n in (1, 2, 8)),
    *((4, 4, 128, 64, 65, b) for b in (2, 24, 48)),
    *((4, 4, c, 64, 65, 12) for c in (64, 256)),
    (4, 4, 128, 256, 65, 4),
    (4, 4, 128, 64, 4096, 12),
    (2, 12, 768, 128, 65, 4),
    (3, 5, 320, 96, 512, 10),
)
OTHER_DTYPES = ((2, 4, 128, 64, 65, 12), (4, 4, 128, 64, 65, 48), (4, 8, 512, 64, 65, 4),
                (6, 6, 384, 256, 65, 4))  # fmt: skip
SHUFFLE_SEED = 21


def held_out(device: str, dtypes: Sequence[str]) -> list[tuple[str, Setting]]:
    """What is held out, and the settings, shuffled: a budget that ends early has seen some of each
    factor.

    >>> found = held_out("cpu", ["float32"])
    >>> len(found) >= 60, len({setting.name for _, setting in found}) == len(found)
    (True, True)
    """
    layers, heads, width, context, vocab, batch = BASE
    first = dtypes[0]
    eager = {
        "depth": [(n, heads, width, context, vocab, batch) for n in DEPTHS],
        "width": [(layers, heads, n, context, vocab, batch) for n in WIDTHS],
        "context": [(layers, heads, width, n, vocab, max(2, 12 * 64 // n)) for n in CONTEXTS],
        "batch": [(layers, heads, width, context, vocab, n) for n in BATCHES],
        "vocabulary": [(layers, heads, width, context, n, batch) for n in VOCABULARIES],
        "several": list(SEVERAL),
        "question": [(*model, n) for model in QUESTION for n in QUESTION_BATCHES],
    }
    found = [
        (factor, _setting(device, first, sizes, compile=False))
        for factor, several in eager.items()
        for sizes in several
    ]
    found += [("compile", _setting(device, first, sizes, compile=True)) for sizes in COMPILED]
    for dtype in dtypes[1:]:
        for sizes in OTHER_DTYPES:
            found.append(("dtype", _setting(device, dtype, sizes, compile=False)))
    unique = {setting.name: (factor, setting) for factor, setting in found}
    several = list(unique.values())
    random.Random(SHUFFLE_SEED).shuffle(several)
    return several


def _setting(device: str, dtype: str, sizes: Sequence[int], *, compile: bool) -> Setting:
    named = dict(zip(SIZES, sizes, strict=True))
    return msgspec.convert(
        {"preset": None, "device": device, "dtype": dtype, "compile": compile, **named}, Setting
    )
