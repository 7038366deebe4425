"""`mfubench trace` as a user types it, and what it leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, schedule

from mfubench.cli import main
from mfubench.report.bodies import BODIES
from mfubench.report.build import build_report
from mfubench.results.collect import collect
from mfubench.results.schema import problems
from mfubench.show.blocks import Figure
from tests.trace_builder import TraceBuilder

GEMM = "ampere_bf16_s16816gemm_bf16_128x128"


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    trace = TraceBuilder(rank=0, world_size=1)
    types = ["c10::BFloat16", "c10::BFloat16"]
    for number in range(3):
        start = number * 100.0
        trace.step(number, start, start + 100)
        sizes = [[512, 512], [512, 512]]
        trace.op("aten::mm", start, start + 5, Input_Dims=sizes, Input_type=types)
        trace.launch(GEMM, (start + 1, start + 2), (start + 2, start + 60 + number))
        trace.launch("ncclDevKernel_AllReduce", (start + 3, start + 4), (start + 4, start + 70))
    return trace.write(tmp_path / "trace.json.gz")


def test_json_holds_what_is_promised(
    trace_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    assert main(["trace", str(trace_file), "--json", "--results-dir", str(results)]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["device"]["name"] == "NVIDIA A100-SXM4-80GB"
    assert [rank["rank"] for rank in data["ranks"]] == [0]
    assert len(data["steps"]) == 3
    for step in data["steps"]:
        assert sum(bar["seconds"] for bar in step["account"]) == pytest.approx(step["step_s"])
        assert {"name", "seconds"} <= step["account"][0].keys()
        assert step["operators"] == 1
        assert step["device_busy_s"] + step["device_idle_s"] == pytest.approx(step["step_s"])
        assert step["device_sum_s"] > step["device_busy_s"]
        assert step["communication_s"] > step["communication_exposed_s"] > 0
        assert step["unlinked_s"] == 0


def test_what_is_saved_is_valid_and_shows_on_the_page(
    trace_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    assert main(["trace", str(trace_file), "--kernels", "--results-dir", str(results)]) == 0
    said = capsys.readouterr().out
    (path,) = results.rglob("*.json")
    assert f"saved in {path}" in said
    assert "communication, exposed" in said
    assert "512×512×512" in said
    assert problems(json.loads(path.read_text(encoding="utf-8")), BODIES) == []
    report = build_report(collect([results], BODIES))
    (section,) = [s for s in report.sections if s.key == "trace"]
    (figure,) = [block for block in section.blocks if isinstance(block, Figure)]
    for picture in (figure.wide, figure.narrow):
        assert 'class="run product"' in picture
        assert 'class="run communication"' in picture
        assert "stream 7" in picture


def test_names_in_a_trace_are_not_trusted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = TraceBuilder("<script>alert(1)</script>")
    trace.launch("<b>\x1b[31mkernel\u202e", (0, 1), (1, 50))
    path = trace.write(tmp_path / "trace.json")
    results = tmp_path / "results"
    assert main(["trace", str(path), "--kernels", "--results-dir", str(results)]) == 0
    assert "\x1b" not in capsys.readouterr().out
    page = tmp_path / "report.html"
    assert main(["report", str(results), "-o", str(page)]) == 0
    assert "<script>alert" not in page.read_text(encoding="utf-8")


def test_neither_torch_nor_pandas_is_needed(trace_file: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'pandas', 'scipy'): sys.modules[name] = None\n"
        "from mfubench.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["trace", str(trace_file), "--results-dir", str(tmp_path / "results")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "the device is busy" in " ".join(done.stdout.split())


@pytest.mark.parametrize("ending", [".json", ".json.gz"])
def test_a_trace_that_torch_writes_here(tmp_path: Path, ending: str) -> None:
    """Of a CPU: no device events, but steps, operators and sizes as torch writes them today."""
    path = tmp_path / f"trace{ending}"
    x = torch.randn(16, 16)
    with profile(
        activities=[ProfilerActivity.CPU],
        schedule=schedule(wait=0, warmup=1, active=2, repeat=1),
        on_trace_ready=lambda profiler: profiler.export_chrome_trace(str(path)),
        record_shapes=True,
    ) as profiler:
        for _ in range(3):
            torch.nn.functional.gelu(x @ x).sum()
            profiler.step()
    results = tmp_path / "results"
    assert main(["trace", str(path), "--json", "--results-dir", str(results)]) == 2
    (saved,) = results.rglob("*.json")
    body = json.loads(saved.read_text(encoding="utf-8"))["trace"]
    assert len(body["steps"]) == 2
    assert len({step["operators"] for step in body["steps"]}) == 1
    for step in body["steps"]:
        names = [bar["name"] for bar in step["account"]]
        assert {"gemm", "activation"} <= set(names)
        assert sum(bar["seconds"] for bar in step["account"]) == pytest.approx(step["step_s"])
        assert step["device_busy_s"] is None
