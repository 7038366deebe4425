"""What a product's error says of the format that it ran in, and how a format is asked for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from mfubench.hardware.devices import CpuDevice
from mfubench.measure import precision
from mfubench.measure.precision import format_of, matmul_precision, product_error_ratio, refusal


def rounded(x: torch.Tensor, bits: int) -> torch.Tensor:
    """float32 with so many bits of fraction, as a matrix unit rounds its operands."""
    dropped = 23 - bits
    whole = x.contiguous().view(torch.int32) + (1 << (dropped - 1))
    return (whole >> dropped << dropped).view(torch.float32)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(torch.float32, "float32"), (torch.float16, "tf32"), (torch.bfloat16, "bfloat16")],
)
def test_a_products_error_tells_its_format(dtype: torch.dtype, expected: str) -> None:
    assert format_of(product_error_ratio(CpuDevice(), dtype)) == expected


def test_tf32_is_told_from_both_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = torch.Tensor.__matmul__

    def with_matrix_units(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return plain(a, b) if a.dtype == torch.float64 else plain(rounded(a, 10), rounded(b, 10))

    monkeypatch.setattr(torch.Tensor, "__matmul__", with_matrix_units)
    error = product_error_ratio(CpuDevice(), torch.float32)
    assert format_of(error) == "tf32"
    assert 2e-4 < error < 8e-4
    assert refusal("tf32", error) is None
    assert "float32 was asked for" in (refusal("float32", error) or "")
    assert "is that of tf32" in (refusal("float32", error) or "")


def test_tf32_that_is_off_is_no_tf32() -> None:
    error = product_error_ratio(CpuDevice(), torch.float32)
    assert "which is that of float32: TF32 is off" in (refusal("tf32", error) or "")
    assert refusal("float32", error) is None
    assert (
        refusal("tf32", 2e-3) is None
    )  # as coarse as bfloat16, which is how AMD's library does it


def test_intel_gpus_are_asked_by_onednns_own_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    flag = SimpleNamespace(allow_tf32=False)
    monkeypatch.setattr(precision.torch.version, "xpu", "20250301", raising=False)
    monkeypatch.setattr(torch.backends, "mkldnn", flag)
    with matmul_precision("tf32"):
        assert flag.allow_tf32 is True
    assert flag.allow_tf32 is False


def test_rocm_is_told_by_its_variable_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision.torch.version, "hip", "6.4")
    monkeypatch.delenv("HIPBLASLT_ALLOW_TF32", raising=False)
    with matmul_precision("float32"):
        assert "HIPBLASLT_ALLOW_TF32" not in precision.os.environ
    with matmul_precision("tf32"):
        assert precision.os.environ["HIPBLASLT_ALLOW_TF32"] == "1"
    monkeypatch.setenv("HIPBLASLT_ALLOW_TF32", "0")
    with matmul_precision("tf32"):
        assert precision.os.environ["HIPBLASLT_ALLOW_TF32"] == "0"
