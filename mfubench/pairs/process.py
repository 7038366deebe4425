"""The parent's side of a worker: start it, ask it, and be told plainly when it cannot answer."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from mfubench.measure.loop_config import LoopConfig
from mfubench.results.record import Outcome

START_TIMEOUT_S = 120.0
TIMEOUT_S = 300.0
"""A compilation may take minutes; nothing that a worker is asked for takes longer than this."""


class WorkerError(RuntimeError):
    """A worker that failed, died or did not answer."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


class WorkerProcess:
    """A process that answers a JSON line with a JSON line. Idle, it waits on its standard input
    and computes nothing."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], cwd: Path | None = None
    ) -> None:
        self._log = tempfile.TemporaryFile(  # noqa: SIM115 - closed in close()
            mode="w+", encoding="utf-8", errors="replace"
        )
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "KINETO_LOG_LEVEL": "99", **environment},
            cwd=cwd,
        )

    def ask(self, request: dict[str, Any], timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """The worker's answer. Raises WorkerError when it reports a failure, dies or hangs."""
        self.tell(request)
        return self.hear(timeout_s)

    def tell(self, request: dict[str, Any]) -> None:
        """Ask without waiting for the answer. A process that is gone says so in `hear`."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def hear(self, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """The answer to what was told. Raises WorkerError as `ask` does."""
        line = self._read_line(timeout_s)
        if not line:
            raise WorkerError(Outcome.ERROR, f"the worker ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(Outcome(answer["outcome"]), answer["error"])
        return answer

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def has_answered(self, timeout_s: float) -> bool:
        """Whether an answer is there to be heard, or the process has ended, within a time."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            return bool(selector.select(timeout_s))

    def _read_line(self, timeout_s: float) -> str:
        assert self._process.stdout is not None
        if not self.has_answered(timeout_s):
            self._process.kill()
            raise WorkerError(Outcome.ERROR, f"the worker gave no answer in {timeout_s:.0f} s")
        return self._process.stdout.readline()

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        status = self._process.returncode
        return f"{lines[-1][:200] if lines else 'it said nothing'} (status {status})"

    def close(self) -> None:
        """End the process, gently if it listens."""
        with contextlib.suppress(OSError, ValueError):
            assert self._process.stdin is not None
            self._process.stdin.write('{"stop": true}\n')
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Worker(WorkerProcess):
    """A process with one training loop in it. It is built while the parent goes on; `wait` before
    the first step."""

    tokens_per_step: int

    def __init__(
        self, config: LoopConfig, *, cache: Path, corpus: Path | None = None, seed: int = 1337
    ) -> None:
        self.config = config
        super().__init__(
            # -P: modules of the user's folder are not ours to import.
            [sys.executable, "-P", "-m", "mfubench.pairs.worker"],
            # Compiled code of an earlier run would make the first compilation a warm one.
            environment={"TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"), **config.environment},
        )
        self._request = {
            "config": config.as_data(),
            "corpus": str(corpus) if corpus else None,
            "cache": str(cache),
        }
        self.checkpoint_s = 0.0
        self.tell({**self._request, "seed": seed})

    def wait(self) -> Self:
        """Until the loop is built. Raises WorkerError, its process ended, when it cannot be."""
        try:
            self._is_built(self.hear(START_TIMEOUT_S))
        except BaseException:
            self.close()
            raise
        return self

    def restart(self, seed: int) -> None:
        """Build the loop anew in the same process: training from scratch with this seed."""
        self._is_built(self.ask({**self._request, "seed": seed}, START_TIMEOUT_S))

    def _is_built(self, ready: dict[str, Any]) -> None:
        self.tokens_per_step = int(ready["tokens_per_step"])
        self._evaluations = float(ready["evaluation_batches_per_step"])
        self._checkpoints = float(ready["checkpoints_per_step"])

    def run(self, steps: int) -> list[float]:
        """Seconds of each of `steps` steps."""
        times: list[float] = self.ask({"run": steps})["times_s"]
        return times

    def turn(self, steps: int) -> float:
        """Seconds per iteration as `train.py` spends them: the mean of `steps` steps, and their
        share of an evaluation (from one batch of it) and of a checkpoint (as last saved)."""
        answer = self.ask({"turn": steps})
        step_s: float = sum(answer["times_s"]) / steps
        return (
            step_s
            + self._evaluations * float(answer["evaluation_s"])
            + self._checkpoints * self.checkpoint_s
        )

    def evaluation_s(self) -> float:
        """Seconds of one evaluation batch."""
        return float(self.ask({"turn": 0})["evaluation_s"])

    def bars(self) -> dict[str, float]:
        """Seconds of each bar of an iteration from one block of profiled steps, its shares of an
        evaluation and a checkpoint among them. Raises WorkerError where there is no profile."""
        bars = {name: float(s) for name, s in self.ask({"bars": True})["bars"].items()}
        bars["evaluation"] = self._evaluations * self.evaluation_s()
        bars["checkpoint"] = self._checkpoints * self.checkpoint_s
        return bars

    def save(self) -> None:
        """Write a checkpoint and keep how long it took, the faster of two."""
        self.checkpoint_s = min(float(self.ask({"save": True})["seconds"]) for _ in range(2))


SETTLE_S = 0.01
"""Between turns: threads of the side that has just stopped spin for some milliseconds."""
