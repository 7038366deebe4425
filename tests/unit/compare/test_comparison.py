"""The verdicts of `mfubench compare` and how often they err, on pairs that are made up."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import msgspec
import pytest

from mfubench.analysis import sequential
from mfubench.compare.comparison import Comparing, CouldNotRunError
from mfubench.compare.document import Comparison
from mfubench.compare.rule import judge, log_ratio
from mfubench.pairs.journal import PairJournal
from mfubench.sides.pair import ScriptPair
from tests.unit.compare.made_up import MadeUpBench, comparing


def verdicts(found: Comparison) -> list[str]:
    return [side.verdict for side in found.sides]


# --- the sequential rule -------------------------------------------------------------------------


def test_levels_are_those_of_the_literature() -> None:
    """Pocock's spending at four looks, two-sided 5 %: bounds of 2.368, 2.368, 2.358 and 2.350
    (Reboussin, DeMets, Kim and Lan, Control. Clin. Trials 21, 2000)."""
    found = sequential.levels([10, 20, 30, 40], [0.25, 0.5, 0.75, 1.0], 0.025)
    tails = [math.erfc(z / math.sqrt(2)) / 2 for z in (2.368, 2.368, 2.358, 2.350)]
    assert found == pytest.approx(tails, rel=0.01)


@pytest.mark.parametrize("spoilt", [0.0, 0.1], ids=["normal", "one pair in ten far off"])
def test_the_error_holds_over_all_looks(spoilt: float) -> None:
    rng, looks, alpha, trials = random.Random(1), [4, 8, 15, 30], 0.05, 1000
    levels = sequential.levels(looks, [n / looks[-1] for n in looks], alpha)
    errors = 0
    for _ in range(trials):
        values = [rng.gauss(0, 6 if rng.random() < spoilt else 1) for _ in range(looks[-1])]
        bounds = (sequential.interval(values[:n], a) for n, a in zip(looks, levels, strict=True))
        errors += any(low > 0 for low, _ in bounds)
    assert errors / trials <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / trials)


def test_what_is_left_is_spent_when_time_runs_out() -> None:
    early, late = (sequential.levels([4, 6], [0.13, share], 0.01) for share in (0.2, 1.0))
    assert early[0] == late[0]
    assert early[1] < late[1] < 0.01


# --- whole comparisons ---------------------------------------------------------------------------


def rates(change: float, *, spread: float, trials: int) -> dict[str, float]:
    found = [
        comparing(MadeUpBench([change], spread=spread, seed=seed)).run().sides[1].verdict
        for seed in range(trials)
    ]
    return {verdict: found.count(verdict) / trials for verdict in set(found)}


@pytest.mark.parametrize("spread", [0.003, 0.01, 0.03])
def test_a_side_without_a_difference_is_hardly_ever_called_faster_or_slower(spread: float) -> None:
    found = rates(0.0, spread=spread, trials=200)
    assert found.get("faster", 0) + found.get("slower", 0) <= 0.02


def test_three_and_five_per_cent_are_seen_through_the_noise_of_a_shared_machine() -> None:
    assert rates(0.03, spread=0.01, trials=100)["slower"] >= 0.95
    assert rates(-0.05, spread=0.015, trials=100)["faster"] >= 0.99


def test_clear_differences_end_early_and_near_ones_get_more_pairs() -> None:
    pairs = {
        change: comparing(MadeUpBench([change], spread=0.006)).run().pairs
        for change in (0.01, 0.30)
    }
    assert pairs[0.30] == 4
    assert pairs[0.01] > 8


def test_each_side_is_measured_until_it_is_decided() -> None:
    bench = MadeUpBench([0.5, 0.011], spread=0.008)
    found = comparing(bench, budget_s=300).run()
    assert found.sides[1].verdict == "slower"
    assert bench.asked[0] == [0, 1, 2]
    assert bench.asked[-1] == [0, 2]
    assert found.sides[1].pairs < found.sides[2].pairs


def test_the_contract_of_the_document() -> None:
    found = comparing(MadeUpBench([-0.2, 0.0])).run()
    data = json.loads(msgspec.json.encode(found))
    assert verdicts(found) == ["reference", "faster", "no difference"]
    assert [side["ratio"] for side in data["sides"]] == pytest.approx([1, 1.25, 1], rel=0.02)
    for side in data["sides"]:
        assert side["low"] <= side["ratio"] <= side["high"]
        assert side["loss_verdict"] == "same"
        wanted = {"label", "step_s", "start_up_s", "peak_memory_bytes"}
        assert all(side[name] is not None for name in wanted)
    assert data["pairs"] == found.pairs
    assert data["spent_s"] == pytest.approx(10.0 * found.pairs)
    assert found.exit_status == 0
    assert found.sides[0].tokens_per_s == pytest.approx(100 / 0.04)


@pytest.mark.parametrize(("start_up_s", "steps"), [(2.2, None), (3.0, pytest.approx(125, rel=0.1))])
def test_a_start_is_won_back_only_where_it_is_certainly_longer(
    start_up_s: float, steps: object
) -> None:
    def slow_start(pair: ScriptPair) -> None:
        pair.sides["1"] = msgspec.structs.replace(pair.sides["1"], start_up_s=start_up_s)

    found = comparing(MadeUpBench([-0.2], spoil=slow_start)).run()
    assert found.sides[1].break_even_steps == steps


def test_the_interval_and_the_verdict_never_contradict() -> None:
    for seed in range(150):
        rng = random.Random(seed)
        logs = [rng.gauss(rng.choice([0, 0.01, 0.03]), 0.01) for _ in range(8)]
        one = judge(logs, 0.01, looks=[(4, 0.5), (8, 1.0)])
        near = math.log1p(0.01)
        if one.verdict == "no difference":
            assert -near < one.low <= one.high < near
        elif one.verdict in ("faster", "slower"):
            assert one.low > 0 or one.high < 0
        else:
            assert one.low <= 0 <= one.high or abs(one.centre) < near


def test_too_few_pairs_are_unclear_and_say_so() -> None:
    found = comparing(MadeUpBench([0.3]), budget_s=9).run()
    assert (found.pairs, found.ended, found.exit_status) == (1, "out of budget", 2)
    assert found.sides[1].verdict == "unclear"
    assert "1 pair is too few" in str(found.sides[1].reason)
    assert found.sides[1].low is None


def test_a_machine_that_favours_one_side_makes_it_unclear() -> None:
    def busy(pair: ScriptPair) -> None:
        pair.sides["1"].control_s = [0.0033] * 4

    found = comparing(MadeUpBench([0.10], spoil=busy)).run()
    assert found.sides[1].verdict == "unclear"
    assert "the machine favoured one side" in str(found.sides[1].reason)
    assert found.exit_status == 2


def test_the_order_of_turns_does_not_count() -> None:
    assert log_ratio([1.1, 1.0, 1.1, 1.0], [1.0, 1.1, 1.0, 1.1]) == pytest.approx(0, abs=1e-12)


# --- what goes wrong -----------------------------------------------------------------------------


def fails(side: str, *, of: range) -> MadeUpBench:
    def spoil(pair: ScriptPair) -> None:
        if pair.number in of and side in pair.sides:
            del pair.sides[side]
            pair.errors[side] = "the script failed: ValueError: no"

    return MadeUpBench([0.3, 0.0], spoil=spoil)


def test_a_side_that_fails_is_named_and_the_others_go_on() -> None:
    found = comparing(fails("1", of=range(99))).run()
    assert verdicts(found) == ["reference", "unclear", "no difference"]
    assert found.sides[1].reason is not None
    assert found.sides[1].reason.startswith("it failed: the script failed: ValueError: no")
    assert found.sides[1].ratio is None
    assert found.exit_status == 0


def test_a_side_that_fails_now_and_then_is_judged_by_the_pairs_that_are_whole() -> None:
    found = comparing(fails("1", of=range(2, 3))).run()
    assert found.sides[1].verdict == "slower"
    assert found.sides[1].pairs == 3


def test_a_reference_that_fails_is_an_end() -> None:
    with pytest.raises(CouldNotRunError, match="reference: the script failed"):
        comparing(fails("0", of=range(99))).run()


def test_what_was_measured_before_the_reference_fails_is_kept() -> None:
    found = comparing(fails("0", of=range(5, 99))).run()
    assert found.ended in ("failed", "decided")
    assert found.sides[1].verdict == "slower"


def test_an_interrupt_keeps_the_pairs_and_judges_by_them() -> None:
    def interrupt(pair: ScriptPair) -> None:
        if pair.number == 5:
            raise KeyboardInterrupt

    found = comparing(MadeUpBench([0.011], spread=0.02, spoil=interrupt)).run()
    assert (found.ended, found.pairs) == ("interrupted", 5)


def test_an_interrupted_comparison_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    def interrupt(pair: ScriptPair) -> None:
        if pair.number == 5:
            raise KeyboardInterrupt

    whole = comparing(MadeUpBench([0.011], spread=0.01)).run()
    path = tmp_path / "pairs.jsonl"
    first = MadeUpBench([0.011], spread=0.01, spoil=interrupt)
    comparing(first, path=path).run()
    journal = PairJournal(path)
    journal.load()
    assert len(journal.pairs) == 5
    rest = MadeUpBench([0.011], spread=0.01)
    for _ in range(5):
        rest.pair([0, 1], 0, 0.0)  # the same random numbers as the ones above had
    rest.asked.clear()
    again = Comparing(rest, journal, 0.01, 120.0).run()
    assert len(rest.asked) == whole.pairs - 5
    assert again.sides[1].ratio == whole.sides[1].ratio
    assert again.looks == whole.looks
