"""A profile as a tree: whose time is whose, and what the profiler itself cost."""

from __future__ import annotations

import pytest

from mfubench.analysis import components
from mfubench.measure.events import MODULE, PHASE, STEP, StepTree, component_times, step_trees, walk
from tests.unit.measure.fake_events import FakeEvent, all_of

US = 1e-6


def phase(name: str, start: float, end: float, *below: FakeEvent) -> FakeEvent:
    return FakeEvent(PHASE + name, start, end, list(below))


def module(component: str, start: float, end: float, *below: FakeEvent) -> FakeEvent:
    return FakeEvent(MODULE + component, start, end, list(below))


def op(name: str, start: float, end: float, *below: FakeEvent) -> FakeEvent:
    return FakeEvent(name, start, end, list(below))


def tree(*below: FakeEvent, end: float = 100, cost_us: float = 0.0) -> StepTree:
    (found,) = step_trees(all_of(FakeEvent(STEP, 0, end, list(below))), event_cost_s=cost_us * US)
    return found


def bars(found: StepTree) -> dict[str, float]:
    """Microseconds by component, with every operator told by its module where that was seen."""
    sums: dict[str, float] = {}
    for time in component_times(found, [o.module for o in walk(found.roots)]):
        sums[time.component] = sums.get(time.component, 0.0) + time.self_s / US
    return sums


def test_self_times_and_python_add_up_to_the_step() -> None:
    found = tree(
        phase("forward", 10, 50, op("aten::linear", 12, 40, op("aten::mm", 15, 35))),
        phase("backward", 50, 90, op("MmBackward0", 55, 80, op("aten::mm", 56, 66))),
    )
    assert [(o.name, o.phase) for o in walk(found.roots)] == [
        ("aten::linear", "forward"),
        ("aten::mm", "forward"),
        ("MmBackward0", "backward"),
        ("aten::mm", "backward"),
    ]
    assert [o.self_s / US for o in walk(found.roots)] == pytest.approx([8, 20, 15, 10])
    python_us = {name: s / US for name, s in found.python_s.items()}
    assert python_us == pytest.approx({"": 20, "forward": 12, "backward": 15})
    total_s = sum(o.self_s for o in walk(found.roots)) + sum(found.python_s.values())
    assert total_s == pytest.approx(found.wall_s)
    assert found.events == 7


def test_a_parent_pays_for_each_child_and_never_falls_below_zero() -> None:
    found = tree(
        phase(
            "forward",
            0,
            100,
            op("aten::linear", 0, 50, op("aten::t", 1, 11), op("aten::mm", 11, 41)),
            op("aten::add", 50, 92, op("aten::empty", 50, 91)),
        ),
        cost_us=2,
    )
    own_us = {o.name: o.self_s / US for o in walk(found.roots)}
    # linear: 50 - 10 - 30 = 10, less 2 for each of its two children; add: 1 less 2 is nothing.
    assert own_us == pytest.approx(
        {"aten::linear": 6, "aten::t": 10, "aten::mm": 30, "aten::add": 0, "aten::empty": 41}
    )
    assert found.python_s["forward"] / US == pytest.approx(8 - 2 * 2)
    assert found.events == 7
    assert found.wall_s / US == pytest.approx(100 - 2 * 7)


def test_module_ranges_are_transparent_and_their_own_time_is_python() -> None:
    found = tree(
        phase(
            "forward",
            0,
            100,
            module(
                "attention",
                10,
                60,
                op("aten::add", 12, 22),
                module("gemm", 30, 50, op("aten::mm", 31, 49)),
            ),
            op("aten::mul", 70, 80),
        )
    )
    assert [(o.name, o.module) for o in found.roots] == [
        ("aten::add", "attention"),
        ("aten::mm", "gemm"),
        ("aten::mul", None),
    ]
    # 40 outside the range and the multiplication, 20 in attention's range, 2 in the linear layer's
    assert found.python_s["forward"] / US == pytest.approx(40 + 20 + 2)


def test_what_the_profiler_inserts_is_no_operator() -> None:
    inserted = op("profiler::_record_function_enter_new", 1, 5, op("aten::zeros", 2, 4))
    found = tree(phase("forward", 0, 100, inserted))
    assert [o.name for o in found.roots] == ["aten::zeros"]


def test_children_are_walked_in_the_order_in_which_they_started() -> None:
    late, early = op("aten::mul", 50, 60), op("aten::add", 10, 20)
    found = tree(phase("forward", 0, 100, late, early))
    assert [o.name for o in walk(found.roots)] == ["aten::add", "aten::mul"]


def test_every_step_range_gives_a_tree_of_its_own() -> None:
    first = FakeEvent(STEP, 0, 10, [op("aten::mm", 1, 9)])
    second = FakeEvent(STEP, 10, 30, [op("aten::add", 11, 12)])
    trees = step_trees(all_of(first, second))
    assert [[o.name for o in t.roots] for t in trees] == [["aten::mm"], ["aten::add"]]
    assert [t.wall_s / US for t in trees] == pytest.approx([10, 20])


def test_an_accelerators_backward_on_its_own_thread_joins_the_step_that_it_fell_into() -> None:
    step = FakeEvent(STEP, 0, 100, [phase("forward", 0, 50, op("aten::mm", 1, 9))])
    inside = FakeEvent("aten::mm", 60, 90, kernels_us=(7, 5), thread=2)
    after = FakeEvent("aten::mm", 110, 120, thread=2)
    same_thread = FakeEvent("aten::mul", 60, 61, thread=1)
    on_device = FakeEvent("sgemm_kernel", 60, 72, thread=2, device="CUDA")
    (found,) = step_trees(all_of(step, inside, after, same_thread, on_device))
    assert [(o.name, o.phase) for o in found.roots] == [
        ("aten::mm", "forward"),
        ("aten::mm", "backward"),
    ]
    assert found.roots[1].device_s / US == pytest.approx(12)


def test_a_kernels_time_is_its_launchers() -> None:
    launching = FakeEvent("aten::mm", 10, 20, kernels_us=(30, 4))
    found = tree(phase("forward", 0, 50, FakeEvent("aten::linear", 5, 25, [launching])))
    (linear,) = component_times(found, [None, None])[:1]
    assert linear.device_s == 0
    assert component_times(found, [None, None])[1].device_s / US == pytest.approx(34)


def test_the_first_operator_that_is_more_than_dispatch_decides_for_all_below_it() -> None:
    found = tree(
        phase(
            "forward",
            0,
            100,
            module(
                "activation",
                0,
                40,
                op("aten::mul", 0, 40, op("aten::copy_", 10, 20), op("aten::mm", 20, 21)),
            ),
            op("aten::reshape", 50, 90, op("aten::clone", 51, 81, op("aten::empty", 52, 60))),
        )
    )
    assert bars(found) == pytest.approx({"activation": 40, "dispatch": 10, "copies": 30})


@pytest.mark.parametrize("name", ["clip", "optimizer", "data", "logging"])
def test_a_phase_that_is_a_bar_owns_everything_in_it(name: str) -> None:
    found = tree(
        phase(
            name, 0, 100, op("aten::mm", 0, 10), op("aten::item", 10, 20), op("aten::view", 20, 30)
        )
    )
    assert bars(found) == pytest.approx({name: 30})


def test_unknown_operators_fall_to_their_module_or_to_the_residual_stream() -> None:
    found = tree(
        phase(
            "forward",
            0,
            100,
            module("normalisation", 0, 20, op("mine::brand_new", 0, 20)),
            module("gemm", 20, 30, op("mine::brand_new", 20, 30)),
            op("mine::brand_new", 40, 45),
        ),
        op("mine::brand_new", 100, 101),
        end=110,
    )
    assert bars(found) == pytest.approx(
        {"normalisation": 20, "residual": 15, components.UNKNOWN: 1}
    )


def device_event(start: float, end: float) -> FakeEvent:
    return FakeEvent("a kernel", start, end, device="CUDA")


def test_the_device_is_busy_for_the_union_of_its_kernels() -> None:
    """Two streams overlap, and one kernel links to no operator: all of them count, once."""
    step = FakeEvent(STEP, 0, 100, [op("aten::mm", 5, 10)])
    kernels = [device_event(10, 60), device_event(40, 70), device_event(80, 90)]
    (found,) = step_trees([*all_of(step), *kernels])
    assert found.device_busy_s / US == pytest.approx(70)
    assert found.device_sum_s / US == pytest.approx(90)


def test_kernels_of_a_replayed_graph_are_what_their_names_say() -> None:
    replay = FakeEvent("CompiledFunction", 10, 20, kernels_us=(30.0,))
    replay.kernel_name = "ampere_sgemm_128x64_nn"
    found = tree(phase("forward", 5, 30, replay))
    times = component_times(found, [None for _ in walk(found.roots)])
    assert {t.component: t.device_s / US for t in times if t.device_s} == {
        components.GEMM: pytest.approx(30)
    }
