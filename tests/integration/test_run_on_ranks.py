"""`mfubench run` below torchrun: one file for all ranks, and none lost when one fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mfubench.results.read import read_result
from mfubench.results.schema import problems

SCRIPT = """
import sys
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
net = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 32))
model = torch.nn.parallel.DistributedDataParallel(net)
optimizer = torch.optim.AdamW(model.parameters())
for step in range(40):
    if sys.argv[1] == "fails" and dist.get_rank() == 1 and step == 25:
        raise ValueError("planted")
    model(torch.randn(8, 32)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
dist.destroy_process_group()
"""


def run(
    tmp_path: Path, word: str, *, script: str = SCRIPT
) -> tuple[subprocess.CompletedProcess[str], list[Path]]:
    """`word` is the script's, or an option of ours."""
    path, results = tmp_path / "train.py", tmp_path / "results"
    path.write_text(script, encoding="utf-8")
    words = [word, str(path)] if word.startswith("-") else [str(path), word]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ours = ["-m", "mfubench", "run", "--no-ceilings", "--results-dir", str(results)]
    done = subprocess.run(
        [sys.executable, *launcher, *ours, *words],
        capture_output=True,
        text=True,
        check=False,
    )
    return done, sorted(results.rglob("0*.json"))


def test_one_file_comes_out_with_both_ranks_in_it(tmp_path: Path) -> None:
    done, files = run(tmp_path, "ends")
    assert done.returncode == 0, done.stderr
    (path,) = files
    assert problems(json.loads(path.read_text(encoding="utf-8"))) == []
    ((record, _),) = read_result(path).records
    assert record.ranks == 2
    assert (record.preset or "").startswith("train.py-2ranks-")
    assert [one.rank for one in record.per_rank or ()] == [0, 1]
    each = [one.model_flops_per_step for one in record.per_rank or ()]
    assert each[0] == each[1]
    assert record.model_flops_per_step == sum(flops or 0 for flops in each)
    assert done.stderr.count("2 ranks; FLOPs and tokens are added up") == 1


SLOW_WIRE = """
import threading
import time
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(32, 32))

def sends_slowly(state, bucket):
    done, buffer = torch.futures.Future(), bucket.buffer()

    def send():
        time.sleep(0.02)
        dist.all_reduce(buffer.div_(2))
        done.set_result(buffer)

    threading.Thread(target=send).start()
    return done

model.register_comm_hook(None, sends_slowly)
optimizer = torch.optim.AdamW(model.parameters())
for step in range(80):
    model(torch.randn(8, 32)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
dist.destroy_process_group()
"""
WIRE_S = 0.02


def test_what_backward_waits_for_is_a_bar_of_its_own(tmp_path: Path) -> None:
    done, (path,) = run(tmp_path, "--breakdown", script=SLOW_WIRE)
    ((record, _),) = read_result(path).records
    bars = {bar.name: bar.seconds for bar in record.breakdown or ()}
    assert bars["communication, exposed"] >= 0.95 * WIRE_S
    assert bars["backward"] >= 0
    assert record.communication_hidden_s is not None
    assert sum(bars.values()) == pytest.approx(record.breakdown_step_s)
    assert "communication, exposed" in done.stderr
    assert "beside it: communication, hidden" in done.stderr


def test_a_rank_that_fails_loses_nothing(tmp_path: Path) -> None:
    done, files = run(tmp_path, "fails")
    assert done.returncode != 0
    assert files
    kept = [record for path in files for record, _ in read_result(path).records]
    ranks = {one.rank for record in kept for one in record.per_rank or ()}
    ranks |= {record.rank for record in kept if record.rank is not None}
    assert 1 in ranks
    assert any("ValueError: planted" in str(record.as_extra_info()) for record in kept)


@pytest.mark.parametrize("variable", ["WORLD_SIZE", "TORCHELASTIC_USE_AGENT_STORE"])
def test_a_process_of_its_own_meets_nobody(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mfubench.script.together import is_one_of_many

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    assert is_one_of_many()
    monkeypatch.delenv(variable)
    assert not is_one_of_many()
