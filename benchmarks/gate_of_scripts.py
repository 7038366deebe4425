"""The gate typed as docs/your-repository.md has it, on a repository with a branch per bug.

    python benchmarks/gate_of_scripts.py [BRANCH …]

Makes the test repository, measures what a step and a product take here, plants products of 4 % of
a step, and types `mfubench gate` on every branch. It reports the verdict, what was expected, and
the time of each; nothing is asserted. Exit status 0 when every branch got its verdict.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from mfubench.gate.rules.policy import REGRESSED, SLOWER

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.repository_with_a_script import git, made  # noqa: E402

SHARE = 0.04
SIZE = 128
EXPECTED = {
    "nothing": ("pass", None),
    "time": ("red", "step time"),
    "memory": ("regressed", "peak memory"),
    "compile-lost": ("regressed", "compiled graphs"),
    "loss": ("regressed", "loss"),
    "crash": ("regressed", None),
}
"""The verdict, and the metric that must be a reason. What is planted as 4 % takes more in a slow
hour: the slower step is red within the tolerance or beyond it."""


def step_s(folder: Path) -> float:
    """Seconds of a step of the script here, from its own log."""
    command = [sys.executable, "train.py", "config/ci.json", "--steps=201", "--out=timed"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    times = [float(line.split()[2]) for line in (folder / "timed/log.txt").read_text().splitlines()]
    return (times[-1] - times[5]) / (10 * (len(times) - 6))


def product_s() -> float:
    """Seconds of the planted product."""
    matrix = torch.ones(SIZE, SIZE)
    times = []
    for _ in range(20):
        since_s = time.perf_counter()
        for _ in range(50):
            matrix @ matrix
        times.append((time.perf_counter() - since_s) / 50)
    return statistics.median(times)


def gate(folder: Path, branch: str) -> dict[str, object]:
    """What the gate says of a branch."""
    git(folder, "checkout", "-q", branch)
    typed = [sys.executable, "-m", "mfubench", "gate", "--json"]
    if branch == "compile-lost":
        typed += ["--script", "train.py config/ci.json --compile=inductor"]
    since_s = time.monotonic()
    done = subprocess.run(typed, cwd=folder, capture_output=True, text=True, check=False)
    found: dict[str, object] = {"status": done.returncode, "seconds": time.monotonic() - since_s}
    if done.returncode == 3:
        return found | {"verdict": "could not run", "reasons": [done.stderr.splitlines()[-1]]}
    data = json.loads(done.stdout)
    (case,) = data["cases"]
    bad = [one["metric"] for one in case["metrics"] if one["verdict"] in (REGRESSED, SLOWER)]
    changes = {one["metric"]: one["change"] for one in case["metrics"]}
    return found | {"verdict": data["verdict"], "reasons": bad or [case["reason"]]} | changes


def is_right(branch: str, found: dict[str, object]) -> bool:
    """Whether a branch got its verdict, for its reason."""
    verdict, metric = EXPECTED[branch]
    reasons = found["reasons"]
    assert isinstance(reasons, list)
    if verdict == "red":
        return found["status"] == 1 and metric in reasons
    return found["verdict"] == verdict and (metric is None or metric in reasons)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("branches", nargs="*", default=list(EXPECTED), metavar="BRANCH")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mfubench-somebody-") as name:
        plain = made(Path(name) / "plain")
        repeats = max(1, round(SHARE * step_s(plain) / product_s()))
        folder = made(Path(name) / "repository", size=SIZE, repeats=repeats, share=SHARE)
        right = []
        for branch in arguments.branches:
            found = gate(folder, branch)
            right.append(is_right(branch, found))
            word = "right" if right[-1] else f"WRONG, expected {EXPECTED[branch]}"
            print(f"{branch}: {word}: {json.dumps(found)}", flush=True)
        left = git(folder, "worktree", "list").splitlines()
        print(f"{sum(right)} of {len(right)} right; {len(left) - 1} worktrees left")
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
