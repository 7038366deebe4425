"""What each matrix product, convolution and attention of a step had to calculate, and how fast."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mfubench.trace.document import Gemm
from mfubench.trace.events import HostOp
from mfubench.trace.flops import Work, dtype_of_kernel, work_of
from mfubench.trace.shares import Piece, Share


@dataclass(frozen=True, slots=True)
class Counted:
    """The products of one step whose sizes were recorded."""

    gemms: list[Gemm]
    """By operator, sizes and format, the longest first."""
    flops: float | None
    ns: int
    """Of their kernels."""
    at_peak_s: float | None
    """What their FLOPs would take at the device's peaks; None where one is not known."""


@dataclass(slots=True)
class _Sum:
    ns: int = 0
    flops: float = 0.0
    calls: float = 0.0
    kernels: Counter[str] = field(default_factory=Counter)


def _format(op: HostOp | None) -> str | None:
    """The format of an operator's inputs; None where a trace does not say."""
    work = work_of(op.name, op.shapes) if op is not None and op.shapes else None
    return work.dtype if work is not None and work.dtype != "unknown" else None


class Products:
    """The operators with known FLOPs of a whole recording."""

    def __init__(
        self, pieces: Sequence[Piece], peaks_flops_per_s: Mapping[str, float], *, has_tf32: bool
    ) -> None:
        self._peaks = peaks_flops_per_s
        self._work: dict[HostOp, Work | None] = {}
        self._dtype: dict[HostOp, str] = {}
        self._kernel_ns: Counter[HostOp] = Counter()
        for piece in pieces:
            op = piece.counted
            if op is None:
                continue
            self._kernel_ns[op] += piece.event.end - piece.event.start
            if op not in self._work:
                self._work[op] = work_of(op.name, op.shapes) if op.shapes else None
            if (work := self._work[op]) is not None:
                # A product's other kernels (a reduction, say) do not name its format.
                given = _format(piece.innermost) or work.dtype
                dtype = dtype_of_kernel(given, piece.event.name, has_tf32=has_tf32)
                if self._dtype.get(op) != "tf32":
                    self._dtype[op] = dtype

    def of(self, shares: Sequence[Share]) -> Counted:
        """The products of a step. An operator's FLOPs are spread over its kernels by their time, so
        that of one that runs across the step's edge only its part counts."""
        sums: dict[tuple[str, str, str], _Sum] = {}
        for share in shares:
            op = share.piece.counted
            work = self._work.get(op) if op is not None else None
            if op is None or work is None:
                continue
            of_op = share.ns / self._kernel_ns[op] if self._kernel_ns[op] else 0.0
            entry = sums.setdefault((op.name, work.sizes, self._dtype[op]), _Sum())
            entry.ns += share.ns
            entry.flops += work.flops * of_op
            entry.calls += of_op
            entry.kernels[share.piece.event.name] += share.ns
        if not sums:
            return Counted([], None, 0, None)
        gemms = [self._gemm(*key, entry) for key, entry in sums.items()]
        gemms.sort(key=lambda gemm: -gemm.seconds)
        return Counted(
            gemms=gemms,
            flops=sum(gemm.flops for gemm in gemms),
            ns=sum(entry.ns for entry in sums.values()),
            at_peak_s=self._at_peak_s(gemms),
        )

    def _gemm(self, operator: str, sizes: str, dtype: str, entry: _Sum) -> Gemm:
        rate = entry.flops / (entry.ns / 1e9) if entry.ns else 0.0
        peak = self._peaks.get(dtype)
        return Gemm(
            operator=operator,
            sizes=sizes,
            dtype=dtype,
            calls=round(entry.calls, 3),
            seconds=entry.ns / 1e9,
            flops=entry.flops,
            flops_per_s=rate,
            of_peak=rate / peak if peak else None,
            kernel=entry.kernels.most_common(1)[0][0][:400],
        )

    def _at_peak_s(self, gemms: Sequence[Gemm]) -> float | None:
        if any(not self._peaks.get(gemm.dtype) for gemm in gemms):
            return None
        return sum(gemm.flops / self._peaks[gemm.dtype] for gemm in gemms)
