"""Sides and a bench without processes, whose speed and losses are made up."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from mfubench.knobs.bench import KnobBench
from mfubench.measure.loop_config import LoopConfig
from mfubench.pairs.loop_side import LoopSide

STEP_S = 0.040


Speed = Callable[[LoopConfig], float]


class MadeUpSide(LoopSide):
    """A side without a process."""

    def __init__(self, config: LoopConfig, bench: MadeUpBench) -> None:
        self.config = config
        self.tokens_per_step = 64 * config.tokens_factor
        self._bench = bench
        self._luck = bench.draw(bench.process_noise)
        self._seed = 0

    def _s(self) -> float:
        noise = self._luck * self._bench.draw(self._bench.turn_noise)
        size = self.config.tokens_factor / self._bench.base.tokens_factor
        return STEP_S * size * noise / self._bench.speed(self.config)

    def run(self, steps: int) -> list[float]:
        return [self._s() for _ in range(steps)]

    def turn(self, steps: int, **wanted: Any) -> dict[str, float]:
        return {"s_per_token": self._s() / self.tokens_per_step}

    def evaluation_s(self, batches: int = 1) -> float:
        return self._s() / 3

    def bars(self) -> dict[str, float]:
        """The optimizer is a quarter of the plain step; a faster configuration took it from it."""
        step_s = STEP_S * self.config.tokens_factor / self._bench.base.tokens_factor
        optimizer_s = step_s / self._bench.speed(self.config) - 0.75 * step_s
        return {"gemm": 0.65 * step_s, "data": 0.1 * step_s, "optimizer": optimizer_s}

    def has_answered(self, timeout_s: float) -> bool:
        return True

    def wait(self) -> MadeUpSide:
        return self

    def save_s(self) -> float:
        return 0.0

    def restart(self, seed: int) -> None:
        self._seed = seed

    def ask(self, request: dict[str, Any], timeout_s: float = 0.0) -> dict[str, Any]:
        loss = 2.0 + 0.02 * (self._seed % 3) + self._bench.cost(self.config)
        return {"losses": [loss] * request["losses"]} if "losses" in request else {"loss": loss}

    def close(self, *, gently: bool = True) -> None:
        pass


class MadeUpBench(KnobBench):
    """A bench whose sides are made up."""

    def __init__(
        self, speed: Speed, *, noise: tuple[float, float] = (0.0, 0.0), seed: int = 0
    ) -> None:
        super().__init__(LoopConfig(threads=1))
        self.speed = speed
        self.cost: Callable[[LoopConfig], float] = lambda config: 0.0
        self.process_noise, self.turn_noise = noise
        self._random = random.Random(seed)
        self.started: list[MadeUpSide] = []

    def draw(self, sd: float) -> float:
        return self._random.lognormvariate(0.0, sd) if sd else 1.0

    def launch(self, config: LoopConfig, *, seed: int = 0, may_fork: bool = True) -> LoopSide:
        self.started.append(MadeUpSide(config, self))
        return self.started[-1]


def speed_of(**factors: float) -> Speed:
    """Speed by the values of a configuration's fields: each value named multiplies it."""

    def speed(config: LoopConfig) -> float:
        product = 1.0
        for value in (config.optimizer, config.loader, config.gelu):
            product *= factors.get(value, 1.0)
        return product

    return speed
