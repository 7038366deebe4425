"""A GPU of which only peaks or ceilings are known: the model's rates as shares of them.

The shares are what a step of GPT-2 (124 M, bfloat16, batch 12) reached on an NVIDIA H200 by its
stored breakdown: results/intel-xeon-16c-126g-aa6aa456, run 0005. Launches cost the host what a
step of the preset nanogpt-cpu took there, which was all launches. On another GPU all of this is a
guess with a known error: `docs/predict.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mfubench.hardware.peaks import DevicePeaks
from mfubench.predict.document import Grade, Mode
from mfubench.predict.machine import Ceilings, Machine
from mfubench.predict.model import LAUNCHES, Fit
from mfubench.predict.operators import Operator
from mfubench.predict.rates import ATTENTION, Cost, OutsideError
from mfubench.results.outcomes import Dtype

PRODUCTS_OF_PEAK = 0.742
"""9.11 TFLOP of matrix products in 12.4 ms, of 989.4 TFLOP/s."""
ATTENTION_OF_PEAK = 0.211
"""0.696 TFLOP, causal, in 3.34 ms."""
BYTES_AT_PEAK: Mapping[str, float] = {
    "linear": 6.5,
    "norm": 78.0,
    "gelu": 15.6,
    "add": 18.7,
    "dropout": 75.0,
    "gather": 20.0,
    "table": 30.0,
    "loss": 33.6,
    "clip": 17.7,
    "adamw": 38.6,
}
"""Per element, forward and backward: seconds times the bandwidth in the maker's table. LayerNorm's
own kernels reach a seventh of it. For linear: casts of inputs and outputs. For dropout: of
attention too; from a step of shakespeare-char at batch 256, eager (run 0001)."""
HALF = ("linear", "gelu", "dropout")
"""Operators whose elements have half the size under autocast; the shares are from bfloat16."""
LAUNCH_S = 112e-6
"""One operator, forward and backward, casts included: 5.4 ms over 48 operators."""
COMPILED_LAUNCH = 1.75
"""A launch of a compiled step over one of an eager step: fewer, and each brings more."""
KERNEL_S = 3e-6
"""What a kernel takes at the least on the device; an operator has about four."""
CEILING_OF_PEAK = {"gemm": 0.67, "bandwidth": 0.896}
"""What the H200's ceilings are of its peaks."""

_DTYPES: tuple[Dtype, ...] = ("float32", "tf32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakRates:
    """Costs from peaks, in the interface of `rates.Rates`."""

    flops_per_s: Mapping[str, float]
    """By dtype."""
    bandwidth_bytes_per_s: float

    @property
    def dtypes(self) -> list[str]:
        """Those with a peak."""
        return sorted(self.flops_per_s)

    def cost(self, operator: Operator, dtype: str) -> Cost:
        """Of one call; raises OutsideError for a dtype without a peak."""
        peak = self.flops_per_s.get(dtype)
        if peak is None:
            raise OutsideError(f"{dtype} has no peak there; known: {', '.join(self.dtypes)}")
        elements, flops_s = float(operator.elements), 0.0
        if operator.name == "step":  # it is in what launches cost
            return Cost(0.0, 0.0)
        if operator.name == "linear":
            rows, inputs, outputs = operator.shape
            flops_s = 6 * elements / (PRODUCTS_OF_PEAK * peak)
            elements = float(rows * (inputs + outputs)) if dtype in ("bfloat16", "float16") else 0.0
        elif operator.name in ATTENTION:
            context = operator.shape[1]
            return Cost(LAUNCH_S, 6 * elements * (context + 1) / (ATTENTION_OF_PEAK * peak))
        wide = 2 if operator.name in HALF and dtype not in ("bfloat16", "float16") else 1
        moved = wide * BYTES_AT_PEAK[operator.name] * elements
        work_s = flops_s + moved / self.bandwidth_bytes_per_s
        if operator.group == "optimizer":  # fused: one launch for all tensors
            return Cost(0.0, work_s)
        return Cost(LAUNCH_S, work_s + KERNEL_S)


def from_peaks(peaks: DevicePeaks, name: str) -> Machine:
    """A device of which nobody measured anything."""
    assert peaks.bandwidth_bytes_per_s is not None
    rates = PeakRates(
        flops_per_s=peaks.flops_per_s_by_dtype, bandwidth_bytes_per_s=peaks.bandwidth_bytes_per_s
    )
    memory = peaks.memory_gib and int(peaks.memory_gib * 2**30)
    return _machine(rates, name, peaks.flops_per_s_by_dtype, memory, "table", peaks.source)


def from_ceilings(
    ceilings: Ceilings, peaks: DevicePeaks | None, *, device: str, name: str, source: str
) -> Machine:
    """A GPU whose ceilings were measured: as good a one as the H200 would be with them."""
    rates = PeakRates(
        flops_per_s={
            d: rate / CEILING_OF_PEAK["gemm"] for d, rate in ceilings.gemm_flops_per_s.items()
        },
        bandwidth_bytes_per_s=ceilings.bandwidth_bytes_per_s / CEILING_OF_PEAK["bandwidth"],
    )
    memory = peaks and peaks.memory_gib and int(peaks.memory_gib * 2**30)
    known = peaks.flops_per_s_by_dtype if peaks else {}
    return _machine(rates, name, known, memory or None, "ceilings", source, device=device)


def _machine(
    rates: PeakRates,
    name: str,
    peaks: Mapping[str, float | None],
    memory: int | None,
    grade: Grade,
    source: str,
    *,
    device: str = "cuda",
) -> Machine:
    known: list[Dtype] = [dtype for dtype in _DTYPES if dtype in rates.flops_per_s]
    fits: dict[Mode, Fit] = {
        (dtype, compile): Fit(
            factors={LAUNCHES: COMPILED_LAUNCH if compile else 1.0}, overlaps=True
        )
        for dtype in known
        for compile in (False, True)
    }
    return Machine(
        device=device,
        name=name,
        rates=rates,
        fits=fits,
        grade=grade,
        peaks=peaks,
        total_memory_bytes=memory,
        source=source,
        native_dtypes=("bfloat16",) if "bfloat16" in known else ("float32",),
    )
