"""The tokens to train on: real text that every CPython carries, a text file, or nanoGPT's token
files.

Timing must not depend on a download, and must read its data as nanoGPT does: through a memory map
of uint16 tokens. Nothing is ever unpickled (nanoGPT's `meta.pkl` is not read) and nothing executed.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mfubench_model.config import require_positive_int
from mfubench_model.tokens import ALPHABET_65, TokenIds, encode, fold

__all__ = ["ALPHABET_65", "Corpus", "CorpusError", "TokenArray", "fold", "open_corpus"]

TokenArray = np.memmap[Any, np.dtype[np.uint16]]

DEFAULT_NAME = "python-topics"
TRAIN_SHARE = 0.9
_MARGIN = 2
"""Tokens beyond one block: the target is shifted by one, and a start needs one choice at least."""
_CHUNK_TOKENS = 1 << 22
_MAX_CONTROL_SHARE = 0.02


class CorpusError(ValueError):
    """The given data cannot be trained on."""


@dataclass(frozen=True)
class Corpus:
    """Token ids, memory-mapped, every one below `vocab_size`."""

    name: str
    train: TokenArray
    val: TokenArray
    vocab_size: int
    sha256: str
    """Of the train tokens followed by the val tokens: equal means that the same data was read."""


def open_corpus(path: Path | None, *, vocab_size: int, block_size: int, cache_dir: Path) -> Corpus:
    """The corpus at `path`: None for the built-in text, a text file, or a folder with train.bin.

    Text is encoded to fit `vocab_size` (see `tokens.py`), split 90 to 10, and written as
    train.bin and val.bin to a folder of `cache_dir` named by the tokens' hash, so that processes
    side by side never rewrite what another has mapped. A text too short for that split is trained
    on whole, and its last block_size + 2 tokens serve as val. Every token file is read through once
    (to check its ids and hash it), about a second per gigabyte.
    """
    require_positive_int("vocab_size", vocab_size)
    require_positive_int("block_size", block_size)
    if path is not None and path.is_dir():
        return _open_folder(path, vocab_size, block_size)
    if path is None:
        name, text = DEFAULT_NAME, _default_text()
    else:
        name, text = path.name, _read_text(path)
    ids = encode(text, vocab_size)
    _require_length(name, len(ids), block_size)
    largest = int(ids.max())
    if largest >= vocab_size:
        raise CorpusError(
            f"Corpus {name} needs a vocabulary of {largest + 1} characters; vocab_size is "
            f"{vocab_size}: use {len(ALPHABET_65)} or more."
        )
    train, val = _split(ids, block_size)
    return _write(name, train, val, vocab_size, cache_dir)


def _default_text() -> str:
    """The language reference that `help()` shows, about 465,000 characters in a fixed order.

    It differs a little from one Python version to the next, and with it the corpus's hash.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:  # some distributions ship Python without its documentation
        raise CorpusError(
            "This Python lacks pydoc_data, the default corpus; give a text file or a folder that "
            "holds train.bin."
        ) from error
    return "".join(topics[key] for key in sorted(topics))


def _read_text(path: Path) -> str:
    """The text in a regular file that is UTF-8, or Latin-1 without many control characters."""
    try:
        if not path.exists():
            raise CorpusError(
                f"There is no {path}; give a text file or a folder that holds train.bin."
            )
        if not path.is_file():
            raise CorpusError(f"{path} is neither a regular file nor a folder.")
        raw = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not raw.strip():
        raise CorpusError(f"{path} holds no text.")
    try:
        if b"\0" not in raw:
            return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
        controls = len(raw) - len(raw.translate(None, _CONTROL_BYTES))
        if controls <= _MAX_CONTROL_SHARE * len(raw):
            return text
    raise CorpusError(
        f"{path} is a binary file; give a text file, or the folder that holds train.bin."
    )


_CONTROL_BYTES = bytes(
    code for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in b"\t\n\v\f\r"
)


def _require_length(name: str, tokens: int, block_size: int) -> None:
    if tokens < block_size + _MARGIN:
        raise CorpusError(
            f"Corpus {name} has {tokens} tokens; block_size {block_size} needs at least "
            f"{block_size + _MARGIN}."
        )


def _split(ids: TokenIds, block_size: int) -> tuple[TokenIds, TokenIds]:
    """The first 90 % and the rest; the two overlap where the text is too short for that."""
    least = block_size + _MARGIN
    cut = int(len(ids) * TRAIN_SHARE)
    train = ids[:cut] if cut >= least else ids
    val = ids[cut:] if len(ids) - cut >= least else ids[-least:]
    return train, val


def _write(name: str, train: TokenIds, val: TokenIds, vocab_size: int, cache_dir: Path) -> Corpus:
    digest = hashlib.sha256(train.tobytes())
    digest.update(val.tobytes())
    sha256 = digest.hexdigest()
    # The split's place is part of the name: two splits of one text can join to the same tokens.
    folder = cache_dir / f"{sha256[:16]}-{len(train)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        maps = [
            _write_tokens(folder / file, ids)
            for file, ids in (("train.bin", train), ("val.bin", val))
        ]
    except OSError as error:
        raise CorpusError(
            f"The tokens of {name} cannot be written to {folder}: {error.strerror or error}."
        ) from error
    return Corpus(name, maps[0], maps[1], vocab_size, sha256)


def _write_tokens(path: Path, ids: TokenIds) -> TokenArray:
    """Write ids unless they are there, whole or not at all, and map them."""
    content = ids.tobytes()
    if not (path.is_file() and path.read_bytes() == content):
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        Path(file.name).replace(path)
    return np.memmap(path, dtype=np.uint16, mode="r")


def _open_folder(path: Path, vocab_size: int, block_size: int) -> Corpus:
    """nanoGPT's token files: train.bin, and val.bin or else the last tenth of train.bin."""
    name = path.resolve().name
    train = _map_tokens(path / "train.bin")
    _require_length(f"{name}/train.bin", len(train), block_size)
    if (path / "val.bin").exists():
        val = _map_tokens(path / "val.bin")
        _require_length(f"{name}/val.bin", len(val), block_size)
    else:
        train, val = _split(train, block_size)  # type: ignore[assignment]  # slices stay maps
    digest = hashlib.sha256()
    for file, ids in (("train.bin", train), ("val.bin", val)):
        largest = 0
        for start in range(0, len(ids), _CHUNK_TOKENS):
            chunk = ids[start : start + _CHUNK_TOKENS]
            largest = max(largest, int(chunk.max()))
            digest.update(chunk.tobytes())
        if largest >= vocab_size:
            raise CorpusError(
                f"{path / file} holds token id {largest}; vocab_size {vocab_size} allows ids up to "
                f"{vocab_size - 1}."
            )
    return Corpus(name, train, val, vocab_size, digest.hexdigest())


def _map_tokens(path: Path) -> TokenArray:
    try:
        size = path.stat().st_size
        if size == 0:
            raise CorpusError(f"{path} is empty; it should hold uint16 tokens.")
        if size % 2:
            raise CorpusError(
                f"{path} has {size} bytes, an odd number; uint16 tokens take two bytes each."
            )
        return np.memmap(path, dtype=np.uint16, mode="r")
    except FileNotFoundError as error:
        raise CorpusError(
            f"The folder {path.parent} holds no {path.name}; nanoGPT's prepare.py writes one."
        ) from error
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror or error}.") from error
