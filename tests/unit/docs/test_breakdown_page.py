"""Every bar, key, group and threshold of the breakdown is documented as the code has it."""

from __future__ import annotations

import re

import pytest

from mfubench.analysis import account as accounts
from mfubench.analysis.account import Account, ComponentCost, build_account
from mfubench.measure import ablation
from mfubench.results.bars import FUSED, Operator
from mfubench.show.account import LABELS
from tests.unit.docs.pages import fenced, first_codes, page, rows, section

BREAKDOWN = page("docs/breakdown.md")
RESULTS = page("docs/results.md")
BARS = section(BREAKDOWN, "## The bars")
ALL_FUSED = f"{FUSED}…"
COMPONENTS = ("gemm", "attention", *accounts.PROFILED_BARS, ALL_FUSED)


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
