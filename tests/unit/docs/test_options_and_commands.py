"""What can be typed is documented, and what is documented can be typed."""

from __future__ import annotations

import argparse
import re
from typing import Any

import pytest
from mfubench_model.parameters import parameter_count
from mfubench_model.presets import PRESETS

from mfubench.cli import build_parser
from mfubench.hardware.dtypes import DTYPES
from mfubench.options import COMPILE_MODES, OPTIONS
from mfubench.plugin.options import add_options
from mfubench.results.case_id import DEVICE_KINDS
from mfubench.suite.sweep import PLANS, SWEEPS
from tests.unit.docs.pages import first_codes, page, rows, section

SWEEP = page("docs/options.md")
COMMANDS = page("docs/commands.md")
EVERYWHERE = {"--help", "--color"}
"""Options of every command, documented once."""


class Declarations:
    """Stands in for pytest's parser and its group, and writes down what is declared."""

    def __init__(self) -> None:
        self.options: dict[str, dict[str, Any]] = {}

    def getgroup(self, *_: str) -> Declarations:
        return self

    def addoption(self, name: str, **settings: Any) -> None:
        self.options[name] = settings


@pytest.fixture(scope="module")
def declared() -> dict[str, dict[str, Any]]:
    declarations = Declarations()
    add_options(declarations)  # type: ignore[arg-type]
    return declarations.options


def commands() -> dict[str, argparse.ArgumentParser]:
    (choices,) = (
        action.choices
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return dict(choices)


def option_names(parser: argparse.ArgumentParser) -> set[str]:
    names = (name for action in parser._actions for name in action.option_strings)
    return {name for name in names if name.startswith("--")}


def test_every_pytest_option_is_documented_and_no_other(declared: dict[str, Any]) -> None:
    headings = re.findall(r"^### `(--[\w-]+)`", SWEEP, re.MULTILINE)
    assert headings == list(declared)


@pytest.mark.parametrize(
    ("heading", "values"),
    [
        ("### `--sweep` NAME", SWEEPS),
        ("### `--preset` NAMES", tuple(PRESETS)),
        ("### `--devices` NAMES", (*DEVICE_KINDS, "auto")),
        ("### `--dtypes` NAMES", (*DTYPES, "auto")),
        ("### `--compile` MODE", tuple(COMPILE_MODES)),
    ],
)
def test_every_allowed_value_is_named(heading: str, values: tuple[str, ...]) -> None:
    text = section(SWEEP, heading)
    assert [value for value in values if f"`{value}`" not in text] == []


@pytest.mark.parametrize("option", ["--sweep", "--preset", "--ceiling-max-age", "--results-dir"])
def test_defaults_are_the_declared_ones(declared: dict[str, Any], option: str) -> None:
    heading = re.search(rf"^### `{option}`.*$", SWEEP, re.MULTILINE)
    assert heading
    default = declared[option]["default"]
    shown = (
        default[0] if isinstance(default, tuple) else f"{default:g}" if default == 7 else default
    )
    assert re.search(rf"Default: `?{re.escape(str(shown))}\b", section(SWEEP, heading.group()))


@pytest.mark.parametrize("name", SWEEPS)
def test_the_sweeps_table_is_the_plan(name: str) -> None:
    (cells,) = (
        cells for cells in rows(section(SWEEP, "### `--sweep` NAME")) if cells[0] == f"`{name}`"
    )
    plan = PLANS[name]

    def modes(values: tuple[bool, ...]) -> str:
        return ", ".join("yes" if value else "no" for value in values)

    assert cells[1:8] == [
        ", ".join(map(str, plan.batch_multiples)),
        modes(plan.compile),
        modes(plan.few_compile),
        "all supported" if plan.all_dtypes else "native",
        f"{plan.rounds_budget_s}",
        f"{plan.warmup_budget_s}",
        f"{plan.ceiling_budget_s}",
    ]


@pytest.mark.parametrize("question", ["harness", "breakdown"])
def test_the_sweeps_table_says_who_asks(question: str) -> None:
    asked_from = re.findall(r'from_sweep="(\w+)"', page(f"benchmarks/test_{question}.py"))
    (least,) = set(asked_from)
    for cells in rows(section(SWEEP, "### `--sweep` NAME")):
        asks = SWEEPS.index(cells[0].strip("`")) >= SWEEPS.index(least)
        assert cells[8] == ("yes" if asks else "no")


@pytest.mark.parametrize("name", PRESETS)
def test_the_presets_table_is_the_presets(name: str) -> None:
    (cells,) = (
        cells for cells in rows(section(SWEEP, "### `--preset` NAMES")) if cells[0] == f"`{name}`"
    )
    preset = PRESETS[name]
    assert cells[2:] == [str(preset.batch_size), f"{parameter_count(preset.config).total:,}"]
    config = preset.config
    shape = f"{config.n_layer} layers, {config.n_head} heads, width {config.n_embd}"
    assert cells[1].startswith(shape)


def test_every_command_is_documented_and_no_other() -> None:
    headings = re.findall(r"^## mfubench (\w+)$", COMMANDS, re.MULTILINE)
    assert headings == list(commands())


@pytest.mark.parametrize("name", commands())
def test_every_option_of_a_command_is_documented_and_no_other(name: str) -> None:
    text = section(COMMANDS, f"## mfubench {name}")
    swept = {option.name for option in OPTIONS} if name == "bench" else set()  # docs/options.md
    assert set(first_codes(text)) == option_names(commands()[name]) - EVERYWHERE - swept


def test_the_general_options_are_documented() -> None:
    before_the_first_command = COMMANDS.partition("\n## ")[0]
    assert set(first_codes(before_the_first_command)) == option_names(build_parser())
    assert [name for name in PRESETS if f"`{name}`" not in COMMANDS] == []


@pytest.mark.parametrize(
    "name", ["README.md", "docs/options.md", "docs/method.md", "docs/breakdown.md"]
)
def test_what_a_page_tells_to_type_exists(declared: dict[str, Any], name: str) -> None:
    known = set(declared).union(*map(option_names, commands().values()))
    typed = re.findall(r"(?<=[ `])--[a-z][\w-]+", page(name))
    foreign = {o for o in typed if o.startswith("--benchmark-") or o == "--pyargs"}
    assert set(typed) - foreign <= known
