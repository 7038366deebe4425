"""A case on ranks of this machine: torchrun's agent is started, and heard to its end."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from mfubench.pairs.side import Side, SideError
from mfubench.ranks.measure.rank_program import FOLDER, Failure
from mfubench.ranks.rules.config import RanksConfig
from mfubench.ranks.rules.turns import RankReport
from mfubench.results.outcomes import Outcome

START_S = 120.0
"""Beside the budget of turns: starting, building, compiling, what is measured once."""
SHUTDOWN_S = "5"
"""How long the agent lets a rank end by itself when another has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """What came of a case: the reports of all ranks that handed one in, and why it ended early."""

    reports: list[RankReport]
    outcome: Outcome
    reason: str | None


def launch(config: RanksConfig, ranks: int) -> Launched:
    """Measure a case on so many ranks here. An interrupt ends every process, and passes through
    with what was measured in its `launched`."""
    with tempfile.TemporaryDirectory(prefix="mfubench-ranks-") as name:
        folder = Path(name)
        try:
            failures = _run(config, ranks, folder)
        except SideError as error:
            return _launched(folder, ranks, [], error.words)
        except KeyboardInterrupt as interrupt:
            found = _launched(folder, ranks, [], "interrupted")
            interrupt.launched = found  # type: ignore[attr-defined]
            raise
        return _launched(folder, ranks, failures, None)


def _run(config: RanksConfig, ranks: int, folder: Path) -> list[dict[str, Any]]:
    environment = {
        FOLDER: str(folder),
        # torchrun sets one thread per rank where nothing is said; rank and baseline must be alike.
        "OMP_NUM_THREADS": str(config.threads or _threads(ranks)),
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": SHUTDOWN_S,
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", _loopback()),
    }
    arguments = ["-m", "mfubench.ranks.measure.rank_program", msgspec.json.encode(config).decode()]
    request = {"ranks": ranks, "arguments": arguments, "folder": str(folder)}
    command = [sys.executable, "-m", "mfubench.ranks.measure.agent_program"]
    limit_s = START_S + 3 * config.budget_s + 2 * config.timeout_s
    with Side(command, name="torchrun's agent", environment=environment) as side:
        failures: list[dict[str, Any]] = side.ask(request, limit_s)["failures"]
        return failures


def _threads(ranks: int) -> int:
    from mfubench.hardware.cpu import usable_cores

    return max(1, int(usable_cores().count) // ranks)


def _loopback() -> str:
    return "lo0" if sys.platform == "darwin" else "lo"


def _launched(
    folder: Path, ranks: int, failures: Sequence[dict[str, Any]], words: str | None
) -> Launched:
    """What the ranks have left in the folder, and the sentence of what went wrong first."""
    reports = []
    for rank in range(ranks):
        path = folder / f"rank-{rank}.json"
        if path.exists():
            reports.append(msgspec.json.decode(path.read_bytes(), type=RankReport))
    told = {
        int(path.stem.partition("-")[2]): msgspec.json.decode(path.read_bytes(), type=Failure)
        for path in folder.glob("failure-*.json")
    }
    outcome, reason = what_failed(failures, told, reports, folder)
    if reason is None and words is not None:
        outcome, reason = Outcome.ERROR, words
    if reason is None and len(reports) < ranks:
        outcome, reason = Outcome.ERROR, "not every rank has handed in what it measured"
    return Launched(reports=reports, outcome=outcome, reason=reason)


def what_failed(
    failures: Sequence[dict[str, Any]],
    told: dict[int, Failure],
    reports: Sequence[RankReport],
    folder: Path,
) -> tuple[Outcome, str | None]:
    """The first cause: a rank that was killed; else the first that failed by itself; else what the
    others say of the one that they lost."""
    doing = {report.rank: report.doing for report in reports}
    by_time = sorted(told.values(), key=lambda f: f.at_s)
    for one in by_time:
        if not one.is_another_ranks and one.outcome != "interrupted":
            return Outcome(one.outcome), one.sentence
    lost = [one for one in by_time if one.is_another_ranks]
    # The agent ends what hangs by a signal, too, so that what the others saw comes first.
    for one in lost:
        if one.is_a_hang:
            return Outcome(one.outcome), one.sentence
    for failure in failures:
        status, rank = failure["status"], failure["rank"]
        if status < 0 and -status not in (signal.SIGTERM, signal.SIGINT):
            name = signal.Signals(-status).name
            at = f" in {doing[rank]}" if doing.get(rank) else ""
            killed = " (the system kills what takes too much memory)" if status == -9 else ""
            return Outcome.ERROR, f"rank {rank} was killed by {name}{at}{killed}"
    for one in lost:
        return Outcome(one.outcome), one.sentence
    for failure in failures:
        words = last_words(folder, failure["rank"]) or "it said nothing"
        return Outcome.ERROR, (
            f"rank {failure['rank']} ended with status {failure['status']}: {words}"
        )
    return Outcome.OK, None


def last_words(folder: Path, rank: int) -> str | None:
    """The last line that a rank wrote to its standard error, which the agent keeps by rank."""
    for path in folder.glob(f"*/attempt_0/{rank}/stderr.log"):
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), None)
    return None
