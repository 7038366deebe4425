"""What this machine can sustain, measured: matrix multiplication, memory bandwidth, dispatch.

A ceiling is the best that was sustained, not the best instant: consecutive rounds are cut into
windows of at least `WINDOW_S` seconds, and the window with the highest mean rate counts. The
kernels are torch's own, so that a ceiling is what a torch program could reach here, library and
thread count included.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from mfubench.hardware.devices import Device, is_out_of_memory
from mfubench.timing import now_s, time_s

WINDOW_S = 0.2
ROUND_S = 0.02
"""A round repeats its kernel until it lasts about this long, so that one synchronisation at the
end of a round weighs little."""

GEMM_SIZES_CPU = (512, 1024, 2048, 256, 768, 1536, 384)
GEMM_SIZES_ACCELERATOR = (8192, 4096, 6144, 2048, 1024)
"""In the order in which they are tried: a budget that ends early has seen the likely best."""

GEMM_FORMS = (
    ((1, 1, 1), "nt"),
    ((1, 1, 1), "nn"),
    ((4, 1, 1), "nt"),
    ((1, 4, 1), "nt"),
)
"""(m, n, k) as multiples of the size, and the layout: "nt" has B stored transposed, as the weight
of a linear layer is. Square, tall and wide; a GPT's own matmuls are tall or wide. The layout
matters where a dtype has no library kernel: torch's float16 on a CPU differs several times."""

TRIES = 3
"""Times each shape runs in the search; the fastest counts."""

LEAST_ARRAY_BYTES = 256 * 2**20
CACHES_PER_ARRAY = 4
LARGEST_SHARE_OF_MEMORY = 1 / 16
"""Each of the two or three arrays is four last-level caches large, and at least 256 MiB, unless
that is more than a sixteenth of the free memory."""

TORCH_DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True, slots=True)
class Kernel:
    """Something to run over and over, and how much of what it does per call."""

    kind: str
    """gemm, copy, triad or dispatch."""
    unit: str
    """FLOP, B or op: what `work` counts."""
    run: Callable[[], None]
    """Runs the kernel `repeats` times and returns when the device has finished."""
    work: float
    """Units done by one call of `run`."""
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """A sustained rate, and how far below it the machine usually is."""

    rate_per_s: float
    """FLOP/s, bytes/s or operations/s."""
    noise_ratio: float
    """(best window − median window) / median window: the machine's own unsteadiness."""
    windows: int


def sustained(rounds_s: Sequence[float], work: float, *, window_s: float = WINDOW_S) -> Ceiling:
    """The best mean rate over consecutive rounds lasting at least `window_s` together.

    Ten rounds of 0.1 s with 1e9 FLOPs each, one of them disturbed:

    >>> sustained([0.1] * 5 + [0.3] + [0.1] * 4, 1e9).rate_per_s
    10000000000.0

    Raises ValueError without rounds, or when a round took no time.
    """
    if not rounds_s or min(rounds_s) <= 0:
        raise ValueError(f"a ceiling needs rounds that took time, got {list(rounds_s)[:5]}")
    rates = []
    taken_s, count = 0.0, 0
    for round_s in rounds_s:
        taken_s, count = taken_s + round_s, count + 1
        if taken_s >= window_s * (1 - 1e-9):
            rates.append(work * count / taken_s)
            taken_s, count = 0.0, 0
    if not rates:  # fewer rounds than one window: their mean is all there is
        rates = [work * count / taken_s]
    best, middle = max(rates), statistics.median(rates)
    return Ceiling(rate_per_s=best, noise_ratio=best / middle - 1, windows=len(rates))


def repeated(device: Device, once: Callable[[], object], repeats: int) -> Callable[[], None]:
    """Run `once` `repeats` times, then wait for the device."""

    def run() -> None:
        for _ in itertools.repeat(None, repeats):
            once()
        device.synchronise()

    return run


def _kernel(
    device: Device,
    kind: str,
    unit: str,
    once: Callable[[], object],
    work: float,
    detail: dict[str, Any],
) -> Kernel:
    """A kernel that repeats `once`, which does `work` units, until a round is long enough."""
    single = repeated(device, once, 1)
    single()
    once_s = min(time_s(single) for _ in range(3))
    repeats = max(1, round(ROUND_S / max(once_s, 1e-7)))
    run = repeated(device, once, repeats)
    return Kernel(kind, unit, run, work * repeats, {**detail, "repeats": repeats})


def gemm_kernel(
    device: Device, dtype: str, shape: tuple[int, int, int], layout: str = "nn"
) -> Kernel:
    """C[m,n] = A[m,k] B[k,n] on random numbers (zeros can run faster than data does)."""
    m, n, k = shape
    torch_dtype = TORCH_DTYPES[dtype]
    a = torch.randn(m, k, device=device.torch_device).to(torch_dtype)
    b = torch.randn(k, n, device=device.torch_device).to(torch_dtype)
    if layout == "nt":
        b = b.t().contiguous().t()
    c = torch.empty(m, n, device=device.torch_device, dtype=torch_dtype)
    detail = {"shape_mnk": [m, n, k], "layout": layout}
    return _kernel(device, "gemm", "FLOP", lambda: torch.mm(a, b, out=c), 2.0 * m * n * k, detail)


def best_gemm(
    device: Device, dtype: str, *, budget_s: float
) -> tuple[Kernel, list[dict[str, Any]]]:
    """Search shapes within the budget; the fastest, and every rate that was seen on the way.

    A shape that does not fit into the memory is left out. Raises the error where none fits.
    """
    sizes = GEMM_SIZES_CPU if device.kind == "cpu" else GEMM_SIZES_ACCELERATOR
    deadline_s = now_s() + budget_s
    tried: list[dict[str, Any]] = []
    best: Kernel | None = None
    best_rate = 0.0
    too_large: Exception | None = None
    shapes = list(itertools.product(sizes, GEMM_FORMS))
    if device.kind != "cpu":  # the size decides there, so that each is tried before other forms
        shapes.sort(key=lambda shape: GEMM_FORMS.index(shape[1]))
    for size, (aspect, layout) in shapes:
        m, n, k = (size * factor for factor in aspect)
        if best is not None:
            # A shape that cannot finish in time at the best rate so far is left out: a slow dtype
            # would spend minutes on the large ones.
            expected_s = 2 * TRIES * max(ROUND_S, 2.0 * m * n * k / best_rate)
            if now_s() + expected_s > deadline_s:
                continue
        try:
            kernel = gemm_kernel(device, dtype, (m, n, k), layout)
            rate = kernel.work / min(time_s(kernel.run) for _ in range(TRIES))
        except Exception as error:  # MemoryError, torch's own, a RuntimeError that says so
            if not is_out_of_memory(error):
                raise
            too_large = error
            device.empty_cache()
            continue
        tried.append({"shape_mnk": [m, n, k], "layout": layout, "flops_per_s": rate})
        if rate > best_rate:
            best, best_rate = kernel, rate
    if best is None:
        assert too_large is not None
        raise too_large
    return best, tried


def array_bytes(device: Device, *, cache_bytes: int | None = None) -> int:
    """Bytes per array, a whole number of float32: too large for any cache, small for the memory."""
    if cache_bytes is None:
        cache_bytes = device.cache_bytes()
    wanted = max(LEAST_ARRAY_BYTES, CACHES_PER_ARRAY * cache_bytes)
    free = device.available_memory_bytes()
    if free is not None:
        wanted = min(wanted, int(free * LARGEST_SHARE_OF_MEMORY))
    return max(4, wanted // 4 * 4)


def _arrays(device: Device, count: int) -> list[torch.Tensor]:
    size = array_bytes(device) // 4
    return [torch.ones(size, device=device.torch_device) for _ in range(count)]


def copy_kernel(device: Device) -> Kernel:
    """b = a: one read and one write per element (the write-allocate read is not counted)."""
    a, b = _arrays(device, 2)
    detail = {"array_bytes": a.nbytes}
    return _kernel(device, "copy", "B", lambda: b.copy_(a), 2.0 * a.nbytes, detail)


def triad_kernel(device: Device) -> Kernel:
    """c = a + 3 b (STREAM's triad): two reads and one write per element."""
    a, b, c = _arrays(device, 3)
    detail = {"array_bytes": a.nbytes}

    def once() -> None:
        torch.add(a, b, alpha=3.0, out=c)

    return _kernel(device, "triad", "B", once, 3.0 * a.nbytes, detail)


def dispatch_kernel(device: Device) -> Kernel:
    """Additions of one element: all overhead, no work. On a GPU this is the launch rate."""
    a, b, c = (torch.ones(1, device=device.torch_device) for _ in range(3))
    return _kernel(device, "dispatch", "op", lambda: torch.add(a, b, out=c), 1.0, {})


BANDWIDTH_KERNELS = {"copy": copy_kernel, "triad": triad_kernel}
