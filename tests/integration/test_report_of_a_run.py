"""`pytest benchmarks/ --report`: the page of the run that has just ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Project = Callable[..., Path]
Bench = Callable[..., pytest.RunResult]


def test_the_page_is_written_and_named_at_the_end(project: Project, bench: Bench) -> None:
    root = project()
    result = bench("--devices=cpu", "--dtypes=float32", "--report=page.html")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*report in page.html"])
    page = (root / "page.html").read_text(encoding="utf-8")
    assert "tiny, step, batch 4, float32, eager" in page
    assert "cannot be shown" not in page


def test_without_a_path_it_is_report_html(project: Project, bench: Bench) -> None:
    root = project()
    bench("--devices=cpu", "--dtypes=float32", "--report")
    assert (root / "report.html").exists()


def test_without_the_option_there_is_none(project: Project, bench: Bench) -> None:
    root = project()
    bench("--devices=cpu", "--dtypes=float32")
    assert not (root / "report.html").exists()


@pytest.mark.parametrize(
    ("path", "problem"), [("benchmarks", "it is a folder"), ("absent/r.html", "there is no folder")]
)
def test_a_page_that_cannot_be_written_is_refused_before_timing(
    project: Project, bench: Bench, path: str, problem: str
) -> None:
    root = project()
    result = bench("--devices=cpu", "--dtypes=float32", f"--report={path}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--report {path}: the page cannot be written: {problem}*"])
    assert not list((root / "results").rglob("0001_*.json"))
