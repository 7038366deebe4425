"""The self-test: said first, run after, and judged from what is stored."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from functools import partial
from pathlib import Path

import msgspec
import pytest

from mfubench.predict import self_test
from mfubench.predict.document import FrozenPredictions, HeldOut, Probe, Setting
from mfubench.predict.held_out import held_out
from mfubench.predict.intervals import half_widths_of
from mfubench.predict.predict import HALF_WIDTHS
from mfubench.predict.rivals import MODEL, compared, fastest_found, once_measured, quantile
from mfubench.predict.self_test import (
    MOST_VISITS,
    TEST,
    document_of,
    frozen_of,
    merged,
    run_held_out,
)
from mfubench.predict.text import errors_text
from mfubench.results import document
from tests.unit.predict.made_up_machine import ANCHORS, MadeUp

TRUTH = MadeUp(factors={"launch": 1.3, "linear": 1.1})


@pytest.fixture(scope="module")
def probe() -> Probe:
    compiled = [msgspec.structs.replace(one, compile=True) for one in ANCHORS]
    return TRUTH.probe([*ANCHORS, *compiled])


@pytest.fixture(scope="module")
def frozen(probe: Probe) -> FrozenPredictions:
    return frozen_of(probe, HALF_WIDTHS)


def run(one: Setting, factor: float = 1.0) -> HeldOut:
    return HeldOut(
        setting=one,
        step_s=factor * TRUTH.step_s(one),
        peak_memory_bytes=10**8,
        control_s=1e-3,
        at_s=0.0,
    )


def test_whole_factors_are_held_out() -> None:
    factors = {factor for factor, _ in held_out("cpu", ["float32", "bfloat16"])}
    assert factors == {
        *("depth", "width", "context", "batch", "vocabulary"),
        *("dtype", "compile", "several", "question"),
    }


def test_no_anchor_is_held_out(probe: Probe) -> None:
    anchors = {anchor.setting.name for anchor in probe.anchors}
    assert anchors.isdisjoint({setting.name for _, setting in held_out("cpu", ["float32"])})


def test_on_a_machine_that_keeps_to_the_model_it_beats_all_rivals(
    frozen: FrozenPredictions,
) -> None:
    measured = [run(one.setting) for one in frozen.predictions]
    errors, by_factor, memory = compared(frozen.predictions, measured)
    ours, *rivals = errors
    assert ours.rule == MODEL
    assert ours.median < 0.05
    assert len(rivals) == 4
    assert all(rival.median > 2 * ours.median for rival in rivals)
    assert sum(one.settings for one in by_factor.values()) == ours.settings >= 60
    assert memory is not None


def test_coverage_counts_what_lies_in_the_frozen_intervals(frozen: FrozenPredictions) -> None:
    far = [run(one.setting, 3.0) for one in frozen.predictions]
    near = [run(one.setting) for one in frozen.predictions[:20]]
    assert compared(frozen.predictions, far)[0][0].covered == 0.0
    assert compared(frozen.predictions, near)[0][0].covered == 1.0


def test_the_fastest_is_looked_for_among_what_was_measured(frozen: FrozenPredictions) -> None:
    questions, answered = fastest_found(
        frozen.predictions, [run(one.setting) for one in frozen.predictions]
    )
    assert questions >= 3
    assert answered >= questions - 1


def test_each_setting_is_kept_at_once_and_the_rest_is_gone_on_with(
    frozen: FrozenPredictions,
) -> None:
    kept: list[HeldOut] = []

    def broken_off(one: Setting) -> HeldOut:
        if len(kept) == 3:
            raise KeyboardInterrupt
        return run(one)

    assert run_held_out(frozen, [], broken_off, kept.append, budget_s=1e9) == "interrupted"
    assert len(kept) == 3
    again: list[HeldOut] = []
    assert run_held_out(frozen, list(kept), run, again.append, budget_s=1e9) == "complete"
    visits = Counter(held.setting.name for held in (*kept, *again))
    assert len(visits) == len(frozen.predictions)
    assert set(visits.values()) == {MOST_VISITS}


def test_every_setting_is_visited_before_one_is_visited_again(frozen: FrozenPredictions) -> None:
    kept: list[HeldOut] = []
    run_held_out(frozen, [], run, kept.append, budget_s=1e9)
    count = len(frozen.predictions)
    for start in range(0, len(kept), count):
        assert len({held.setting.name for held in kept[start : start + count]}) == count


def test_a_budget_that_holds_one_visit_of_each_is_enough(
    frozen: FrozenPredictions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_test, "now_s", partial(next, itertools.count()))
    kept: list[HeldOut] = []
    budget_s = len(frozen.predictions) + 3.0
    assert run_held_out(frozen, [], run, kept.append, budget_s=budget_s) == "complete"
    assert len(kept) == budget_s


def test_a_setting_has_the_median_of_its_visits(frozen: FrozenPredictions) -> None:
    one, other = (prediction.setting for prediction in frozen.predictions[:2])
    failed = msgspec.structs.replace(run(one), step_s=None, problem="out of memory")
    visits = [run(one, 1.0), run(other), run(one, 5.0), failed, run(one, 2.0)]
    first, second = merged(visits)
    assert first.step_s == 2.0 * TRUTH.step_s(one)
    assert first.visits_s == [factor * TRUTH.step_s(one) for factor in (1.0, 5.0, 2.0)]
    assert first.problem is None
    assert second.visits_s == [second.step_s]
    (never,) = merged([failed])
    assert never.step_s is None
    assert never.problem == "out of memory"


def test_a_budget_ends_it(frozen: FrozenPredictions) -> None:
    kept: list[HeldOut] = []
    assert run_held_out(frozen, [], run, kept.append, budget_s=-1.0) == "out of budget"
    assert kept == []


def test_intervals_are_as_wide_as_the_widest_of_the_newest_self_tests(
    tmp_path: Path, frozen: FrozenPredictions
) -> None:
    machine, halves = document.machine_dir(tmp_path), []
    for factor in (1.5, 1.07, 1.2, 1.1):
        measured = [run(one.setting, factor) for one in frozen.predictions]
        body = document_of(frozen, "0001_x.json", measured, budget_s=9, spent_s=1, ended="complete")
        document.save(TEST, body, tmp_path)
        halves.append(body.errors[0].half_width)
    assert halves[0] > halves[2] > halves[3] > halves[1]
    assert half_widths_of(machine, "cpu") == {**HALF_WIDTHS, "anchored": halves[2]}
    assert half_widths_of(machine, "cuda") == HALF_WIDTHS
    path = next((machine / TEST).glob("*.json"))
    assert json.loads(path.read_text(encoding="utf-8"))["mfubench"]["kind"] == TEST


def test_the_text_has_each_rule_and_what_the_machine_did(frozen: FrozenPredictions) -> None:
    measured = [run(one.setting) for one in frozen.predictions]
    body = document_of(frozen, "0001_x.json", measured, budget_s=9, spent_s=1, ended="complete")
    text = errors_text(body, width=100)
    for word in ("this model", "constant MFU", "datasheet roofline", "nearest measured neighbour"):
        assert word in text
    assert "A kernel that does the same each time varied by 0 %" in text


def test_what_a_machine_differs_from_itself_stands_beside_the_errors(
    frozen: FrozenPredictions,
) -> None:
    visits = [
        run(one.setting, factor) for factor in (1.1, 0.9, 1.0, 1.0) for one in frozen.predictions
    ]
    body = document_of(frozen, "0001_x.json", visits, budget_s=9, spent_s=1, ended="complete")
    found = once_measured(body.measured)
    assert found is not None
    assert found.settings == len(frozen.predictions)
    assert found.median == pytest.approx(0.1)
    assert "a single measurement" in errors_text(body, width=100)
    once = document_of(
        frozen, "0001_x.json", visits[:5], budget_s=9, spent_s=1, ended="out of budget"
    )
    assert once_measured(once.measured) is None


def test_a_setting_that_could_not_be_run_is_no_error_of_the_model(
    frozen: FrozenPredictions,
) -> None:
    one = frozen.predictions[0]
    failed = HeldOut(
        setting=one.setting, step_s=None, peak_memory_bytes=None, control_s=1e-3, at_s=0.0,
        problem="out of memory",
    )  # fmt: skip
    assert compared(frozen.predictions, [failed]) == ([], {}, None)


def test_a_quantile_lies_between_its_neighbours() -> None:
    assert quantile([0.0, 1.0], 0.8) == pytest.approx(0.8)
