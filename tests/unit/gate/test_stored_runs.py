"""A run by stored runs: slides, cases that are not there, and what history is too short for."""

from __future__ import annotations

import pytest

from mfubench.gate.rules.policy import IMPROVED, INCONCLUSIVE, PASS, REGRESSED
from mfubench.gate.rules.stored_runs import StoredVerdict, judge_run

Rounds = dict[str, list[float]]
HISTORY: list[Rounds] = [{"a": [x] * 5} for x in (1.000, 1.001, 0.999, 1.002, 0.998, 1.0)]


def run_of(seconds: float, case: str = "a") -> Rounds:
    return {case: [seconds] * 5}


def judge(run: Rounds, baseline: Rounds, anchor: Rounds, **settings: object) -> list[StoredVerdict]:
    history = settings.pop("history", HISTORY)
    return judge_run(run, baseline, anchor, history, settings={}, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(1.001, PASS), (1.10, REGRESSED), (0.90, IMPROVED)]
)
def test_verdicts(seconds: float, verdict: str) -> None:
    by_baseline, by_anchor = judge(run_of(seconds), run_of(1.0), run_of(1.0))
    assert by_baseline.verdict == by_anchor.verdict == verdict
    assert (by_baseline.reference, by_anchor.reference) == ("baseline", "anchor")


def test_five_slides_of_four_per_cent_do_not_pass() -> None:
    slides = [1.04**step for step in range(6)]
    by_baseline, by_anchor = judge(run_of(slides[5]), run_of(slides[4]), run_of(slides[0]))
    assert by_anchor.verdict == REGRESSED
    assert by_anchor.change == pytest.approx(0.2167, abs=1e-3)
    assert by_baseline.change == pytest.approx(0.04)


def test_a_noisy_history_passes_nothing() -> None:
    noisy = [{"a": [x]} for x in (1.0, 1.2, 0.8, 1.1, 0.9, 1.0)]
    (one, _) = judge(run_of(1.0), run_of(1.0), run_of(1.0), history=noisy)
    assert one.verdict == INCONCLUSIVE
    assert "sessions of this machine differ by" in (one.reason or "")


def test_a_short_history_judges_nothing() -> None:
    (one, _) = judge(run_of(2.0), run_of(1.0), run_of(1.0), history=HISTORY[:4])
    assert one.verdict == INCONCLUSIVE
    assert one.reason == "4 stored sessions; 5 say what sessions differ by"


def test_a_marker_widens_the_limits_of_its_cases_alone() -> None:
    run = {**run_of(1.10), **run_of(1.10, "other")}
    stored = {**run_of(1.0), **run_of(1.0, "other")}
    history = [{**one, "other": one["a"]} for one in HISTORY]
    wide = {"a": {"floor": 0.15, "tolerance": 0.20}}
    found = judge(run, stored, {}, history=history, marked=wide)
    assert {one.case_id: one.verdict for one in found} == {"a": PASS, "other": REGRESSED}


def test_missing_failed_and_new_cases_are_listed_and_not_green() -> None:
    baseline = {"gone": [1.0], "broken": [1.0]}
    found = judge(run_of(1.0, "new"), baseline, {}, not_measured={"broken": "error"})
    assert {one.case_id: (one.verdict, one.reason) for one in found} == {
        "gone": (INCONCLUSIVE, "missing from this run"),
        "broken": (REGRESSED, "not measured now: error"),
        "new": (INCONCLUSIVE, "new: the baseline has no such case"),
    }
