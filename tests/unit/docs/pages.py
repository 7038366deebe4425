"""The documentation as data: pages, their tables, and their fenced blocks."""

from __future__ import annotations

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
_NOT_OURS = {"build", "dist", "__pycache__"}


def _is_ours(folder: Path) -> bool:
    """False for caches, environments, builds and the folders of saved runs."""
    foreign = folder.name.startswith(".") or folder.name.endswith(".egg-info")
    return not (foreign or folder.name in _NOT_OURS or folder.parent == ROOT / "results")


def files(*suffixes: str) -> list[Path]:
    """Files of the project with these suffixes."""
    found = []
    for folder, subfolders, names in os.walk(ROOT):
        here = Path(folder)
        subfolders[:] = [name for name in subfolders if _is_ours(here / name)]
        found += [here / name for name in names if name.endswith(suffixes)]
    return sorted(found)


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its rank or above."""
    marks = heading.partition(" ")[0]
    start = re.search(rf"^{re.escape(heading)}$", text, re.MULTILINE)
    assert start, f"no heading {heading!r}"
    rest = text[start.end() :]
    end = re.search(rf"^#{{1,{len(marks)}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """The cells of every table row, head and rule left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rules = {i for i, cells in enumerate(table) if set("".join(cells)) <= set("-: ")}
    heads = {i - 1 for i in rules}
    return [cells for i, cells in enumerate(table) if i not in rules | heads]


def first_codes(text: str) -> list[str]:
    """The first word in code marks of each table row's first cell."""
    return [match.group(1) for row in rows(text) if (match := re.match(r"`([^`]+)`", row[0]))]


def fenced(text: str, language: str = r"\w*") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def slug(heading: str) -> str:
    """The anchor of a heading, as code forges make it."""
    plain = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return plain.replace(" ", "-")
