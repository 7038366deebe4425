"""Where files lie: runs and documents are numbered, in a folder per machine.

results/<machine>/<System-Implementation-version>/0001_<commit>_<time>.json   runs
results/<machine>/<kind>/0001_<commit>_<time>.json                            documents
results/<machine>/anchor.json, ceilings.json, unsaved-<pid>.jsonl             neither
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

DOCUMENTS = (
    *("advice", "comparison", "count", "gate", "prediction", "prediction-test", "probe"),
    *("self-test", "trace"),
)
"""Kinds of file that stand beside runs and are none."""

NUMBERED = "[0-9][0-9][0-9][0-9]*_*.json"
MOST_ENTRIES = 200_000
"""A folder with more is a disk or a home, and reading all of it would take minutes."""
ANCHOR = "anchor.json"
"""A run that is copied to this name in the machine's folder is the gate's anchor."""


def result_paths(sources: Iterable[str | Path]) -> Iterator[Path]:
    """The files given, and the saved runs and documents below the folders given.

    Raises FileNotFoundError when a path does not exist, or is a folder of far too much.
    """
    for source in sources:
        path = Path(source)
        if path.is_dir():
            yield from sorted(_below(path))
        elif path.exists():
            yield path
        else:
            raise FileNotFoundError(f"no result file or folder at {path}")


def _below(folder: Path) -> Iterator[Path]:
    entries = 0
    for root, _, names in os.walk(folder):
        entries += 1 + len(names)
        if entries > MOST_ENTRIES:
            raise FileNotFoundError(
                f"no place for results at {folder}: it holds more than {MOST_ENTRIES:,} files and "
                "folders; name the folder with the results"
            )
        yield from (Path(root, name) for name in names if fnmatchcase(name, NUMBERED))


def saved_runs(machine: Path) -> list[Path]:
    """The runs in a machine's folder, by their numbers."""
    found = (path for path in machine.glob(f"*/{NUMBERED}") if path.parent.name not in DOCUMENTS)
    return sorted(found, key=lambda path: path.name)


def saved_documents(machine: Path, kind: str) -> list[Path]:
    """The documents of a kind in a machine's folder, the newest first."""
    return sorted((machine / kind).glob(NUMBERED), reverse=True)


def next_number(folder: Path) -> int:
    """One more than the largest number in a folder; 1 in an empty one."""
    heads = (path.name.partition("_")[0] for path in folder.glob("[0-9]*_*"))
    return max((int(head) for head in heads if head.isdecimal()), default=0) + 1
