"""The workload in docs/extending.md runs, and its count is right."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from mfubench_model.dispatch_count import count_dispatched_flops

from mfubench.analysis.account import PROFILED_BARS
from mfubench.results.schema import problems
from tests.inner_runs import shorten, store_ceiling
from tests.unit.docs.pages import fenced, first_codes, page, section

EXTENDING = page("docs/extending.md")
RESULTS = page("docs/results.md")
(EXAMPLE,) = (block for block in fenced(EXTENDING, "python") if "class MLPRegression" in block)
PLUGIN = next(block for block in fenced(EXTENDING, "python") if "pytest_plugins" in block)


@pytest.fixture
def saved(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The result of running the example in a project of its own, as the page says."""
    shorten(monkeypatch)
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\ntestpaths = ['tests']\n")
    pytester.makeconftest(PLUGIN)
    file = pytester.path / EXAMPLE.partition("\n")[0].removeprefix("# ")
    file.parent.mkdir()
    file.write_text(EXAMPLE, encoding="utf-8")
    results = pytester.path / "results"
    store_ceiling(results)
    run = pytester.runpytest_inprocess(
        "benchmarks/",
        "--sweep=smoke",
        "--devices=cpu",
        "--dtypes=float32",
        "-p",
        "no:cacheprovider",
    )
    run.assert_outcomes(passed=2)
    (path,) = results.rglob("0001_*.json")
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def test_it_runs_and_its_result_is_valid_and_documented(saved: dict[str, Any]) -> None:
    assert problems(saved) == []
    infos = [benchmark["extra_info"] for benchmark in saved["benchmarks"]]
    assert [info["case_id"] for info in infos] == [
        "train-step/mlp-regression/cpu-float32-b128-eager",
        "train-loop/mlp-regression/cpu-float32-b128-eager",
    ]
    documented = {
        *first_codes(section(RESULTS, "## Fields of every case")),
        *first_codes(section(RESULTS, "## Fields of one question")),
    }
    for info in infos:
        assert set(info) <= documented
        assert info["tokens_per_s"] == pytest.approx(128 / info["step_s"])
        assert info["mfu_a100"] is None
    assert set(saved["mfubench"]) == set(first_codes(section(RESULTS, "## The object `mfubench`")))


def example_workload() -> Any:
    scope: dict[str, Any] = {"__name__": "example"}
    exec(compile(EXAMPLE, "docs/extending.md", "exec", dont_inherit=True), scope)
    return scope["MLPRegression"]()


def test_its_components_are_bars_and_their_bytes_the_least() -> None:
    workload = example_workload()
    costs = workload.component_costs("float32")
    assert set(costs) <= {"gemm", "attention", *PROFILED_BARS}
    network = workload.make_model()
    weights = sum(weight.numel() for weight in network.parameters())
    assert costs["optimizer"].bytes == 4 * 5 * weights
    x, _ = workload.sample_batch("train", torch.device("cpu"))
    assert costs["activation"].bytes == 4 * 5 * network[0](x).numel()


def test_its_count_is_what_torch_dispatches() -> None:
    workload = example_workload()
    network = workload.make_model()
    batch = workload.sample_batch("train", torch.device("cpu"))
    counted = count_dispatched_flops(lambda: workload.loss(network, batch).backward())
    assert workload.cost("float32", "cpu").model_flops == counted
