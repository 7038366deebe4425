"""From a median step time to the shares that are printed, and the guards that may refuse them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from mfubench_model.conventions import A100_BF16_PEAK_FLOPS_PER_S

from mfubench.results.record import CaseRecord

GROWTH_STEPS = 4
LEAST_GROWTH = 2.0
"""The fastest run of four steps must take at least this many times as long as the fastest single
one: a step that does nothing, or whose work is done once and remembered, takes no longer for four.
Half of four leaves room for noise."""


def ratio(part: float | None, whole: float | None) -> float | None:
    """A share as a fraction of one; None where either side is not known.

    >>> ratio(1e9, 4e9), ratio(1e9, None)
    (0.25, None)
    """
    if part is None or whole is None or whole <= 0:
        return None
    return part / whole


def spread_ratio(rounds_s: Sequence[float]) -> float | None:
    """Interquartile range over median; None for fewer than four rounds.

    >>> round(spread_ratio([1.0, 1.0, 1.1, 1.2, 1.3]), 3)
    0.182
    """
    if len(rounds_s) < 4:
        return None
    q1, q2, q3 = statistics.quantiles(rounds_s, n=4, method="inclusive")
    return (q3 - q1) / q2 if q2 > 0 else None


def refuse_times(rounds_s: Sequence[float]) -> str | None:
    """Why these round times cannot be a result, or None."""
    bad = [t for t in rounds_s if not math.isfinite(t) or t <= 0]
    if bad:
        return f"{len(bad)} of {len(rounds_s)} rounds took no time or an undefined one ({bad[0]} s)"
    return None


def refuse_growth(single_s: Sequence[float], several_s: Sequence[float]) -> str | None:
    """Why a step whose time does not grow with the work cannot be a result, or None.

    `single_s` are times of one step, `several_s` of `GROWTH_STEPS` in a row; the fastest of each
    are compared, because other programs on the machine only ever add time.
    """
    growth = min(several_s) / min(single_s)
    if growth >= LEAST_GROWTH:
        return None
    return f"{GROWTH_STEPS} steps took {growth:.2f} times as long as one: the step does nothing new"


def refuse_loss(loss: float | None) -> str | None:
    """Why a loss cannot belong to training, or None."""
    if loss is None or math.isfinite(loss):
        return None
    return f"the training loss is not finite ({loss})"


def refuse_rate(achieved: float, ceiling: float | None, noise_ratio: float | None) -> str | None:
    """Why a rate above the measured ceiling (beyond its noise, at least 5 %) is refused, or None.

    >>> refuse_rate(1.04e12, 1e12, 0.01) is None
    True
    >>> refuse_rate(1.2e12, 1e12, 0.01)
    'achieved 1.2e+12 FLOP/s is 20 % above the measured ceiling of 1e+12 FLOP/s (allowed: 5 %)'
    """
    if ceiling is None:
        return None
    allowed = max(0.05, noise_ratio or 0.0)
    excess = achieved / ceiling - 1
    if excess <= allowed:
        return None
    return (
        f"achieved {achieved:.3g} FLOP/s is {excess:.0%} above the measured ceiling of "
        f"{ceiling:.3g} FLOP/s (allowed: {allowed:.0%})"
    ).replace("%", " %")


def fill_rates(
    record: CaseRecord,
    *,
    tokens: int,
    model_flops: int,
    hardware_flops: int | None,
    palm_flops: int | None,
    nanogpt_flops: int | None,
    flops_source: str,
) -> None:
    """Fill a record's rates and shares from its `step_s`, peak and ceiling.

    mfu = model FLOPs / (median round × spec peak of the matmuls' dtype), PaLM appendix B with the
    exact causal count; mfu_a100 = nanoGPT's `estimate_mfu`: its own count over 312 TFLOP/s.

    >>> record = CaseRecord(case_id="x", question="train-step", device="cpu", step_s=0.04,
    ...                     peak_flops_per_s=2e11, ceiling_flops_per_s=1.6e11)
    >>> fill_rates(record, tokens=768, model_flops=int(4e9), hardware_flops=None,
    ...            palm_flops=None, nanogpt_flops=int(4.1e9), flops_source="formula")
    >>> record.mfu, record.ceiling_utilisation, record.tokens_per_s, round(record.mfu_a100, 9)
    (0.5, 0.625, 19200.0, 0.000328526)
    """
    step_s = record.step_s
    if step_s is None:
        raise ValueError(f"{record.case_id} has no median round to compute rates from")
    record.tokens_per_step = tokens
    record.tokens_per_s = tokens / step_s
    record.model_flops_per_step = model_flops
    record.hardware_flops_per_step = hardware_flops
    record.palm_flops_per_step = palm_flops
    record.flops_source = flops_source
    record.achieved_flops_per_s = model_flops / step_s
    record.mfu = ratio(record.achieved_flops_per_s, record.peak_flops_per_s)
    record.ceiling_utilisation = ratio(record.achieved_flops_per_s, record.ceiling_flops_per_s)
    if nanogpt_flops is not None:
        record.mfu_a100 = nanogpt_flops / step_s / A100_BF16_PEAK_FLOPS_PER_S
        record.nanogpt_flops_per_step = nanogpt_flops
