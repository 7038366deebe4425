"""A knob as a case of a run: turned in pairs against nanoGPT's own loop."""

from __future__ import annotations

import contextlib
import statistics

import msgspec
from mfubench_model.presets import get_preset

from mfubench.analysis.effect import HELPS
from mfubench.knobs.bench import PROCESSES, KnobBench, nanogpt_baseline
from mfubench.knobs.catalogue import KNOBS_BY_NAME
from mfubench.measure.loop_config import LoopConfig
from mfubench.pairs.loop_side import FEW_WARM_STEPS
from mfubench.pairs.pairing import FINE_TURN_S, TURNS, TURNS_PER_BUILD, Pairing
from mfubench.results.answers import KnobResult
from mfubench.results.case_id import CaseId
from mfubench.results.outcomes import Outcome
from mfubench.results.record import CaseRecord
from mfubench.suite.outcomes import CaseEnded, CaseResult
from mfubench.suite.runner import CaseRunner
from mfubench.suite.session import BenchSession

LONGEST_STEP_S = 1.0
"""A longer step is measured in one pair of processes: eight would take hours, and memory."""


def knob_bench(session: BenchSession, preset: str, device: str) -> KnobBench:
    """The resident baseline of a preset on a device, nanoGPT's own loop: one for all of a run."""
    base = nanogpt_baseline(preset, device, threads=session.threads)
    return session.shared(
        ("knob bench", preset, device), lambda: KnobBench(base, corpus=session.options.corpus)
    )


def measure_knob(runner: CaseRunner, name: str, *, preset: str, device: str) -> CaseResult:
    """Turn one knob, in pairs against nanoGPT's own loop, each side in its own process."""
    knob, session = KNOBS_BY_NAME[name], runner.session
    base = nanogpt_baseline(preset, device, threads=session.threads)
    case = CaseId(
        question="knob",
        preset=preset,
        device=device,
        dtype=base.dtype,
        knob=name.replace(" ", "-"),
    )
    record = runner.new_record(case)
    record.batch_size = get_preset(preset).batch_size
    record.knob = KnobResult(
        name=name,
        before=knob.before,
        after=knob.after,
        nanogpt=knob.nanogpt,
        pytorch=knob.pytorch,
        changes_numerics=knob.changes_numerics,
    )
    with runner.recorded(record) as result:
        runner.present_device(record)
        bench = knob_bench(session, preset, device)
        reason = knob.inapplicable(bench.machine)
        if reason is not None:
            raise CaseEnded(Outcome.UNSUPPORTED, reason)
        config = bench.config_of(knob)
        if config == bench.base:
            raise CaseEnded(Outcome.UNSUPPORTED, "nanoGPT's own loop has it already on this device")
        session.progress.phase(f"starting {name}")
        turns = _take_turns(runner, record, bench, config)
        asked = msgspec.to_builtins(record.knob)
        record.knob = msgspec.convert({**asked, **turns.as_data()}, KnobResult)
        record.tokens_per_step = turns.tokens_per_step
        record.tokens_per_s = 1 / statistics.median(turns.s_per_token)
        record.step_s = record.tokens_per_step / record.tokens_per_s
        record.outcome = Outcome.OK
    return result


def _take_turns(
    runner: CaseRunner, record: CaseRecord, bench: KnobBench, config: LoopConfig
) -> Pairing:
    """The turns of a configuration, and where the time was taken from where it helps. Raises
    SideError."""
    in_several_processes = (
        config.compile == "no"  # compiling in each process would take minutes
        and bench.allocator_states_differ
        and bench.base_step_s() < LONGEST_STEP_S
    )
    with contextlib.ExitStack() as started:
        if in_several_processes:
            turns = started.enter_context(
                bench.turns_with(
                    config, processes=PROCESSES, turn_s=FINE_TURN_S, warm_steps=FEW_WARM_STEPS
                )
            )
            runner.time_rounds(record, turns.turn, turns.turns, before=turns.prepare)
        else:
            turns = _take_turns_of_builds(runner, record, bench, config, started)
        if turns.effect().verdict == HELPS:
            runner.session.progress.phase("profiling both sides")
            turns.profile()
    return turns


def _take_turns_of_builds(
    runner: CaseRunner,
    record: CaseRecord,
    bench: KnobBench,
    config: LoopConfig,
    started: contextlib.ExitStack,
) -> Pairing:
    """Loops built anew between turns. What compiles stays as it is, and has two processes, cold
    and warm, that take half the turns each."""
    compiles = config.compile not in ("no", bench.base.compile)
    again = [bench.launch(config.steadied)] if compiles else []
    for worker in again:
        started.enter_context(worker)
    turns = started.enter_context(bench.turns_with(config, beside=again, turn_s=FINE_TURN_S))
    turns.turns_per_build = TURNS_PER_BUILD

    def prepare() -> None:
        if again and len(turns.s_per_token) == TURNS // 2:
            turns.warm_start_up_s, _ = again[0].wait().warm(steps=4)
            turns.candidate.side = again.pop()
        turns.prepare()

    runner.time_rounds(record, turns.turn, TURNS, before=prepare)
    return turns
