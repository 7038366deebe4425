"""The picture in the README is the one that the stored reference run gives."""

from __future__ import annotations

import re

from mfubench.report.build import build_report
from mfubench.results.collect import collect
from mfubench.show.pictures import standalone_svg
from tests.unit.docs.pages import ROOT, page
from tests.unit.report.example_results import REFERENCE

PICTURE = ROOT / "docs" / "reference-waterfall.svg"
"""To make it again: mfubench.show.pictures.standalone_svg of the figure `waterfall-0`."""


def drawn() -> str:
    figures = {f.key: f for f in build_report(collect([REFERENCE])).figures}
    return standalone_svg(str(figures["waterfall-0"].wide)) + "\n"


def test_the_picture_is_rebuilt_from_the_reference_run() -> None:
    assert PICTURE.read_text(encoding="utf-8") == drawn()


def test_the_readme_shows_it_and_names_the_run() -> None:
    text = page("README.md")
    assert re.search(r"!\[[^\]]{20,}\]\(docs/reference-waterfall\.svg\)", text)
    assert REFERENCE.relative_to(ROOT).as_posix() in text
