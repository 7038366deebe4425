"""FLOPs from recorded sizes, against counts by hand; what cannot be counted is unknown, never 0."""

from __future__ import annotations

import pytest

from mfubench.trace.events import Shapes
from mfubench.trace.flops import work_of

FLOAT = ("float", "float", "float")
CONV = ("", "", "", "[1, 1]", "[1, 1]", "[1, 1]", "False", "[0, 0]", "1")
STRIDED = ("", "", "", "[2, 2]", "[3, 3]", "[1, 1]", "False", "[0, 0]", "1")


def flops(name: str, dims: list[list[int]], values: tuple[str, ...] = ()) -> int | None:
    work = work_of(f"aten::{name}", Shapes(dims=tuple(dims), types=FLOAT, values=values))
    return None if work is None else work.flops


@pytest.mark.parametrize(
    ("name", "dims", "expected"),
    [
        ("mm", [[8, 16], [16, 4]], 2 * 8 * 16 * 4),
        ("addmm", [[4], [8, 16], [16, 4]], 2 * 8 * 16 * 4),
        ("bmm", [[3, 8, 16], [3, 16, 4]], 2 * 3 * 8 * 16 * 4),
        ("baddbmm", [[3, 8, 4], [3, 8, 16], [3, 16, 4]], 2 * 3 * 8 * 16 * 4),
        ("linear", [[2, 8, 16], [4, 16], [4]], 2 * 2 * 8 * 16 * 4),
        ("mm", [[8, 16], [15, 4]], None),
        ("mm", [[], []], None),
        ("mm", [], None),
    ],
)
def test_products(name: str, dims: list[list[int]], expected: int | None) -> None:
    assert flops(name, dims) == expected


@pytest.mark.parametrize(
    ("values", "out", "dims"),
    [
        (CONV, 2 * 32 * 14 * 14, [[2, 8, 14, 14], [32, 8, 3, 3], []]),
        (STRIDED, 2 * 32 * 7 * 7, [[2, 3, 14, 14], [32, 3, 7, 7], []]),
    ],
)
def test_convolutions(values: tuple[str, ...], out: int, dims: list[list[int]]) -> None:
    kernel = dims[1][1] * dims[1][2] * dims[1][3]
    assert flops("convolution", dims, values) == 2 * out * kernel


def test_a_convolution_without_recorded_values_is_unknown() -> None:
    assert flops("convolution", [[2, 8, 14, 14], [32, 8, 3, 3], []]) is None


def test_gradients_of_a_convolution_that_were_asked_for() -> None:
    dims = [[2, 32, 14, 14], [2, 8, 14, 14], [32, 8, 3, 3]]
    forward = 2 * 2 * 32 * 14 * 14 * 8 * 9
    rest = ("", "", "", "[0]", "[1, 1]", "[1, 1]", "[1, 1]", "False", "[0, 0]", "1")
    both, first = ("[True, True, False]",), ("[False, True, True]",)
    assert flops("convolution_backward", dims, rest + both) == 2 * forward
    assert flops("convolution_backward", dims, rest + first) == forward


def test_attention_both_ways() -> None:
    full = 2 * 2 * 4 * 64 * 64 * 32 * 2
    causal = 2 * 2 * 4 * (64 * 65 // 2) * 32 * 2
    forward = [[2, 4, 64, 32]] * 3
    name = "_scaled_dot_product_flash_attention"
    assert flops(name, forward, ("", "", "", "0.", "False")) == full
    assert flops(name, forward, ("", "", "", "0.", "True")) == causal
    backward = [[2, 4, 64, 32]] * 6
    values = ("",) * 11 + ("True",)
    assert flops(f"{name}_backward", backward, values) == 2 * causal
