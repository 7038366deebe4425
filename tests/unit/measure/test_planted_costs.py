"""A cost planted in made-up profiler events is found in its bar, whole, and in no other.

From the events to the account, without a clock. `benchmarks/test_planted_costs.py` plants the same
costs in real steps and reports what is found of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from mfubench.analysis.account import build_account
from mfubench.measure import profiler_events, profiling
from mfubench.measure.events import MODULE, PHASE, STEP
from mfubench.measure.profile_rows import operators
from mfubench.measure.profiling import StepProfiler
from tests.unit.measure.fake_events import FakeEvent, all_of

US = 1e-6
EVENT_COST_S = 0.25 * US

Tree = tuple[str, float, list[Any]]
"""A name, microseconds of its own, and what is in it."""


def op(name: str, own_us: float = 0.0, *below: Tree) -> Tree:
    return (name, own_us, list(below))


def module(component: str, *below: Tree) -> Tree:
    """What runs in a module; the range itself is there only while modules are learnt."""
    return (MODULE + component, 0.0, list(below))


def step(
    *,
    activation: Sequence[Tree] = (),
    forward: Sequence[Tree] = (),
    optimizer: Sequence[Tree] = (),
    optimizer_us: float = 5.0,
    data_us: float = 4.0,
) -> Tree:
    """A training step, and what is planted in its parts."""
    mlp = (
        module("gemm", op("aten::linear", 1, op("aten::t", 1), op("aten::addmm", 50))),
        op("aten::gelu", 10),
        *activation,
    )
    return op(
        STEP,
        2,
        op(
            PHASE + "forward",
            3,
            module("normalisation", op("aten::native_layer_norm", 6)),
            module("attention", op("aten::_scaled_dot_product_flash_attention_for_cpu", 30)),
            module("activation", *mlp),
            *forward,
            op("aten::add", 4),
            op("aten::_log_softmax", 7),
        ),
        op(PHASE + "data", data_us, op("aten::randint", 3)),
        op(PHASE + "backward", 2, op("aten::mm", 90), op("aten::gelu_backward", 15)),
        op(PHASE + "clip", 1, op("aten::linalg_vector_norm", 5)),
        op(PHASE + "optimizer", optimizer_us, op("aten::_fused_adamw_", 20), *optimizer),
    )


PLAIN = step()
COMPOSED = ("aten::mul", "aten::pow", "aten::add", "aten::tanh")
CAST = op(
    "aten::to", 0, op("aten::_to_copy", 1, op("aten::empty_strided", 1), op("aten::copy_", 3))
)
PLANTED = {
    "an activation computed again": (
        "activation",
        160.0,
        step(activation=[op("aten::gelu", 10)] * 16),
    ),
    "an activation of many operations": (
        "activation",
        40.0,
        step(activation=[op(name, 10) for name in COMPOSED]),
    ),
    "needless clones": (
        "copies",
        80.0,
        step(activation=[op("aten::clone", 1, op("aten::copy_", 7))] * 10),
    ),
    "upcasts": ("copies", 50.0, step(activation=[CAST] * 10)),
    "items that wait": (
        "synchronisation",
        600.0,
        step(forward=[op("aten::item", 1, op("aten::_local_scalar_dense", 59))] * 10),
    ),
    "slow loader": ("data", 500.0, step(data_us=504.0)),
    "slow optimizer": ("optimizer", 400.0, step(optimizer=[op("aten::sin", 10)] * 40)),
    "unfused optimizer": (
        "optimizer",
        100.0,
        step(optimizer_us=25.0, optimizer=[op("aten::addcdiv_", 4), op("aten::lerp_", 4)] * 10),
    ),
}


def record(tree: Tree, start_us: float, *, modules: bool) -> tuple[list[FakeEvent], float]:
    """A tree as the profiler would record it, and when it ends. What an event costs falls outside
    its own interval, and so into its parent's."""
    name, own_us, below = tree
    inside: list[FakeEvent] = []
    at_us = start_us
    for child in below:
        found, at_us = record(child, at_us, modules=modules)
        inside += found
    if name.startswith(MODULE) and not modules:
        return inside, at_us
    end_us = at_us + own_us
    return [FakeEvent(name, start_us, end_us, inside)], end_us + EVENT_COST_S / US


def bars_of(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> tuple[float, Counter[str]]:
    """The plain step and its bars, in microseconds."""
    plain_us = sum(own_us for _, own_us, _ in walk(tree))
    profiled = SimpleNamespace(
        model=None, device=SimpleNamespace(kind="cpu"), compiled=False, calls=0
    )

    def events(times: int, *, modules: bool) -> list[FakeEvent]:
        roots: list[FakeEvent] = []
        at_us = 0.0
        for _ in range(times):
            found, at_us = record(tree, at_us, modules=modules)
            roots += found
        return all_of(*roots)

    def phased() -> None:
        profiled.calls += 1

    def recorded(modules: bool) -> Callable[..., list[FakeEvent]]:
        def events_of(run: Callable[[], object], device: object) -> list[FakeEvent]:
            before = profiled.calls
            run()
            return events(profiled.calls - before, modules=modules)

        return events_of

    monkeypatch.setattr(
        profiler_events, "module_ranges", lambda model: pytest.MonkeyPatch.context()
    )
    monkeypatch.setattr(profiler_events, "events_of", recorded(True))
    monkeypatch.setattr(profiling, "events_of", recorded(False))
    monkeypatch.setattr(profiling, "time_s", lambda run: plain_us * US)
    profiler = StepProfiler(profiled, phased, event_cost_s=EVENT_COST_S)  # type: ignore[arg-type]
    profiler.block(plain=2, profiled=3)
    profile = profiler.taken()
    assert profile.by_module
    rows = operators(profile, on_host=True)
    account = build_account(
        rows,
        step_s=profile.step_s,
        profiled_step_s=profile.step_s,
        model_flops=10**6,
        peak_flops_per_s=None,
        ceiling_flops_per_s=1e12,
        gemm_alone_s=None,
        costs={},
        bandwidth=lambda _: float("inf"),
    )
    assert sum(bar.seconds for bar in account.bars) == pytest.approx(plain_us * US)
    found: Counter[str] = Counter()
    for row in rows:
        found[row.component] += row.seconds / US  # type: ignore[assignment]
    return plain_us, found


def walk(tree: Tree) -> list[Tree]:
    return [tree, *(below for child in tree[2] for below in walk(child))]


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_cost_is_found_in_its_bar_and_in_no_other(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bar, cost_us, tree = PLANTED[name]
    plain_us, plain = bars_of(PLAIN, monkeypatch)
    planted_us, planted = bars_of(tree, monkeypatch)
    assert sum(plain.values()) == pytest.approx(plain_us)
    assert planted_us - plain_us == pytest.approx(cost_us)
    grown = {key: planted[key] - plain[key] for key in planted | plain}
    assert grown == pytest.approx(dict.fromkeys(grown, 0.0) | {bar: cost_us}, abs=1e-6)


def test_the_benchmark_plants_the_same_costs() -> None:
    from mfubench_benchmarks.planted_costs import PLANTS

    assert {n: plant.bar for n, plant in PLANTS.items()} == {n: p[0] for n, p in PLANTED.items()}
