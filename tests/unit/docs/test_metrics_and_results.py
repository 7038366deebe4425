"""Every field, outcome and convention is documented, with the numbers that the code computes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from mfubench_model.config import GPTConfig
from mfubench_model.conventions import CONVENTIONS

from mfubench.results.frame import STATS
from mfubench.results.outcomes import SCHEMA_VERSION, Outcome, Question
from mfubench.results.record import ALWAYS, RATES, SOMETIMES
from mfubench.results.run import RunHeader
from mfubench.results.schema import run_schema
from tests.unit.docs.pages import first_codes, page, rows, section

RESULTS = page("docs/results.md")
METRICS = page("docs/metrics.md")
GPT2 = GPTConfig(bias=False)


def keys(part: Any) -> Iterator[str]:
    """Every property that a schema names."""
    if isinstance(part, dict):
        yield from part.get("properties", {})
        required = part.get("required", [])
        yield from required if isinstance(required, list) else ()
        for value in part.values():
            yield from keys(value)
    elif isinstance(part, list):
        for value in part:
            yield from keys(value)


def test_every_field_of_a_case_is_documented_in_its_order_and_no_other() -> None:
    assert first_codes(section(RESULTS, "## Fields of every case")) == list(ALWAYS)


def test_every_field_of_one_question_is_documented() -> None:
    documented = first_codes(section(RESULTS, "## Fields of one question"))
    assert [name for name in SOMETIMES if name not in documented] == []


@pytest.mark.parametrize("key", sorted(set(keys(run_schema()))))
def test_every_key_of_the_schema_is_documented(key: str) -> None:
    assert f"`{key}`" in RESULTS


def test_the_object_mfubench_is_documented_as_the_schema_has_it() -> None:
    documented = first_codes(section(RESULTS, "## The object `mfubench`"))
    assert sorted(documented) == sorted(RunHeader.__struct_fields__)
    assert f"| `schema_version` | {SCHEMA_VERSION} |" in RESULTS


def test_every_question_of_the_schema_is_documented() -> None:
    (cells,) = (
        cells
        for cells in rows(section(RESULTS, "## Fields of every case"))
        if cells[0] == "`question`"
    )
    assert re.findall(r"`([\w-]+)`", cells[2]) == list(get_args(Question))


def test_every_outcome_is_documented_with_what_pytest_says() -> None:
    table = rows(section(RESULTS, "## Outcomes"))
    assert [cells[0].strip("`") for cells in table] == [outcome.value for outcome in Outcome]
    for cells in table:
        outcome = Outcome(cells[0].strip("`"))
        assert (cells[2] == "yes") is (outcome is Outcome.OK)
        assert cells[3].startswith("skipped") is outcome.is_a_limit


def test_the_columns_of_the_frame_are_documented() -> None:
    named = [f"{name}_s" for name in STATS if name != "rounds"]
    assert [name for name in named if f"`{name}`" not in RESULTS] == []


@pytest.mark.parametrize("name", [*RATES, "peak_memory_bytes", "predicted_memory_bytes"])
def test_every_rate_has_a_formula(name: str) -> None:
    assert name in first_codes(METRICS)


def test_every_convention_is_documented_in_its_order() -> None:
    assert first_codes(section(METRICS, "## Conventions")) == list(CONVENTIONS)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_the_numbers_of_a_convention_are_what_the_code_computes(name: str) -> None:
    (cells,) = (
        cells for cells in rows(section(METRICS, "## Conventions")) if cells[0] == f"`{name}`"
    )
    per_token = CONVENTIONS[name].flops_per_token(GPT2)
    exact = CONVENTIONS["exact-causal"].flops_per_token(GPT2)
    assert cells[1] == CONVENTIONS[name].formula
    assert cells[2] == f"{per_token / 1e6:.2f}"
    assert cells[3] == f"{per_token / exact:.3f}"


def test_the_worked_count_adds_up() -> None:
    exact = CONVENTIONS["exact-causal"].flops_per_token(GPT2)
    matmuls = 6 * (12 * 12 * 768**2 + 50304 * 768)
    attention = 6 * 12 * 768 * 1025
    assert matmuls + attention == exact
    assert f"{matmuls:,} + {attention:,} = {exact:,}" in METRICS


def test_the_share_of_a_missed_diagonal_is_as_the_findings_say() -> None:
    ratios = [c.flops_per_token(GPT2) for c in CONVENTIONS.values()]
    exact = CONVENTIONS["exact-causal"].flops_per_token(GPT2)
    low, high = min(ratios) / exact, max(ratios) / exact
    assert f"{low:.2f} to {high:.2f} times" in page("docs/findings.md")
