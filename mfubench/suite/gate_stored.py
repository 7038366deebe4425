"""Stored runs as a gate reads them: a baseline, a pinned anchor, and the history of a machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mfubench.analysis.gate_stored import StoredVerdict, judge_run
from mfubench.analysis.results import Result, ResultError, is_case, read_result

ANCHOR = "anchor.json"
"""A run that is copied to this name in the machine's folder is the anchor; else the oldest is."""
QUESTIONS = ("train-step", "train-loop")


class StoredRuns:
    """The runs of a machine's folder, oldest first; files that cannot be read are named."""

    def __init__(self, folder: Path, *, without: Path | None = None) -> None:
        self.results: list[Result] = []
        self.broken: list[str] = []
        self.anchor: Result | None = None
        for path in sorted(folder.glob("*/[0-9]*_*.json"), key=lambda p: p.name):
            if path.parent.name in ("advice", "gate", "self-test"):
                continue
            if without is not None and path.resolve() == without.resolve():
                continue
            self._read(path)
        pinned = folder / ANCHOR
        if pinned.exists():
            try:
                self.anchor = read_result(pinned)
            except ResultError as error:
                self.broken.append(str(error))
        elif self.results:
            self.anchor = self.results[0]

    def _read(self, path: Path) -> None:
        try:
            result = read_result(path)
        except ResultError as error:
            self.broken.append(str(error))
            return
        if rounds(result):
            self.results.append(result)


def machine_of(result: Result) -> str | None:
    """The fingerprint of the machine that a run was made on."""
    found = result.data.get("mfubench", {}).get("fingerprint", {}).get("id")
    return str(found) if found else None


def rounds(result: Result) -> dict[str, list[float]]:
    """The rounds of each training case of a run, in seconds, by its id."""
    found = {}
    for benchmark in result.data["benchmarks"]:
        if is_case(benchmark) and benchmark["extra_info"].get("question") in QUESTIONS:
            data = benchmark.get("stats", {}).get("data")
            if data and all(isinstance(x, int | float) and x > 0 for x in data):
                found[benchmark["extra_info"]["case_id"]] = list(map(float, data))
    return found


def verdicts(
    run: Result, baseline: Result, runs: StoredRuns, *, settings: Mapping[str, Any]
) -> list[StoredVerdict]:
    """Every case of a run by a baseline and the anchor, with the spread of all earlier sessions."""
    others = {info["case_id"]: info["outcome"] for info in run.infos if info.get("outcome") != "ok"}
    history = [rounds(r) for r in runs.results if r.path != run.path]
    return judge_run(
        rounds(run),
        rounds(baseline),
        rounds(runs.anchor) if runs.anchor is not None else {},
        history,
        settings=settings,
        not_measured=others,
    )
