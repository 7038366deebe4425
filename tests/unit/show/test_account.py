"""A breakdown in words: what binds, what there is to win, and what is not to be relied on."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console, RenderableType

from mfubench.analysis.account import (
    PROFILED_BARS,
    ComponentCost,
    build_account,
    with_ablations,
)
from mfubench.results.bars import Bar, Operator
from mfubench.results.outcomes import Outcome, known
from mfubench.results.record import CaseRecord
from mfubench.show.account import (
    LABELS,
    breakdown_parts,
    breakdown_sentences,
    breakdown_text,
    operator_table,
)

STEP_S = 0.04


def full_table(bars: Sequence[Bar], title: str) -> RenderableType:
    return breakdown_parts(bars, title, 100)[0]


FUSED = "fused: activation + normalisation + residual"
SECONDS = {
    "gemm": 0.015,
    "attention": 0.003,
    "activation": 0.008,
    "dispatch": 0.0056,
    "optimizer": 0.0035,
    "normalisation": 0.0012,
    "logging": 0.00002,
}


def operator(component: str, seconds: float, name: str = "aten::op") -> Operator:
    return Operator(
        name=name,
        component=component,
        phase="forward",
        seconds=seconds,
        calls=4,
        is_dispatch=component == "dispatch",
    )


def info(
    savings: dict[str, float] | None = None,
    seconds: dict[str, float] | None = None,
    **changes: Any,
) -> CaseRecord:
    """A case whose account was built by hand."""
    rows = [operator(name, s) for name, s in (seconds or SECONDS).items()]
    account = build_account(
        rows,
        step_s=STEP_S,
        profiled_step_s=STEP_S,
        model_flops=10**9,
        peak_flops_per_s=changes.pop("peak", 2e11),
        ceiling_flops_per_s=1.5e11,
        gemm_alone_s=0.012,
        costs={
            "gemm": ComponentCost(flops=9 * 10**8, bytes=10**6),
            "activation": ComponentCost(flops=0, bytes=2 * 10**7),
            "optimizer": ComponentCost(flops=0, bytes=10**7),
            "normalisation": ComponentCost(flops=0, bytes=10**6),
        },
        bandwidth=lambda _: 1e10,
    )
    account = with_ablations(account, savings or {})
    fields: dict[str, Any] = {
        "case_id": "breakdown/cpu/float32/tiny-b4/eager",
        "question": "breakdown",
        "device": "cpu",
        "outcome": Outcome.OK,
        "compile": False,
        "breakdown": account.bars,
        "breakdown_step_s": account.step_s,
        "breakdown_binds": account.binds,
        "breakdown_groups": account.groups,
        "breakdown_unexplained": account.unexplained_ratio,
        "breakdown_operators": rows,
        "profile_by_module": True,
    }
    return CaseRecord(**(fields | changes))


def bars_of(record: CaseRecord) -> list[Bar]:
    return known(record.breakdown)


def printed(table: RenderableType, width: int = 100) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, no_color=True, highlight=False).print(table)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def cells(lines: list[str], label: str) -> list[str]:
    (line,) = [line for line in lines if line.startswith(label + " ")]
    return line.removeprefix(label).split()


def test_the_table_has_a_row_per_bar_and_adds_up_to_the_step() -> None:
    data = info()
    lines = printed(full_table(bars_of(data), "tiny, batch 4"))
    for bar in bars_of(data):
        milliseconds, points = cells(lines, LABELS.get(bar.name, bar.name))[:2]
        assert milliseconds == f"{bar.seconds * 1e3:.2f}"
        assert points == f"{bar.points * 100:.1f}"
    assert cells(lines, "the step") == ["40.00", "100.0"]
    assert cells(lines, "activation") == ["8.00", "20.0", "2.00", "6.00"]
    assert cells(lines, "unexplained")[2:] == ["–", "–"]


def test_the_table_and_its_text_fit_in_100_columns_whatever_the_numbers() -> None:
    many = dict.fromkeys(("gemm", "attention", *PROFILED_BARS, FUSED), 12345.678)
    savings = {"attention": 12345.678, "activation": 1.0, "optimizer": 99999.999}
    data = info(savings, many, peak=None)
    title = "cpu/bfloat16/shakespeare-char-with-a-long-name-b64/compiled, 128 threads, loop"
    lines = printed(full_table(bars_of(data), title), width=100)
    assert max(map(len, lines)) <= 100
    assert not any("…" in line for line in lines)
    text = breakdown_text(data, operators=True).splitlines()
    assert max(map(len, text)) <= 100


def test_an_unknown_peak_is_named_in_the_table() -> None:
    lines = printed(full_table(bars_of(info(peak=None)), "tiny"))
    assert any("peak unknown" in line for line in lines)


def test_the_sentences_name_what_binds_and_the_three_bars_with_most_to_win() -> None:
    text = breakdown_sentences(info())
    assert text.startswith("This case is compute-bound: of its 40.0 ms, compute ")
    assert text.count("could save up to") == 3
    assert (
        " Activation could save up to 6.00 ms (15 %; it reaches 25 % of the memory bandwidth); "
        "launching operators could save up to 5.60 ms (14 %); matrix products could save up to "
    ) in text
    assert "Unexplained: " in text


def test_shares_are_ranked_and_what_is_below_a_percent_is_not_named() -> None:
    shares = breakdown_sentences(info()).partition("ms, ")[2].partition(".")[0]
    assert [share.split()[0] for share in shares.split(", ")] == [
        "compute",
        "memory",
        "launch/dispatch",
    ]


@pytest.mark.parametrize(
    ("ratio", "words"), [(0.0312, "3.1 %"), (-0.0123, "-1.2 %"), (0.0, "0 %"), (0.25, "25 %")]
)
def test_what_is_unexplained_is_said_with_its_sign(ratio: float, words: str) -> None:
    text = breakdown_sentences(info(breakdown_unexplained=ratio))
    assert f"Unexplained: {words} of the step." in text


def test_bars_that_ablation_contradicts_are_named_and_marked() -> None:
    data = info({"attention": 0.0031, "activation": 0.001, "optimizer": 0.02})
    lines = printed(full_table(bars_of(data), "tiny"))
    assert cells(lines, "attention, above the ceiling")[-3:] == ["3.10", "of", "3.00"]
    assert cells(lines, "activation")[-4:] == ["1.00", "of", "8.00", "(!)"]
    text = breakdown_sentences(data)
    assert "Not to be relied on (!): activation, optimizer; " in text
    assert "relied on" not in breakdown_sentences(info({"attention": 0.0031}))


def test_names_alone_are_admitted_where_modules_could_have_been_told() -> None:
    admitted = "told apart by their names alone"
    assert admitted in breakdown_sentences(info(profile_by_module=False))
    assert admitted not in breakdown_sentences(info(profile_by_module=False, compile=True))
    assert admitted not in breakdown_sentences(info())


def test_a_part_that_could_not_be_taken_is_said_in_a_sentence() -> None:
    text = breakdown_sentences(info(breakdown_note="no ablation: out of memory"))
    assert text.endswith("No ablation: out of memory.")


def test_a_case_without_an_account_says_why() -> None:
    failed = info(outcome=Outcome.ERROR, outcome_reason="ValueError: no")
    assert breakdown_text(failed) == f"{failed.case_id}: error: ValueError: no"
    refused = info(breakdown_problem="the profiler recorded no step", breakdown=None)
    assert breakdown_text(refused).endswith("no account: the profiler recorded no step")


def test_operators_stand_behind_the_bars_when_they_are_asked_for() -> None:
    rows = [
        operator("gemm", 0.01, "aten::mm"),
        operator(FUSED, 0.002, "graph_0_cpp_fused_" + "native_layer_norm_" * 5 + "2"),
    ]
    lines = printed(operator_table(rows), width=100)
    assert lines[0].split() == ["operator", "bar", "phase", "calls", "ms"]
    assert any(line.split() == ["aten::mm", "gemm", "forward", "4.00", "10.00"] for line in lines)
    assert max(map(len, lines)) <= 100
    data = info()
    assert "aten::op" in breakdown_text(data, operators=True)
    assert "aten::op" not in breakdown_text(data)


@pytest.mark.parametrize(
    ("unexplained", "compiled", "warned"),
    [(-0.04, False, False), (-0.07, False, True), (0.07, False, True), (-0.07, True, False)],
)
def test_an_account_that_does_not_close_says_so(
    unexplained: float, compiled: bool, warned: bool
) -> None:
    record = info(breakdown_unexplained=unexplained, compile=compiled)
    assert ("profiled steps did not run as plain ones" in breakdown_sentences(record)) is warned
