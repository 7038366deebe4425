"""Where a step's time goes: named bars that add up to the step, each with what it could be.

    step = time at spec peak
         + peak → measured ceiling        what no program can win back here
         + ceiling → this model's shapes  its matmuls, each alone, against the best matmul
         + matmuls in place vs. alone     cache, allocation, page faults, contention
         + attention beyond the ceiling
         + normalisation + activation + residual + embedding + loss
         + clip + optimizer + copies + dispatch
         + data + logging (+ evaluation + checkpoint) in a training loop
         + unexplained                    signed: what the profile does not account for

A bar's points are its share of the step: the first bar's points are the MFU, the others are where
the rest of it went. A bar's floor is its roofline time, the larger of FLOPs over the ceiling and
bytes over the bandwidth at its working set; what lies above the floor can be won.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from msgspec import structs

from mfubench.results.bars import (
    BINDS,
    CEILING,
    COMPUTE,
    DISPATCH_BOUND,
    FUSED,
    IN_PLACE,
    INPUT,
    MEMORY,
    OUTSIDE,
    PEAK,
    SHAPES,
    SYNC,
    UNEXPLAINED,
    Bar,
    Binds,
    Operator,
)
from mfubench.results.record import CaseRecord

MEMORY_BARS = (
    *("normalisation", "activation", "residual", "embedding"),
    *("loss", "clip", "optimizer", "copies"),
)
PROFILED_BARS = (*MEMORY_BARS, "dispatch", "synchronisation", "data", "logging")
NEED_NOT_BE = ("dispatch", "copies", "synchronisation", "logging")
"""Bars that could be gone altogether. Of data nobody has counted the least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentCost:
    """What a component must do per step, by closed form."""

    flops: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A closed account of one step."""

    step_s: float
    bars: list[Bar]
    binds: Binds
    groups: dict[str, float]
    """Seconds by what binds them."""

    @property
    def unexplained_ratio(self) -> float:
        """The unexplained bar over the step; negative where the profile accounts for more."""
        return next(b.seconds for b in self.bars if b.name == UNEXPLAINED) / self.step_s

    def fill(self, record: CaseRecord) -> None:
        """Put the account into a record."""
        record.breakdown = self.bars
        record.breakdown_step_s = self.step_s
        record.breakdown_binds = self.binds
        record.breakdown_groups = self.groups
        record.breakdown_unexplained = self.unexplained_ratio

    def bar(self, name: str) -> Bar:
        return next(bar for bar in self.bars if bar.name == name)


def build_account(
    operators: Sequence[Operator],
    *,
    step_s: float,
    profiled_step_s: float,
    model_flops: int,
    peak_flops_per_s: float | None,
    ceiling_flops_per_s: float,
    gemm_alone_s: float | None,
    costs: Mapping[str, ComponentCost],
    bandwidth: Callable[[float], float],
    outside: Mapping[str, float] | None = None,
) -> Account:
    """Close the account of a step.

    `operators` are of a profile whose unprofiled step took `profiled_step_s`; they are scaled to
    `step_s`, the median that is reported. `bandwidth(bytes)` is the measured bandwidth (bytes/s) at
    a working set. `outside` are seconds per step that no profile of the step holds (evaluation,
    checkpoint); `step_s` includes them.
    """
    outside = dict(outside or {})
    scale = (step_s - sum(outside.values())) / profiled_step_s
    times: dict[str, float] = {}
    calls: dict[str, float] = {}
    for op in operators:
        times[op.component] = times.get(op.component, 0.0) + op.seconds * scale
        if not op.is_dispatch:
            calls[op.component] = calls.get(op.component, 0.0) + op.calls
    gemm_flops = costs["gemm"].flops if "gemm" in costs else model_flops
    attention_flops = model_flops - gemm_flops

    def roofline_s(name: str, flops_per_s: float) -> float:
        cost = costs[name]
        per_call = cost.bytes / max(1.0, calls.get(name, 0.0))
        return max(cost.flops / flops_per_s, cost.bytes / bandwidth(per_call))

    bars = _top_bars(model_flops, peak_flops_per_s, ceiling_flops_per_s)
    bars += _gemm_bars(times.get("gemm", 0.0), gemm_alone_s, gemm_flops / ceiling_flops_per_s)
    whole_s, at_ceiling_s = times.get("attention", 0.0), attention_flops / ceiling_flops_per_s
    floor_s, moved = None, None
    if "attention" in costs:
        floor_s = max(0.0, roofline_s("attention", ceiling_flops_per_s) - at_ceiling_s)
        moved = costs["attention"].bytes
    source = "profile, less its FLOPs at the ceiling"
    above_s = whole_s - at_ceiling_s
    bars.append(Bar("attention", above_s, floor_s, attention_flops, moved, source, whole_s))
    for name in (*PROFILED_BARS, *sorted(name for name in times if name.startswith(FUSED))):
        if name not in times:
            continue
        moved, floor_s = None, 0.0 if name in NEED_NOT_BE else None
        if name in costs:
            moved, floor_s = costs[name].bytes, roofline_s(name, float("inf"))
        bars.append(Bar(name, times[name], floor_s, None, moved, "profile", times[name]))
    for name, seconds in outside.items():
        bars.append(Bar(name, seconds, None, source="timed apart, amortised"))
    rest_s = step_s - sum(bar.seconds for bar in bars)
    source = "the unprofiled step less all of the above"
    bars.append(Bar(UNEXPLAINED, rest_s, None, source=source))
    return closed(step_s, bars, _groups(bars, operators, scale, outside))


def closed(step_s: float, bars: list[Bar], groups: dict[str, float]) -> Account:
    """The account of bars that add up to a step of `step_s` seconds: each bar's points are its
    share of the step, and what binds is the largest group."""
    for bar in bars:
        bar.points = bar.seconds / step_s
    binds = max(BINDS, key=lambda name: groups[name])
    return Account(step_s=step_s, bars=bars, binds=binds, groups=groups)


def _top_bars(
    model_flops: int, peak_flops_per_s: float | None, ceiling_flops_per_s: float
) -> list[Bar]:
    """The model's FLOPs at the peak, and what no program can win back here."""
    at_ceiling_s = model_flops / ceiling_flops_per_s
    source = "model FLOPs over the measured ceiling (the peak is not known)"
    peak_s = at_ceiling_s
    if peak_flops_per_s:
        peak_s, source = model_flops / peak_flops_per_s, "model FLOPs over the spec peak"
    above_s = at_ceiling_s - peak_s
    return [
        Bar(PEAK, peak_s, peak_s, model_flops, source=source),
        Bar(CEILING, above_s, above_s, source="the best matrix multiplication measured here"),
    ]


def _gemm_bars(in_place_s: float, alone_s: float | None, at_ceiling_s: float) -> list[Bar]:
    if alone_s is None:
        source = "profile; the shapes were not timed alone, so this holds both"
        return [Bar(SHAPES, in_place_s - at_ceiling_s, 0.0, source=source, whole_s=in_place_s)]
    shapes_s, source = alone_s - at_ceiling_s, "profile, less the same products alone"
    return [
        Bar(SHAPES, shapes_s, shapes_s, source="each matrix product of the step, timed alone"),
        Bar(IN_PLACE, in_place_s - alone_s, 0.0, source=source, whole_s=in_place_s),
    ]


def _groups(
    bars: Sequence[Bar],
    operators: Sequence[Operator],
    scale: float,
    outside: Mapping[str, float],
) -> dict[str, float]:
    """Seconds by what binds them. Dispatch inside the optimizer and the clip counts as dispatch."""
    hidden_s = sum(
        scale * sum(o.seconds for o in operators if o.component == name and o.is_dispatch)
        for name in ("optimizer", "clip")
    )
    by_name = {bar.name: bar.seconds for bar in bars}

    def together_s(*names: str) -> float:
        return sum(by_name.get(name, 0.0) for name in names)

    moving = [n for n in by_name if n in MEMORY_BARS or n.startswith(FUSED)]
    return {
        COMPUTE: together_s(PEAK, CEILING, SHAPES, IN_PLACE, "attention"),
        MEMORY: together_s(*moving) - hidden_s,
        DISPATCH_BOUND: together_s("dispatch") + hidden_s,
        INPUT: together_s("data"),
        SYNC: together_s("logging", "synchronisation"),
        OUTSIDE: sum(outside.values()),
    }


AGREE_RATIO = 0.15
AGREE_SHARE_OF_STEP = 0.02


def agrees(bar_s: float, ablation_s: float, step_s: float) -> bool:
    """Whether a bar and the ablation of its component agree: within 15 % of the bar or 2 % of the
    step, whichever is larger.

    >>> agrees(0.0030, 0.0034, 0.038), agrees(0.0030, 0.0050, 0.038)
    (True, False)
    """
    return abs(bar_s - ablation_s) <= max(AGREE_RATIO * abs(bar_s), AGREE_SHARE_OF_STEP * step_s)


def with_ablations(account: Account, savings_s: Mapping[str, float]) -> Account:
    """The account with each ablated bar marked reliable or not."""
    bars = []
    for bar in account.bars:
        saving_s = savings_s.get(bar.name)
        if saving_s is not None and bar.whole_s is not None:
            reliable = agrees(bar.whole_s, saving_s, account.step_s)
            bar = structs.replace(bar, ablation_s=saving_s, reliable=reliable)  # noqa: PLW2901 - the same bar
        bars.append(bar)
    return replace(account, bars=bars)
