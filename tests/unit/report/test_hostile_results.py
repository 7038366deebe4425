"""A page from files that mean harm or are broken: it stands alone, runs nothing of theirs, and no
odd field can stop it."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfubench.report.bodies import BODIES
from mfubench.report.build import build_report
from mfubench.results.collect import collect
from mfubench.show.page import as_html
from tests.unit.report.example_results import (
    advice,
    case,
    fill,
    reference,
    save,
    without_number,
)
from tests.unit.report.test_report_page import built, table


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return as_html(build_report(collect([fill(tmp_path_factory.mktemp("example"))])))


def test_the_page_stands_alone(page: str) -> None:
    assert len(page.encode()) < 3_000_000
    links = re.findall(r'(?:src|href|action|data|poster)\s*=\s*"([^"]*)"', page)
    assert {link for link in links if not link.startswith("#")} <= {"data:,"}
    without_names = page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http://" not in without_names
    assert "https://" not in without_names
    assert "@import" not in page
    assert not re.findall(r"url\((?!#)", page)


def test_only_our_script_may_run(page: str) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    allowed = html.unescape(policy.group(1))
    assert "default-src 'none'" in allowed
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in allowed
    assert not re.findall(r"<[^>]*\son\w+\s*=", page)


def test_ids_are_unique_and_every_link_has_a_target(page: str) -> None:
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onload='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "🐍 emoji 数据 עברית \u202eevil",
    "\x00\x1b[31m control",
    "a" * 5000,
)


class Tags(HTMLParser):
    """Every element and attribute of a page, as a browser would see them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, int] = {}
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] = self.seen.get(tag, 0) + 1
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_shown_and_does_nothing(tmp_path: Path, name: str) -> None:
    data = reference()
    for benchmark in data["benchmarks"]:
        info = benchmark["extra_info"]
        for key in ("preset", "peak_source", "breakdown_note", "flops_source"):
            info[key] = name
        info["case_id"] += f"/{name}"
        for operator in info.get("breakdown_operators", []):
            operator["name"] = name
        for bar in info.get("breakdown", []):
            bar["source"] += name
    data["mfubench"]["fingerprint"]["id"] = name
    data["mfubench"]["sweep"]["corpus"] = name
    data["mfubench"]["devices"]["cpu"]["name"] = name
    data["mfubench"]["other_outcomes"] = [without_number("error", 96, name)]
    data["commit_info"]["id"] = name
    page = as_html(built(tmp_path, data))
    tags = Tags()
    tags.feed(page)
    assert tags.seen["script"] == 1
    assert "img" not in tags.seen
    assert not {a for a in tags.attributes if a.startswith("on")}
    assert "49" not in re.findall(r"\{\{ 7 \* 7 \}\}|>49<", page)
    assert not re.findall("[\x00\x1b\u202e]", page)
    assert "cannot be shown" not in page
    for figure in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(figure)


def test_what_is_pasted_into_a_shell_is_quoted(tmp_path: Path) -> None:
    data = reference()
    data["mfubench"]["sweep"]["corpus"] = "a; rm -rf ~ $(x).txt"
    page = as_html(built(tmp_path, data))
    assert html.escape("--corpus 'a; rm -rf ~ $(x).txt'", quote=False) in html.unescape(page)


def test_one_odd_field_costs_its_file_alone_and_is_named(tmp_path: Path) -> None:
    data = reference()
    data["datetime"] = "2026-11-26T00:00:00+00:00"
    info = case(data, "breakdown/nanogpt-cpu/cpu-float32-b12-eager")["extra_info"]
    info["breakdown_groups"] = 3
    save(tmp_path, "0002_x.json", data)
    report = built(tmp_path, reference())
    (left_out,) = table(report, "Skipped files").rows
    assert "extra_info/breakdown_groups: expected object | null, got int" in left_out[1].text
    assert {"answer", "breakdown", "cases"} <= {s.key for s in report.sections}


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(data=st.data())
def test_no_field_of_a_file_can_stop_the_page(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    run = reference()
    for _ in range(data.draw(st.integers(1, 4))):
        where: Any = run
        while True:
            keys = list(where) if isinstance(where, dict) else list(range(min(len(where), 40)))
            key = data.draw(st.sampled_from(keys))
            inner = where[key]
            if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
                where[key] = data.draw(ODD)
                break
            where = inner
    folder = tmp_path_factory.mktemp("odd")
    save(folder, "0001_x.json", run)
    save(folder, "0002_x.json", reference())
    found = collect([folder])
    page = as_html(build_report(found))
    assert page.rstrip().endswith("</html>")
    assert len(found.skipped) <= 2


def test_a_document_with_an_odd_field_is_left_out_and_named(tmp_path: Path) -> None:
    save(tmp_path, "0001_run.json", reference())
    made = advice()
    made["advice"]["tries"][0]["bars"] = [{"name": "optimizer"}]
    path = save(tmp_path, "0001_advice.json", made)
    found = collect([tmp_path], BODIES)
    told = "is not a valid result: advice/tries/0/bars/0: object missing required field before_s"
    assert found.skipped == [(str(path), f"{path} {told}")]
    report = build_report(found)
    assert {"answer", "cases"} <= {section.key for section in report.sections}
    assert told in html.unescape(as_html(report))
