"""The FLOPs of one step, added up by phase, operator, module and dtype."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mfubench_model.operator_flops import (
    OperatorFlops,
    bound,
    may_hide_flops,
    operator_flops,
)

FORWARD, BACKWARD, RECOMPUTED, OPTIMIZER, EVALUATION = (
    "forward",
    "backward",
    "recomputed",
    "optimizer",
    "evaluation",
)
MODEL_PHASES = (FORWARD, BACKWARD)
"""What the model's mathematics needs. A forward pass that activation checkpointing repeats, matrix
products of an optimizer and evaluation are carried out, and are no model FLOPs."""


@dataclass(slots=True)
class Total:
    """Calls and FLOPs under one heading."""

    calls: int = 0
    model: int = 0
    full: int = 0
    executed: int = 0

    def add(self, flops: OperatorFlops) -> None:
        """Add one call."""
        self.calls += 1
        self.model += flops.model
        self.full += flops.full
        self.executed += flops.executed


@dataclass(slots=True)
class Tally:
    """What was counted of one step, or of one compiled graph."""

    operators: dict[tuple[str, str], Total] = field(default_factory=dict)
    """By phase and operator."""
    modules: dict[tuple[str, str], Total] = field(default_factory=dict)
    """By phase and module, layers of one kind together (`h.*.attn`)."""
    dtypes: dict[str, int] = field(default_factory=dict)
    """Executed FLOPs by the format of the factors."""
    embeddings: dict[int, int] = field(default_factory=dict)
    """Looked-up indices of a training forward by the rows of their table."""
    images: int = 0
    """Samples that entered the first convolution of each forward pass."""
    uncounted_s: dict[str, float | None] = field(default_factory=dict)
    """Operators that may hide FLOPs: host seconds, None where they were not timed."""
    opaque_graphs: int = 0
    """Calls of compiled graphs whose operators were not seen when they were compiled."""
    is_compiled: bool = False
    seconds: float = 0.0
    """How long the step took while it was counted."""

    def add(self, func: Any, args: Any, kwargs: Any, out: Any, *, phase: str, module: str) -> None:
        """Add one call of an operator that has a formula."""
        name, given = func._schema.name, bound(func, args, kwargs)
        flops = operator_flops(name, given, out)
        if flops is None:
            self.add_uncounted(name, None)
            return
        self.operators.setdefault((phase, name), Total()).add(flops)
        if module:
            self.modules.setdefault((phase, module), Total()).add(flops)
        if phase in (*MODEL_PHASES, RECOMPUTED):
            dtype = format_of(name, next(v for v in given.values() if hasattr(v, "dtype")))
            self.dtypes[dtype] = self.dtypes.get(dtype, 0) + flops.executed
        if phase == FORWARD and name == "aten::convolution" and not self.images:
            self.images = int(given["input"].shape[0])

    def take_off(self, phase: str, operator: str, module: str, flops: int) -> None:
        """FLOPs of a product that was added turn out not to be the model's: they are masked."""
        totals = [self.operators[phase, operator]]
        if module:
            totals.append(self.modules[phase, module])
        for total in totals:
            total.model -= flops

    def add_embedding(self, args: Any) -> None:
        """A look-up of indices in a table, in a training forward."""
        rows, count = int(args[0].shape[0]), int(args[1].numel())
        self.embeddings[rows] = self.embeddings.get(rows, 0) + count

    def add_uncounted(self, name: str, seconds: float | None) -> None:
        """A call of an operator that may hide FLOPs."""
        before = self.uncounted_s.get(name, 0.0)
        self.uncounted_s[name] = None if before is None or seconds is None else before + seconds

    def include(self, other: Tally) -> None:
        """Add all of another tally: of a compiled graph that was just called."""
        for mine, theirs in ((self.operators, other.operators), (self.modules, other.modules)):
            for key, total in theirs.items():
                sum_ = mine.setdefault(key, Total())
                sum_.calls += total.calls
                sum_.model += total.model
                sum_.full += total.full
                sum_.executed += total.executed
        for dtype, flops in other.dtypes.items():
            self.dtypes[dtype] = self.dtypes.get(dtype, 0) + flops
        for rows, looked_up in other.embeddings.items():
            self.embeddings[rows] = self.embeddings.get(rows, 0) + looked_up
        self.images = self.images or other.images
        for name, seconds in other.uncounted_s.items():
            self.add_uncounted(name, seconds)

    def flops(self, which: str, *phases: str) -> int:
        """`model`, `full` or `executed` FLOPs of these phases together."""
        return sum(
            getattr(total, which) for (phase, _), total in self.operators.items() if phase in phases
        )

    @property
    def model_flops(self) -> int:
        """Forward and backward, causal attention half, nothing twice."""
        return self.flops("model", *MODEL_PHASES)

    @property
    def full_flops(self) -> int:
        """Forward and backward with full attention whatever the mask."""
        return self.flops("full", *MODEL_PHASES)

    @property
    def hardware_flops(self) -> int:
        """What was carried out for training: recomputation and the optimizer's products too."""
        return self.flops("executed", *MODEL_PHASES, RECOMPUTED, OPTIMIZER)

    @property
    def tokens(self) -> int | None:
        """Indices looked up in the embedding with the most rows; None without an embedding."""
        return self.embeddings[max(self.embeddings)] if self.embeddings else None

    @property
    def dtype(self) -> str | None:
        """The format that most FLOPs ran in."""
        return max(self.dtypes, key=lambda name: self.dtypes[name]) if self.dtypes else None

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads: counts only."""
        return {
            "operators": [[*key, *_fields(total)] for key, total in self.operators.items()],
            "modules": [[*key, *_fields(total)] for key, total in self.modules.items()],
            "dtypes": self.dtypes,
            "embeddings": list(self.embeddings.items()),
            "images": self.images,
            "uncounted": list(self.uncounted_s),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Tally:
        """The tally that was kept; raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            operators={(p, n): Total(*map(int, counts)) for p, n, *counts in data["operators"]},
            modules={(p, n): Total(*map(int, counts)) for p, n, *counts in data["modules"]},
            dtypes={str(name): int(count) for name, count in data["dtypes"].items()},
            embeddings={int(rows): int(count) for rows, count in data["embeddings"]},
            images=int(data["images"]),
            uncounted_s=dict.fromkeys(map(str, data["uncounted"]), None),
        )


def _fields(total: Total) -> tuple[int, int, int, int]:
    return total.calls, total.model, total.full, total.executed


def format_of(operator: str, factor: Any) -> str:
    """The format that a product runs in. On CUDA one of float32 may run in TF32: convolutions and
    recurrent layers do unless they are told not to, matrix products where they are told to."""
    dtype = str(factor.dtype).removeprefix("torch.")
    if dtype != "float32" or factor.device.type != "cuda":
        return dtype
    import torch

    is_cudnn = re.search("conv|rnn", operator) is not None
    backend: Any = torch.backends.cudnn if is_cudnn else torch.backends.cuda.matmul
    try:
        is_tf32 = bool(backend.allow_tf32)
    except RuntimeError:  # torch's newer setting was used, which the older does not show
        is_tf32 = backend.fp32_precision == "tf32"
    return "tf32" if is_tf32 else dtype


COUNTED, EMBEDDING, HIDING, OTHER = "counted", "embedding", "hiding", "other"


@functools.cache
def kind_of(func: Any) -> str:
    """Whether a call of this operator is counted, is a look-up, may hide FLOPs, or is none of
    these."""
    from mfubench_model.operator_flops import _FORMULAS

    schema = getattr(func, "_schema", None)
    if schema is None:  # a higher-order operator: its body is seen, unless it is a kernel
        is_kernel = re.search("triton_kernel|flex_attention", str(func)) is not None
        return HIDING if is_kernel else OTHER
    if schema.name in _FORMULAS:
        return COUNTED
    if schema.name == "aten::embedding":
        return EMBEDDING
    return HIDING if may_hide_flops(schema.name) else OTHER


def name_of(func: Any) -> str:
    """An operator's name without its overload."""
    schema = getattr(func, "_schema", None)
    return str(schema.name) if schema is not None else str(func)


def general_name(module: str) -> str:
    """A module's name with its layers' numbers taken out.

    >>> general_name("transformer.h.11.attn.c_attn")
    'transformer.h.*.attn.c_attn'
    """
    return re.sub(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.)", "*", module)


def as_data(totals: Mapping[tuple[str, str], Total], heading: str) -> list[dict[str, Any]]:
    """Totals as the rows that stand in a result, the largest first."""
    return [
        {
            "phase": phase,
            heading: name,
            "calls": total.calls,
            "model_flops": total.model,
            "full_flops": total.full,
            "executed_flops": total.executed,
        }
        for (phase, name), total in sorted(totals.items(), key=lambda item: -item[1].executed)
    ]
