"""The README's commands, typed as they stand, print what stands below them, numbers aside.

What a stored run or document says is compared with it, numbers and all.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mfubench.advise.advice import Advice
from mfubench.advise.text import advice_text
from mfubench.compare.document import Comparison
from mfubench.compare.text import comparison_text
from mfubench.report.references import OUR_CPU_RUN
from mfubench.report.table import render
from mfubench.results.read import read_document, read_result
from tests.inner_runs import store_ceiling
from tests.integration.test_a_users_folder import QUICK
from tests.unit.docs.pages import ROOT, fenced, page
from tests.unit.explain.printed_by_train_py import cpu_times_ms, header, iterations

RESULTS = ROOT / "results"
SCRIPTS = ROOT / "tests" / "unit" / "script" / "scripts"
BLOCKS = {
    lines[0].removeprefix("$ "): [line for line in lines[1:] if line]
    for lines in (block.splitlines() for block in fenced(page("README.md"), "console"))
}
SIZES = {
    "batch_size, gradient_accumulation_steps, max_iters, eval_interval = 4, 2, 14, 6": (
        "batch_size, gradient_accumulation_steps, max_iters, eval_interval = 12, 1, 60, 30"
    ),
    "block_size: int = 8": "block_size: int = 64",
    "vocab_size: int = 32": "vocab_size: int = 65",
    "n_layer: int = 2": "n_layer: int = 4",
    "n_head: int = 2": "n_head: int = 4",
    "n_embd: int = 16": "n_embd: int = 128",
}
"""The preset nanogpt-cpu, few steps of it."""
TABLE = """
[tool.mfubench]
threads = 1
[tool.mfubench.advise]
budget = "1s"
knobs = "adamw fused"
[tool.mfubench.compare]
budget = "10m"
"""


def masked(line: str) -> str:
    """A line with its numbers, their units and its blanks made alike."""
    text = re.sub(r"[+\-×]?\d[\d,.–]*", "#", line)
    return " ".join(
        re.sub(r"# ?(%|ms|s|min|[kMGT]?(FLOP|tokens)(/s)?)(?![a-z])", "#", text).split()
    )


COMPARE = "mfubench compare --env OMP_NUM_THREADS=1 --env OMP_NUM_THREADS=2 train.py"
MAY_BE_UNCLEAR = 2
"""The exit status of a comparison that was too short to tell: the test's has one pair."""


def only(pattern: str) -> Path:
    (path,) = RESULTS.glob(pattern)
    return path


def stored_bench() -> str:
    return render([record for record, _ in read_result(ROOT / OUR_CPU_RUN).records], width=80)


def stored_advice() -> str:
    return advice_text(read_document(only("*357d*/advice/0001*.json")).read(Advice))


def stored_comparison() -> str:
    return comparison_text(read_document(only("*/comparison/0001*.json")).read(Comparison))


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("mfubench bench", stored_bench),
        ("mfubench advise", stored_advice),
        (COMPARE, stored_comparison),
    ],
)
def test_a_block_is_what_the_stored_document_says(
    typed: str, stored: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = stored().splitlines()
    for line in BLOCKS[typed]:
        assert any(one.startswith(line) for one in said), line


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    script = (SCRIPTS / "gpt_loop.py").read_text(encoding="utf-8")
    for small, real in SIZES.items():
        assert small in script
        script = script.replace(small, real)
    (folder / "train.py").write_text(script, encoding="utf-8")
    # Ten times as slow as the README's: an MFU above 100 % of a small CPU is told otherwise.
    log = header() + iterations(10 * time_ms for time_ms in cpu_times_ms(600))
    (folder / "train.log").write_text("\n".join(log), encoding="utf-8")
    (folder / "pyproject.toml").write_text(TABLE, encoding="utf-8")
    store_ceiling(folder / "results", threads=1)
    return folder


@pytest.mark.parametrize(
    ("typed", "least"),
    [
        ("mfubench bench", 2),
        ("mfubench run train.py", 5),
        ("mfubench explain train.log --device this", 5),
        ("mfubench advise", 2),
        (COMPARE, 2),
    ],
)
def test_a_command_typed_as_it_stands_prints_its_block(users: Path, typed: str, least: int) -> None:
    """`least` lines of it: what `bench`, `advise` and `compare` conclude is the machine's."""
    words = typed.split()[1:]
    done = subprocess.run(
        [sys.executable, "-P", "-c", QUICK, *words],
        cwd=users,
        env={**os.environ, "COLUMNS": "80", "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    allowed = (0, MAY_BE_UNCLEAR) if typed == COMPARE else (0,)
    assert done.returncode in allowed, done.stdout + done.stderr
    said = [masked(line) for line in (done.stdout + done.stderr).splitlines()]
    shown = [masked(line) for line in BLOCKS[typed]]
    found = [line for line in shown if any(one.startswith(line) for one in said)]
    assert len(found) >= least, [line for line in shown if line not in found]


def test_every_block_has_five_lines_and_is_tried() -> None:
    assert len(BLOCKS) == 5
    assert {len(lines) for lines in BLOCKS.values()} == {5}
