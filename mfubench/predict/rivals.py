"""Other rules for the same question, and how far each of them, and the model, is off."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from mfubench_model.flops import component_flops, model_flops_per_step
from mfubench_model.traffic import clip_bytes_per_step, component_bytes, optimizer_bytes_per_step

from mfubench.predict.document import (
    Errors,
    FrozenPrediction,
    HeldOut,
    MeasuredStep,
    Probe,
    Setting,
)

MODEL = "this model"
CONSTANT_MFU = "constant MFU"
DATASHEET = "datasheet roofline"
CEILINGS = "ceilings' roofline"
NEIGHBOUR = "nearest measured neighbour"
ONCE = "a single measurement"
FAST_ENOUGH = 1.03
"""A setting this close to the fastest one counts as found."""
INTERVAL = 0.8
_FLOPS_OF = {
    "qkv": ("qkv",),
    "projection": ("projection",),
    "mlp_matmul": ("mlp",),
    "head": ("head",),
    "attention": ("attention_scores", "attention_values"),
}
"""Components that calculate, by their names in the traffic."""


def rivals_s(setting: Setting, probe: Probe) -> dict[str, float]:
    """What the rivals say of a setting, from the same probe; one that cannot say is left out.

    - constant MFU: the FLOPs at the mean rate of the anchor steps of this dtype and mode
    - roofline: per component the longer of FLOPs / rate and least bytes / bandwidth; of the
      datasheet (its peak; a CPU has no bandwidth in one, so the measured one is taken) or of the
      measured ceilings
    - neighbour: the anchor whose sizes are nearest, times the ratio of the FLOPs
    """
    flops = model_flops_per_step(setting.config, setting.batch_size)
    found: dict[str, float] = {}
    anchors = [a for a in probe.anchors if _mode(a.setting) == _mode(setting)]
    if anchors:
        rates = [_flops(a.setting) / a.step_s for a in anchors]
        found[CONSTANT_MFU] = flops / statistics.geometric_mean(rates)
        nearest = min(anchors, key=lambda anchor: _distance(anchor, setting))
        found[NEIGHBOUR] = nearest.step_s * flops / _flops(nearest.setting)
    for name, rate in (
        (DATASHEET, probe.peak_flops_per_s.get(setting.dtype)),
        (CEILINGS, probe.gemm_flops_per_s.get(setting.dtype)),
    ):
        if rate:
            found[name] = roofline_s(setting, rate, probe.bandwidth_bytes_per_s)
    return found


def roofline_s(setting: Setting, flops_per_s: float, bytes_per_s: float) -> float:
    """Σ over components of the longer of calculating and moving, optimizer and clipping included.

    >>> setting = Setting(preset=None, device="cpu", dtype="float32", batch_size=12, block_size=64,
    ...                   compile=False, n_layer=4, n_head=4, n_embd=128, vocab_size=65)
    >>> roofline_s(setting, 1e9, 1e18) > 3.815 > roofline_s(setting, 1.01e9, 1e18)
    True
    """
    config = setting.config
    flops = component_flops(config, setting.batch_size)
    size = 2 if setting.dtype in ("bfloat16", "float16") else 4
    moved = component_bytes(config, setting.batch_size, activation_bytes=size)
    total_s = (optimizer_bytes_per_step(config) + clip_bytes_per_step(config)) / bytes_per_s
    for name, count in moved.items():
        work = sum(flops[part].total for part in _FLOPS_OF.get(name, ()))
        total_s += max(work / flops_per_s, count.total / bytes_per_s)
    return total_s


def _mode(setting: Setting) -> tuple[str, bool]:
    return setting.dtype, setting.compile


def _flops(setting: Setting) -> int:
    return model_flops_per_step(setting.config, setting.batch_size)


def _distance(anchor: MeasuredStep, setting: Setting) -> float:
    """Of the sizes, in logarithms."""
    pairs = (
        (getattr(anchor.setting, name), getattr(setting, name))
        for name in ("n_layer", "n_embd", "block_size", "batch_size", "vocab_size")
    )
    return sum(math.log(a / b) ** 2 for a, b in pairs)


def errors_of(
    rule: str,
    pairs: Iterable[tuple[Setting, float, float]],
    inside: Sequence[bool] | None = None,
) -> Errors | None:
    """The errors of a rule from settings with what it said and what was measured; None of none.

    >>> setting = Setting(preset=None, device="cpu", dtype="float32", batch_size=12, block_size=64,
    ...                   compile=False, n_layer=4, n_head=4, n_embd=128, vocab_size=65)
    >>> errors_of("x", [(setting, 1.1, 1.0), (setting, 1.0, 1.0)]).worst
    0.1
    """
    found = [(abs(said / was - 1), abs(math.log(said / was)), s.name) for s, said, was in pairs]
    if not found:
        return None
    errors = sorted(error for error, _, _ in found)
    worst = max(found)
    return Errors(
        rule=rule,
        settings=len(found),
        median=round(statistics.median(errors), 4),
        p90=round(quantile(errors, 0.9), 4),
        worst=round(worst[0], 4),
        worst_setting=worst[2],
        covered=round(sum(inside) / len(inside), 4) if inside else None,
        half_width=round(quantile(sorted(log for _, log, _ in found), INTERVAL), 4),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """A quantile of sorted values, between neighbours in proportion.

    >>> quantile([1.0, 2.0, 3.0], 0.75)
    2.5
    """
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def compared(
    frozen: Sequence[FrozenPrediction], measured: Sequence[HeldOut]
) -> tuple[list[Errors], dict[str, Errors], Errors | None]:
    """The errors of the model and its rivals, of the model by factor, and of the memory, from the
    two stored documents alone."""
    was = {held.setting.name: held for held in measured if held.step_s is not None}
    both = [
        (one, held)
        for one in frozen
        if one.step_s is not None and (held := was.get(one.setting.name)) is not None
    ]
    rules: dict[str, Callable[[FrozenPrediction], float | None]] = {
        MODEL: lambda one: one.step_s,
        **{
            name: lambda one, name=name: one.rivals_s.get(name)  # type: ignore[misc]
            for name in (CONSTANT_MFU, DATASHEET, CEILINGS, NEIGHBOUR)
        },
    }
    errors = []
    for rule, say in rules.items():
        pairs = [(o.setting, s, h.step_s or 0) for o, h in both if (s := say(o)) is not None]
        inside = [_covers(o, h) for o, h in both] if rule == MODEL else None
        if (found := errors_of(rule, pairs, inside)) is not None:
            errors.append(found)
    by_factor: dict[str, Errors] = {}
    for factor in sorted({one.factor for one, _ in both}):
        own = [(o, h) for o, h in both if o.factor == factor]
        pairs = [(o.setting, o.step_s or 0, h.step_s or 0) for o, h in own]
        if (found := errors_of(factor, pairs, [_covers(o, h) for o, h in own])) is not None:
            by_factor[factor] = found
    memory = errors_of(
        "peak memory",
        [
            (o.setting, float(o.peak_memory_bytes), float(h.peak_memory_bytes))
            for o, h in both
            if o.peak_memory_bytes and h.peak_memory_bytes and not o.setting.compile
        ],
    )
    return errors, by_factor, memory


def once_measured(measured: Iterable[HeldOut]) -> Errors | None:
    """How far a step's first visit lies from the median of its later ones: what a machine differs
    from itself. No rule can be surer of a single measurement than that. None without visits."""
    pairs = [
        (held.setting, held.visits_s[0], statistics.median(held.visits_s[1:]))
        for held in measured
        if len(held.visits_s) > 1
    ]
    return errors_of(ONCE, pairs)


def _covers(one: FrozenPrediction, held: HeldOut) -> bool:
    assert one.low_s is not None
    assert one.high_s is not None
    assert held.step_s is not None
    return one.low_s <= held.step_s <= one.high_s


def fastest_found(
    frozen: Sequence[FrozenPrediction], measured: Sequence[HeldOut]
) -> tuple[int, int]:
    """Questions that the held-out settings hold (one model, several batches or modes: which trains
    fastest?), and how many were answered within 3 % of the best that was measured."""
    said = {one.setting.name: one.step_s for one in frozen if one.step_s}
    models: dict[tuple[object, ...], list[HeldOut]] = defaultdict(list)
    for held in measured:
        s = held.setting
        if held.step_s is not None and s.name in said:
            key = (s.n_layer, s.n_head, s.n_embd, s.block_size, s.vocab_size, s.bias, s.dtype)
            models[key].append(held)
    questions = answered = 0
    for several in models.values():
        if len(several) < 2:
            continue
        questions += 1
        chosen = min(several, key=lambda h: (said[h.setting.name] or 0) / h.setting.tokens)
        best = min((h.step_s or 0) / h.setting.tokens for h in several)
        answered += (chosen.step_s or 0) / chosen.setting.tokens <= FAST_ENOUGH * best
    return questions, answered
