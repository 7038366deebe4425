"""What a pair of the gate measured, and a repository with two commits, both made up."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from mfubench.gate.measure.pairs import BASE, CANDIDATE
from mfubench.gate.measure.variants import MODEL_UNDER_TEST

CODE = f"{MODEL_UNDER_TEST}.py"


def measured(slower: float = 0.0, **counts: float) -> dict[str, Any]:
    """A case of a pair: the candidate takes `slower` more, and holds or loses what is counted."""
    step = {BASE: [0.040] * 6, CANDIDATE: [0.040 * (1 + slower)] * 6}
    count = {"peak_bytes": 1000, "graphs": 0}
    return {
        "times": {
            "step": step,
            "control": {BASE: [0.01] * 6, CANDIDATE: [0.01] * 6},
            "planted": {},
        },
        "start": {n: {"start_up_s": 1.0, "loss": 3.6} for n in (BASE, CANDIDATE)},
        "is_cold": False,
        "counts": {BASE: count, CANDIDATE: count | counts},
        "compiled": False,
    }


def repository(folder: Path) -> Path:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)

    (folder / "model").mkdir(parents=True)
    git("init", "-q", "-b", "main")
    (folder / CODE).write_text("speed = 1\n", encoding="utf-8")
    git("add", "-A")
    git("commit", "-q", "-m", "one")
    (folder / CODE).write_text("speed = 2\n", encoding="utf-8")
    git("commit", "-q", "-a", "-m", "two")
    return folder
