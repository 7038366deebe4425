"""From a collective's seconds to the bandwidth of the links below it, as nccl-tests defines it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

BUS_FACTORS: Mapping[str, Callable[[int], float]] = {
    "all-reduce": lambda n: 2 * (n - 1) / n,
    "all-gather": lambda n: (n - 1) / n,
    "reduce-scatter": lambda n: (n - 1) / n,
    "broadcast": lambda n: 1.0,
}
"""Bus bandwidth over the algorithm's, by ranks: nccl-tests' doc/PERFORMANCE.md.

>>> BUS_FACTORS["all-reduce"](2), BUS_FACTORS["all-gather"](4)
(1.0, 0.75)
"""
