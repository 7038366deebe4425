"""The account of a step closes, whatever the profile says, and each bar says what there is to win.

Numbers that are built by hand use a ceiling of 1 GFLOP/s and a bandwidth of 1 GB/s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mfubench.analysis.account import (
    MEMORY_BARS,
    PROFILED_BARS,
    Account,
    ComponentCost,
    Operator,
    agrees,
    build_account,
    with_ablations,
)
from mfubench.results.bars import Bar

GIGA = 1e9
FUSED = "fused: normalisation + residual"
COMPONENTS = ("gemm", "attention", *PROFILED_BARS, FUSED)

seconds = st.floats(0, 1e3, allow_nan=False)
durations = st.floats(1e-6, 1e3)
rates = st.floats(1e6, 1e18)
costs = st.builds(ComponentCost, flops=st.integers(0, 10**15), bytes=st.integers(0, 10**12))
rows = st.builds(
    Operator,
    name=st.sampled_from(["aten::mm", "aten::view", "Python, in no operator"]),
    component=st.sampled_from([*COMPONENTS, "unknown", "a bar of tomorrow"]),
    phase=st.sampled_from(["", "forward", "backward", "optimizer"]),
    seconds=seconds,
    calls=st.floats(0, 1e4),
    is_dispatch=st.booleans(),
)


@st.composite
def measured(draw: st.DrawFn) -> tuple[list[Operator], dict[str, Any]]:
    """Operators and whatever else an account is closed from, consistent or not."""
    step_s = draw(durations)
    outside = draw(
        st.none()
        | st.fixed_dictionaries(
            {
                "evaluation": st.floats(0, 0.4 * step_s),
                "checkpoint": st.floats(0, 0.4 * step_s),
            }
        )
    )
    bandwidth = draw(rates)
    return draw(st.lists(rows, max_size=12)), {
        "step_s": step_s,
        "profiled_step_s": draw(durations),
        "model_flops": draw(st.integers(1, 10**18)),
        "peak_flops_per_s": draw(st.none() | rates),
        "ceiling_flops_per_s": draw(rates),
        "gemm_alone_s": draw(st.none() | seconds),
        "costs": draw(st.dictionaries(st.sampled_from(COMPONENTS), costs)),
        "bandwidth": lambda _: bandwidth,
        "outside": outside,
    }


def largest(account: Account) -> float:
    """What a sum's rounding errors are measured by."""
    return max(account.step_s, *(abs(bar.seconds) for bar in account.bars))


@given(measured())
def test_the_bars_add_up_to_the_step_and_their_points_to_one(
    given_: tuple[list[Operator], dict[str, Any]],
) -> None:
    operators, rest = given_
    account = build_account(operators, **rest)
    tolerance = 1e-9 * largest(account)
    assert sum(bar.seconds for bar in account.bars) == pytest.approx(account.step_s, abs=tolerance)
    points = [bar.points for bar in account.bars]
    assert sum(points) == pytest.approx(1, abs=tolerance / account.step_s)
    assert len({bar.name for bar in account.bars}) == len(account.bars)
    assert account.bars[0].name == "peak"
    assert account.bars[-1].name == "unexplained"
    assert account.unexplained_ratio == account.bars[-1].seconds / account.step_s
    for bar in account.bars:
        assert bar.to_win_s is None or bar.to_win_s >= 0
        assert (bar.to_win_s is None) == (bar.floor_s is None)
    assert account.binds in account.groups


@given(measured())
def test_what_a_file_keeps_of_it_is_read_back_as_it_was(
    given_: tuple[list[Operator], dict[str, Any]],
) -> None:
    operators, rest = given_
    account = with_ablations(build_account(operators, **rest), {"attention": 0.1, "optimizer": 0.0})
    assert msgspec.json.decode(msgspec.json.encode(account.bars), type=list[Bar]) == account.bars


@given(measured(), st.floats(0.1, 10))
def test_a_profile_of_a_slower_moment_gives_the_same_shares(
    given_: tuple[list[Operator], dict[str, Any]], factor: float
) -> None:
    operators, rest = given_
    account = build_account(operators, **rest)
    slower = [replace(op, seconds=op.seconds * factor) for op in operators]
    rest["profiled_step_s"] *= factor
    for bar, same in zip(account.bars, build_account(slower, **rest).bars, strict=True):
        assert same.seconds == pytest.approx(bar.seconds, rel=1e-9, abs=1e-9 * largest(account))


@given(measured())
def test_what_is_spread_over_iterations_stands_in_bars_of_its_own(
    given_: tuple[list[Operator], dict[str, Any]],
) -> None:
    operators, rest = given_
    outside = rest["outside"] or {}
    account = build_account(operators, **rest)
    for name, spent_s in outside.items():
        assert account.bar(name).seconds == spent_s
        assert account.bar(name).to_win_s is None
    assert account.groups["evaluation and checkpoint"] == sum(outside.values())
    assert account.binds != "evaluation and checkpoint"
    # The operators are of the plain iteration, without them.
    scale = (rest["step_s"] - sum(outside.values())) / rest["profiled_step_s"]
    for name in {op.component for op in operators} & set(PROFILED_BARS):
        spent_s = scale * sum(op.seconds for op in operators if op.component == name)
        assert account.bar(name).seconds == pytest.approx(spent_s, abs=1e-9 * largest(account))


def row(component: str, spent_s: float, *, calls: float = 1, dispatch: bool = False) -> Operator:
    return Operator(
        name="aten::op",
        component=component,
        phase="forward",
        seconds=spent_s,
        calls=calls,
        is_dispatch=dispatch,
    )


def built(*operators: Operator, **changes: Any) -> Account:
    """A step of 10 s that needs 1 GFLOP: 0.5 s at peak, 1 s at the ceiling."""
    settings: dict[str, Any] = {
        "step_s": 10.0,
        "profiled_step_s": 10.0,
        "model_flops": 1_000_000_000,
        "peak_flops_per_s": 2 * GIGA,
        "ceiling_flops_per_s": GIGA,
        "gemm_alone_s": 1.5,
        "costs": {
            "gemm": ComponentCost(flops=800_000_000, bytes=0),
            "attention": ComponentCost(flops=200_000_000, bytes=0),
            "activation": ComponentCost(flops=0, bytes=500_000_000),
        },
        "bandwidth": lambda _: GIGA,
    }
    return build_account(list(operators), **(settings | changes))


def test_gemm_and_attention_are_what_lies_above_the_ceiling() -> None:
    account = built(row("gemm", 2.0), row("attention", 1.2), row("activation", 3.0))
    found = {bar.name: bar.seconds for bar in account.bars}
    assert found == pytest.approx(
        {
            "peak": 0.5,
            "ceiling": 0.5,
            "gemm shapes": 1.5 - 0.8,
            "gemm in place": 2.0 - 1.5,
            "attention": 1.2 - 0.2,
            "activation": 3.0,
            "unexplained": 10 - 2.0 - 1.2 - 3.0,
        }
    )
    assert account.bar("gemm in place").whole_s == 2.0
    assert account.bar("attention").whole_s == 1.2
    assert account.bar("activation").to_win_s == pytest.approx(3.0 - 0.5)
    assert account.bar("gemm shapes").to_win_s == 0
    assert account.bar("gemm in place").to_win_s == pytest.approx(0.5)
    assert account.bars[0].points == pytest.approx(0.05)  # the MFU


def test_without_the_products_alone_one_bar_holds_both() -> None:
    account = built(row("gemm", 2.0), gemm_alone_s=None)
    assert account.bar("gemm shapes").seconds == pytest.approx(2.0 - 0.8)
    assert "both" in account.bar("gemm shapes").source
    assert "gemm in place" not in {bar.name for bar in account.bars}


def test_an_unknown_peak_is_the_ceiling_and_says_so() -> None:
    account = built(row("gemm", 2.0), peak_flops_per_s=None)
    assert account.bar("peak").seconds == 1.0
    assert account.bar("ceiling").seconds == 0.0
    assert "peak is not known" in account.bar("peak").source


def test_without_costs_nothing_is_claimed_to_be_winnable_but_what_need_not_be() -> None:
    operators = [row(name, 0.5) for name in ("gemm", "attention", *PROFILED_BARS)]
    account = built(*operators, costs={})
    free = {bar.name for bar in account.bars if bar.floor_s == 0.0}
    assert free == {"gemm in place", "dispatch", "copies", "synchronisation", "logging"}
    for name in ("attention", "activation", "optimizer", "data", "unexplained"):
        assert account.bar(name).to_win_s is None
    # All FLOPs are then the matrix products'.
    assert account.bar("gemm shapes").seconds == pytest.approx(1.5 - 1.0)
    assert account.bar("attention").seconds == 0.5


def test_a_floor_is_the_roofline_at_the_working_set_of_one_call() -> None:
    asked: list[float] = []

    def bandwidth(size: float) -> float:
        asked.append(size)
        return GIGA

    account = built(
        row("activation", 3.0, calls=4),
        row("activation", 0.1, calls=99, dispatch=True),
        bandwidth=bandwidth,
    )
    assert 500_000_000 / 4 in asked
    assert account.bar("activation").floor_s == pytest.approx(0.5)
    assert account.bar("activation").bytes == 500_000_000


def test_attentions_floor_is_the_larger_of_its_flops_and_its_bytes() -> None:
    def floor(count: int) -> float | None:
        costs = {
            "gemm": ComponentCost(flops=800_000_000, bytes=0),
            "attention": ComponentCost(flops=200_000_000, bytes=count),
        }
        return built(row("attention", 1.0), costs=costs).bar("attention").floor_s

    assert floor(0) == 0.0
    assert floor(100_000_000) == 0.0
    assert floor(700_000_000) == pytest.approx(0.7 - 0.2)


def test_a_profile_that_accounts_for_more_than_the_step_leaves_a_negative_rest() -> None:
    account = built(row("gemm", 2.0), row("activation", 9.0), row("attention", 0.2))
    assert account.unexplained_ratio == pytest.approx(-0.12)


VERDICTS: dict[str, tuple[Operator, Callable[[Account], float]]] = {
    "compute-bound": (row("gemm", 6.0), lambda a: 6.0 + 0.2 + (0.2 - 0.2)),
    "memory-bound": (row("residual", 6.0), lambda a: 6.0),
    "launch/dispatch-bound": (row("dispatch", 6.0, dispatch=True), lambda a: 6.0),
    "input-bound": (row("data", 6.0), lambda a: 6.0),
    "synchronisation-bound": (row("synchronisation", 6.0), lambda a: 6.0),
}


@pytest.mark.parametrize("verdict", VERDICTS)
def test_the_largest_group_binds(verdict: str) -> None:
    operator, expected = VERDICTS[verdict]
    account = built(operator, row("attention", 0.2), row("gemm", 0.0), row("loss", 0.1))
    assert account.binds == verdict
    ours = expected(account) + (0.1 if verdict == "memory-bound" else 0.0)
    assert account.groups[verdict] == pytest.approx(ours)


def test_groups_hold_every_second_that_is_explained() -> None:
    operators = [row(name, 0.3) for name in ("gemm", "attention", *PROFILED_BARS, FUSED)]
    account = built(*operators, outside={"evaluation": 0.5, "checkpoint": 0.25})
    explained_s = account.step_s - account.bar("unexplained").seconds
    assert sum(account.groups.values()) == pytest.approx(explained_s)


def test_dispatch_inside_optimizer_and_clip_is_dispatch() -> None:
    account = built(
        row("optimizer", 2.0),
        row("optimizer", 3.0, dispatch=True),
        row("clip", 0.5),
        row("clip", 1.0, dispatch=True),
    )
    assert account.bar("optimizer").seconds == 5.0
    assert account.groups["memory-bound"] == pytest.approx(2.5)
    assert account.groups["launch/dispatch-bound"] == pytest.approx(4.0)
    assert account.binds == "launch/dispatch-bound"


def test_logging_is_synchronisation_and_fused_kernels_are_memory() -> None:
    account = built(row("logging", 0.5), row("synchronisation", 0.25), row(FUSED, 2.0))
    assert account.groups["synchronisation-bound"] == pytest.approx(0.75)
    assert account.groups["memory-bound"] == pytest.approx(2.0)
    assert account.bar(FUSED).seconds == 2.0


def test_every_memory_bar_counts_as_memory() -> None:
    account = built(*(row(name, 0.1) for name in MEMORY_BARS))
    assert account.groups["memory-bound"] == pytest.approx(0.1 * len(MEMORY_BARS))


@pytest.mark.parametrize(
    ("bar_s", "saved_s", "agree"),
    [
        (3.0, 3.44, True),  # within 15 % of the bar
        (3.0, 3.46, False),
        (3.0, 2.56, True),
        (3.0, 2.54, False),
        (0.1, 0.29, True),  # within 2 % of the step
        (0.1, 0.31, False),
        (0.1, -0.09, True),
        (-0.1, 0.05, True),
    ],
)
def test_bar_and_ablation_agree_within_15_percent_of_the_bar_or_2_of_the_step(
    bar_s: float, saved_s: float, agree: bool
) -> None:
    assert agrees(bar_s, saved_s, 10.0) is agree


def test_only_bars_that_are_a_whole_component_are_checked() -> None:
    account = built(row("gemm", 2.0), row("attention", 1.2), row("activation", 3.0))
    savings = {"attention": 1.1, "activation": 1.0, "peak": 0.5, "unexplained": 1.0, "absent": 1.0}
    checked = with_ablations(account, savings)
    marks = {bar.name: bar.reliable for bar in checked.bars if bar.reliable is not None}
    # Attention's saving is compared with all of it and not with what lies above the ceiling.
    assert marks == {"attention": True, "activation": False}
    assert checked.bar("attention").ablation_s == 1.1
    assert [bar.seconds for bar in checked.bars] == [bar.seconds for bar in account.bars]
    assert (checked.binds, checked.groups) == (account.binds, account.groups)


def test_no_ablation_no_mark() -> None:
    account = with_ablations(built(row("activation", 3.0)), {})
    assert all(bar.reliable is None and bar.ablation_s is None for bar in account.bars)


def test_time_in_a_component_without_a_bar_is_not_lost() -> None:
    account = built(row("unknown", 2.0), row("gemm", 2.0), row("attention", 0.2))
    assert account.bar("unexplained").seconds == pytest.approx(10 - 2.0 - 0.2)
