"""Documents beside the runs: the stored ones are valid, and each kind can be invalid."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from mfubench.cli import main
from mfubench.report.bodies import BODIES
from mfubench.results.collect import collect
from mfubench.results.folder import DOCUMENTS
from mfubench.results.read import ResultError, document_in, read_document, read_json
from mfubench.results.schema import document_schema, problems, run_schema
from tests.unit.docs.pages import page, section

ROOT = Path(__file__).parents[3]
KINDS = tuple(BODIES)
SCHEMAS = {kind: document_schema(kind, body) for kind, body in BODIES.items()}
Spoil = Callable[[dict[str, Any], str], None]


def stored() -> list[Path]:
    """The project's reference results; what a user measured beside them is not ours to judge."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository, so references and a user's own results look alike")
    command = ["git", "ls-files", "results/*.json"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / line for line in listed.splitlines()]
    return [path for path in paths if path.name != "ceilings.json"]


def newest(kind: str) -> Path:
    return max(path for path in stored() if path.parent.name == kind)


def as_json(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def test_there_is_a_type_of_every_kind() -> None:
    assert KINDS == DOCUMENTS


def test_stored_runs_and_documents_fit_their_types_and_the_schema_made_from_them() -> None:
    paths = stored()
    assert {path.parent.name for path in paths} >= set(KINDS)
    for path in paths:
        data = as_json(path)
        assert problems(data, BODIES) == [], path
        schema = SCHEMAS.get(path.parent.name) or run_schema()
        validator = jsonschema.Draft202012Validator(schema)
        assert [error.message for error in validator.iter_errors(data)] == [], path


def with_todays_rule(body: dict[str, Any]) -> None:
    """What gates and self-tests of two batches do not say, and what they alone said."""
    if "cases" in body and "limits" in body:
        body.setdefault("looks", [])
        body.setdefault("within_tolerance", "fail")
        for metric in (metric for case in body["cases"] for metric in case["metrics"]):
            metric.pop("needs_confirmation", None)
            metric.setdefault("is_open", False)
    for summary in filter(None, (body.get("summary"), body.get("self_test"))):
        summary.setdefault("rule", "two batches")


def with_what_came_later(body: dict[str, Any]) -> None:
    """Fields that older files of the same schema version lack."""
    for one in body.get("tries", ()):
        one.setdefault("bars", None)
    if "tries" in body:
        body.setdefault("script", None)
    if "cases" in body and "limits" in body:
        body.setdefault("notes", [])
    for pair in body.get("measured", ()):
        for side in pair.get("sides", {}).values():
            side.setdefault("graphs", 0)
            side.setdefault("places", {})


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_written_with_the_same_keys(kind: str) -> None:
    for path in (path for path in stored() if path.parent.name == kind):
        document = read_document(path)
        written = msgspec.to_builtins(document.read(BODIES[kind]))
        with_what_came_later(document.body)
        with_todays_rule(document.body)
        assert json.loads(json.dumps(written)) == document.body, path


@pytest.mark.parametrize("kind", KINDS)
def test_fields_of_a_newer_version_are_passed_over(kind: str) -> None:
    data = as_json(newest(kind))
    data[kind]["of_version_9"] = data["mfubench"]["of_version_9"] = {"x": 1}
    assert problems(data, BODIES) == []
    jsonschema.validate(data, SCHEMAS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_a_document_is_documented(kind: str) -> None:
    documented = section(page("docs/results.md"), "## Documents")
    names = SCHEMAS[kind]["$defs"][BODIES[kind].__name__]["properties"]
    assert [name for name in names if f"`{name}`" not in documented] == []


# --- what is wrong with a document ---------------------------------------------------------------

A_LIST = {
    "advice": "tries",
    "comparison": "measured",
    "count": "operators",
    "gate": "measured",
    "prediction": "predictions",
    "prediction-test": "measured",
    "probe": "operators",
    "self-test": "measured",
    "trace": "steps",
}
NEEDED = dict.fromkeys(A_LIST, "spent_s") | {
    "trace": "marked",
    "prediction": "frozen_at_s",
    "count": "optimizer",
}


def without_a_body(data: dict[str, Any], kind: str) -> None:
    del data[kind]


def with_another_kind(data: dict[str, Any], kind: str) -> None:
    data["mfubench"]["kind"] = "diary"


def with_text_for_a_list(data: dict[str, Any], kind: str) -> None:
    data[kind][A_LIST[kind]] = "many"


def without_a_needed_field(data: dict[str, Any], kind: str) -> None:
    del data[kind][NEEDED[kind]]


def of_a_newer_version(data: dict[str, Any], kind: str) -> None:
    data["mfubench"]["schema_version"] = 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_a_body, "{kind}: expected object, got null"),
        (with_another_kind, "mfubench/kind: 'diary' is not one of advice, comparison, count"),
        (with_text_for_a_list, "{kind}/{list}: expected array, got str"),
        (without_a_needed_field, "{kind}: object missing required field {needed}"),
        (of_a_newer_version, "has schema version 2; this mfubench reads version 1"),
    ],
)
def test_a_spoilt_document_is_told_by_its_field(kind: str, spoil: Spoil, words: str) -> None:
    data = as_json(newest(kind))
    spoil(data, kind)
    (problem,) = problems(data, BODIES)
    assert words.format(kind=kind, list=A_LIST[kind], needed=NEEDED[kind]) in problem
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, SCHEMAS[kind])


def spoilt(*path: str | int, value: object) -> Spoil:
    """A document of which one field has another value."""

    def spoil(data: dict[str, Any], kind: str) -> None:
        place: Any = data[kind]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return spoil


@pytest.mark.parametrize(
    ("kind", "spoil", "words"),
    [
        ("gate", spoilt("cases", 0, "verdict", value="green"), "gate/cases/0/verdict: invalid"),
        ("gate", spoilt("cases", value=[]), "gate/cases: expected array of length >= 1"),
        ("gate", spoilt("exit_status", value=3), "gate/exit_status: invalid enum value 3"),
        ("gate", spoilt("limits", "floor", value="1 %"), "gate/limits/floor: expected float"),
        (
            "gate",
            spoilt("cases", 0, "metrics", 0, "metric", value="speed"),
            "gate/cases/0/metrics/0/metric: invalid enum value 'speed'",
        ),
        (
            "gate",
            spoilt("measured", 0, "cases", value={"train-step/x": {"times": None}}),
            "gate/measured/0/cases: expected errors, or times with start, counts and compiled",
        ),
        (
            "self-test",
            spoilt("summary", "false_alarms", "high", value=1.5),
            "self-test/summary/false_alarms/high: expected float <= 1.0",
        ),
        ("self-test", spoilt("load", value="heavy"), "self-test/load: invalid enum value 'heavy'"),
        ("advice", spoilt("ended", value="early"), "advice/ended: invalid enum value 'early'"),
        (
            "advice",
            spoilt("tries", 0, "effect", "verdict", value="wins"),
            "advice/tries/0/effect/verdict: invalid enum value 'wins'",
        ),
        (
            "advice",
            spoilt("learning", "baseline", 0, "losses", value=[2.0]),
            "advice/learning/baseline/0: expected 30 losses, got 1",
        ),
    ],
)
def test_a_value_that_no_version_writes_is_invalid(kind: str, spoil: Spoil, words: str) -> None:
    data = as_json(newest(kind))
    spoil(data, kind)
    (problem,) = problems(data, BODIES)
    assert problem.startswith(words)
    document = document_in(Path("kept.json"), data)
    with pytest.raises(ResultError, match=r"^kept\.json is not a valid result: "):
        document.read(BODIES[kind])


def test_a_count_that_no_computer_reaches_is_invalid(tmp_path: Path) -> None:
    """Found by a fuzzer: such a count was valid, and dividing by it was no float."""
    data = as_json(newest("advice"))
    data["advice"]["learning"]["candidate"][0]["tokens"][0] = 10**79
    path = tmp_path / "0001_x.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    (problem,) = problems(read_json(path), BODIES)
    assert problem.startswith("advice/learning/candidate/0/tokens/0: expected int")


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_document_is_told_by_its_path(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "0001_x.json"
    path.write_bytes(newest(kind).read_bytes()[:-100])
    assert main(["validate", str(path)]) == 1
    assert f"{path} is not a result file" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["run", *KINDS])
def test_the_schema_of_every_kind_is_printed(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--schema", kind]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    wanted = [kind] if kind != "run" else {path.parent.name for path in stored()} - set(KINDS)
    path = next(path for path in stored() if path.parent.name in wanted)
    jsonschema.validate(as_json(path), schema)


@pytest.mark.parametrize("arguments", [[], ["x.json", "--schema", "gate"]])
def test_files_or_a_schema_are_asked_for(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", *arguments]) == 2
    assert "give result files, or --schema with one of run, advice" in capsys.readouterr().err


def test_a_case_without_an_outcome_counts_as_one_that_failed() -> None:
    """Found by a fuzzer: `validate` ended in a traceback."""
    (path, *_) = (path for path in stored() if path.parent.name not in KINDS)
    data = as_json(path)
    case = {"case_id": "train-step/x", "question": "train-step", "device": "cpu"}
    case |= {"outcome_reason": "it has none"}
    found = []
    for outcome in ({}, {"outcome": "error"}):
        data["mfubench"]["other_outcomes"] = [case | outcome]
        found.append(problems(data, BODIES))
    assert found[0] == found[1] == []


@pytest.mark.parametrize(
    ("share", "whole"),
    [("mfu", "peak_flops_per_s"), ("ceiling_utilisation", "ceiling_flops_per_s")],
)
def test_a_share_without_its_whole_is_a_problem(share: str, whole: str) -> None:
    (path,) = (ROOT / "results").glob("*357d*/Linux*/0001_*.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    info = next(one["extra_info"] for one in data["benchmarks"] if one["extra_info"][share])
    assert problems(data) == []
    del info[whole]
    (said,) = problems(data)
    assert f"extra_info/{whole}: expected a value" in said


def test_a_number_beyond_all_reason_is_read_as_it_is_judged(tmp_path: Path) -> None:
    """`validate` and every reader agree on it."""
    (stored,) = (ROOT / "results").glob("*357d*/Linux*/0001_*.json")
    data = json.loads(stored.read_text(encoding="utf-8"))
    data["benchmarks"][0]["stats"]["q1"] = 10**39
    path = tmp_path / "0001_x.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    assert problems(read_json(path)) == []
    assert len(collect([path], BODIES).runs) == 1
