"""Claims through pytest: each one an independent case, its answer saved, printed, printed again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mfubench.claims.measure.ask import CLAIMS
from mfubench.cli import main
from mfubench.results.schema import problems

Project = Callable[..., Path]
Bench = Callable[..., pytest.RunResult]
Saved = Callable[[], dict[str, Any]]

PLANTED = """
from mfubench.claims.rules.verdicts import DOES_NOT_HOLD, HOLDS, Answer, untestable
from mfubench.pairs.side import SideError
from mfubench.results.outcomes import Outcome
from mfubench.claims.measure.ask import Claim, ask

def judge(*, value):
    verdict = HOLDS if value >= 1 else DOES_NOT_HOLD
    return Answer(verdict=verdict, because=f"it is {value}", value=value, unit="× tokens/s")

def claim(id, measure, needs=lambda bench: None, judge=judge):
    words = {"words": f"words of {id}.", "test": "by planting", "rule": "one or more"}
    return Claim(id=id, measure=measure, judge=judge, needs=needs, **words)

def fails(bench):
    raise ValueError("planted")

def breaks_off(bench):
    raise SideError(Outcome.OUT_OF_MEMORY, "the process ended: killed")

def stops(bench):
    raise KeyboardInterrupt

CLAIMS = (
    claim("C1", lambda bench: {"value": 2.0}),
    claim("C2", lambda bench: {"value": 0.5}),
    claim("C3", fails),
    claim("C4", breaks_off),
    claim("C5", fails, needs=lambda bench: "this machine has no such thing"),
    claim("C6", lambda bench: {}, judge=lambda: untestable("no maker is known")),
    claim("C7", lambda bench: {"value": bench.preset.batch_size}),
)

@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_claim(measure_case, claim):
    measure_case.conclude(ask(measure_case.runner, claim))
"""


def said(data: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Claim to verdict and outcome."""
    assert problems(data) == []
    measured = [benchmark["extra_info"] for benchmark in data["benchmarks"]]
    infos = [*measured, *data["mfubench"]["other_outcomes"]]
    return {i["claim"]["id"]: (i["claim"]["verdict"], i["outcome"]) for i in infos}


def test_each_claim_is_a_case_of_its_own_and_every_answer_is_kept(
    project: Project, bench: Bench, saved: Saved
) -> None:
    project(PLANTED)
    result = bench()
    assert said(saved()) == {
        "C1": ("holds", "ok"),
        "C2": ("does not hold", "ok"),
        "C3": ("untestable here", "error"),
        "C4": ("untestable here", "out_of_memory"),
        "C5": ("untestable here", "unsupported"),
        "C6": ("untestable here", "unsupported"),
        "C7": ("holds", "ok"),
    }
    result.assert_outcomes(passed=3, skipped=3, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_claim_says_why_and_under_which_conditions(
    project: Project, bench: Bench, saved: Saved
) -> None:
    project(PLANTED)
    bench()
    data = saved()
    others = {i["claim"]["id"]: i["claim"] for i in data["mfubench"]["other_outcomes"]}
    assert others["C3"]["because"] == "ValueError: planted"
    assert others["C4"]["because"] == "the process ended: killed"
    assert others["C5"]["because"] == "this machine has no such thing"
    (first, *_) = (benchmark["extra_info"]["claim"] for benchmark in data["benchmarks"])
    assert first["figures"] == {"value": 2.0}
    assert first["conditions"].startswith("nanogpt-cpu, batch 12, float32, eager, ")


def test_the_table_is_printed_at_the_end_and_again_by_show(
    project: Project, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project(PLANTED)
    printed = "\n".join(bench().outlines)
    (file,) = (path / "results").rglob("0001_*.json")
    capsys.readouterr()
    assert main(["show", str(file)]) == 0
    shown = capsys.readouterr().out
    for text in (printed, shown):
        for words in ("words of C2.", "does not hold", "it is 0.5", "this machine has no such"):
            assert words in text


def test_an_interrupt_keeps_the_answers_before_it(
    project: Project, pytester: pytest.Pytester, saved: Saved
) -> None:
    project(PLANTED.replace('claim("C2", lambda bench: {"value": 0.5})', 'claim("C2", stops)'))
    result = pytester.runpytest_subprocess("benchmarks/", "--sweep=smoke")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert said(saved()) == {"C1": ("holds", "ok"), "C2": ("untestable here", "interrupted")}


def test_with_timing_switched_off_nothing_is_asked(
    project: Project, bench: Bench, saved: Saved
) -> None:
    project(PLANTED)
    bench("--benchmark-disable")
    assert {outcome for _, outcome in said(saved()).values()} == {"unavailable"}


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read"), ("{", "is not a result file")]
)
def test_another_machines_file_is_refused_before_anything_is_timed(
    project: Project, bench: Bench, content: str | None, words: str
) -> None:
    path = project(PLANTED)
    if content is not None:
        (path / "other.json").write_text(content, encoding="utf-8")
    result = bench("--claims-against", "other.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert any("--claims-against" in line and words in line for line in result.errlines)


def test_the_claims_are_asked_when_named_or_by_the_full_sweep(pytester: pytest.Pytester) -> None:
    code = (Path(__file__).parents[2] / "benchmarks" / "test_claims.py").read_text("utf-8")
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\ntestpaths = ['tests']\n")
    pytester.makeconftest("pytest_plugins = ['mfubench.plugin']")
    folder = pytester.path / "benchmarks"
    folder.mkdir()
    (folder / "test_claims.py").write_text(code, encoding="utf-8")
    for arguments, count in (
        (("benchmarks/",), 0),
        (("benchmarks/", "--sweep=full"), len(CLAIMS)),
        (("benchmarks/test_claims.py",), len(CLAIMS)),
    ):
        result = pytester.runpytest_inprocess(*arguments, "--collect-only", "-q")
        assert sum("test_claim[" in line for line in result.outlines) == count
