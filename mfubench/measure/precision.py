"""In which format matrix products run: how it is asked for, and what their error says ran."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from mfubench.hardware.devices import Device, is_out_of_memory

SIZE = 1024
"""Of the product that is looked at: large enough that libraries use the matrix units for it."""

FLOAT32, TF32, BFLOAT16 = "float32", "tf32", "bfloat16"
_LARGEST_ERROR = {FLOAT32: 2e-5, TF32: 1.2e-3}
"""Root mean square error of a product over that of its exact value. Operands rounded to 10 bits of
fraction (TF32, float16) give about 4e-4, twice that where they are cut off; 7 bits (bfloat16) give
2e-3; float32 gives less than 1e-6."""


def float32_precision(dtype: str) -> str:
    """torch's name for how float32 matmuls run: with TF32, or strictly."""
    return "high" if dtype == "tf32" else "highest"


def set_matmul_precision(dtype: str) -> None:
    """Let float32 matmuls use TF32, or forbid it, for the rest of this process.

    On Intel GPUs torch asks oneDNN's own flag (pytorch issue 187947), and under ROCm up to torch
    2.9 an environment variable as well (pytorch pull request 139869).
    """
    torch.set_float32_matmul_precision(float32_precision(dtype))
    if getattr(torch.version, "xpu", None):
        torch.backends.mkldnn.allow_tf32 = dtype == "tf32"  # type: ignore[assignment]
    if torch.version.hip and dtype == "tf32":
        os.environ.setdefault("HIPBLASLT_ALLOW_TF32", "1")


@contextlib.contextmanager
def matmul_precision(dtype: str) -> Iterator[None]:
    """`set_matmul_precision` inside; the caller's setting comes back after."""
    before = torch.get_float32_matmul_precision()
    set_matmul_precision(dtype)
    try:
        yield
    finally:
        set_matmul_precision("float32")
        torch.set_float32_matmul_precision(before)


def product_error_ratio(device: Device, dtype: torch.dtype) -> float:
    """The root mean square error of a product of random numbers in a format, over that of the
    product in float64, which the CPU calculates (some GPUs cannot)."""
    generator = torch.Generator().manual_seed(0)
    size = 256 if device.kind == "cpu" else SIZE
    a, b = (torch.randn(size, size, generator=generator) for _ in range(2))
    found = a.to(device.torch_device, dtype) @ b.to(device.torch_device, dtype)
    exact = a.double() @ b.double()
    error = found.cpu().double() - exact
    return float(error.square().mean().sqrt() / exact.square().mean().sqrt())


def format_of(error_ratio: float) -> str:
    """The coarsest format that operands were rounded to, by the error of their product. float16 has
    the fraction of TF32, and counts as it.

    >>> format_of(3e-7), format_of(4e-4), format_of(2e-3)
    ('float32', 'tf32', 'bfloat16')
    """
    fitting = (name for name, largest in _LARGEST_ERROR.items() if error_ratio <= largest)
    return next(fitting, BFLOAT16)


def refusal(dtype: str, error_ratio: float) -> str | None:
    """Why products did not run in the format that was asked for, None where they did.

    TF32 that is as coarse as bfloat16 passes: that is how AMD's library calculates it.
    """
    ran = format_of(error_ratio)
    if dtype == FLOAT32 and ran != FLOAT32:
        return (
            f"float32 was asked for, and a product has an error of {error_ratio:.1e} against "
            f"float64, which is that of {ran}; NVIDIA_TF32_OVERRIDE, "
            "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE or ONEDNN_DEFAULT_FPMATH_MODE may have been set"
        )
    if dtype == TF32 and ran == FLOAT32:
        return (
            f"tf32 was asked for, and a product has an error of {error_ratio:.1e} against float64, "
            "which is that of float32: TF32 is off (NVIDIA_TF32_OVERRIDE=0, or a torch or library "
            "without it)"
        )
    return None


def measured_error_ratio(device: Device, dtype: torch.dtype) -> float | None:
    """`product_error_ratio`, None where there is no memory for it, or no such product."""
    try:
        return product_error_ratio(device, dtype)
    except (RuntimeError, NotImplementedError, MemoryError) as error:
        if is_out_of_memory(error):
            device.empty_cache()
        return None
