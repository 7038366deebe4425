"""Commands can be copied, links lead somewhere, and nothing names someone's own folders."""

from __future__ import annotations

import contextlib
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from mfubench import __version__
from tests.unit.docs.pages import ROOT, fenced, files, page, slug

PAGES = files(".md")
TEXTS = files(".md", ".py", ".toml", ".txt", ".ini", ".json", ".yml", ".yaml")
MEASURE = (
    "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e . "
    "&& .venv/bin/pytest benchmarks/"
)
TEST = (
    "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e '.[dev]' "
    "&& .venv/bin/pytest"
)
IN_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def relative_links() -> list[tuple[Path, str]]:
    found = []
    for path in PAGES:
        prose = IN_FENCE.sub("", path.read_text(encoding="utf-8"))
        links = dict.fromkeys(LINK.findall(prose))
        found += [(path, link) for link in links if "://" not in link]
    return found


def test_the_readme_ends_with_the_two_commands_of_a_clone() -> None:
    assert [block.strip() for block in fenced(page("README.md"))[-2:]] == [MEASURE, TEST]


def test_the_readme_is_short() -> None:
    assert len(page("README.md").splitlines()) <= 150


@pytest.mark.parametrize(
    ("path", "link"), relative_links(), ids=lambda x: x.name if isinstance(x, Path) else x
)
def test_relative_links_resolve(path: Path, link: str) -> None:
    file, _, anchor = link.partition("#")
    target = (path.parent / file).resolve() if file else path
    assert target.exists(), f"{path.name} links to {link}"
    if anchor:
        headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in map(slug, headings), f"{path.name} links to {link}"


def test_every_page_is_linked_from_the_readme_or_contributing() -> None:
    index = page("README.md") + page("CONTRIBUTING.md")
    documents = [path.relative_to(ROOT).as_posix() for path in files(".md") if path.parent != ROOT]
    assert [name for name in documents if name.startswith("docs/") and name not in index] == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_names_a_home_folder_or_this_checkout(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(?:home|Users)/\w|/[r]oot/", text)
    if len(ROOT.parts) > 2:  # a checkout at /x would be found in any path
        assert f"{ROOT}/" not in text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_fences_are_closed(path: Path) -> None:
    fences = re.findall(r"^```", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) % 2 == 0


def test_the_tree_names_every_folder_and_no_other() -> None:
    (tree,) = (block for block in fenced(page("CONTRIBUTING.md")) if "├──" in block)
    named = set(re.findall(r"^(?:[├└]── )?(\w+)/", tree, re.MULTILINE))
    rooms = {path.parent.name for path in (ROOT / "mfubench").glob("*/__init__.py")}
    assert named == {"model", "benchmarks", "mfubench", "results", "tests", "docs"} | rooms


def test_the_changelog_has_this_version() -> None:
    assert f"## [{__version__}]" in page("CHANGELOG.md")


def test_constraints_pin_every_dependency_without_a_local_version() -> None:
    lines = [x for x in page("constraints.txt").splitlines() if x and not x.startswith("#")]
    assert [x for x in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", x)] == []
    pinned = {re.sub(r"[-_.]+", "-", line.partition("==")[0].lower()) for line in lines}
    project = tomllib.loads(page("pyproject.toml"))["project"]
    asked = project["dependencies"] + project["optional-dependencies"]["dev"]
    needed = {requirement.partition(">=")[0] for requirement in asked}
    assert {"torch", "pytest-benchmark", "ruff", "tox"} <= needed
    assert needed <= pinned


def test_the_lock_has_a_line_for_every_extra_that_a_distribution_asks_for() -> None:
    """Without it pip refuses the whole lock: `urllib3[socks]` is not `urllib3` to it."""
    locked = {line.partition("==")[0].lower() for line in page("requirements.lock").splitlines()}
    asked = set()
    for name in locked:
        with contextlib.suppress(metadata.PackageNotFoundError):
            for text in metadata.requires(name) or ():
                one = Requirement(text)
                if one.extras and (one.marker is None or one.marker.evaluate({"extra": ""})):
                    asked.add(f"{one.name}[{','.join(sorted(one.extras))}]".lower())
    assert asked <= locked
    assert "urllib3[socks]" in locked
