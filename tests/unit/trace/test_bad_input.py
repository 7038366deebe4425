"""What is no trace, or a broken one: one sentence, exit status 2, bounded memory, nothing saved."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest

from mfubench.cli import main
from mfubench.trace import read
from mfubench.trace.build import trace_account
from mfubench.trace.read import TraceError, TraceReader
from tests.one_sentence import assert_refused
from tests.trace_builder import TraceBuilder

GEMM = "ampere_sgemm_128x64_nn"


def small() -> TraceBuilder:
    trace = TraceBuilder()
    trace.op("aten::mm", 0, 5)
    trace.launch(GEMM, (1, 2), (2, 12))
    return trace


def refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: str, *files: Path, status: int = 2
) -> None:
    results = tmp_path / "results"
    arguments = ["trace", *map(str, files), "--results-dir", str(results)]
    assert_refused(capsys, arguments, words, status=status)
    assert not list(results.rglob("*.json"))


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    refused(capsys, tmp_path, "there is no", tmp_path / "none.json")


def test_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    refused(capsys, tmp_path, "cannot be read", tmp_path)


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("trace.json", "{}")
    return out.getvalue()


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        file.addfile(tarfile.TarInfo("trace.json"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (_zip(), "an archive (zip)"),
        (_tar(), "an archive (tar)"),
        (pickle.dumps({"a": 1}), "a pickle, which is never opened"),
        (b"step 1: loss 3.2\n", "is no trace"),
        (b"{}", "JSON without traceEvents"),
        (b'{"a": [1, 2', "JSON without traceEvents"),
        (b'[{"ph": "X"}]', "as a browser writes it"),
        (b'{"traceEvents": []}', "no operator and no kernel"),
        (b'{"traceEvents": [{"ph": "X", "cat": 5}]}', "is no trace of torch.profiler"),
        (b'{"traceEvents": [] nonsense', "is broken JSON"),
        (gzip.compress(b'{"traceEvents": []}', mtime=0)[:-6], "is cut off"),
        (b"\x1f\x8b\x08broken", "broken gzip"),
        (b'{"a":' + b"[" * 100_000, "is no trace"),
        (b'{"traceEvents":[{"args":' + b'{"a":' * 100_000, "is nested too deeply"),
    ],
)
def test_what_is_no_trace(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "trace.json"
    path.write_bytes(content)
    refused(capsys, tmp_path, words, path)


def test_a_trace_of_a_browser(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "browser.json"
    event = {"ph": "X", "cat": "devtools.timeline", "name": "Paint", "ts": 5, "dur": 2}
    path.write_text(json.dumps({"traceEvents": [event]}))
    refused(capsys, tmp_path, "only events of kind 'devtools.timeline'", path)


def test_a_trace_that_is_cut_off(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = small().write(tmp_path / "trace.json")
    path.write_text(path.read_text()[:-90])
    refused(capsys, tmp_path, "is cut off", path)


@pytest.mark.parametrize("factor", [1e-3, 1e-6])
def test_times_in_other_units(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, factor: float
) -> None:
    trace = TraceBuilder()
    for i in range(20):
        trace.launch(GEMM, (i * 10, i * 10 + 1), (i * 10 + 1, i * 10 + 9))
    for event in trace.events:
        event["ts"] *= factor
        event["dur"] *= factor
    refused(capsys, tmp_path, "no microseconds", trace.write(tmp_path / "trace.json"))


def test_times_in_nanoseconds(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    trace = small()
    for event in trace.events:
        event["ts"] = 1.7e18 + event["ts"] * 1e3
    refused(capsys, tmp_path, "no microseconds", trace.write(tmp_path / "trace.json"))


def test_a_negative_duration(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    trace = small()
    trace.events[-1]["dur"] = -3
    refused(capsys, tmp_path, "not negative", trace.write(tmp_path / "trace.json"))


def test_an_unknown_device(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = small().write(tmp_path / "trace.json")
    arguments = ["trace", str(path), "--device", "RTX 9999", "--results-dir", str(tmp_path / "r")]
    assert_refused(capsys, arguments, "no peaks are known for 'RTX 9999'", status=2)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ((0, 2, 3), (0, 2, 3), "both of rank 0"),
        ((0, 2, 3), (1, 4, 3), "a run with 2 ranks"),
        ((0, 2, 3), (1, 2, 9), "no step in common"),
        ((None, 2, 3), (None, 2, 3), "does not say which rank"),
    ],
)
def test_ranks_of_different_runs(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    first: tuple[int | None, int, int],
    second: tuple[int | None, int, int],
    words: str,
) -> None:
    paths = []
    for index, (rank, size, number) in enumerate((first, second)):
        trace = TraceBuilder(rank=rank, world_size=size)
        trace.step(number, 0, 50)
        trace.launch(GEMM, (1, 2), (2, 12))
        paths.append(trace.write(tmp_path / f"{index}.json"))
    refused(capsys, tmp_path, words, *paths)


def test_a_trace_without_device_events_still_accounts_for_the_host(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    trace = TraceBuilder()
    trace.step(1, 0, 100)
    trace.op("aten::linear", 10, 60)
    trace.op("aten::addmm", 20, 50)
    path = trace.write(tmp_path / "trace.json")
    assert main(["trace", str(path), "--json", "--results-dir", str(tmp_path / "r")]) == 2
    said = capsys.readouterr()
    assert "holds no device events" in said.err
    assert len(said.err.strip().splitlines()) == 1
    (step,) = json.loads(said.out)["steps"]
    assert {bar["name"]: round(bar["seconds"] * 1e6) for bar in step["account"]} == {
        "gemm": 30,
        "dispatch": 20,
        "Python, in no operator": 50,
    }


def test_launches_without_a_single_kernel_are_lost_records(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As on Intel's GPUs with torch 2.13: this must not pass for an idle device."""
    trace = TraceBuilder()
    trace.op("aten::mm", 0, 10)
    trace.launch(GEMM, (1, 2), (2, 12), is_recorded=False)
    path = trace.write(tmp_path / "trace.json")
    assert main(["trace", str(path), "--results-dir", str(tmp_path / "r")]) == 2
    assert "1 launches and not one kernel" in capsys.readouterr().err


def test_more_text_than_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compressed a thousand to one: what counts is the text."""
    monkeypatch.setattr(read, "MAX_TEXT_BYTES", 50_000_000)
    path = tmp_path / "bomb.json.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'{"traceEvents": [')
        for _ in range(60):
            file.write(b" " * 1_000_000)
    with pytest.raises(TraceError, match=r"more than 0\.05 GB of text"):
        trace_account([path])


def test_a_piece_that_never_ends_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "bomb.json.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'{"traceEvents": [{"name": "')
        for _ in range(80):
            file.write(b"x" * 1_000_000)
    with pytest.raises(TraceError, match="hold no event"):
        trace_account([path])


def test_pieces_are_cut_between_events_wherever_they_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts and arguments that look like a cut, in any layout, plain or compressed."""
    trace = small()
    trace.header["distributedInfo"] = {"rank": 0, "world_size": 1, "note": '"traceEvents": ['}
    for index in range(60):
        trace.op('odd }, { "name', index, index + 1, Inputs=[{"a": 1}, {"b": "}, {"}])
    monkeypatch.setattr(read, "PIECE_BYTES", 500)
    for indent in (None, 2):
        path = tmp_path / f"{indent}.json"
        path.write_text(json.dumps(trace.data(), indent=indent))
        packed = tmp_path / f"{indent}.json.gz"
        packed.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        for file in (path, packed):
            reader = TraceReader(file)
            pieces = list(reader.pieces())
            assert sum(map(len, pieces)) == len(trace.events)
            assert len(pieces) > 5
            assert reader.header.distributed is not None


def test_what_stands_after_the_events_is_read_too(tmp_path: Path) -> None:
    trace = small()
    data = {"traceEvents": trace.events, **trace.header}
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(data))
    assert trace_account([path]).device.name == "NVIDIA A100-SXM4-80GB"
