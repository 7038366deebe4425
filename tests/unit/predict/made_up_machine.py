"""A machine whose truth is known: every operator costs a launch and its work at a known rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from mfubench.predict.document import MeasuredStep, OperatorName, OperatorTime, Probe, Setting
from mfubench.predict.operators import FUSING, operators
from mfubench.predict.probe import shapes
from mfubench.predict.rates import work_of

OPERATORS: tuple[OperatorName, ...] = get_args(OperatorName)
RATES = {"linear": 8e9, "attention": 3e9, "attention_dropout": 1e9}
"""Work per second; all others do 0.4e9 elements."""


def setting(**changes: object) -> Setting:
    """nanoGPT's command line for a CPU, with changes."""
    known: dict[str, object] = {
        "preset": None,
        "device": "cpu",
        "dtype": "float32",
        "batch_size": 12,
        "block_size": 64,
        "compile": False,
        "n_layer": 4,
        "n_head": 4,
        "n_embd": 128,
        "vocab_size": 65,
    }
    return Setting(**(known | changes))  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class MadeUp:
    """The truth. `speed` is of everything but launches, `factors` are what no probe shows."""

    launch_s: float = 20e-6
    speed: float = 1.0
    factors: Mapping[str, float] = field(default_factory=dict)
    """By the operator's name, and `launch`: how much longer it takes inside of a step."""
    fused: float = 0.5
    """Of the work of operators that a compiled step fuses."""

    def work_s(self, name: str, shape: Sequence[int]) -> float:
        return work_of(name, shape) / (RATES.get(name, 0.4e9) * self.speed)

    def step_s(self, one: Setting) -> float:
        total = 0.0
        for operator in operators(one):
            factor = self.factors.get(operator.name, 1.0)
            work_s = factor * self.work_s(operator.name, operator.shape)
            launch_s = self.factors.get("launch", 1.0) * self.launch_s
            if one.compile and operator.name in FUSING:
                work_s, launch_s = self.fused * work_s, 0.0
            total += operator.count * (work_s + launch_s)
        return total

    def measured(self, one: Setting) -> MeasuredStep:
        return MeasuredStep(setting=one, step_s=self.step_s(one), peak_memory_bytes=10**8)

    def times(self, dtype: str = "float32") -> list[OperatorTime]:
        return [
            OperatorTime(
                operator=name,
                dtype=dtype,  # type: ignore[arg-type]
                shape=list(shape),
                seconds=self.launch_s + self.work_s(name, shape),
            )
            for name in OPERATORS
            for shape in shapes(name)
        ]

    def probe(self, anchors: Sequence[Setting] = (), **known: object) -> Probe:
        fields: dict[str, object] = {
            "device": "cpu",
            "device_name": "made up",
            "threads": 2,
            "torch_version": "9.9.9",
            "measured_at_s": 0.0,
            "spent_s": 1.0,
            "unsteady_ratio": 0.01,
            "attempts": 1,
            "operators": self.times(),
            "anchors": [self.measured(one) for one in anchors],
            "native_dtypes": ["float32"],
            "peak_flops_per_s": {"float32": 60e9 * self.speed},
            "peak_source": "made up",
            "gemm_flops_per_s": {"float32": 48e9 * self.speed},
            "bandwidth_bytes_per_s": 10e9 * self.speed,
            "dispatch_s": self.launch_s / 10,
            "total_memory_bytes": 2**40,
        }
        return Probe(**(fields | known))  # type: ignore[arg-type]


ANCHORS = (
    setting(n_layer=2, n_head=2, n_embd=64, block_size=32, batch_size=2),
    setting(),
    setting(n_layer=3, n_head=6, n_embd=384, block_size=256, vocab_size=2048, batch_size=3),
)


def ratio(said: float | None, was: float) -> float:
    """|log(said / was)|."""
    assert said is not None
    return abs(math.log(said / was))
