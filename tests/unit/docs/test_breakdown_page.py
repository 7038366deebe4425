"""Every bar, key, group and threshold of the breakdown is documented as the code has it."""

from __future__ import annotations

import re

import pytest

from mfubench.analysis import account as accounts
from mfubench.analysis.account import Account, ComponentCost, build_account
from mfubench.measure import ablation, bandwidth, gemms, profiling
from mfubench.results.bars import FUSED as FUSED_PREFIX
from mfubench.results.bars import Bar, Operator
from mfubench.results.record import SOMETIMES
from mfubench.show.account import LABELS
from mfubench.suite import breakdown
from tests.unit.docs.pages import fenced, first_codes, page, rows, section

BREAKDOWN = page("docs/breakdown.md")
RESULTS = page("docs/results.md")
BARS = section(BREAKDOWN, "## The bars")
FUSED = f"{FUSED_PREFIX}…"
COMPONENTS = ("gemm", "attention", *accounts.PROFILED_BARS, FUSED)


@pytest.fixture(scope="module")
def account() -> Account:
    """An account in which everything has run."""
    operators = [
        Operator(
            name=f"aten::{component}",
            component=component,
            phase="forward",
            seconds=1e-3,
            calls=1,
            is_dispatch=False,
        )
        for component in COMPONENTS
    ]
    return build_account(
        operators,
        step_s=0.03,
        profiled_step_s=0.03,
        model_flops=10**9,
        peak_flops_per_s=1e12,
        ceiling_flops_per_s=5e11,
        gemm_alone_s=2e-3,
        costs={"gemm": ComponentCost(flops=9 * 10**8, bytes=10**6)},
        bandwidth=lambda _: 1e10,
        outside={"evaluation": 1e-3, "checkpoint": 1e-3},
    )


def words(text: str) -> str:
    """The text on one line, without emphasis."""
    return " ".join(text.replace("*", "").split())


def test_every_bar_is_documented_in_its_order_and_no_other(account: Account) -> None:
    assert first_codes(BARS) == [bar.name for bar in account.bars]


def test_every_label_is_the_printed_one() -> None:
    printed = {cells[0].strip("`"): cells[1] for cells in rows(BARS)}
    assert printed == {name: LABELS.get(name, name) for name in printed}
    assert set(LABELS) <= set(printed)


def test_every_group_is_documented(account: Account) -> None:
    assert first_codes(section(BREAKDOWN, "## What binds")) == list(account.groups)


def test_what_can_be_taken_out_is_documented() -> None:
    checked = [*ablation.STEP_ABLATIONS, *ablation.LOOP_ABLATIONS]
    assert first_codes(section(BREAKDOWN, "## Ablation")) == checked == list(ablation.ABLATED)


def test_every_key_of_a_bar_and_of_an_operator_is_documented_and_no_other() -> None:
    documented = first_codes(section(RESULTS, "## A breakdown"))
    assert documented == [*Bar.__struct_fields__, *Operator.__struct_fields__]


def test_every_field_of_a_breakdown_is_documented_and_no_other() -> None:
    documented = first_codes(section(RESULTS, "## Fields of one question"))
    declared = {name for name in SOMETIMES if name.startswith("breakdown")}
    assert {name for name in documented if name.startswith("breakdown")} == declared


@pytest.mark.parametrize(
    "said",
    [
        f"differ by more than {breakdown.SAME_SPEED - 1:.0%}",
        f"at most {accounts.AGREE_RATIO:.0%} of the bar or {accounts.AGREE_SHARE_OF_STEP:.0%} of",
        f"{profiling.BLOCKS} blocks follow, each of {profiling.PLAIN_STEPS} plain steps",
        f"{profiling.PROFILED_STEPS} profiled ones and {profiling.PLAIN_STEPS} plain ones",
        f"median of {gemms.ROUNDS} rounds of about {gemms.ROUND_S * 1e3:.0f} ms",
        f"from {bandwidth.SIZES_BYTES[0] // 2**10} KiB to {bandwidth.SIZES_BYTES[-1] // 2**20} MiB",
        *(f"`{option}`" for option in breakdown.COMPILE_OPTIONS),
    ],
)
def test_the_numbers_of_the_method_are_those_of_the_code(said: str) -> None:
    assert said.replace("%", " %") in words(BREAKDOWN)


def test_the_number_of_kept_operators_is_as_the_results_say() -> None:
    assert f"{breakdown.KEPT_OPERATORS} at most" in RESULTS


def test_the_example_adds_up() -> None:
    (example,) = fenced(section(BREAKDOWN, "## An example"), "text")
    labels = {cells[1] for cells in rows(BARS)}
    lines = [re.split(r"\s{2,}", line) for line in example.splitlines()[1:-1]]
    *bars, step = [(name, float(ms), float(points)) for name, ms, points, *_ in lines]
    assert [name for name, *_ in bars if name not in labels] == []
    assert step[0] == "the step"
    rounding = 0.006 * len(bars)
    assert sum(ms for _, ms, _ in bars) == pytest.approx(step[1], abs=rounding)
    for _, ms, points in bars:
        assert points == pytest.approx(100 * ms / step[1], abs=0.07)
