"""What an operator costs on a machine: read off between the shapes that were probed."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mfubench.predict.document import OperatorTime
from mfubench.predict.operators import Operator

FAR, FAR_ELEMENTS = 16.0, 256.0
"""A size this many times beyond the probed ones is outside: nothing was seen of what happens there.
What works on elements alone has left the caches at the largest probed size, and may go further."""
ATTENTION = ("attention", "attention_dropout")
DTYPELESS = ("adamw", "clip", "table", "step")
"""Operators that work on float32 whatever the dtype of the matrix products is."""


class OutsideError(LookupError):
    """A shape or a dtype of which nothing was probed, in half a sentence."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one call of an operator."""

    launch_s: float
    """What its smallest shape takes: calling it at all."""
    work_s: float
    """What its size adds."""


def work_of(name: str, shape: Sequence[float]) -> float:
    """What an operator's time is in proportion to where shapes are large: the product of the sizes,
    and for attention the pairs of tokens besides.

    >>> work_of("linear", (768, 128, 384)), work_of("attention", (48, 64, 32))
    (37748736.0, 6291456.0)
    """
    product = math.prod(map(float, shape))
    return product * shape[1] if name in ATTENTION else product


class Grid:
    """Times of one operator at probed shapes, and between them.

    Logarithms of seconds are interpolated along each axis in the logarithm of the size, which is
    exact wherever time is a power of the size: constant for small shapes, in proportion for large
    ones. Above the grid the rate of its edge holds, below it the power of its first two points.

    >>> grid = Grid("gelu", {(256,): 1e-6, (65536,): 16e-6, (262144,): 64e-6})
    >>> round(grid.seconds((131072,)) * 1e6, 3), round(grid.seconds((2**20,)) * 1e6, 3)
    (32.0, 256.0)
    >>> grid.seconds((2**40,))
    Traceback (most recent call last):
        ...
    mfubench.predict.rates.OutsideError: gelu of 1,099,511,627,776; probed: 256 to 262,144
    """

    def __init__(self, name: str, points: Mapping[tuple[int, ...], float]) -> None:
        self.name = name
        self.points = points
        self.axes = [sorted(set(sizes)) for sizes in zip(*points, strict=True)]
        self.least_s = min(points.values())

    def seconds(self, shape: Sequence[int]) -> float:
        """Of one call at a shape; raises OutsideError far from all that was probed."""
        inside: list[int] = []
        far = FAR_ELEMENTS if len(self.axes) == 1 else FAR
        for size, axis in zip(shape, self.axes, strict=True):
            if size > axis[-1] * far or size * far < axis[0]:
                raise OutsideError(
                    f"{self.name} of {'×'.join(f'{s:,}' for s in shape)}; probed: "
                    + " × ".join(f"{a[0]:,} to {a[-1]:,}" for a in self.axes)
                )
            inside.append(min(size, axis[-1]))
        found = max(math.exp(self._log_s(inside)), self.least_s / 2)
        return found * work_of(self.name, shape) / work_of(self.name, inside)

    def _log_s(self, shape: Sequence[float]) -> float:
        """Multilinear in logarithms, at a shape not above the axes."""
        ends = [_between(axis, size) for axis, size in zip(self.axes, shape, strict=True)]
        total = 0.0
        for corner in itertools.product((0, 1), repeat=len(ends)):
            weight = math.prod(e[2] if c else 1.0 - e[2] for c, e in zip(corner, ends, strict=True))
            if weight:
                total += weight * self._log_at(
                    [e[1] if c else e[0] for c, e in zip(corner, ends, strict=True)]
                )
        return total

    def _log_at(self, index: list[int]) -> float:
        """At a corner of the grid; where it was too large to probe, with the rate of the most like
        it of the smaller shapes."""
        wanted = tuple(axis[i] for axis, i in zip(self.axes, index, strict=True))
        shape = wanted if wanted in self.points else self._most_alike(wanted)
        factor = work_of(self.name, wanted) / work_of(self.name, shape)
        return math.log(self.points[shape] * factor)

    def _most_alike(self, wanted: tuple[int, ...]) -> tuple[int, ...]:
        """The probed shape that has the rate of a larger one.

        A product's rate goes by its shortest side, attention's by its head size, and a loss's by
        its vocabulary: the last size of these shapes.
        """
        smaller = [
            shape
            for shape in self.points
            if all(size <= most for size, most in zip(shape, wanted, strict=True))
        ]

        def likeness(shape: tuple[int, ...]) -> tuple[int, float]:
            decides = min(shape) if self.name == "linear" else shape[-1]
            return decides, work_of(self.name, shape)

        return max(smaller, key=likeness)


def _between(axis: Sequence[int], size: float) -> tuple[int, int, float]:
    """The two indices that a size is between, and how far it is to the second, in logarithms."""
    high = min(max(bisect.bisect_left(axis, size), 1), len(axis) - 1)
    if len(axis) == 1:
        return 0, 0, 0.0
    low_size, high_size = axis[high - 1], axis[high]
    return high - 1, high, math.log(size / low_size) / math.log(high_size / low_size)


class CostSource(Protocol):
    """What knows the cost of every operator."""

    @property
    def dtypes(self) -> list[str]:
        """In which costs are known."""

    def cost(self, operator: Operator, dtype: str) -> Cost:
        """Of one call; raises OutsideError where it is not known."""


class Rates:
    """The costs of all operators in all probed dtypes."""

    def __init__(self, times: Iterable[OperatorTime]) -> None:
        points: dict[tuple[str, str], dict[tuple[int, ...], float]] = {}
        for time in times:
            found = points.setdefault((time.operator, time.dtype), {})
            found[tuple(time.shape)] = time.seconds
        self._grids = {key: Grid(key[0], found) for key, found in points.items()}

    @property
    def dtypes(self) -> list[str]:
        """Those that were probed."""
        return sorted({dtype for name, dtype in self._grids if name == "linear"})

    def cost(self, operator: Operator, dtype: str) -> Cost:
        """Of one call; raises OutsideError where nothing near was probed."""
        grid = self._grids.get((operator.name, "float32" if operator.name in DTYPELESS else dtype))
        if grid is None:
            raise OutsideError(f"{operator.name} in {dtype}; probed: {', '.join(self.dtypes)}")
        seconds = grid.seconds(operator.shape)
        launch_s = min(grid.least_s, seconds)
        return Cost(launch_s, seconds - launch_s)
