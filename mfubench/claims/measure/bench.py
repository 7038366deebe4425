"""What claims measure, on top of the session, the knobs, the breakdown and the training cases."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from mfubench_model.presets import get_preset
from msgspec.structs import asdict

from mfubench.analysis.paired import PairedRatio, paired_ratio
from mfubench.claims.rules.other_machine import OtherLoop, gpu_loop_among, loops_of
from mfubench.claims.rules.verdicts import UNTESTABLE, Figures, of_effect
from mfubench.hardware.devices import Device
from mfubench.knobs.bench import KnobBench
from mfubench.knobs.catalogue import KNOBS_BY_NAME
from mfubench.knobs.measure import knob_bench
from mfubench.measure.loop_config import LoopConfig
from mfubench.pairs.pairing import ready
from mfubench.results.outcomes import Outcome
from mfubench.results.read import read_result
from mfubench.results.record import CaseRecord
from mfubench.suite.outcomes import CaseEnded
from mfubench.suite.runner import CaseRunner
from mfubench.suite.session import BenchSession
from mfubench.suite.timer import PlainTimer
from mfubench.timing import time_s

PRESET = "nanogpt-cpu"
"""Every claim is about this set-up."""
LOOP_STEPS = 60
BUILDS, TURNS_PER_BUILD, MOST_BATCHES = 7, 4, 2
"""Pairs of builds per batch; what the first batch leaves open gets a second one."""
EXTRA_PAIRS = 24
EVALUATION_BATCHES = 8
TRAINED_ONE_IN = 10
"""One iteration in so many of a whole run is really trained."""


Verdict = Callable[[Figures], str]


class ClaimBench:
    """The measurements that claims share. Each one measures when it is called."""

    def __init__(self, session: BenchSession) -> None:
        self.session = session
        self.preset = get_preset(PRESET)

    @property
    def conditions(self) -> str:
        """What every claim's figures were measured with, unless the claim says otherwise."""
        return (
            f"{PRESET}, batch {self.preset.batch_size}, float32, eager, "
            f"{self.session.threads} threads, torch {torch.__version__}"
        )

    def accelerators(self) -> list[Device]:
        """The devices of this run that are here and no CPU."""
        devices = [self.session.device(name) for name in self.session.device_names]
        return [d for d in devices if d.kind != "cpu" and d.unavailable_reason() is None]

    def knob_bench(self, device: str = "cpu") -> KnobBench:
        return knob_bench(self.session, PRESET, device)

    def phase(self, what: str) -> None:
        self.session.progress.phase(what)

    # --- in pairs ------------------------------------------------------------------------------

    def knob_reason(self, name: str) -> str | None:
        """Why a knob cannot be turned here, None where it can."""
        return KNOBS_BY_NAME[name].inapplicable(self.knob_bench().machine)

    def effect(self, name: str, verdict: Verdict = of_effect) -> dict[str, Any]:
        """A knob against the CPU's baseline."""
        return self.pairs(self.knob_bench().config_of(KNOBS_BY_NAME[name]), name, verdict)

    def pairs(self, config: LoopConfig, what: str, verdict: Verdict = of_effect) -> dict[str, Any]:
        """A configuration against the CPU's baseline, in pairs of builds. Where `verdict` is open
        after the first batch there is a second one."""
        self.phase(f"starting {what}")
        with self.knob_bench().turns_with(config) as turns:
            turns.turns_per_build = TURNS_PER_BUILD
            for _ in range(MOST_BATCHES):
                self.phase(f"{what}: {BUILDS} pairs of builds")
                turns.take(BUILDS * TURNS_PER_BUILD)
                if verdict(asdict(turns.effect())) != UNTESTABLE:
                    break
            return turns.as_data()

    def extras(self) -> dict[str, dict[str, float]]:
        """What evaluation and checkpoint add to a plain iteration, in pairs with plain ones."""
        side = self.knob_bench().plain_baseline()
        steps = ready(side).steps
        plain_s, evaluation_s, checkpoint_s = [], [], []
        self.phase(f"evaluation and checkpoint: {EXTRA_PAIRS} pairs")
        for _ in range(EXTRA_PAIRS):
            turn = side.turn(steps)
            plain_s.append(turn["step_s"])
            evaluation_s.append(turn["evaluation_s"])
            checkpoint_s.append(side.save_s())
        interval = self.preset.eval_interval
        batches = 2 * self.preset.eval_iters
        return {
            "evaluation": _cost(paired_ratio(evaluation_s, plain_s), batches / interval),
            "checkpoint": _cost(paired_ratio(checkpoint_s, plain_s), 1 / interval),
        }

    # --- one side ------------------------------------------------------------------------------

    def iteration_s(self, device: str = "cpu") -> float:
        """The median iteration of nanoGPT's loop, evaluation and checkpoint left out."""
        self.phase("timing the loop")
        return statistics.median(self.knob_bench(device).plain_baseline().run(LOOP_STEPS))

    def training(self, device: str = "cpu") -> dict[str, Any]:
        """A whole run predicted from a short look, and from a part that is really trained."""
        side = self.knob_bench(device).plain_baseline()
        preset = self.preset
        batches, times = 2 * preset.eval_iters, preset.max_iters // preset.eval_interval
        iteration_s = self.iteration_s(device)
        short_s = batches / EVALUATION_BATCHES * side.evaluation_s(EVALUATION_BATCHES)
        short_s += side.save_s()
        iters = max(2, preset.max_iters // TRAINED_ONE_IN)
        self.phase(f"training {iters} iterations")
        outside_s = side.evaluation_s(batches)
        train_s = time_s(lambda: side.run(iters // 2))
        outside_s += time_s(side.save_s)
        train_s += time_s(lambda: side.run(iters - iters // 2))
        return {
            "max_iters": preset.max_iters,
            "trained_iters": iters,
            "predicted_s": preset.max_iters * iteration_s + times * short_s,
            "trained_s": train_s / iters * preset.max_iters + times * outside_s,
            "iteration_s": iteration_s,
        }

    def _new_case(self) -> CaseRunner:
        """Measures a case that is none of the run's: the claim keeps what it needs of it."""
        return CaseRunner(self.session, PlainTimer())

    def step(self, device: str, dtype: str, batch_size: int) -> CaseRecord:
        """A training step, as benchmarks/test_train_step.py has it."""
        workload = self.session.gpt_workload(PRESET, batch_size)
        result = self._new_case().train_step(workload, device=device, dtype=dtype, compile=False)
        return result.ok()

    def breakdown(self, device: str, dtype: str, *, loop: bool) -> CaseRecord:
        """An account of the step or of the loop's iteration, or this run's own; not checked by
        ablation, which says nothing that a claim asks."""
        question = "breakdown-loop" if loop else "breakdown"
        for record in self.session.records:
            about = (record.question, record.preset, record.device, record.dtype, record.compile)
            if about == (question, PRESET, device, dtype, False) and record.breakdown:
                return record
        workload = self.session.gpt_workload(PRESET, self.preset.batch_size)
        result = self._new_case().breakdown(
            workload, device=device, dtype=dtype, compile=False, loop=loop, check=False
        )
        record = result.ok()
        if record.breakdown is None:
            raise CaseEnded(Outcome.UNSUPPORTED, record.breakdown_problem or "no account")
        return record

    # --- another machine -----------------------------------------------------------------------

    def given_loops(self) -> list[OtherLoop]:
        """The loops of the file that --claims-against names."""
        path = self.session.options.claims_against
        if path is None:
            return []
        return loops_of(read_result(path), preset=PRESET, batch_size=self.preset.batch_size)

    def gpu_elsewhere(self) -> OtherLoop | None:
        """A GPU's loop: of the given file, or the last one saved beside this machine's results."""
        if self.session.options.claims_against is not None:
            return next((loop for loop in self.given_loops() if not loop.on_cpu), None)
        folder = self.session.machine_dir.parent
        saved = sorted(folder.glob("*/*/[0-9]*_*.json"), key=lambda p: p.stat().st_mtime)
        found = gpu_loop_among(reversed(saved), preset=PRESET, batch_size=self.preset.batch_size)
        return found[0] if found else None


def _cost(paired: PairedRatio, per_iteration: float) -> dict[str, float]:
    """A paired ratio to a plain iteration, by how often an iteration pays for it."""
    return {
        "share": paired.ratio * per_iteration,
        "low": paired.low * per_iteration,
        "high": paired.high * per_iteration,
        "pairs": paired.pairs,
    }
