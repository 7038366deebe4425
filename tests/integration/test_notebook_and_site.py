"""The example notebook runs, and the site is built from the same pages, with every link checked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.docs.pages import ROOT


def test_the_notebook_runs_and_shows_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    nbformat.validate(notebook)
    kernel = {"kernel_name": "python3", "resources": {"metadata": {"path": str(ROOT / "docs")}}}
    nbclient.NotebookClient(notebook, timeout=240, startup_timeout=240, **kernel).execute()
    shown = [
        output.data["text/html"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "text/html" in output.get("data", {})
    ]
    measured, stored = shown
    assert "mlp uses" in measured
    assert "training script, mlp" in measured
    assert "<th>MFU</th>" in stored
    assert "46.5 %" in stored
    assert "more columns" in stored


def test_the_site_is_built_strictly(tmp_path: Path) -> None:
    """A link or an anchor that leads nowhere is a warning, and a warning fails."""
    pytest.importorskip("material")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    start = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "Is my number good?" in start
    assert "first-screen.svg" in start
    built = {path.name for path in tmp_path.glob("*.html")}
    assert {f"{path.stem}.html" for path in (ROOT / "docs").glob("*.md")} <= built
    assert not any(address in start for address in ("fonts.googleapis", "unpkg.com", "cdn."))
