"""Where a model's components stand under the measured ceilings.

Intensity is FLOPs per byte of least traffic (every input read once, every output written once), so
a component that moves more stands further left than drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mfubench_model.flops import model_flops_per_step
from mfubench_model.presets import PRESETS
from mfubench_model.traffic import component_bytes

from mfubench.results.bars import IN_PLACE, PEAK, SHAPES, Bar
from mfubench.results.outcomes import known
from mfubench.results.record import CaseRecord

MATMULS = ("qkv", "projection", "mlp_matmul", "head")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """The ceilings of a device in a dtype."""

    flops_per_s: float
    bytes_per_s: float | None
    bandwidth_name: str
    peak_flops_per_s: float | None


@dataclass(frozen=True, slots=True)
class RoofPoint:
    """A component, or a matrix product that the ceiling was searched with."""

    name: str
    flops_per_byte: float
    flops_per_s: float
    is_model: bool


@dataclass(frozen=True, slots=True)
class Reach:
    """A component that only moves bytes: how much of the bandwidth it reaches."""

    name: str
    seconds: float
    floor_s: float
    bytes_per_s: float

    @property
    def ratio(self) -> float:
        return self.floor_s / self.seconds


def roof_of(record: CaseRecord, ceilings: Iterable[CaseRecord]) -> Roof | None:
    """The roof over a case, from the ceilings measured on its device."""
    if not record.ceiling_flops_per_s:
        return None
    best: tuple[float, str] | None = None
    for ceiling in ceilings:
        if ceiling.device == record.device and ceiling.ceiling_kind in _BANDWIDTHS:
            rate = ceiling.ceiling_kept_rate_per_s or known(ceiling.ceiling_rate_per_s)
            best = max(best or (0.0, ""), (rate, ceiling.ceiling_kind))
    return Roof(
        flops_per_s=record.ceiling_flops_per_s,
        bytes_per_s=best[0] if best else None,
        bandwidth_name=best[1] if best else "",
        peak_flops_per_s=record.peak_flops_per_s,
    )


_BANDWIDTHS = ("copy", "triad")


def roof_points(record: CaseRecord, ceilings: Iterable[CaseRecord]) -> list[RoofPoint]:
    """The model's components with FLOPs of their own, its whole step, and the search for the
    ceiling."""
    bars = {bar.name: bar for bar in known(record.breakdown)}
    attention, gemm = bars.get("attention"), bars.get(IN_PLACE) or bars.get(SHAPES)
    attention_flops = attention.flops or 0 if attention else 0
    peak = bars.get(PEAK)
    if peak is None or peak.flops is None:  # of a script nobody may know them
        return _searched(record, ceilings)
    step_flops, gemm_bytes = peak.flops, least_gemm_bytes(record)
    step_bytes = gemm_bytes and gemm_bytes + sum(bar.bytes or 0 for bar in bars.values())
    parts = (
        ("matrix products", step_flops - attention_flops, gemm_bytes, gemm and gemm.whole_s),
        (
            "attention",
            attention_flops,
            attention and attention.bytes,
            attention and attention.whole_s,
        ),
        ("the whole step", step_flops, step_bytes, record.breakdown_step_s),
    )
    points = [
        RoofPoint(name, flops / moved, flops / seconds, is_model=True)
        for name, flops, moved, seconds in parts
        if flops and moved and seconds and seconds > 0
    ]
    return points + _searched(record, ceilings)


def _searched(record: CaseRecord, ceilings: Iterable[CaseRecord]) -> list[RoofPoint]:
    value_bytes = 2 if record.dtype in ("bfloat16", "float16") else 4
    points = []
    for ceiling in ceilings:
        if (ceiling.device, ceiling.dtype) != (record.device, record.dtype):
            continue
        for tried in ceiling.search or ():
            m, n, k = tried.shape_mnk
            moved = value_bytes * (m * k + k * n + m * n)
            intensity = 2 * m * n * k / moved
            name = f"matrix product {m}×{n}×{k}"
            points.append(RoofPoint(name, intensity, tried.flops_per_s, is_model=False))
    return points


def least_gemm_bytes(record: CaseRecord) -> int | None:
    """The least traffic of a preset's matrix products; None for sizes that no preset has.

    >>> case = CaseRecord(case_id="x", question="train-step", device="cpu", preset="nanogpt-cpu",
    ...     batch_size=12, dtype="float32", model_flops_per_step=3815571456)
    >>> least_gemm_bytes(case)
    72457728
    >>> case.preset = "my-model"
    >>> least_gemm_bytes(case) is None
    True
    """
    preset = PRESETS.get(str(record.preset))
    batch_size = record.batch_size
    if preset is None or not batch_size:
        return None
    if model_flops_per_step(preset.config, batch_size) != record.model_flops_per_step:
        return None
    activation_bytes = 2 if record.dtype in ("bfloat16", "float16") else 4
    moved = component_bytes(preset.config, batch_size, activation_bytes=activation_bytes)
    return sum(moved[name].total for name in MATMULS)


def reaches(bars: Sequence[Bar]) -> list[Reach]:
    """The components that only move bytes, the one with most to win first."""
    found = [
        Reach(bar.name, bar.seconds, bar.floor_s, bar.bytes / bar.seconds)
        for bar in bars
        if bar.bytes and bar.floor_s and bar.seconds > 0 and bar.name != "attention"
    ]
    return sorted(found, key=lambda reach: reach.floor_s - reach.seconds)
