"""A sample of the campaign of bad inputs and faults; all of it: `python -m tests.campaign`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="a trial is a fork, and looks at /proc")
def test_nothing_breaks_in_a_sample() -> None:
    pytest.importorskip("html5lib")
    pytest.importorskip("pyte")
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaign", "--sample", "--jobs", "1"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "| all |" in done.stdout
