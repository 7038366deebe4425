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
        """Indices that the largest embedding looked up in a step; None without one."""
        self._is_first = True
        self._tokens = 0
        self._roots: list[Any] = []
        self._rows: list[tuple[int, list[Any], int]] = []

    def add(self, root: Any) -> None:
        """Before a backward pass from this result."""
        if self._is_first:
            self._tokens += tokens_of(root)
        if getattr(root, "numel", lambda: 0)() == 1:
            self._roots.append(root.detach().clone())

    def row_ends(self, which: int) -> None:
        """This optimizer has stepped."""
        self._rows.append((which, self._roots, self._tokens))
        self._roots, self._tokens = [], 0

    def taken(self, boundary: int) -> list[float | None]:
        """The mean loss of each step since the last call; None where there was none, or it is not
        finite. A step ends with a row of the optimizer `boundary`."""
        losses: list[float | None] = []
        roots: list[Any] = []
        tokens = 0
        for which, more_roots, more_tokens in self._rows:
            roots += more_roots
            tokens += more_tokens
            if which == boundary:
                losses.append(_mean([float(root) for root in roots]))
                if tokens and self._is_first:
                    self.tokens_per_step = max(tokens, self.tokens_per_step or 0)
                roots, tokens = [], 0
        self._rows = [(boundary - 1, roots, tokens)] if roots else []
        self._is_first = False
        return losses


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
