"""One configuration against another in turns, and the last check over pairs of processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mfubench_model.memory import training_memory
from mfubench_model.presets import get_preset

from mfubench.advise.advice import Verification
from mfubench.advise.factorial import WORTH_A_LOOK
from mfubench.analysis.effect import (
    HELPS,
    UNCLEAR,
    WORTH_RATIO,
    Effect,
    effect_of,
    effect_over_processes,
)
from mfubench.analysis.sequential import errors_of_looks
from mfubench.knobs.bench import PROCESSES, KnobBench
from mfubench.measure.loop_config import LoopConfig
from mfubench.pairs.loop_side import LoopSide, profiled_changes
from mfubench.pairs.pairing import FINE_TURN_S, Pairing, TurnTaker, ready, shuffled
from mfubench.pairs.side import SideError
from mfubench.results.bars import BarChange
from mfubench.results.outcomes import Worth

Takers = Sequence[TurnTaker[LoopSide]]
Turns = tuple[Sequence[float], Sequence[float]]
"""Of a pair of processes, the base first."""

FIRST_TURNS, TURNS = 6, 12
"""Of a knob alone; after the first ones what cannot be worth it is left. More would tell little, as
two processes of one configuration differ for as long as they live."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of trying one configuration against another."""

    effect: Effect | None = None
    reason: str | None = None
    """Why there is no effect, or none that counts."""
    before_s: float | None = None
    """An iteration without the change."""
    bars: Sequence[BarChange] | None = None
    is_compiled: bool = False

    @property
    def helps(self) -> bool:
        """Whether it is worth a place in a combination."""
        return self._counts_as(HELPS)

    @property
    def is_unclear(self) -> bool:
        """Whether more would tell."""
        return self._counts_as(UNCLEAR)

    def _counts_as(self, verdict: Worth) -> bool:
        return self.reason is None and self.effect is not None and self.effect.verdict == verdict

    @property
    def ratio(self) -> float:
        """Of the speeds; 1 where nothing was measured."""
        return 1.0 if self.effect is None else self.effect.ratio

    @property
    def looks_faster(self) -> bool:
        """Whether it is worth a place among others, which tell what it gives."""
        return (self.helps or self.is_unclear) and self.ratio >= WORTH_A_LOOK

    def with_bars(self, base: LoopSide, candidate: LoopSide) -> Trial:
        """The same with the bars of two processes of what was tried, before and after."""
        assert self.effect is not None
        assert self.before_s is not None
        bars = profiled_changes(base, candidate, before_s=self.before_s, ratio=self.effect.ratio)
        return replace(self, bars=bars)


def try_out(pairing_of: contextlib.AbstractContextManager[Pairing]) -> Trial:
    """The effect of a configuration in turns, or why there is none."""
    try:
        with pairing_of as pairing:
            pairing.take(FIRST_TURNS)
            if pairing.effect().high > 1 + WORTH_RATIO:
                pairing.take(TURNS - FIRST_TURNS)
            effect = pairing.effect()
    except SideError as error:
        return Trial(reason=f"{error.outcome.value}: {error.reason}")
    reason = None
    if pairing.is_compiled and effect.verdict == HELPS:
        charged = pairing.charged()
        if charged["net_ratio"] < 1 + WORTH_RATIO:
            reason = (
                f"its start-up of {pairing.start_up_s:.0f} s leaves ×{charged['net_ratio']:.3f} "
                f"over {charged['horizon_iters']} iterations"
            )
    return Trial(
        effect=effect,
        reason=reason,
        before_s=pairing.base_iteration_s,
        is_compiled=pairing.is_compiled,
    )


FEWEST_PROCESSES = 2
"""Of either side: one against another of the same is the control."""
CONTEXT_BYTES = 700 * 2**20
"""What a process holds on a GPU before its first tensor."""


def processes_that_fit(bench: KnobBench, config: LoopConfig) -> int:
    """How many processes of either side may be resident: on a GPU as many as its memory holds by
    what the formulas predict, this process's own cache emptied before."""
    device = bench.machine.device
    if not device.has_queue:
        return PROCESSES
    device.empty_cache()
    free_bytes = device.available_memory_bytes()
    needed = [predicted_bytes(one, device.kind) for one in (bench.base, config)]
    if free_bytes is None:
        return FEWEST_PROCESSES
    pair_bytes = sum(needed) + 2 * CONTEXT_BYTES
    return max(FEWEST_PROCESSES, min(PROCESSES, int(0.9 * free_bytes / pair_bytes)))


def predicted_bytes(config: LoopConfig, device_type: str) -> int:
    """What a training step of a configuration needs at its peak, by formula."""
    dtype = "float32" if config.dtype == "tf32" else config.dtype
    model = get_preset(config.preset).config
    return training_memory(
        model, config.batch_size, dtype=dtype, device_type=device_type
    ).total_bytes


def verification(
    bench: KnobBench, config: LoopConfig, *, batches: int, rounds: int
) -> Verification:
    """A configuration as it would be typed against the plain loop, over pairs of processes: those
    of one batch, and of further ones while the effect is unclear. Raises SideError."""
    turns: list[Turns] = []
    controls: list[Turns] = []
    for number in range(batches):
        if number:
            bench.end_plain_baselines()  # a pair of processes counts once
        with _fresh_sides(bench, config) as (plain, found):
            take_shuffled([*plain, *found], rounds)
        half = len(plain) // 2
        turns += turns_of_pairs(plain, found)
        controls += turns_of_pairs(plain[:half], plain[half : 2 * half])
        looks = [len(plain) * (look + 1) for look in range(batches)]
        effect = effect_over_processes(turns, error=errors_of_looks(looks)[number])
        if effect.verdict != UNCLEAR:
            break
    is_one = len(controls) == 1  # a GPU without room for more
    control = effect_of(*controls[0]) if is_one else effect_over_processes(controls)
    return Verification(effect=effect, control=control)


@contextlib.contextmanager
def _fresh_sides(bench: KnobBench, config: LoopConfig) -> Iterator[tuple[Takers, Takers]]:
    """As many processes of the plain loop as of a configuration; its own end with the context."""
    with contextlib.ExitStack() as stack:

        def fresh(config: LoopConfig, count: int) -> list[LoopSide]:
            sides = bench.start_warm(config, count, may_fork=False)
            return [stack.enter_context(side) for side in sides]

        bases = bench.plain_baselines()
        count = processes_that_fit(bench, config)
        bases = [*bases, *fresh(bench.base, count - len(bases))][:count]
        candidates = fresh(config, count)
        yield (
            [ready(side, FINE_TURN_S) for side in bases],
            [ready(side, FINE_TURN_S) for side in candidates],
        )


def take_shuffled(takers: Takers, rounds: int) -> None:
    """Every side takes one turn per round, in random order."""
    for order in shuffled(takers, rounds):
        for taker in order:
            taker.turn()


def turns_of_pairs(bases: Takers, candidates: Takers) -> list[Turns]:
    """One base and one candidate are a pair of processes."""
    pairs = zip(bases, candidates, strict=True)
    return [(base.s_per_token, candidate.s_per_token) for base, candidate in pairs]
