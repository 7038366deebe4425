"""Turn text into token ids without a download: characters for small vocabularies, words for
large."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from typing import Any

import numpy as np

TokenIds = np.ndarray[Any, np.dtype[np.uint16]]

ALPHABET_65 = "\n !$&',-.3:;?" + string.ascii_uppercase + string.ascii_lowercase
"""The characters of tiny Shakespeare in nanoGPT's order: a character's place is its token id."""

CHARACTER_LEVEL_BELOW = 1000
"""Vocabularies from this size on get words, as a BPE's would be."""

LARGEST_UINT16 = 65535
"""nanoGPT's token files are uint16."""

_NEAREST = {
    "3": "012456789",
    "'": '"`',
    "-": "()[]{}<>/\\|_~",
    "&": "+*=%#@^",
    "\n": "\r",
}
"""ASCII outside the alphabet, by what it becomes; all the rest becomes a space."""

_TYPOGRAPHIC = str.maketrans(
    {
        # Quotation marks and primes, as escapes because they look alike.
        **dict.fromkeys(map(chr, range(0x2018, 0x2020)), "'"),
        **dict.fromkeys("\u00ab\u00bb\u2039\u203a\u2032\u2033", "'"),
        # Hyphens, dashes, the minus sign, bullets.
        **dict.fromkeys(map(chr, range(0x2010, 0x2016)), "-"),
        **dict.fromkeys("\u2212\u2022\u00b7", "-"),
        **dict.fromkeys("£€¥¢", "$"),
        **dict(zip("¡¿\u0131łŁøØ", "!?ilLoO", strict=True)),
        **dict(zip("ßæÆœŒ", ("ss", "ae", "AE", "oe", "OE"), strict=True)),
    }
)
"""Characters that Unicode's own decomposition leaves outside ASCII or turns into a space."""

_COMBINING = re.compile("[\u0300-\u036f]+")
_NOT_ASCII = re.compile("[^\x00-\x7f]")
_WORDS = re.compile(r" ?\w+| ?[^\w\s]+|\s+")


def _fold_table() -> bytes:
    table = bytearray(b" " * 256)
    for character in ALPHABET_65:
        table[ord(character)] = ord(character)
    for target, sources in _NEAREST.items():
        for source in sources:
            table[ord(source)] = ord(target)
    return bytes(table)


def _id_table() -> np.ndarray[Any, np.dtype[np.uint16]]:
    table = np.zeros(256, dtype=np.uint16)
    for index, character in enumerate(ALPHABET_65):
        table[ord(character)] = index
    return table


_FOLD = _fold_table()
_IDS = _id_table()


def fold(text: str) -> str:
    """Map any text to the 65 characters of nanoGPT's Shakespeare corpus.

    Accents go, other digits become 3 (the only one in the alphabet), quotes become ', brackets and
    dashes -, currencies $, signs &, and what is left a space.

    >>> fold("Café №7: “2 + 2”\\t(€5)")
    "Cafe No3: '3 & 3' -$3-"
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.translate(_TYPOGRAPHIC))
        # Again: decomposition can bring up what the table knows, such as a dash.
        text = _COMBINING.sub("", text).translate(_TYPOGRAPHIC)
        text = _NOT_ASCII.sub(" ", text)
    return text.replace("\r\n", "\n").encode("ascii").translate(_FOLD).decode("ascii")


def character_ids(text: str) -> TokenIds:
    """One id per character of the folded text.

    >>> character_ids("\\n a").tolist()
    [0, 1, 39]
    """
    folded = fold(text).encode("ascii")
    return _IDS[np.frombuffer(folded, dtype=np.uint8)]


def split_words(text: str) -> list[str]:
    """Words and runs of punctuation, each with the space before it, and other runs of white space.

    >>> split_words("To be, or not")
    ['To', ' be', ',', ' or', ' not']
    """
    return _WORDS.findall(text)


def word_ids(text: str, vocab_size: int) -> TokenIds:
    """One id per word: its rank by frequency in this text, the rarest sharing the last id.

    This stands in for a BPE: ids come in Zipf's proportions, as a BPE's do, so that embedding rows
    are read and written about as unevenly; a model trained on them learns no known tokeniser.

    >>> word_ids("to be, to do, to be", 4).tolist()  # ' be' and ',' and ' to' are twice each
    [3, 0, 1, 2, 3, 1, 2, 0]
    """
    words = split_words(text)
    last = min(vocab_size, LARGEST_UINT16 + 1) - 1
    ranks = {word: min(rank, last) for rank, (word, _) in enumerate(Counter(words).most_common())}
    return np.fromiter((ranks[word] for word in words), dtype=np.uint16, count=len(words))


def encode(text: str, vocab_size: int) -> TokenIds:
    """Ids for a model of this vocabulary: characters below 1000, words from there on.

    Below 65 the ids may not fit; the caller checks.
    """
    if vocab_size < CHARACTER_LEVEL_BELOW:
        return character_ids(text)
    return word_ids(text, vocab_size)
