"""Ranks below torchrun's own agent, on this machine: what comes out, and what goes wrong.

Nothing here asserts a time.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from mfubench.ranks.measure.agent import Launched, launch
from mfubench.ranks.rules.account import account_of
from mfubench.ranks.rules.config import Plant, RanksConfig
from mfubench.ranks.rules.turns import TRAINING
from mfubench.results.outcomes import Outcome
from mfubench.results.read import read_result

RANK_PROGRAM = "mfubench.ranks.measure.rank_program"
needs_two_cores = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="two ranks need two processors",
)
pytestmark = needs_two_cores


def small(**settings: Any) -> RanksConfig:
    plant = settings.pop("plant", None)
    return RanksConfig(
        preset="nanogpt-cpu",
        device="cpu",
        dtype="float32",
        batch_size=settings.pop("batch_size", 1),
        cycles=settings.pop("cycles", 1),
        budget_s=1.0,
        timeout_s=settings.pop("timeout_s", 60.0),
        with_collectives=False,
        with_profile=False,
        plant=None if plant is None else Plant(**plant),
        **settings,
    )


def left_over() -> list[int]:
    """Processes of ranks that still run."""
    return [
        p.pid
        for p in psutil.Process().children(recursive=True)
        if any("mfubench.ranks" in word for word in p.cmdline())
    ]


def failed(**plant: Any) -> Launched:
    timeout_s = plant.pop("timeout_s", 60.0)
    found = launch(small(cycles=3, timeout_s=timeout_s, plant={"rank": 1, **plant}), 2)
    assert found.reason is not None
    assert "\n" not in found.reason
    assert left_over() == []
    return found


def test_a_rank_that_is_killed_is_named_and_what_was_measured_is_kept() -> None:
    found = failed(dies_in_cycle=1)
    assert found.outcome is Outcome.ERROR
    assert "rank 1 was killed by SIGKILL" in (found.reason or "")
    assert [report.rank for report in found.reports] == [0, 1]
    assert {turn.cycle for turn in found.reports[1].turns} >= {0}


def test_a_rank_that_hangs_is_named() -> None:
    found = failed(hangs_in_cycle=1, timeout_s=12.0)
    assert "rank 1 hangs at cycle 2 of 3" in (found.reason or "")
    assert "rank 0" not in (found.reason or "")


def test_a_rank_that_fails_is_named_with_its_error() -> None:
    found = failed(fails_in_cycle=0)
    assert "rank 1 failed" in (found.reason or "")
    assert "ValueError: planted" in (found.reason or "")


def test_a_rank_without_memory_is_an_outcome() -> None:
    found = failed(runs_out_of_memory=True)
    assert found.outcome is Outcome.OUT_OF_MEMORY
    assert "rank 1" in (found.reason or "")


def test_a_rank_with_other_code_is_refused_by_name() -> None:
    found = failed(other_code=True)
    assert "rank 1 has code of mfubench planted" in (found.reason or "")


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_a_case_that_goes_well(strategy: Any) -> None:
    """Accumulation of two, both ranks' turns, parameters kept equal, FLOPs that add up."""
    found = launch(small(cycles=6, accumulation=2, strategy=strategy, scaling="weak"), 2)
    assert found.reason is None
    account = account_of(found.reports)
    product = account.contention.value * account.communication_exposed.value * account.skew.value
    assert product == pytest.approx(account.efficiency.value, rel=1e-12)
    flops = [report.model_flops_per_step for report in found.reports]
    assert flops[0] == flops[1]
    training = [t for t in found.reports[0].turns if t.kind == TRAINING]
    assert len(training) == 6
    if strategy == "ddp":
        assert found.reports[0].checksum == found.reports[1].checksum
        assert all(turn.arrived_s for turn in training)
        assert {m.collective for m in found.reports[0].messages} == {"all-reduce"}
    else:
        assert {m.collective for m in found.reports[0].messages} == {"all-gather", "reduce-scatter"}


def command(*words: str, torchrun: bool, folder: Path) -> list[str]:
    ours = ["mfubench", "ranks", "--budget", "1s", "--batch-size", "1", "--results-dir"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return [sys.executable, *(launcher if torchrun else []), "-m", *ours, str(folder), *words]


def test_below_the_users_own_torchrun_one_file_comes_out(tmp_path: Path) -> None:
    done = subprocess.run(
        command(torchrun=True, folder=tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.rglob("0001_*.json")
    ((record, _),) = read_result(path).records
    raw = json.loads(path.read_text(encoding="utf-8"))["benchmarks"][0]["extra_info"]
    for key in ("efficiency", "contention", "communication_exposed", "skew"):
        assert set(raw[key]) == {"value", "low", "high"}
        assert raw[key]["low"] <= raw[key]["value"] <= raw[key]["high"]
    assert (raw["ranks"], raw["strategy"], raw["scaling"]) == (2, "ddp", "weak")
    assert "slow_rank" in raw
    assert [one["rank"] for one in raw["per_rank"]] == [0, 1]
    each = [one.model_flops_per_step for one in record.per_rank or ()]
    assert record.model_flops_per_step == sum(flops or 0 for flops in each)
    assert "On 2 ranks you get" in done.stdout.replace("\n", " ")


@pytest.mark.parametrize("fault", ["port taken", "nobody comes", "nobody answers"])
def test_a_rank_that_meets_nobody_says_why(fault: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        if fault == "port taken":
            taken.listen()
        else:
            taken.close()
        rank = "1" if fault == "nobody answers" else "0"
        environment = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        done = subprocess.run(
            command("--timeout", "2s", torchrun=False, folder=tmp_path),
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    (sentence,) = done.stderr.strip().splitlines()
    assert sentence.startswith(f"mfubench ranks: rank {rank} of 2 could not meet the others")
    assert {
        "port taken": f"another program has port {port} of 127.0.0.1",
        "nobody comes": "only 1 of 2 came within 2 s; start the others too",
        "nobody answers": "nobody answered within 2 s",
    }[fault] in sentence


def test_an_interrupt_leaves_a_file_and_no_process(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    running = subprocess.Popen(
        command("--budget", "300s", torchrun=False, folder=tmp_path / "results"),
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    ranks = psutil.Process(running.pid)
    while running.poll() is None and not _has_turns(scratch):
        time.sleep(0.2)
    tree = ranks.children(recursive=True)
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate()
    assert running.returncode == 130, stderr
    assert "interrupted" in stderr
    assert psutil.wait_procs(tree, timeout=20)[1] == []
    assert list(scratch.iterdir()) == []
    (path,) = (tmp_path / "results").rglob("0001_*.json")
    ((record, _),) = read_result(path).records
    assert record.outcome is Outcome.INTERRUPTED
    assert record.per_rank


def _has_turns(folder: Path) -> bool:
    return any('"training"' in p.read_text() for p in folder.glob("mfubench-ranks-*/rank-1.json"))


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_ranks_that_share_a_batch_learn_what_one_rank_learns(
    strategy: str, accumulation: int, tmp_path: Path
) -> None:
    """20 steps in float64, whose rounding is 2.2e-16 of each number."""
    program = Path(__file__).parents[1] / "unit" / "ranks" / "trains_alike.py"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    answer = tmp_path / "losses.json"
    done = subprocess.run(
        [sys.executable, *launcher, str(program), strategy, str(accumulation), str(answer)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(answer.read_text(encoding="utf-8"))
    assert len(found["one"]) == 20
    assert found["several"] == pytest.approx(found["one"], rel=1e-9)
    assert found["one"][-1] < found["one"][0]
    assert found["flops"] == found["whole_flops"]
