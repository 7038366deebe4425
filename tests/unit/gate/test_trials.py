"""Error rates from stored pairs, on pairs whose truth is known."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from mfubench.gate.rules.case_trials import trials_of
from mfubench.gate.rules.document import Pair, PairedCase
from mfubench.gate.rules.rivals import rivals
from mfubench.gate.rules.trials import summary, windows

PLANTS = {"0.03": 0.03, "0.05": 0.05}


def stored(pairs: int, *, sd: float = 0.004, drift: float = 0.05, seed: int = 0) -> list[Pair]:
    """Pairs of a machine that drifts by `drift` from pair to pair, both sides alike."""
    rng = np.random.default_rng(seed)
    measured: list[dict[str, Any]] = []
    for number in range(pairs):
        speed = math.exp(drift * rng.normal())
        cases = {}
        for case_id in ("a", "b"):
            side = math.exp(sd * rng.normal())

            def turns(factor: float, speed: float = speed) -> list[float]:
                return [0.04 * speed * factor * math.exp(0.002 * rng.normal()) for _ in range(6)]

            planted = {}
            for name, share in PLANTS.items():
                step = turns(side * (1 + share))
                extra = [s * share / (1 + share) for s in step]
                planted[name] = {"base": turns(1), "step": step, "extra": extra}
            cases[case_id] = {
                "times": {
                    "step": {"base": turns(1), "candidate": turns(side)},
                    "control": {"base": turns(1), "candidate": turns(1)},
                    "planted": planted,
                },
                "start": {},
                "counts": {},
                "compiled": False,
            }
        measured.append({"number": number, "at_s": 0.0, "cases": cases})
    return msgspec.convert(measured, list[Pair])


def test_a_drifting_machine_gives_no_false_alarm_and_sees_what_is_planted() -> None:
    found = summary(stored(40), 10)
    assert found.false_alarms.count == 0
    assert found.false_alarms.trials == 1  # a gate may look at thirty of the forty
    assert found.false_alarms.drawn_rate == 0
    assert [p.rate > 0.9 for p in found.power] == [True, True]
    assert [p.whole_gate_rate >= p.rate for p in found.power] == [True, True]
    assert found.power[0].true_effect == pytest.approx(0.03, abs=0.001)
    assert abs(found.coverage.bias) < 0.003
    assert found.coverage.trials == 8
    assert found.coverage.rate > 0.85
    assert 0.01 < found.cases[0].mde < 0.03


def test_a_threshold_between_sessions_alarms_where_the_gate_does_not() -> None:
    threshold = next(r for r in rivals(trials_of(stored(20)), list(PLANTS)) if "median" in r.name)
    assert threshold.rates["0"] > 0.1


def test_too_few_pairs_say_nothing() -> None:
    with pytest.raises(ValueError, match="5 stored pairs are too few for gates of 10"):
        summary(stored(5), 10)


def test_windows_share_no_pair() -> None:
    found = windows(43, 10)
    assert len(found) == 4
    assert len({i for window in found for i in window}) == 40


def test_a_pair_with_a_failed_case_is_left_out_of_that_case() -> None:
    pairs = stored(12)
    pairs[3].cases["a"] = PairedCase(errors={"base": "gone"})
    a, b = trials_of(pairs)
    assert (len(a.control), len(b.control)) == (11, 12)
