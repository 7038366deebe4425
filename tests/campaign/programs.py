"""What faults meet: sweep, gate, search, breakdown, scripts; and what each must have kept."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.campaign.engine import ROOT, Said

CASES = """
import pytest
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench_model.config import GPTConfig
from mfubench_model.presets import Preset

TINY = Preset(
    name="tiny",
    config=GPTConfig(block_size=64, vocab_size=65, n_layer=1, n_head=1, n_embd=8, bias=False),
    batch_size=4, eval_interval=50, eval_iters=2, log_interval=1, max_iters=100,
    learning_rate=1e-3, beta1=0.9, beta2=0.99, description="for tests", nanogpt_config="",
)

@pytest.mark.parametrize("size", range(1, 9))
def test_step(measure_case, device, dtype, size):
    corpus = measure_case.session.corpus("nanogpt-cpu")
    workload = GPTWorkload(TINY, size, corpus)
    measure_case.train_step(workload, device=device, dtype=dtype, compile=False)
"""


def project(folder: Path) -> None:
    """A project with eight tiny cases, ceilings stored."""
    from tests.inner_runs import store_ceiling

    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "test_tiny.py").write_text(CASES)
    (folder / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\naddopts = "-p no:cacheprovider"\n'
    )
    store_ceiling(folder / "results")


def repository(folder: Path) -> None:
    """A clone of this repository with a commit more, for a gate."""

    def git(*words: str) -> None:
        done = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *words]
        subprocess.run(done, cwd=folder, check=True, capture_output=True)

    git("init", "--quiet", "--initial-branch=main", ".")
    shutil.copytree(ROOT / "model", folder / "model", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".gitignore").write_text("results/\n")
    git("add", "-A")
    git("commit", "--quiet", "-m", "base")
    (folder / "more").write_text("more")
    git("add", "-A")
    git("commit", "--quiet", "-m", "more")


def sweep(words: Sequence[str]) -> int:
    """A smoke sweep of the tiny project, in this process."""
    from dataclasses import replace

    import pytest

    from mfubench.suite.sweep import PLANS

    short = {"rounds_budget_s": 0.15, "warmup_budget_s": 0.1, "ceiling_budget_s": 0.1}
    PLANS["smoke"] = replace(PLANS["smoke"], **short)
    plugins = ["-p", "mfubench.plugin", "-p", "no:xdist", "-p", "no:hypothesispytest"]
    asked = ["benchmarks/", "--sweep", "smoke", "--devices", "cpu", "--dtypes", "float32"]
    return int(pytest.main([*plugins, *asked, *words], plugins=[_Begins()]))


STARTED = threading.Event()
"""Set once cases are about to be measured: before that Python and pytest load, and nothing is lost.
"""


class _Begins:
    """A plugin that tells when measuring begins."""

    def pytest_collection_finish(self) -> None:
        STARTED.set()


def sweep_kept(folder: Path, said: list[Said]) -> list[str]:
    """Every case that was told as finished is in a saved file, or in the journal."""
    told = re.findall(r"^  \[(\d+)/\d+\] ", said[0].out, re.MULTILINE)
    kept = 0
    for path in _saved(folder):
        data = json.loads(path.read_text(encoding="utf-8"))
        kept += len(data["benchmarks"]) + len(data["mfubench"]["other_outcomes"])
    for path in folder.glob("results/*/unsaved-*.jsonl"):
        kept += len(path.read_text(encoding="utf-8").splitlines())
    for path in (folder.parent / "t").glob("mfubench-results-*/unsaved.json"):
        kept += len(json.loads(path.read_text(encoding="utf-8")))
    for line in said[0].err.splitlines():  # the last place that takes it
        kept += 100 if line.startswith("{") else 0
    return [f"lost: {len(told)} cases were told, {kept} are kept"] if len(told) > kept else []


def _saved(folder: Path) -> list[Path]:
    runs = [*folder.glob("results/*/*/0*.json"), *folder.glob("mfubench-results-*/*.json")]
    return [*runs, *(folder.parent / "t").glob("mfubench-results-*/0*.json")]


def gate_kept(folder: Path, said: list[Said]) -> list[str]:
    """Whole pairs are in the journal, or the verdict is saved; no worktree is left."""
    text = said[0].err
    pairs = [int(n) for n in re.findall(r"pair (\d+): ", text)]
    whole = max(pairs, default=1) - 1
    journals = list(folder.glob("results/*/gate/.pairs-*.jsonl"))
    kept = sum(len(path.read_bytes().splitlines()) for path in journals)
    documents = [*folder.glob("results/*/gate/0*.json"), *_saved(folder)]
    broken = []
    if whole > kept and not documents:
        broken.append(f"lost: {whole} pairs were whole, {kept} are kept")
    listed = subprocess.run(
        ["git", "worktree", "list"], cwd=folder, capture_output=True, text=True, check=False
    )
    if len(listed.stdout.splitlines()) > 1:
        broken.append(f"worktree left: {listed.stdout.splitlines()[1]}")
    return broken


GATE = [
    "gate",
    "--base",
    "HEAD~1",
    "--cases",
    "train-step/nanogpt-cpu/cpu-float32-b1-eager",
    "--pairs",
    "6",
]
ADVISE = ["advise", "--budget", "30", "--knobs", "adamw fused", "--threads", "1"]
BREAKDOWN = ["breakdown", "nanogpt-cpu", "--threads", "1"]
RUN = ["run", "--no-ceilings", "s.py"]
COMPARE = ["compare", "s.py", "s.py 1", "--budget", "15s"]
SCRIPT = """
import time
import torch
m = torch.nn.Linear(64, 64); o = torch.optim.SGD(m.parameters(), 0.1)
end_s = time.monotonic() + 6
while time.monotonic() < end_s:
    o.zero_grad(); m(torch.ones(8, 64)).sum().backward(); o.step()
"""


def script(folder: Path) -> None:
    """A script that trains for six seconds."""
    (folder / "s.py").write_text(SCRIPT)


def run_kept(folder: Path, said: list[Said]) -> list[str]:
    """Once a step was found, an end that Python sees leaves a saved run, or the run itself as
    text."""
    ended = said[0].status >= 0
    found = "was found" in said[0].err
    kept = bool(_saved(folder)) or "{" in said[0].err
    return ["lost: steps were found, nothing is saved"] if ended and found and not kept else []


def compare_kept(folder: Path, said: list[Said]) -> list[str]:
    """Pairs that were told as whole are in the journal, or their verdict is saved."""
    whole = max((int(n) for n in re.findall(r"pair (\d+), ", said[0].err)), default=0)
    if "it ended after" in said[0].err or "it failed" in said[0].err:
        whole -= 1  # in the last one a side failed, as a busy machine has it here
    kept = [
        *folder.glob("results/*/comparison/.pairs-*.jsonl"),
        *folder.glob("results/*/comparison/0*.json"),
        *_saved(folder),
    ]
    return [f"lost: {whole} pairs were whole, nothing is kept"] if whole and not kept else []
