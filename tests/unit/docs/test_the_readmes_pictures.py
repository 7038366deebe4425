"""The README's pictures and figures are those that stored runs give."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest

from mfubench.report.references import OUR_CPU_RUN, REFERENCES
from mfubench.show.units import format_share
from tests.unit.docs.pages import ROOT, page, rows, section

NAMES = ("first-screen.svg", "terminal.svg", "reference-waterfall.svg")


@pytest.fixture(scope="module")
def pictures() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_pictures", ROOT / "docs" / "make_pictures.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_what_the_command_makes(pictures: ModuleType, name: str) -> None:
    assert set(pictures.PICTURES) == set(NAMES)
    made = pictures.PICTURES[name]()
    kept = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert kept == made, "type: python docs/make_pictures.py"


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_shows_it_with_a_text_that_stands_in_for_it(name: str) -> None:
    assert re.search(rf"!\[[^\]]{{20,}}\]\(docs/{re.escape(name)}\)", page("README.md"))


def test_the_readme_names_the_run() -> None:
    assert (ROOT / OUR_CPU_RUN).is_file()
    assert OUR_CPU_RUN in page("README.md")


def test_the_readmes_table_is_what_the_terminal_compares_with() -> None:
    table = rows(section(page("README.md"), "## Is my number good?"))
    assert len(table) == len(REFERENCES)
    for cells, reference in zip(table, REFERENCES, strict=True):
        low, high = format_share(reference.low), format_share(reference.high)
        share = low if low == high else f"{low.removesuffix(' %')} to {high}"
        assert cells[:3] == [reference.what, reference.machine, share]
        assert f"({reference.source})" in cells[3]
        assert reference.note in cells[3]
