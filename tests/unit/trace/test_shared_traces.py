"""Real traces of six devices, where they lie beside the project: what must hold on all of them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from mfubench.analysis import components
from mfubench.trace.build import trace_account
from mfubench.trace.document import TraceAccount

FOLDER = Path(__file__).parents[4] / "shared" / "traces"
TRACES = sorted(FOLDER.glob("*.json.gz"))

pytestmark = pytest.mark.skipif(not TRACES, reason=f"there are no traces in {FOLDER}")


@pytest.fixture(scope="module", params=TRACES, ids=lambda path: path.name.partition(".")[0])
def account(request: pytest.FixtureRequest) -> TraceAccount:
    return trace_account([request.param])


def test_bars_add_up_and_nothing_is_counted_twice(account: TraceAccount) -> None:
    for step in account.steps:
        assert sum(bar.seconds for bar in step.account) == pytest.approx(step.step_s, rel=1e-12)
        by_kernels = sum(round(bar.device_sum_s * 1e9) for bar in step.account)
        assert by_kernels == round(step.device_sum_s * 1e9)
        assert step.device_busy_s <= min(step.step_s, step.device_sum_s) + 1e-12
        assert step.device_busy_s + step.device_idle_s == pytest.approx(step.step_s, rel=1e-12)
        assert step.communication_exposed_s <= step.communication_s


def test_no_kernel_is_dispatch_and_operators_are_as_many_in_every_step(
    account: TraceAccount,
) -> None:
    names = {bar.name for step in account.steps for bar in step.account}
    assert components.DISPATCH not in names
    assert len({step.operators for step in account.steps}) == 1


def test_little_links_to_nothing_where_all_launches_are_recorded(account: TraceAccount) -> None:
    linked = [s for s in account.steps if s.name == account.ranks[0].median_step]
    assert all(step.unlinked_s <= 0.02 * step.device_sum_s for step in linked)


def test_the_document_reads_back(account: TraceAccount) -> None:
    assert msgspec.convert(msgspec.to_builtins(account), TraceAccount) == account


def test_graphs_fused_kernels_and_streams_that_overlap_are_seen() -> None:
    found = {path.name.partition(".")[0]: trace_account([path]) for path in TRACES}
    graphs = found["a100-cuda-graphs"].steps[2]
    assert (graphs.graph_launches, graphs.lost_launches) == (14, 0)
    assert sum(bar.graph_s for bar in graphs.account) > 0.02
    assert {b.name for b in graphs.account} >= {"optimizer", "gemm", "communication"}
    block = {bar.name: bar for bar in found["mi300x-compiled-block"].steps[0].account}
    assert {"attention", "gemm", "fused: activation + residual"} <= block.keys()
    overlap = found["mi300x-ddp-recompute"].steps[-1]
    assert overlap.device_sum_s > 1.2 * overlap.device_busy_s
    assert overlap.device_idle_s < 0.01 * overlap.step_s


def test_the_flops_of_a_compiled_block_are_those_of_its_sizes() -> None:
    """Seven products and a causal-free attention of 8×16×4096×128, by hand."""
    (step,) = trace_account([FOLDER / "mi300x-compiled-block.json.gz"]).steps
    products = 2 * 32768 * 2048 * (4 * 2048 + 3 * 8192)
    attention = 4 * 8 * 16 * 4096 * 4096 * 128
    causal = 4 * 8 * 16 * (4096 * 4097 // 2) * 128
    assert step.flops in (pytest.approx(products + attention), pytest.approx(products + causal))
