"""A side that is a training loop of a configuration: how it is started, warmed and profiled."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from mfubench.analysis.bar_changes import bars_before_and_after, typical_bars
from mfubench.measure.loop_config import LoopConfig
from mfubench.pairs.child import Answer, Request
from mfubench.pairs.side import START_TIMEOUT_S, Side, SideError, Start
from mfubench.results.bars import BarChange

PROGRAM = ("-P", "-m", "mfubench.pairs.loop_program")
"""`-P`: modules of the user's folder are not ours to import."""
COMMAND = [sys.executable, *PROGRAM]
WARM_STEPS, FEW_WARM_STEPS = 12, 5
WARM_S = 1.0
"""At most, of an eager loop on a CPU, at least two steps: slow ones are warm after few. On a GPU
at the least."""
LONG_START_S = 60.0
PROFILED_BLOCKS = 3
LONGEST_PROFILED_S = 1.0
"""Of an iteration: a profile takes about fifty, and one that would take minutes is not taken."""


class LoopSide(Side):
    """A process with one training loop in it. It is built while the parent goes on; `wait` before
    the first step."""

    tokens_per_step: int

    def __init__(
        self,
        config: LoopConfig,
        *,
        cache: Path,
        corpus: Path | None = None,
        seed: int = 1337,
        start: Start | None = None,
    ) -> None:
        self.config = config
        self.checkpoint_s = 0.0
        self._request = build_request(config, cache=cache, corpus=corpus)
        super().__init__(
            COMMAND,
            # Compiled code of an earlier run would make the first compilation a warm one.
            environment={"TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"), **config.environment},
            first={**self._request, "seed": seed},
            start=start,
        )

    def wait(self) -> Self:
        """Until the loop is built. Raises SideError, its process ended, when it cannot be."""
        try:
            self._is_built(self.hear(START_TIMEOUT_S))
        except BaseException:
            self.close()
            raise
        return self

    def restart(self, seed: int) -> None:
        """Build the loop anew in the same process: training from scratch with this seed."""
        self._is_built(self.ask({**self._request, "seed": seed}, START_TIMEOUT_S))

    def _is_built(self, loop: Answer) -> None:
        self.tokens_per_step = int(loop["tokens_per_step"])
        self._evaluations = float(loop["evaluation_batches_per_step"])
        self._checkpoints = float(loop["checkpoints_per_step"])

    def run(self, steps: int) -> list[float]:
        """Seconds of each of `steps` steps."""
        times: list[float] = self.ask({"run": steps})["times_s"]
        return times

    def turn(self, steps: int, **wanted: Any) -> dict[str, float]:
        """A turn with `s_per_token` in it: seconds per token as `train.py` spends them, the share
        of an evaluation (from one batch of it) and of a checkpoint (as last saved) among them."""
        answer = super().turn(steps, evaluation=True, **wanted)
        iteration_s = (
            answer["step_s"]
            + self._evaluations * answer["evaluation_s"]
            + self._checkpoints * self.checkpoint_s
        )
        return {**answer, "s_per_token": iteration_s / self.tokens_per_step}

    def evaluation_s(self, batches: int = 1) -> float:
        """Seconds of evaluation batches."""
        return float(self.ask({"evaluate": batches})["seconds"])

    def bars(self) -> dict[str, float]:
        """The bars of an iteration, its shares of an evaluation and a checkpoint among them."""
        bars = super().bars()
        bars["evaluation"] = self._evaluations * self.evaluation_s()
        bars["checkpoint"] = self._checkpoints * self.checkpoint_s
        return bars

    def save_s(self) -> float:
        """Seconds of one checkpoint."""
        return float(self.ask({"save": True})["seconds"])

    def warm(self, steps: int = WARM_STEPS) -> tuple[float, float]:
        """Seconds by which the first two steps and the first evaluation exceed steady ones, and
        those of a steady step. A compiled model is compiled for the evaluation once more. Keeps
        how long a checkpoint takes, the faster of two."""
        times_s = self.run(1)
        if times_s[0] > LONG_START_S:
            steps = 3
        elif self.config.compile == "no":
            steps = min(steps, max(2, round(WARM_S / times_s[0])))
        times_s += self.run(steps)
        while self.config.device != "cpu" and sum(times_s[1:]) < WARM_S:  # its clocks rise so late
            times_s += self.run(steps)
        steady_s = statistics.median_high(times_s[-5:])
        first_s, second_s = self.evaluation_s(), self.evaluation_s()
        self.checkpoint_s = min(self.save_s() for _ in range(2))
        excess_s = [first_s - second_s, *(t - steady_s for t in times_s[:2])]
        return sum(max(0.0, s) for s in excess_s), steady_s

    def steady_step_s(self) -> float:
        """Seconds of a step of a side that has been warmed."""
        return statistics.median_high(self.run(3))


def build_request(config: LoopConfig, *, cache: Path, corpus: Path | None) -> Request:
    """What a loop is built from, without its seed."""
    return {
        "config": config.as_data(),
        "corpus": str(corpus.resolve()) if corpus else None,
        "cache": str(cache),
    }


def profiled_in_turns(
    profiles: Sequence[Callable[[], Mapping[str, float]]], blocks: int = PROFILED_BLOCKS
) -> list[dict[str, float]]:
    """The typical bars of several sides, each with a call that profiles one block. Raises SideError
    and ValueError."""
    found = [[profile() for profile in profiles] for _ in range(blocks)]
    return [typical_bars(side) for side in zip(*found, strict=True)]


def profiled_changes(
    base: LoopSide, candidate: LoopSide, *, before_s: float, ratio: float
) -> list[BarChange] | None:
    """The bars of two loops from profiles that take turns, for iterations of the same tokens: the
    base's lasts `before_s`, the candidate is `ratio` times as fast. None where there is no profile
    (compiled code on a CPU) and where one would take minutes."""
    if before_s > LONGEST_PROFILED_S:
        return None
    try:
        # The candidate first: what cannot be profiled says so before anything is.
        after, before = profiled_in_turns([candidate.bars, base.bars])
        return bars_before_and_after(before, after, before_s=before_s, after_s=before_s / ratio)
    except (SideError, ValueError):
        return None
