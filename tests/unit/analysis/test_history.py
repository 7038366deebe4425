"""Change points where there are some, none where there are none, and what else changed there."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from mfubench.analysis.history import DRAWN, LEAST_RUNS, change_indices, history_of
from mfubench.results.collect import collect
from tests.unit.report.example_results import MACHINE, nights

STEP = "train-step/nanogpt-cpu/cpu-float32-b12-eager"


def noise(count: int, seed: int, sigma: float = 0.015) -> list[float]:
    source = random.Random(seed)
    return [0.04 * math.exp(source.gauss(0, sigma)) for _ in range(count)]


@pytest.mark.parametrize("count", [LEAST_RUNS, 40, 200])
def test_noise_has_no_change_point(count: int) -> None:
    alarms = sum(bool(change_indices(noise(count, seed))) for seed in range(60))
    assert alarms <= 2


@pytest.mark.parametrize("factor", [1.05, 1 / 1.05])
def test_a_step_of_five_percent_is_found_where_it_is(factor: float) -> None:
    found = 0
    for seed in range(40):
        medians = noise(40, seed)
        medians[20:] = [m * factor for m in medians[20:]]
        found += any(abs(cut - 20) <= 2 for cut in change_indices(medians))
    assert found >= 37


def test_one_busy_night_is_no_level() -> None:
    for seed in range(20):
        medians = noise(40, seed)
        medians[17] *= 1.8
        assert change_indices(medians) == []


def test_a_drift_too_small_to_matter_is_not_marked() -> None:
    medians = [0.04 * (1.01 if i >= 50 else 1.0) * (1 + 1e-4 * (i % 3)) for i in range(100)]
    assert change_indices(medians) == []


def test_copied_files_do_not_make_every_run_a_change() -> None:
    medians = [m for m in noise(60, 3) for _ in range(2)]
    assert len(change_indices(medians)) <= 30


def test_too_few_runs_have_no_change_points() -> None:
    assert change_indices([0.04] * 3 + [0.08] * (LEAST_RUNS - 4)) == []


def test_only_the_newest_runs_are_searched() -> None:
    medians = noise(1300, 5, sigma=0.002)
    medians[100:] = [m * 1.2 for m in medians[100:]]
    medians[1200:] = [m * 1.2 for m in medians[1200:]]
    (cut,) = change_indices(medians)
    assert abs(cut - 1200) <= 1


def test_a_change_point_names_the_commits_and_the_environment(tmp_path: Path) -> None:
    nights(tmp_path, 30, slower_from=10)  # torch changes at a third of the nights: at night 10 too
    found = collect([tmp_path])
    history = history_of(MACHINE, STEP, found.history[MACHINE, STEP])
    (change,) = history.change_points
    assert change.index == 10
    assert 1.04 < change.ratio < 1.08
    assert "commit 09c0ffee → 10c0ffee" in change.sentence
    assert "environment changed too: torch 2.12.1+cpu → 2.13.0+cpu" in change.sentence
    assert change.sentence in history.description


def test_an_environment_change_elsewhere_is_not_blamed(tmp_path: Path) -> None:
    nights(tmp_path, 40, slower_from=28)
    found = collect([tmp_path])
    history = history_of(MACHINE, STEP, found.history[MACHINE, STEP])
    (change,) = history.change_points
    assert "environment" not in change.sentence
    assert [c.index for c in history.environment] == [13]


def test_many_runs_are_drawn_in_groups(tmp_path: Path) -> None:
    nights(tmp_path, 5)
    (point,) = collect([tmp_path]).history[MACHINE, STEP][:1]
    history = history_of(MACHINE, STEP, [point] * 1000)
    assert len(history.buckets) <= DRAWN
    assert history.runs == 1000
    assert history.buckets[0].index < history.buckets[-1].index <= 999
