"""The documentation is read once, in a hurry, in a second language: its sentences are short."""

from __future__ import annotations

import re
import statistics

import pytest

from tests.unit.docs.pages import ROOT

MOST_WORDS, MOST_AT_THE_MEDIAN = 40, 18
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def sentences(text: str) -> list[str]:
    """The sentences of a page's paragraphs and list items.

    Code, tables, headings, pictures and quotations (lines with >, and what stands in quotation
    marks) are no sentences of ours. A piece of code counts as a word, a link as its text.
    """
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^(?: {4}.*|\||#|>|!\[).*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"^\s*(?:[-*]|\d+\.)\s", "\n\n", text, flags=re.MULTILINE)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]*`", "CODE", text)
    text = re.sub(r"[\"“][^\"”\n]{30,}[\"”]", "QUOTE", text)
    text = text.replace("**", "")
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        flat = " ".join(paragraph.split())
        found += re.split(r"(?<=[.!?:])\)?\s+(?=[A-ZÀ-Ý\"(*])", flat)
    return [sentence for sentence in found if len(words(sentence)) > 1]


def words(sentence: str) -> list[str]:
    return [word for word in sentence.split() if re.search(r"\w", word)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One. Two words.\n\n- an item\n- another item: Yes it is.\n", [2, 2, 2, 3]),
        ("A `b c d` e [f g](h.md#i).\n\n    code is none\n\n| a | b |\n", [5]),
        ("3.5 ms is one number, e.g. here.", [7]),
    ],
)
def test_sentences_are_told_apart(text: str, found: list[int]) -> None:
    assert [len(words(sentence)) for sentence in sentences(text)] == found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_sentence_is_long(path: object) -> None:
    text = path.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    long = [s for s in sentences(text) if len(words(s)) > MOST_WORDS]
    assert long == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_most_sentences_are_short(path: object) -> None:
    text = path.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    lengths = [len(words(sentence)) for sentence in sentences(text)]
    assert statistics.median(lengths) <= MOST_AT_THE_MEDIAN
