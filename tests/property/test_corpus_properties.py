"""For any text: folding reaches the alphabet and stays there, words lose nothing, ids fit."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from mfubench_model.tokens import ALPHABET_65, character_ids, fold, split_words, word_ids

any_text = st.text(max_size=200)
lines = st.text(alphabet="ab ,.\n\t'\u00e9\u4f60", max_size=200)


@settings(max_examples=500, deadline=None)
@given(any_text)
def test_folding_reaches_the_alphabet_and_stays_there(text: str) -> None:
    folded = fold(text)
    assert set(folded) <= set(ALPHABET_65)
    assert fold(folded) == folded
    assert "".join(ALPHABET_65[i] for i in character_ids(text)) == folded


@settings(max_examples=500, deadline=None)
@given(any_text | lines, st.integers(1, 200_000))
def test_words_lose_nothing_and_commoner_words_have_smaller_ids(text: str, vocab_size: int) -> None:
    words = split_words(text)
    ids = word_ids(text, vocab_size)
    assert "".join(words) == text
    assert len(ids) == len(words)
    assert all(0 <= i < vocab_size for i in ids.tolist())
    counts = np.bincount(ids)
    if len(set(words)) <= vocab_size:
        assert len(set(words)) == len(counts)
        assert all(counts[:-1] >= counts[1:])
