"""What a report reads: newest records, history, and files that are not what they should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mfubench.results import read as results
from mfubench.results.collect import collect
from tests.unit.report.example_results import (
    OTHER_MACHINE,
    advice,
    case,
    document,
    nights,
    reference,
    save,
    scaled,
)

STEP = "train-step/nanogpt-cpu/cpu-float32-b12-eager"


def only_reason(folder: Path) -> str:
    ((_, reason),) = collect([folder]).skipped
    return reason


def test_of_every_case_the_newest_record_is_kept(tmp_path: Path) -> None:
    old, new = reference(), reference()
    new["datetime"] = "2026-11-25T00:00:00+00:00"
    new["benchmarks"] = [b for b in new["benchmarks"] if b["extra_info"]["case_id"] == STEP]
    scaled(new["benchmarks"][0], 2.0)
    save(tmp_path, "0001_a.json", old)
    save(tmp_path, "0002_b.json", new)
    found = collect([tmp_path])
    by_id = {c.record.case_id: c for c in found.cases}
    assert len(found.cases) == len(by_id) == len(old["benchmarks"])
    newest = case(old, STEP)["extra_info"]["step_s"] * 2
    assert by_id[STEP].record.step_s == pytest.approx(newest)
    assert by_id[STEP].run.path.name == "0002_b.json"
    assert {c.run.path.name for c in found.cases} == {"0001_a.json", "0002_b.json"}


def test_history_is_in_the_order_of_time_not_of_names(tmp_path: Path) -> None:
    for name, day in (("0001_x.json", "03"), ("0002_x.json", "01"), ("0003_x.json", "02")):
        data = reference()
        data["datetime"] = f"2026-11-{day}T00:00:00+00:00"
        save(tmp_path, name, data)
    points = next(iter(collect([tmp_path]).history.values()))
    assert [point.run.datetime[8:10] for point in points] == ["01", "02", "03"]


def test_machines_are_kept_apart(tmp_path: Path) -> None:
    other = reference()
    other["mfubench"]["fingerprint"]["id"] = OTHER_MACHINE
    save(tmp_path, "0001_x.json", reference())
    save(tmp_path, "0001_x.json", other, machine=OTHER_MACHINE)
    found = collect([tmp_path])
    assert set(found.machines) == {OTHER_MACHINE, reference()["mfubench"]["fingerprint"]["id"]}
    assert len(found.cases) == 2 * len(other["benchmarks"])


@pytest.mark.parametrize("version", [0, 2, "1", None, True, 1.5])
def test_another_schema_version_is_refused_by_name(tmp_path: Path, version: object) -> None:
    data = reference()
    data["mfubench"]["schema_version"] = version
    save(tmp_path, "0001_x.json", data)
    if version is True:  # JSON's true equals 1 in Python and is refused by the schema all the same
        assert "schema_version" in only_reason(tmp_path)
        return
    assert f"schema version {version!r}; this mfubench reads version 1" in only_reason(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"benchmarks": [{"name": "x"', "is not a result file"),
        (b"", "is not a result file"),
        (b"\xff\xfe\x00", "is not a result file"),
        (b"[" * 100_000, "the file: expected object, got array"),
        (b"[1, 2]", "the file: expected object, got array"),
        (b"{}", "has no list of benchmarks"),
        (b'{"benchmarks": [1]}', "benchmarks/0: expected object, got int"),
        (b'{"mfubench": {"schema_version": 1, "kind": "poem"}}', "a document of kind 'poem'"),
        (
            b'{"mfubench": {"schema_version": 1, "kind": "gate"}, "gate": 3}',
            "mfubench: object missing",
        ),
    ],
)
def test_a_file_that_is_no_result_is_named_with_the_reason(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "0001_x.json"
    path.write_bytes(content)
    reason = only_reason(tmp_path)
    assert words in reason
    assert str(path) in reason


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "0001_x.json"
    with path.open("wb") as file:
        file.truncate(200 * 2**20)  # sparse: nothing is written
    assert "has more than 64 MiB; no result is that large" in only_reason(tmp_path)


def test_three_broken_of_many_cost_three(tmp_path: Path) -> None:
    nights(tmp_path, 12)
    for number in range(3):
        (tmp_path / f"090{number}_x.json").write_text('{"benchmarks": [', encoding="utf-8")
    found = collect([tmp_path])
    assert len(found.skipped) == 3
    assert len(found.runs) == 12
    assert {len(points) for points in found.history.values()} == {12}


def test_a_newest_run_that_breaks_the_schema_gives_way_to_the_one_before(tmp_path: Path) -> None:
    broken = reference()
    broken["datetime"] = "2026-11-26T00:00:00+00:00"
    case(broken, STEP)["extra_info"]["step_s"] = "fast"
    save(tmp_path, "0001_x.json", reference())
    save(tmp_path, "0002_x.json", broken)
    found = collect([tmp_path])
    assert {c.run.path.name for c in found.cases} == {"0001_x.json"}
    ((path, reason),) = found.skipped
    assert path.endswith("0002_x.json")
    where = next(n for n, b in enumerate(broken["benchmarks"]) if b is case(broken, STEP))
    told = f"is not a valid result: benchmarks/{where}/extra_info/step_s: expected float | null"
    assert told in reason
    assert {len(points) for points in found.history.values()} == {1}


def test_nan_is_unknown(tmp_path: Path) -> None:
    data = reference()
    case(data, STEP)["extra_info"]["loss"] = float("nan")
    data["benchmarks"][0]["extra_info"]["warmup_s"] = float("inf")
    path = save(tmp_path, "0001_x.json", data)
    assert "NaN" in path.read_text(encoding="utf-8")
    read = results.read_json(path)
    assert case(read, STEP)["extra_info"]["loss"] is None


@pytest.mark.parametrize("bad", [float("nan"), 0, -1, None, "1"])
def test_a_median_that_is_no_time_has_no_point_in_history(tmp_path: Path, bad: object) -> None:
    nights(tmp_path, 3)
    data = reference()
    data["datetime"] = "2025-01-01T00:00:00+00:00"  # an old run: nothing of it is shown
    case(data, STEP)["stats"]["median"] = bad
    save(tmp_path, "0500_x.json", data)
    found = collect([tmp_path])
    (machine,) = found.machines
    assert len(found.history[machine, STEP]) == 3


def test_files_of_other_suites_are_plain_timings(tmp_path: Path) -> None:
    stats = {"median": 0.5, "min": 0.4, "stddev": 0.1, "rounds": 7}
    foreign: dict[str, Any] = {"benchmarks": [{"fullname": "t.py::test_x", "stats": stats}]}
    foreign["benchmarks"].append({"name": "no stats"})
    save(tmp_path, "0001_x.json", foreign)
    found = collect([tmp_path])
    (timing,) = found.foreign
    assert (timing.name, timing.median_s, timing.min_s, timing.rounds) == (
        "t.py::test_x",
        0.5,
        0.4,
        7,
    )
    assert found.cases == []


def test_documents_are_told_from_runs(tmp_path: Path) -> None:
    save(tmp_path, "0001_x.json", advice(), kind="advice")
    newer = document("advice", {"preset": "gpt2"})
    newer["mfubench"]["created"] = "2026-12-01T00:00:00+00:00"
    save(tmp_path, "0002_x.json", newer, kind="advice")
    found = collect([tmp_path])
    assert [d.body["preset"] for d in found.documents["advice"]] == ["gpt2", "nanogpt-cpu"]
    assert not found.skipped
    assert not found.is_empty


def test_a_folder_is_searched_for_numbered_files_alone(tmp_path: Path) -> None:
    (tmp_path / "ceilings.json").write_text("{}", encoding="utf-8")
    (tmp_path / "notes.json").write_text("x", encoding="utf-8")
    found = collect([tmp_path])
    assert found.is_empty
    assert not found.skipped


def test_a_file_given_twice_counts_once(tmp_path: Path) -> None:
    path = save(tmp_path, "0001_x.json", reference())
    assert len(collect([path, tmp_path, path]).runs) == 1


def test_a_missing_path_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no result file or folder at"):
        collect([tmp_path / "absent"])


def test_only_runs_that_are_shown_are_kept_whole(tmp_path: Path) -> None:
    nights(tmp_path, 5)
    found = collect([tmp_path])
    assert len(found.headers) == 1
    assert len(found.runs) == 5
