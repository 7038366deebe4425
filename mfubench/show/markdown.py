"""The report in short, for the comment on a pull request: tables in place of pictures.

Forges limit a comment's length, render HTML in it, and turn @names and #numbers into links: so
texts from files are spelt in character references, and what does not fit is left out by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mfubench.show.blocks import (
    Block,
    Card,
    Cell,
    Commands,
    Figure,
    Fold,
    Heading,
    Prose,
    Report,
    Section,
    Table,
    Verdicts,
)
from mfubench.show.svg import clean

MOST_BYTES = 60_000
"""Below GitHub's 65,536 characters, with room for what a bot adds."""
OPEN = ("answer", "machines")
"""Sections that are read without a click."""
MOST_ROWS = 40
_LEFT_OUT = "\n*Left out, because a comment has a limit: {}. The page has everything.*\n"


def as_markdown(report: Report) -> str:
    """At most `MOST_BYTES` bytes; the sections that come last are left out first."""
    parts = [f"## {without_mentions(report.title)}\n\n{without_mentions(report.subtitle)}\n"]
    left_out: list[str] = []
    room = MOST_BYTES - len(parts[0].encode()) - 1000
    for section in report.sections:
        written = _section(section)
        size = len(written.encode())
        if size <= room:
            parts.append(written)
            room -= size
        else:
            left_out.append(section.title)
    if left_out:
        parts.append(_LEFT_OUT.format(", ".join(left_out)))
    return "\n".join(parts)


_MENTION = re.compile(r"&#64;|&#35;|\bGH-\d")
_SPECIAL = re.compile(r"[^\w\s.,;:%()/×·–−+±µ→≥≤…?'=-]|_|://|(?<!\w)www\.", re.ASCII)


def text(value: str) -> str:
    """A text that Markdown and HTML leave as it is.

    >>> text("a|b <script> @me #1 *x*")
    'a&#124;b &#60;script&#62; &#64;me &#35;1 &#42;x&#42;'
    """
    one_line = " ".join(clean(value.replace("\n", " ").replace("\t", " ")).split())
    return _SPECIAL.sub(lambda m: "".join(f"&#{ord(c)};" for c in m.group()), one_line)


def without_mentions(value: str) -> str:
    """A text in which a forge finds no mention and no issue: in code marks, as it looks at what
    was rendered.

    >>> without_mentions("a case"), without_mentions("for @me")
    ('a case', '<code>for &#64;me</code>')
    """
    written = text(value)
    return f"<code>{written}</code>" if _MENTION.search(written) else written


def _section(section: Section) -> str:
    body = _blocks(section.blocks, section)
    if section.key in OPEN:
        return f"### {text(section.title)}\n\n{body}"
    return f"<details><summary><b>{text(section.title)}</b></summary>\n\n{body}\n</details>\n"


def _block(block: Block, section: Section) -> str:  # noqa: PLR0911 - one per kind
    if isinstance(block, Prose):
        written = without_mentions(block.text)
        return f"<sub>{written}</sub>\n" if block.kind == "note" else f"{written}\n"
    if isinstance(block, Heading):
        return f"**{without_mentions(block.text)}**\n"
    if isinstance(block, Verdicts):
        marks = ["" if line.look == "plain" else f"{line.mark} " for line in block.lines]
        marked = zip(marks, block.lines, strict=True)
        return "".join(f"- {mark}{without_mentions(line.text)}\n" for mark, line in marked)
    if isinstance(block, Fold):
        return _fold(block, section)
    if isinstance(block, Card):
        return _card(block, section)
    if isinstance(block, Commands):
        lines = "\n".join(_code(line) for line in block.lines)
        return f"<pre>{lines}</pre>\n"
    if isinstance(block, Table):
        return _table(block, named=block.name != section.title)
    if isinstance(block, Figure) and block.table is not None:
        return _table(block.table, named=True)
    return ""


def _fold(fold: Fold, section: Section) -> str:
    body = _blocks(fold.blocks, section)
    return f"<details><summary>{without_mentions(fold.summary)}</summary>\n\n{body}\n</details>\n"


def _card(card: Card, section: Section) -> str:
    """The tiles as a table; the gauge says nothing that they do not."""
    parts = [f"**{without_mentions(card.name)}** <sub>{without_mentions(card.note)}</sub>\n"]
    if card.tiles:
        cells = [Cell(text=tile.value, note=tile.note) for tile in card.tiles]
        heads = [text(tile.name) for tile in card.tiles]
        parts.append("\n".join([_row(heads), _row(["---"] * len(heads)), _row(map(_cell, cells))]))
        parts.append("")
    return "\n".join([*parts, _blocks(card.blocks, section)])


def _blocks(blocks: Iterable[Block], section: Section) -> str:
    return "\n".join(filter(None, (_block(block, section) for block in blocks)))


def _code(line: str) -> str:
    return "".join(c if c.isalnum() or c in " ./-=" else f"&#{ord(c)};" for c in clean(line))


def _table(table: Table, *, named: bool) -> str:
    heads = [without_mentions(name) for name, _ in table.heads]
    rules = ["---:" if is_number else "---" for _, is_number in table.heads]
    lines = [f"**{without_mentions(table.name)}**\n"] if named else []
    lines += [_row(heads), _row(rules)]
    lines += [_row([_cell(cell) for cell in row]) for row in table.rows[:MOST_ROWS]]
    if len(table.rows) > MOST_ROWS:
        lines.append(f"\n<sub>{len(table.rows) - MOST_ROWS} more rows are on the page.</sub>")
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(cell: Cell) -> str:
    note = f"<br><sub>{without_mentions(cell.note)}</sub>" if cell.note else ""
    return without_mentions(cell.text) + note
