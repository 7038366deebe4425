"""The losses of a run, step by step, and how many tokens they are of."""

from __future__ import annotations

import math
from typing import Any

LOOKED_AT = 4_000
"""Nodes of a backward graph that are looked at for an embedding, in one step."""


class LossTrace:
    """What each backward pass started from. Kept on the device, and read while nothing is timed."""

    def __init__(self) -> None:
        self.tokens_per_step: int | None = None
        """Indices that the largest embedding looked up in the step looked at; None without one."""
        self._roots: list[Any] = []
        self._steps: list[list[Any]] = []
        self._has_looked = False
        self._tokens = 0

    def add(self, root: Any) -> None:
        """Before a backward pass from this result."""
        if not self._has_looked:
            self._tokens += tokens_of(root)
        if getattr(root, "numel", lambda: 0)() == 1:
            self._roots.append(root.detach().clone())

    def step_ends(self) -> None:
        """All passes since the last call belong to one step."""
        self._steps.append(self._roots)
        self._roots = []
        if self._tokens and not self._has_looked:
            self.tokens_per_step = self._tokens
        self._has_looked = True

    def join(self) -> None:
        """What was taken for several steps is the beginning of one."""
        self._roots = [root for step in self._steps for root in step] + self._roots
        self._steps.clear()

    def taken(self) -> list[float | None]:
        """The mean loss of each step since the last call; None where there was none, or it is not
        finite."""
        steps, self._steps = self._steps, []
        return [_mean([float(root) for root in roots]) for roots in steps]


def _mean(losses: list[float]) -> float | None:
    mean = math.fsum(losses) / len(losses) if losses else math.nan
    return mean if math.isfinite(mean) else None


def tokens_of(root: Any) -> int:
    """Indices looked up in the embedding with the most rows that this result was computed from, by
    what the backward graph keeps; 0 without one."""
    nodes: list[Any] = [getattr(root, "grad_fn", None)]
    seen: set[Any] = set()
    found: dict[int, int] = {}
    while nodes and len(seen) < LOOKED_AT:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        indices = getattr(node, "_saved_indices", None)
        if indices is not None and "Embedding" in node.name():
            rows = int(getattr(node, "_saved_num_weights", 0))
            found[rows] = found.get(rows, 0) + int(indices.numel())
        nodes += [following for following, _ in node.next_functions]
    return found[max(found)] if found else 0
