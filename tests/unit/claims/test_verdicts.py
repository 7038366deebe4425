"""Each claim's rule, on both sides of its threshold and where an interval reaches over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mfubench.claims.rules.machines import (
    gpu_limits,
    gpu_speed_up,
    other_backends,
    training_time,
    vendor_text,
)
from mfubench.claims.rules.verdicts import (
    DOES_NOT_HOLD,
    HOLDS,
    UNTESTABLE,
    Answer,
    card_peak,
    compile_gain,
    cpu_peak,
    knob_helps,
    larger_batch,
    loop_extras,
    small_printed_mfu,
    where_time_goes,
)


def effect(low: float, high: float, verdict: str, **more: Any) -> dict[str, Any]:
    return {
        "ratio": (low + high) / 2,
        "low": low,
        "high": high,
        "pairs": 40,
        "verdict": verdict,
        **more,
    }


HELPS, HURTS = effect(1.15, 1.21, "helps"), effect(0.94, 0.97, "hurts")
SAME, UNCLEAR = effect(0.995, 1.01, "no difference"), effect(0.97, 1.06, "unclear")


def verdict_of(judge: Callable[..., Answer], **figures: Any) -> str:
    answer = judge(**figures)
    assert answer.because
    return answer.verdict


@pytest.mark.parametrize(
    ("printed", "ceiling", "verdict"),
    [
        (0.0003, 188e9, HOLDS),
        (0.00049, 188e9, HOLDS),
        (0.00051, 188e9, DOES_NOT_HOLD),
        (0.000019, 188e9, DOES_NOT_HOLD),
        (0.0003, 3.11e12, HOLDS),
        (0.0003, 3.13e12, DOES_NOT_HOLD),
    ],
)
def test_c1_a_small_printed_figure(printed: float, ceiling: float, verdict: str) -> None:
    figures = {"printed_share": printed, "ceiling_flops_per_s": ceiling, "ceiling_share": 0.5}
    assert verdict_of(small_printed_mfu, mfu=0.46, **figures) == verdict
    assert verdict_of(small_printed_mfu, mfu=None, **figures) == verdict


def test_c1_says_both_figures() -> None:
    answer = small_printed_mfu(
        printed_share=0.0003, ceiling_flops_per_s=188e9, ceiling_share=0.5, mfu=0.46
    )
    assert "0.03 %" in answer.because
    assert "46.0 % of this CPU's own peak" in answer.because
    assert answer.value == 0.0003


@pytest.mark.parametrize(
    ("peak", "verdict"),
    [(0.39e12, DOES_NOT_HOLD), (0.41e12, HOLDS), (1.19e12, HOLDS), (1.21e12, DOES_NOT_HOLD)],
)
def test_c2_the_peak_of_a_cpu(peak: float, verdict: str) -> None:
    peaks = {"float32": peak / 2, "bfloat16": peak}
    ceilings = {"float32": peak / 3, "bfloat16": None}
    answer = cpu_peak(peaks_flops_per_s=peaks, ceilings_flops_per_s=ceilings, cores=4)
    assert (answer.verdict, answer.value) == (verdict, peak)
    assert "in bfloat16 with 4 usable cores" in answer.because


def test_c2_without_a_peak_the_ceiling_is_judged_and_without_both_nothing() -> None:
    peaks = {"float32": None}
    known = cpu_peak(peaks_flops_per_s=peaks, ceilings_flops_per_s={"float32": 0.6e12}, cores=8)
    assert known.verdict == HOLDS
    assert "its peak is not known" in known.because
    unknown = cpu_peak(peaks_flops_per_s=peaks, ceilings_flops_per_s={"float32": None}, cores=8)
    assert (unknown.verdict, unknown.value) == (UNTESTABLE, None)


@pytest.mark.parametrize(
    ("specified", "measured", "verdict"),
    [
        (80.2e12, None, DOES_NOT_HOLD),
        (31e12, None, HOLDS),
        (26e12, None, DOES_NOT_HOLD),
        (31e12, 31.5e12, HOLDS),
        (31e12, 32.5e12, DOES_NOT_HOLD),
    ],
)
def test_c3_the_peak_of_a_card(specified: float, measured: float | None, verdict: str) -> None:
    answer = card_peak(
        specified_flops_per_s=specified,
        source="a whitepaper",
        measured_flops_per_s=measured,
        others_like_it=["another card"],
    )
    assert answer.verdict == verdict
    assert ("not measured" in answer.because) is (measured is None)


@pytest.mark.parametrize(
    ("share", "unexplained", "verdict"),
    [
        (0.30, -0.02, DOES_NOT_HOLD),
        (0.62, 0.05, HOLDS),
        (0.45, 0.08, UNTESTABLE),
        (0.53, -0.08, UNTESTABLE),
        (0.40, 0.08, DOES_NOT_HOLD),
    ],
)
def test_c4_where_time_goes(share: float, unexplained: float, verdict: str) -> None:
    answer = where_time_goes(
        shares={"data": 0.01, "dispatch and Python": share - 0.01},
        compute_share=1 - share - unexplained,
        unexplained_ratio=unexplained,
    )
    assert answer.verdict == verdict
    assert answer.low is not None
    assert answer.high is not None
    assert answer.low <= share <= answer.high


def cost(low: float, high: float) -> dict[str, float]:
    return {"share": (low + high) / 2, "low": low, "high": high, "pairs": 40}


@pytest.mark.parametrize(
    ("third", "verdict"),
    [
        (cost(0.021, 0.03), HOLDS),
        (cost(-0.01, 0.019), DOES_NOT_HOLD),
        (cost(0.01, 0.03), UNTESTABLE),
    ],
)
def test_c5_every_extra_must_cost(third: dict[str, float], verdict: str) -> None:
    costs = {
        "evaluation": cost(0.045, 0.048),
        "checkpoint": cost(0.02, 0.03),
        "log_interval=1": third,
    }
    answer = loop_extras(costs=costs)
    assert answer.verdict == verdict
    assert answer.value == pytest.approx(0.0465 + 0.025 + third["share"])
    costs["checkpoint"] = cost(0.001, 0.0012)
    assert verdict_of(loop_extras, costs=costs) == DOES_NOT_HOLD


def case(batch_size: int, mfu: float | None) -> dict[str, Any]:
    return {"batch_size": batch_size, "dtype": "tf32", "mfu": mfu, "printed_share": 0.02}


@pytest.mark.parametrize(
    ("base", "best", "waiting", "verdict"),
    [
        (0.10, 0.18, 0.7, HOLDS),
        (0.04, 0.18, 0.7, DOES_NOT_HOLD),
        (0.16, 0.18, 0.7, DOES_NOT_HOLD),
        (0.10, 0.14, 0.7, DOES_NOT_HOLD),
        (0.10, 0.18, 0.4, DOES_NOT_HOLD),
        (0.10, 0.18, None, UNTESTABLE),
        (None, 0.18, 0.7, UNTESTABLE),
        (0.10, None, 0.7, UNTESTABLE),
    ],
)
def test_c6_what_limits_a_gpu(
    base: float | None, best: float | None, waiting: float | None, verdict: str
) -> None:
    cases = [case(12, base), case(128, best)]
    assert verdict_of(gpu_limits, cases=cases, waiting_share=waiting) == verdict


@pytest.mark.parametrize(
    ("smaller", "larger", "verdict"),
    [
        (HELPS, HELPS, HOLDS),
        (SAME, HELPS, DOES_NOT_HOLD),
        (HELPS, UNCLEAR, UNTESTABLE),
        (UNCLEAR, HURTS, DOES_NOT_HOLD),
    ],
)
def test_c7_both_batches_must_help(
    smaller: dict[str, Any], larger: dict[str, Any], verdict: str
) -> None:
    answer = larger_batch(effects={"24": smaller, "48": larger})
    assert (answer.verdict, answer.value) == (verdict, larger["ratio"])


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(1.2, 1.31, HOLDS), (1.0, 1.199, DOES_NOT_HOLD), (1.15, 1.25, UNTESTABLE)],
)
def test_c8_a_gain_of_a_fifth(low: float, high: float, verdict: str) -> None:
    charged = {"start_up_s": 19.4, "net_ratio": 0.9, "horizon_iters": 2000}
    never = compile_gain(effect=effect(low, high, "helps", break_even_iters=None, **charged))
    assert never.verdict == verdict
    assert "no number of iterations" in never.because
    later = compile_gain(effect=effect(low, high, "helps", break_even_iters=5000.0, **charged))
    assert "after 5,000 iterations" in later.because
    assert "×0.90" in later.because


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (HELPS, HOLDS),
        (HURTS, DOES_NOT_HOLD),
        (SAME, DOES_NOT_HOLD),
        (effect(0.93, 1.015, "unclear"), DOES_NOT_HOLD),
        (effect(0.93, 1.025, "unclear"), UNTESTABLE),
        (UNCLEAR, UNTESTABLE),
    ],
)
def test_c9_and_c10_a_knob_helps(measured: dict[str, Any], verdict: str) -> None:
    answer = knob_helps(effect=measured)
    assert (answer.verdict, answer.low, answer.high) == (verdict, measured["low"], measured["high"])


def run(predicted_s: float, trained_s: float) -> dict[str, Any]:
    return {
        "predicted_s": predicted_s,
        "trained_s": trained_s,
        "max_iters": 2000,
        "trained_iters": 200,
    }


GPU = {"predicted_s": 20.0, "trained_s": 22.0, "source": "a GPU"}


@pytest.mark.parametrize(
    ("cpu", "gpu", "verdict"),
    [
        (run(88, 91), None, DOES_NOT_HOLD),
        (run(610, 640), None, UNTESTABLE),
        (run(610, 640), GPU, HOLDS),
        (run(610, 640), {**GPU, "trained_s": None}, HOLDS),
        (run(610, 640), {**GPU, "trained_s": 61.0}, DOES_NOT_HOLD),
        (run(590, 640), GPU, UNTESTABLE),
        (run(88, 91), GPU, DOES_NOT_HOLD),
    ],
)
def test_c11_the_time_of_a_whole_run(
    cpu: dict[str, Any], gpu: dict[str, Any] | None, verdict: str
) -> None:
    assert verdict_of(training_time, cpu=cpu, gpu=gpu) == verdict


@pytest.mark.parametrize(("trained_s", "word"), [(95.0, "within"), (99.0, "beyond")])
def test_c11_a_prediction_that_training_does_not_confirm_says_so(
    trained_s: float, word: str
) -> None:
    answer = training_time(cpu=run(89.0, trained_s), gpu=None)
    assert f"{word} the 10.0 % allowed" in answer.because
    assert (answer.low, answer.high) == (89.0, trained_s)


@pytest.mark.parametrize(
    ("gpu_tokens_per_s", "paired", "verdict"),
    [
        (150_000.0, None, HOLDS),
        (99_000.0, None, DOES_NOT_HOLD),
        (201_000.0, None, DOES_NOT_HOLD),
        (150_000.0, effect(9.0, 11.0, "helps"), UNTESTABLE),
        (150_000.0, effect(21.0, 23.0, "helps"), DOES_NOT_HOLD),
        (150_000.0, effect(12.0, 13.0, "helps"), HOLDS),
    ],
)
def test_c12_ten_to_twenty_times(
    gpu_tokens_per_s: float, paired: dict[str, Any] | None, verdict: str
) -> None:
    answer = gpu_speed_up(
        cpu_name="a CPU",
        cpu_tokens_per_s=10_000.0,
        gpu_name="a GPU",
        gpu_tokens_per_s=gpu_tokens_per_s,
        effect=paired,
    )
    assert answer.verdict == verdict
    assert (answer.low is None) is (paired is None)


def backend(**fields: Any) -> dict[str, Any]:
    return {
        "name": "Intel's xpu",
        "present": True,
        "trains": True,
        "mfu": None,
        "reason": None,
        **fields,
    }


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([backend(mfu=0.03)], HOLDS),
        ([backend(mfu=0.051)], DOES_NOT_HOLD),
        ([backend(reason="no peak is listed")], UNTESTABLE),
        ([backend(trains=False, reason="a compiler is missing")], DOES_NOT_HOLD),
        ([backend(mfu=0.03), backend(present=False, trains=False, reason="absent")], HOLDS),
        ([backend(present=False, trains=False, reason="absent")], UNTESTABLE),
    ],
)
def test_c13_other_backends(found: list[dict[str, Any]], verdict: str) -> None:
    assert verdict_of(other_backends, backends=found) == verdict


def pci(ids: str, vendor: str | None, text: str | None) -> dict[str, str | None]:
    return {"ids": ids, "vendor": vendor, "text": text}


INTEL = pci("8086:46a6", "Intel", "Intel Corporation")
AMD = pci("1002:74a1", "AMD", "Advanced Micro Devices, Inc. [AMD/ATI]")
WRONG = pci("8086:46a6", "Intel", "AMD")


@pytest.mark.parametrize(
    ("devices", "verdict"),
    [
        ([INTEL], HOLDS),
        ([INTEL, AMD], HOLDS),
        ([INTEL, WRONG], DOES_NOT_HOLD),
        ([pci("10de:2782", "NVIDIA", "NVIDIA Corporation")], HOLDS),
        ([pci("10de:2782", "NVIDIA", None)], UNTESTABLE),
        ([pci("1af4:1050", None, "Red Hat, Inc.")], UNTESTABLE),
        ([], UNTESTABLE),
    ],
)
def test_c14_the_vendor_text(devices: list[dict[str, str | None]], verdict: str) -> None:
    assert verdict_of(vendor_text, devices=devices) == verdict


def test_c14_says_whom_a_search_for_letters_would_name() -> None:
    assert "'ati' stands in 'Corporation'" in vendor_text(devices=[INTEL]).because
    assert "Corporation" not in vendor_text(devices=[AMD]).because
