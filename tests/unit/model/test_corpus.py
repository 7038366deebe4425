"""Any real text trains any preset without a download; anything else is refused in one sentence."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mfubench_model.batches import sample_batch
from mfubench_model.corpus import ALPHABET_65, Corpus, CorpusError, fold, open_corpus
from mfubench_model.tokens import character_ids, split_words, word_ids


def _open(path: Path | None, cache: Path, *, vocab_size: int = 65, block_size: int = 8) -> Corpus:
    return open_corpus(path, vocab_size=vocab_size, block_size=block_size, cache_dir=cache)


def _write_tokens(path: Path, tokens: list[int]) -> None:
    path.write_bytes(np.array(tokens, dtype=np.uint16).tobytes())


def test_the_alphabet_is_tiny_shakespeares_in_nanogpts_order() -> None:
    assert len(ALPHABET_65) == 65
    assert list(ALPHABET_65) == sorted(set(ALPHABET_65))
    assert ALPHABET_65.startswith("\n !$&',-.3:;?A")


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("First Citizen:\nSpeak!", "First Citizen:\nSpeak!"),
        ("a\r\nb\rc\td", "a\nb\nc d"),
        ("0123456789", "3333333333"),
        ('[x] {y} <z> "q" `r`', "-x- -y- -z- 'q' 'r'"),
        ("naïve Ünïcode \u2014 \u201cquoted\u201d\u2026", "naive Unicode - 'quoted'..."),
        ("stra\u00dfe \u20ac5 \ufb01n", "strasse $3 fin"),
        ("\u4f60\u597d \U0001f600", "    "),
    ],
)
def test_any_text_folds_to_the_alphabet(text: str, folded: str) -> None:
    assert fold(text).rstrip() == folded.rstrip()
    assert set(fold(text)) <= set(ALPHABET_65)
    assert fold(fold(text)) == fold(text)


def test_character_ids_are_places_in_the_alphabet() -> None:
    assert character_ids(ALPHABET_65).tolist() == list(range(65))


def test_words_keep_every_character_and_rank_by_frequency() -> None:
    text = "the cat, the dog;  the\n\nend -- the end"
    assert "".join(split_words(text)) == text
    ids = word_ids(text, 1000)
    assert np.bincount(ids)[0] == max(np.bincount(ids)) == 2  # " the" comes twice after a space
    assert word_ids(text, 4).max() == 3


@pytest.mark.parametrize(("vocab_size", "block_size"), [(65, 64), (256, 256), (50304, 1024)])
def test_the_default_corpus_serves_every_preset(
    tmp_path: Path, vocab_size: int, block_size: int
) -> None:
    corpus = _open(None, tmp_path, vocab_size=vocab_size, block_size=block_size)
    tokens = len(corpus.train) + len(corpus.val)
    assert len(corpus.train) == int(0.9 * tokens)
    assert tokens > (400_000 if vocab_size < 1000 else 50_000)
    assert max(corpus.train.max(), corpus.val.max()) < vocab_size
    assert isinstance(corpus.train, np.memmap)
    assert corpus.train.dtype == np.uint16
    assert len(np.unique(corpus.train)) > (50 if vocab_size < 1000 else 3000)


def test_a_text_file_is_encoded_once_and_reused(tmp_path: Path) -> None:
    source = tmp_path / "input.txt"
    source.write_text("To be, or not to be: that is the question.\n" * 20)
    first = _open(source, tmp_path / "cache")
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/*/*.bin")}
    second = _open(source, tmp_path / "cache")

    assert sorted(path.name for path in written) == ["train.bin", "val.bin"]
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/*/*.bin")}
    assert (first.name, first.sha256) == ("input.txt", second.sha256)
    assert "".join(ALPHABET_65[i] for i in first.train[:18]) == "To be, or not to b"


def test_a_damaged_cache_is_written_anew(tmp_path: Path) -> None:
    sound = _open(None, tmp_path)
    (path,) = tmp_path.glob("*/train.bin")
    path.unlink()
    path.write_bytes(b"short")
    assert np.array_equal(_open(None, tmp_path).train, character_ids(_text())[: len(sound.train)])


def _text() -> str:
    from pydoc_data.topics import topics

    return "".join(topics[key] for key in sorted(topics))


def test_a_short_text_is_trained_on_whole_and_evaluated_on_its_tail(tmp_path: Path) -> None:
    source = tmp_path / "short.txt"
    source.write_text("abcdefghij")
    corpus = _open(source, tmp_path)
    assert (len(corpus.train), len(corpus.val)) == (10, 10)
    source.write_text("abcdefghijklmnopqrst")
    corpus = _open(source, tmp_path)
    assert corpus.train.tolist() == list(range(39, 57))
    assert corpus.val.tolist() == list(range(49, 59))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no text"),
        (b" \n ", "holds no text"),
        (b"text\0more", "is a binary file"),
        (bytes(range(128, 160)) * 9, "is a binary file"),
        (b"too short", "has 9 tokens; block_size 8 needs at least 10"),
    ],
)
def test_a_file_that_is_no_usable_text_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    source = tmp_path / "data"
    source.write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        _open(source, tmp_path)


def test_latin_1_text_is_read(tmp_path: Path) -> None:
    source = tmp_path / "latin.txt"
    source.write_bytes("Übermäßig schöne Grüße".encode("latin-1"))
    corpus = _open(source, tmp_path)
    assert "".join(ALPHABET_65[i] for i in corpus.train).startswith("Ubermassig schone")


def test_a_path_that_is_not_there_or_not_readable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CorpusError, match=r"There is no .*absent"):
        _open(tmp_path / "absent", tmp_path)
    with pytest.raises(CorpusError, match="neither a regular file nor a folder"):
        _open(Path("/dev/null"), tmp_path)

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    source = tmp_path / "secret.txt"
    source.write_text("secret")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(CorpusError, match=r"secret\.txt cannot be read: Permission denied"):
        _open(source, tmp_path)


def test_a_python_without_its_documentation_is_told_what_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(CorpusError, match="give a text file or a folder"):
        _open(None, tmp_path)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(CorpusError, match="cannot be written"):
        _open(None, blocked)


def test_a_vocabulary_below_65_serves_text_whose_ids_fit(tmp_path: Path) -> None:
    source = tmp_path / "capitals.txt"
    source.write_text("ABC " * 20)
    assert _open(source, tmp_path, vocab_size=16).train.max() == 15
    with pytest.raises(CorpusError, match=r"needs a vocabulary of 16 .*vocab_size is 15"):
        _open(source, tmp_path, vocab_size=15)


def test_nanogpts_token_files_are_opened_as_they_are(tmp_path: Path) -> None:
    _write_tokens(tmp_path / "train.bin", list(range(30)))
    _write_tokens(tmp_path / "val.bin", list(range(30, 45)))
    (tmp_path / "meta.pkl").write_bytes(b"not a pickle: reading it would fail")
    corpus = _open(tmp_path, tmp_path / "unused")
    assert corpus.train.tolist() == list(range(30))
    assert corpus.val.tolist() == list(range(30, 45))
    assert not (tmp_path / "unused").exists()


def test_without_val_bin_the_last_tenth_is_held_out(tmp_path: Path) -> None:
    _write_tokens(tmp_path / "train.bin", [i % 65 for i in range(200)])
    corpus = _open(tmp_path, tmp_path)
    assert (len(corpus.train), len(corpus.val)) == (180, 20)
    assert isinstance(corpus.val, np.memmap)


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        (None, None, r"holds no train\.bin"),
        (b"", None, r"train\.bin is empty"),
        (b"abc", None, "has 3 bytes, an odd number"),
        (bytes(8), None, r"train\.bin has 4 tokens; block_size 8 needs at least 10"),
        (bytes(80), bytes(8), r"val\.bin has 4 tokens; block_size 8 needs at least 10"),
        (bytes(78) + b"\x41\0", bytes(80), r"train\.bin holds token id 65; .* up to 64"),
        (bytes(80), bytes(78) + b"\xff\xff", r"val\.bin holds token id 65535"),
    ],
)
def test_token_files_that_cannot_be_right_are_refused(
    tmp_path: Path, train: bytes | None, val: bytes | None, message: str
) -> None:
    for name, content in (("train.bin", train), ("val.bin", val)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message) as caught:
        _open(tmp_path, tmp_path)
    assert re.fullmatch(r"[^\n]+\.", str(caught.value))


def test_a_batch_is_what_nanogpts_get_batch_draws(tmp_path: Path) -> None:
    corpus = _open(None, tmp_path)
    data = corpus.train
    x, y = sample_batch(
        data,
        batch_size=4,
        block_size=8,
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(7),
    )
    starts = torch.randint(len(data) - 8, (4,), generator=torch.Generator().manual_seed(7))
    assert x.dtype == y.dtype == torch.int64
    for row, start in enumerate(starts.tolist()):
        assert x[row].tolist() == data[start : start + 8].tolist()
        assert y[row].tolist() == data[start + 1 : start + 9].tolist()


def test_the_shortest_allowed_corpus_can_be_sampled(tmp_path: Path) -> None:
    _write_tokens(tmp_path / "train.bin", list(range(10)))
    corpus = _open(tmp_path, tmp_path)
    x, y = sample_batch(corpus.train, batch_size=50, block_size=8, device=torch.device("cpu"))
    assert (x.max(), y.max()) == (8, 9)
