"""What a claim's measurements say: an answer, by a rule that is written down beside each claim.

A judge takes figures (JSON types, as they are saved) and gives an `Answer`. A claim with several
parts holds when all of them do. Where an interval reaches over a threshold there is no verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mfubench_model.conventions import A100_BF16_PEAK_FLOPS_PER_S

from mfubench.analysis.effect import HELPS, WORTH_RATIO

HOLDS, DOES_NOT_HOLD, UNTESTABLE = "holds", "does not hold", "untestable here"
VERDICTS = (HOLDS, DOES_NOT_HOLD, UNTESTABLE)

PRINTED_SHARE, PRINTED_FACTOR = 1e-4, 5.0
CPU_SHARE_OF_A100 = 0.01
CPU_PEAK_TFLOPS = (0.4, 1.2)
CARD_TFLOPS, CARD_TOLERANCE = 29.0, 0.10
MOST_OF_THE_TIME = 0.5
EXTRA_SHARE = 0.02
COMPILE_GAIN = 1.2

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What this machine says to a claim."""

    verdict: str
    because: str
    """A sentence with the number in it."""
    value: float | None = None
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    """95 % interval where the value was measured in pairs, else as the claim's rule says."""


def untestable(because: str) -> Answer:
    """No number, and why."""
    return Answer(verdict=UNTESTABLE, because=because)


def at_least(threshold: float, low: float, high: float) -> str:
    """The verdict on "it is `threshold` or more" for a value between `low` and `high`.

    >>> at_least(1.2, 1.25, 1.31), at_least(1.2, 0.97, 1.01), at_least(1.2, 1.15, 1.25)
    ('holds', 'does not hold', 'untestable here')
    """
    if low >= threshold:
        return HOLDS
    return DOES_NOT_HOLD if high < threshold else UNTESTABLE


def within(bounds: tuple[float, float], low: float, high: float) -> str:
    """The verdict on "it is between `bounds`" for a value between `low` and `high`.

    >>> within((10, 20), 12, 14), within((10, 20), 25, 31), within((10, 20), 9, 11)
    ('holds', 'does not hold', 'untestable here')
    """
    if bounds[0] <= low and high <= bounds[1]:
        return HOLDS
    return DOES_NOT_HOLD if high < bounds[0] or low > bounds[1] else UNTESTABLE


def all_of(verdicts: Iterable[str]) -> str:
    """The verdict on a claim of several parts: one refuted part refutes it.

    >>> all_of([HOLDS, UNTESTABLE]), all_of([HOLDS, UNTESTABLE, DOES_NOT_HOLD])
    ('untestable here', 'does not hold')
    """
    found = set(verdicts)
    if DOES_NOT_HOLD in found:
        return DOES_NOT_HOLD
    return HOLDS if found == {HOLDS} else UNTESTABLE


def of_effect(effect: Figures) -> str:
    """The verdict on "it helps" for a knob that was measured in pairs.

    Refuted where no gain that is worth a change can be left, however wide the interval is below.
    """
    if effect["verdict"] == HELPS:
        return HOLDS
    return DOES_NOT_HOLD if effect["high"] < 1 + WORTH_RATIO else UNTESTABLE


def small_printed_mfu(
    *,
    printed_share: float,
    ceiling_flops_per_s: float,
    ceiling_share: float,
    mfu: float | None,
) -> Answer:
    """C1: nanoGPT's figure is small on a CPU, and the A100 in its denominator explains it."""
    share_of_a100 = ceiling_flops_per_s / A100_BF16_PEAK_FLOPS_PER_S
    bounds = (PRINTED_SHARE / PRINTED_FACTOR, PRINTED_SHARE * PRINTED_FACTOR)
    own = f"{percent(ceiling_share)} of what its matrix products sustain"
    if mfu is not None:
        own = f"{percent(mfu)} of this CPU's own peak and {own}"
    return Answer(
        verdict=all_of(
            (
                within(bounds, printed_share, printed_share),
                HOLDS if share_of_a100 < CPU_SHARE_OF_A100 else DOES_NOT_HOLD,
            )
        ),
        because=f"nanoGPT would print {percent(printed_share)}; this CPU sustains "
        f"{percent(share_of_a100)} of an A100's 312 TFLOP/s. The same loop reaches {own}: the "
        "small figure is the A100 in the denominator, not a badly used CPU",
        value=printed_share,
        unit="share of 312 TFLOP/s",
    )


def cpu_peak(
    *,
    peaks_flops_per_s: Mapping[str, float | None],
    ceilings_flops_per_s: Mapping[str, float | None],
    cores: float,
) -> Answer:
    """C2: the peak of the fastest format that the CPU computes in."""
    known = {dtype: peak for dtype, peak in peaks_flops_per_s.items() if peak is not None}
    sustained = {dtype: rate for dtype, rate in ceilings_flops_per_s.items() if rate is not None}
    figures = known or sustained
    if not figures:
        return untestable("neither a peak nor a ceiling of this CPU is known")
    dtype = max(figures, key=lambda name: figures[name])
    value = figures[dtype]
    measured = ", ".join(f"{tera(rate)} in {name}" for name, rate in sustained.items()) or "unknown"
    what = "derived peak" if known else "measured ceiling (its peak is not known)"
    low, high = CPU_PEAK_TFLOPS
    return Answer(
        verdict=within((low * 1e12, high * 1e12), value, value),
        because=f"{what} {tera(value)} in {dtype} with {cores:g} usable cores, "
        f"{tera(value / cores)} per core; sustained by matrix products: {measured}",
        value=value,
        unit="FLOP/s",
    )


def card_peak(
    *,
    specified_flops_per_s: float,
    source: str,
    measured_flops_per_s: float | None,
    others_like_it: Sequence[str],
) -> Answer:
    """C3: a card's dense float16 peak against the table, and against the card where it is here."""
    claimed = CARD_TFLOPS * 1e12
    bounds = (claimed * (1 - CARD_TOLERANCE), claimed * (1 + CARD_TOLERANCE))
    verdict = within(bounds, specified_flops_per_s, specified_flops_per_s)
    if measured_flops_per_s is None:
        seen = "not measured, no such card is here"
    else:
        seen = f"a float16 matrix product sustained {tera(measured_flops_per_s)} here"
        if measured_flops_per_s > bounds[1]:
            verdict = DOES_NOT_HOLD
    near = f"; {tera(claimed)} is near the float32 peak of the {' and the '.join(others_like_it)}"
    return Answer(
        verdict=verdict,
        because=f"specified {tera(specified_flops_per_s)} dense with float32 accumulation "
        f"({source}); {seen}{near if others_like_it else ''}",
        value=specified_flops_per_s,
        unit="FLOP/s",
    )


def where_time_goes(
    *, shares: Mapping[str, float], compute_share: float, unexplained_ratio: float
) -> Answer:
    """C4: what is no matrix product and no attention, of the iteration."""
    other = sum(shares.values())
    low, high = sorted((other, other + unexplained_ratio))
    listed = ", ".join(f"{name} {percent(share)}" for name, share in shares.items())
    return Answer(
        verdict=at_least(MOST_OF_THE_TIME, low, high),
        because=f"{percent(other)} of an iteration is not matrix products or attention ({listed}); "
        f"these two take {percent(compute_share)}, unexplained {percent(unexplained_ratio)}",
        value=other,
        unit="share of the iteration",
        low=low,
        high=high,
    )


def loop_extras(*, costs: Mapping[str, Figures]) -> Answer:
    """C5: what each extra adds to a plain iteration; each must be worth it for the claim."""
    verdicts = {
        name: at_least(EXTRA_SHARE, cost["low"], cost["high"]) for name, cost in costs.items()
    }
    listed = "; ".join(
        f"{name} {percent(cost['share'])} ({percent(cost['low'])} to {percent(cost['high'])})"
        for name, cost in costs.items()
    )
    return Answer(
        verdict=all_of(verdicts.values()),
        because=f"added to a plain iteration: {listed}",
        value=sum(cost["share"] for cost in costs.values()),
        unit="share of a plain iteration",
        low=sum(cost["low"] for cost in costs.values()),
        high=sum(cost["high"] for cost in costs.values()),
    )


def larger_batch(*, effects: Mapping[str, Figures]) -> Answer:
    """C7: every larger batch must help; the largest one's figure is the value."""
    largest = max(effects, key=int)
    listed = "; ".join(f"batch {size} {ratio(effect)}" for size, effect in effects.items())
    return Answer(
        verdict=all_of(of_effect(effect) for effect in effects.values()),
        because=f"tokens/s against the preset's batch: {listed}. Each optimizer step takes longer, "
        "and equal tokens take fewer of them: speed, not learning",
        **_interval(effects[largest]),
    )


def compile_verdict(effect: Figures) -> str:
    """The verdict on "a fifth faster or more"."""
    return at_least(COMPILE_GAIN, effect["low"], effect["high"])


def compile_gain(*, effect: Figures) -> Answer:
    """C8: steady steps at least a fifth faster; what compiling costs is said beside it."""
    if effect["break_even_iters"] is None:
        won = "which no number of iterations wins back"
    else:
        won = f"won back after {effect['break_even_iters']:,.0f} iterations"
    return Answer(
        verdict=compile_verdict(effect),
        because=f"tokens/s {ratio(effect)} in steady steps; compiling takes "
        f"{effect['start_up_s']:.0f} s at first, {won}; over {effect['horizon_iters']} iterations "
        f"with it ×{effect['net_ratio']:.2f}",
        **_interval(effect),
    )


def knob_helps(*, effect: Figures) -> Answer:
    """C9, C10: one knob, in pairs."""
    return Answer(
        verdict=of_effect(effect), because=f"tokens/s {ratio(effect)}", **_interval(effect)
    )


def _interval(effect: Figures) -> dict[str, Any]:
    return {
        "value": effect["ratio"],
        "unit": "× tokens/s",
        "low": effect["low"],
        "high": effect["high"],
    }


def ratio(effect: Figures) -> str:
    """A ratio with its interval and its verdict.

    >>> ratio({"ratio": 1.234, "low": 1.2, "high": 1.26, "pairs": 24, "verdict": "helps"})
    '×1.234 (1.200 to 1.260, 24 pairs of builds: helps)'
    """
    return (
        f"×{effect['ratio']:.3f} ({effect['low']:.3f} to {effect['high']:.3f}, "
        f"{effect['pairs']} pairs of builds: {effect['verdict']})"
    )


def percent(share: float) -> str:
    """A share as a percentage, with three figures below one per cent and one decimal above.

    >>> percent(0.000324), percent(0.4615), percent(-0.003)
    ('0.0324 %', '46.2 %', '-0.3 %')
    """
    value = share * 100
    return f"{value:.3g} %" if 0 < abs(value) < 0.1 else f"{value:.1f} %"


def tera(flops_per_s: float) -> str:
    """A rate in TFLOP/s.

    >>> tera(206.7e9), tera(80.2e12)
    ('0.207 TFLOP/s', '80.2 TFLOP/s')
    """
    return f"{flops_per_s / 1e12:.3g} TFLOP/s"
