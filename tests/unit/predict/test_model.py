"""The model on machines whose truth is known."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mfubench_model.config import ConfigError

from mfubench.hardware.peaks import lookup
from mfubench.predict.document import MeasuredStep, Prediction, Setting
from mfubench.predict.elsewhere import machine_elsewhere
from mfubench.predict.machine import Ceilings, Machine, UnknownMachineError, machine_of, scaled
from mfubench.predict.memory import peak_memory_bytes
from mfubench.predict.model import Fit, fit, parts_of
from mfubench.predict.operators import operators
from mfubench.predict.predict import predict
from mfubench.predict.rates import Grid, OutsideError, Rates
from mfubench.predict.table import from_peaks
from tests.unit.predict.made_up_machine import ANCHORS, MadeUp, ratio, setting

sizes = st.builds(
    setting,
    n_layer=st.integers(1, 24),
    n_head=st.just(2),
    n_embd=st.sampled_from([32, 48, 128, 320, 768]),
    block_size=st.sampled_from([32, 64, 200, 512]),
    vocab_size=st.sampled_from([65, 1000, 16384]),
    batch_size=st.integers(1, 48),
)


TRUTH = MadeUp()
HIDDEN = MadeUp(factors={"launch": 1.5, "linear": 1.3})
AS_PROBED, ANCHORED = machine_of(TRUTH.probe(), ""), machine_of(TRUTH.probe(ANCHORS), "")
FITTED = machine_of(HIDDEN.probe(ANCHORS), "")


def said(one: Setting, machine: Machine) -> Prediction:
    return predict(one, machine, iterations=2000)


@settings(max_examples=40, deadline=None)
@given(one=sizes)
def test_a_machine_that_keeps_to_its_probe_is_predicted(one: Setting) -> None:
    assert ratio(said(one, AS_PROBED).step_s, TRUTH.step_s(one)) < 0.1


@settings(max_examples=40, deadline=None)
@given(one=sizes)
def test_what_no_probe_shows_is_learnt_from_three_steps(one: Setting) -> None:
    assert ratio(said(one, FITTED).step_s, HIDDEN.step_s(one)) < 0.12


def test_a_compiled_step_is_learnt_from_compiled_anchors() -> None:
    truth = MadeUp(fused=0.2)
    anchors = [msgspec.structs.replace(one, compile=True) for one in ANCHORS]
    one = setting(compile=True, n_layer=8, batch_size=24)
    found = said(one, machine_of(truth.probe(anchors), ""))
    assert found.grade == "anchored"
    assert ratio(found.step_s, truth.step_s(one)) < 0.1


def test_without_anchors_of_its_mode_a_prediction_is_no_anchored_one() -> None:
    machine = machine_of(MadeUp().probe(ANCHORS), "")
    assert said(setting(), machine).grade == "anchored"
    assert said(setting(compile=True), machine).grade == "ceilings"


@given(
    power=st.floats(0.0, 1.0),
    at=st.integers(64, 2**20),
)
def test_between_probed_shapes_a_power_of_the_size_is_exact(power: float, at: int) -> None:
    grid = Grid("gelu", {(n,): 1e-6 * n**power for n in (64, 4096, 2**20)})
    assert grid.seconds((at,)) == pytest.approx(1e-6 * at**power, rel=1e-9)


def test_where_a_corner_was_too_large_to_probe_the_rate_of_the_next_smaller_one_holds() -> None:
    times = {(r, i, o): r * i * o / 1e9 for r in (32, 1024) for i in (16, 256) for o in (16, 256)}
    del times[1024, 256, 256]
    assert Grid("linear", times).seconds((1024, 256, 256)) == pytest.approx(1024 * 256 * 256 / 1e9)


def test_a_product_too_large_to_probe_has_the_rate_of_the_one_with_the_longest_shortest_side() -> (
    None
):
    sizes = (32, 256, 1024)
    small = [s for s in itertools.product(sizes, repeat=3) if math.prod(s) <= 32 * 1024 * 1024]
    # Products with a short side wait for memory: 32 rows go at an eighth of the rate of 256.
    times = {s: math.prod(s) / (1e9 * min(s) / 256) for s in small}
    found = Grid("linear", times).seconds((1024, 1024, 1024))
    assert found == pytest.approx(1024**3 / 1e9)


@settings(max_examples=30, deadline=None)
@given(one=sizes)
def test_terms_are_what_the_step_is_made_of(one: Setting) -> None:
    found = said(one, ANCHORED)
    step = [term for term in found.terms if "whole run" not in term.name]
    assert sum(term.seconds for term in step) == pytest.approx(found.step_s)
    assert found.binds == max(step, key=lambda term: term.seconds).name


@settings(max_examples=30, deadline=None)
@given(one=sizes)
def test_more_layers_never_take_less_time(one: Setting) -> None:
    machine = ANCHORED
    more = msgspec.structs.replace(one, n_layer=one.n_layer + 1)
    assert (said(more, machine).step_s or 0) > (said(one, machine).step_s or math.inf)


def test_the_factors_stay_near_one_where_anchors_say_little() -> None:
    truth = MadeUp()
    factors = fit([truth.measured(one) for one in ANCHORS], Rates(truth.times())).factors
    assert all(abs(math.log(factor)) < 0.1 for name, factor in factors.items() if name != "fused")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"n_embd": 2**15, "n_head": 1}, "probed: "),
        ({"block_size": 2**15}, "probed: "),
        ({"dtype": "bfloat16"}, "linear in bfloat16; probed: float32"),
        ({"batch_size": 1000, "vocab_size": 16384}, "the device has 16.0 GiB"),
    ],
)
def test_far_from_what_was_probed_there_is_no_number(changes: dict[str, object], why: str) -> None:
    machine = machine_of(MadeUp().probe(ANCHORS, total_memory_bytes=2**34), "")
    found = said(setting(**changes), machine)
    assert found.step_s is None
    assert found.tokens_per_s is None
    assert found.run_s is None
    assert found.terms == []
    assert str(found.outside).startswith("outside of what was probed: ")
    assert why in str(found.outside)


def test_sizes_that_make_no_model_are_refused() -> None:
    with pytest.raises(ConfigError, match="n_embd must be a multiple of n_head"):
        said(setting(n_head=3), machine_of(MadeUp().probe(), ""))


def test_accumulated_batches_update_once() -> None:
    whole, parts = setting(), setting(batch_size=4, gradient_accumulation_steps=3)
    counts = [
        {o.name: o.count for o in operators(one) if o.name in ("attention", "adamw")}
        for one in (whole, parts)
    ]
    assert counts[1]["attention"] == 3 * counts[0]["attention"]
    assert counts[1]["adamw"] == counts[0]["adamw"]
    assert whole.tokens == parts.tokens
    assert peak_memory_bytes(parts, "cpu") < peak_memory_bytes(whole, "cpu")


def test_a_machine_known_by_its_ceilings_goes_as_much_faster_as_they_are() -> None:
    here, there = MadeUp(), MadeUp(speed=2.0, launch_s=10e-6)
    far = there.probe()
    machine = scaled(
        here.probe(ANCHORS),
        Ceilings(
            gemm_flops_per_s=far.gemm_flops_per_s,
            bandwidth_bytes_per_s=far.bandwidth_bytes_per_s,
            dispatch_s=far.dispatch_s,
        ),
        device="cpu",
        name="there",
        source="",
    )
    found = said(setting(), machine)
    assert found.grade == "ceilings"
    assert ratio(found.step_s, there.step_s(setting())) < 0.08


def test_a_dtype_without_a_ceiling_there_is_outside() -> None:
    here = MadeUp()
    reference = here.probe(operators=[*here.times(), *here.times("bfloat16")])
    reference.gemm_flops_per_s = {"float32": 1e9, "bfloat16": 1e9}
    limits = Ceilings(gemm_flops_per_s={"float32": 1e9}, bandwidth_bytes_per_s=1e9, dispatch_s=1e-6)
    machine = scaled(reference, limits, device="cpu", name="there", source="")
    assert said(setting(), machine).step_s is not None
    assert said(setting(dtype="bfloat16"), machine).step_s is None


GPT2 = setting(
    device="cuda", dtype="bfloat16", n_layer=12, n_head=12, n_embd=768, block_size=1024,
    vocab_size=50304,
)  # fmt: skip


def test_a_device_that_nobody_has_is_predicted_from_its_makers_peaks() -> None:
    found = said(GPT2, machine_elsewhere("NVIDIA GeForce RTX 4090", None))  # type: ignore[arg-type]
    assert found.grade == "table"
    assert found.step_s is not None
    assert found.low_s is not None
    assert found.low_s < found.step_s < (found.high_s or 0)


def test_on_a_gpu_launches_and_work_overlap() -> None:
    peaks = lookup("NVIDIA H200")
    assert peaks is not None
    machine = from_peaks(peaks, "NVIDIA H200")
    small = msgspec.structs.replace(GPT2, batch_size=1, block_size=64, n_embd=96)
    for one in (GPT2, small):
        fitted, _ = machine.fit_of(one.dtype, one.compile)
        parts = parts_of(one, machine.rates)
        launches = fitted.step_s(part for part in parts if part.group == "launches")
        work = fitted.step_s(part for part in parts if part.group != "launches")
        assert said(one, machine).step_s == max(launches, work)
    assert said(small, machine).binds == "launches"
    assert said(GPT2, machine).binds == "matrix products"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("RTX 4070 Tii", r"did you mean 'NVIDIA GeForce RTX 4070 Ti'\?"),
        ("NVIDIA H100", "may be|did you mean"),
        ("abacus", "which has for instance"),
        ("results/NOWHERE", "there is no folder results/NOWHERE"),
    ],
)
def test_a_device_that_nobody_knows_is_refused_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(UnknownMachineError, match=message):
        machine_elsewhere(name, None)  # type: ignore[arg-type]


def test_memory_of_a_gpu_is_what_an_h200_measured() -> None:
    """Eager and compiled, batches of 12 and 48: results/intel-xeon-16c-126g-aa6aa456, run 0005."""
    measured = {
        (12, False): 12141130240,
        (48, False): 43120554496,
        (12, True): 9677926912,
        (48, True): 33228747264,
    }
    for (batch, compiled), was in measured.items():
        one = msgspec.structs.replace(GPT2, batch_size=batch, compile=compiled)
        assert peak_memory_bytes(one, "cuda") == pytest.approx(was, rel=0.01)


def test_a_number_is_asked_for_in_the_interval_of_its_grade() -> None:
    machine = machine_of(MadeUp().probe(ANCHORS), "")
    narrow = predict(setting(), machine, iterations=1, half_widths={"anchored": 0.05})
    wide = predict(setting(), replace(machine, fits={}), iterations=1, half_widths={"ceilings": 1})
    assert narrow.high_s == pytest.approx((narrow.step_s or 0) * math.exp(0.05))
    assert wide.high_s == pytest.approx((wide.step_s or 0) * math.e)


def test_an_unknown_operator_is_outside_and_not_free() -> None:
    with pytest.raises(OutsideError, match="linear in float16"):
        parts_of(setting(dtype="float16"), Rates(MadeUp().times()))


@pytest.mark.parametrize("launch_s", [1e-6, 5e-3])
def test_where_the_host_runs_ahead_only_what_binds_is_fitted(launch_s: float) -> None:
    """Of a device whose anchors all wait for its work, or all for the host."""
    truth = MadeUp(launch_s=launch_s)
    rates = Rates(truth.times())
    anchors = [
        MeasuredStep(
            setting=one,
            step_s=1.5 * Fit(overlaps=True).step_s(parts_of(one, rates)),
            peak_memory_bytes=None,
        )
        for one in (setting(batch_size=48), setting(n_layer=8, batch_size=48))
    ]
    factors = fit(anchors, rates, overlaps=True).factors
    binds_the_host = launch_s > 1e-3
    assert (factors["launches"] > 1.3) is binds_the_host
    assert (factors["matmul"] > 1.1) is not binds_the_host
    assert (factors["launches"] == 1.0) is not binds_the_host
