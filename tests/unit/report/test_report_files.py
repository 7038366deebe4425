"""`mfubench report`: what it writes, and what it says where it cannot."""

from __future__ import annotations

import html
import re
import sys
import webbrowser
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

import mfubench
from mfubench.cli import main
from mfubench.report.build import build_report
from mfubench.results.collect import collect
from mfubench.show.markdown import MOST_BYTES, as_markdown
from mfubench.show.pictures import standalone_svg
from tests.unit.report.example_results import case, fill, nights, reference, save

Capture = pytest.CaptureFixture[str]
STEP = "train-step/nanogpt-cpu/cpu-float32-b12-eager"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("example"))


def refused(capsys: Capture, *arguments: object) -> str:
    assert main(["report", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, "one sentence"
    return err


def test_without_options_the_page_is_report_html(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "results", "0001_x.json", reference())
    assert main(["report"]) == 0
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert capsys.readouterr().out == "wrote report.html\n"


def test_files_that_are_left_out_are_named_and_cost_no_page(
    tmp_path: Path, capsys: Capture
) -> None:
    save(tmp_path, "0001_x.json", reference())
    (tmp_path / "0002_x.json").write_text("{", encoding="utf-8")
    page = tmp_path / "r.html"
    assert main(["report", str(tmp_path), "-o", str(page)]) == 0
    err = capsys.readouterr().err
    assert "1 file left out:" in err
    assert "0002_x.json is not a result file" in err
    assert "0002_x.json is not a result file" in page.read_text(encoding="utf-8")


def test_an_empty_folder_says_what_to_type(tmp_path: Path, capsys: Capture) -> None:
    told = refused(capsys, tmp_path, "-o", tmp_path / "r.html")
    assert f"no saved run in {tmp_path}" in told
    assert "type: pytest benchmarks/" in told
    assert not (tmp_path / "r.html").exists()


def test_a_missing_folder_says_so(tmp_path: Path, capsys: Capture) -> None:
    assert "no result file or folder at" in refused(capsys, tmp_path / "absent")


def test_nothing_but_broken_files_says_the_first_reason(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "0001_x.json").write_text("[]", encoding="utf-8")
    told = refused(capsys, tmp_path, "-o", tmp_path / "r.html")
    assert "none of the 1 file in" in told
    assert "expected object, got array" in told


def test_a_page_that_cannot_be_written_says_so(tmp_path: Path, capsys: Capture) -> None:
    save(tmp_path, "0001_x.json", reference())
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(tmp_path), "-o", str(tmp_path)])
    assert "is a folder; give the name of a file" in capsys.readouterr().err
    told = refused(capsys, tmp_path, "-o", tmp_path / "absent" / "r.html")
    assert "cannot be written: there is no folder" in told
    for option in ("--csv", "--png"):
        target = tmp_path / "0001_x.json" / "x" if option == "--png" else tmp_path / "no" / "x.csv"
        target = Path("/dev/null/x") if option == "--png" else target
        assert "cannot be written" in refused(capsys, tmp_path, option, target)


def test_an_old_page_is_replaced_whole_or_not_at_all(tmp_path: Path, capsys: Capture) -> None:
    save(tmp_path, "0001_x.json", reference())
    page = tmp_path / "r.html"
    page.write_text("old", encoding="utf-8")
    main(["report", str(tmp_path), "-o", str(page)])
    assert page.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_markdown_is_short_and_folded(example: Path, capsys: Capture) -> None:
    assert main(["report", str(example), "--markdown"]) == 0
    text = capsys.readouterr().out
    assert len(text.encode()) < 60_000
    before_the_fold = text.partition("<details>")[0]
    assert "nanoGPT uses 47 % of this AMD EPYC" in before_the_fold
    assert "31 % faster (29 to 33 %) with malloc keeps memory" in before_the_fold
    assert text.count("<details>") == text.count("</details>") >= 8
    for line in text.splitlines():
        if line.startswith("| "):
            assert line.endswith(" |")


def test_markdown_of_many_machines_stays_below_the_limit(tmp_path: Path) -> None:
    for number in range(40):
        data = reference()
        data["mfubench"]["fingerprint"]["id"] = f"machine-{number}"
        save(tmp_path, "0001_x.json", data, machine=f"machine-{number}")
    text = as_markdown(build_report(collect([tmp_path])))
    assert len(text.encode()) < MOST_BYTES
    assert "Left out, because a comment has a limit" in text


def test_nothing_in_markdown_mentions_anyone_or_breaks_a_table(tmp_path: Path) -> None:
    data = reference()
    evil = "|x| @octocat #1 <script>alert(1)</script> [a](http://b) **b** `c`\n| y"
    for benchmark in data["benchmarks"]:
        benchmark["extra_info"]["case_id"] += evil
        benchmark["extra_info"]["peak_source"] = evil
    save(tmp_path, "0001_x.json", data)
    text = as_markdown(build_report(collect([tmp_path])))
    assert "@octocat" not in text
    assert "<script" not in text
    assert "](http" not in text
    outside_code = re.sub(r"<(code|pre)>.*?</\1>", "", text, flags=re.DOTALL)
    assert "&#64;octocat" not in outside_code
    lines = text.splitlines()
    for above, line in pairwise(lines):
        if above.startswith("| ") and line.startswith("| "):
            assert line.count(" | ") == above.count(" | ")


def test_the_frames_are_tidy_and_say_the_same(tmp_path: Path) -> None:
    nights(tmp_path / "runs", 3)
    target = tmp_path / "frame.csv"
    assert main(["report", str(tmp_path / "runs"), "--csv", str(target)]) == 0
    cases, rounds = pd.read_csv(target), pd.read_csv(tmp_path / "frame.rounds.csv")
    assert len(cases) == 3 * len(reference()["benchmarks"])
    assert len(rounds) == sum(len(b["stats"]["data"]) for b in reference()["benchmarks"]) * 3
    medians = rounds.groupby(["run", "case_id"]).seconds.median()
    for _, row in cases.iterrows():
        assert medians[row["run"], row["case_id"]] == pytest.approx(row["median_s"])


def test_a_notebook_gets_a_row_per_round(tmp_path: Path) -> None:
    save(tmp_path, "0001_x.json", reference())
    frame = mfubench.load(tmp_path, per="round")
    step = frame[frame.case_id == STEP]
    assert list(step.seconds) == case(reference(), STEP)["stats"]["data"]
    assert list(step["round"]) == list(range(len(step)))
    with pytest.raises(ValueError, match="allowed: 'case', 'round'"):
        mfubench.load(tmp_path, per="week")  # type: ignore[arg-type]


def test_documents_beside_runs_are_passed_over_by_the_frame(example: Path) -> None:
    frame = mfubench.load(example)
    assert frame.attrs["skipped"] == []
    assert not frame.case_id.isna().any()


def test_a_spreadsheet_runs_no_formula(tmp_path: Path) -> None:
    data = reference()
    data["benchmarks"][0]["extra_info"]["preset"] = "=cmd|' /C calc'!A0"
    save(tmp_path / "runs", "0001_x.json", data)
    target = tmp_path / "frame.csv"
    main(["report", str(tmp_path / "runs"), "--csv", str(target)])
    assert not re.search(r"(^|,)\"?=", target.read_text(encoding="utf-8"), re.MULTILINE)


def test_parquet_holds_the_same(example: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    target = tmp_path / "frame.parquet"
    assert main(["report", str(example), "--parquet", str(target)]) == 0
    cases = pd.read_parquet(target)
    assert len(cases) == len(mfubench.load(example))
    assert cases.knob_ratio.max() == pytest.approx(1.163)
    assert len(pd.read_parquet(tmp_path / "frame.rounds.parquet")) > 1000


@pytest.mark.parametrize(
    ("option", "module", "package"),
    [("--parquet", "pyarrow", "pyarrow"), ("--png", "resvg_py", "resvg_py")],
)
def test_a_missing_library_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    option: str,
    module: str,
    package: str,
) -> None:
    save(tmp_path, "0001_x.json", reference())
    for name in (module, "fastparquet"):
        monkeypatch.setitem(sys.modules, name, None)
    told = refused(capsys, tmp_path, option, tmp_path / "out")
    assert f"pip install {package}" in told


def test_every_picture_becomes_a_png(example: Path, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py", reason="resvg_py is not installed")
    assert main(["report", str(example), "--png", str(tmp_path / "png")]) == 0
    figures = build_report(collect([example])).figures
    written = {path.stem: path.read_bytes() for path in (tmp_path / "png").iterdir()}
    assert set(written) == {figure.key for figure in figures}
    for png in written.values():
        assert png.startswith(b"\x89PNG")
        assert len(png) > 3000, "not an empty picture"


def test_a_picture_alone_needs_no_style_sheet(example: Path) -> None:
    for figure in build_report(collect([example])).figures:
        svg = standalone_svg(str(figure.wide))
        assert "var(--" not in svg
        assert html.unescape(svg).count("<style>") == 1


@pytest.mark.parametrize("works", [True, False])
def test_the_page_can_be_opened_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, works: bool
) -> None:
    asked: list[str] = []

    def browser(url: str) -> bool:
        asked.append(url)
        return works

    monkeypatch.setattr(webbrowser, "open", browser)
    save(tmp_path, "0001_x.json", reference())
    page = tmp_path / "my page.html"
    assert main(["report", str(tmp_path), "--open", "-o", str(page)]) == 0
    assert asked == [page.as_uri()]
    err = capsys.readouterr().err
    assert ("no browser was found to open" in err) is not works


def test_open_writes_the_page_beside_another_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(webbrowser, "open", bool)
    save(tmp_path, "0001_x.json", reference())
    assert main(["report", str(tmp_path), "--markdown", "--open"]) == 0
    assert (tmp_path / "report.html").exists()
    assert capsys.readouterr().out.startswith("## nanoGPT uses 47 %")
