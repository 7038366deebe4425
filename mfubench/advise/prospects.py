"""What each knob has to win at most, and the order of the tries by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mfubench.advise import advice
from mfubench.knobs.bench import KnobBench
from mfubench.knobs.knob import Knob
from mfubench.pairs.loop_side import LONGEST_PROFILED_S, profiled_in_turns
from mfubench.pairs.side import SideError
from mfubench.predict.elsewhere import KnownDevice
from mfubench.predict.sweep import predicted_gain


class Prospects:
    """Shares of an iteration, by bar: of a stored breakdown, or of a short profile."""

    def __init__(
        self,
        bench: KnobBench,
        winnable: Mapping[str, float] | None = None,
        known: KnownDevice | None = None,
    ) -> None:
        """`known` is this machine by its stored probe."""
        self._bench = bench
        self._winnable = winnable
        self._known = known

    @property
    def are_known(self) -> bool:
        """Whether there is a profile already."""
        return self._winnable is not None

    def measure(self) -> None:
        """Profile the baseline: a bar has all that it holds to win. Without a profile (a step above
        a second, no profiler) every knob could win anything."""
        if self._bench.base_step_s() > LONGEST_PROFILED_S:
            return
        side = self._bench.baseline()
        try:
            (bars,) = profiled_in_turns([side.bars])
        except (SideError, ValueError):
            return
        iteration_s = sum(bars.values())
        self._winnable = {name: seconds / iteration_s for name, seconds in bars.items()}

    def of(self, knob: Knob) -> float | None:
        """The share of an iteration that a knob can win at most; None where nothing bounds it."""
        return advice.prospect(knob.aims_at, self._winnable)

    def trains_other_batches(self, knob: Knob) -> bool:
        """Whether an optimizer step takes other tokens: such losses rarely come out the same."""
        base = self._bench.base
        return self._bench.config_of(knob).tokens_factor != base.tokens_factor

    def ordered(self, knobs: Sequence[Knob]) -> list[Knob]:
        """Compiling last, long shots before that, other batches before those. Among equals the
        largest prospect first: what a prediction says it wins, else all that it could win. A knob
        that could win anything keeps its place in front."""

        def rank(knob: Knob) -> tuple[bool, bool, bool, float]:
            config = self._bench.config_of(knob)
            share = predicted_gain(self._bench.base, config, self._known)
            if share is None:
                share = self.of(knob)
            batches = self.trains_other_batches(knob)
            most = 1.0 if share is None else share
            return config.compile != "no", knob.long_shot, batches, -most

        return sorted(knobs, key=rank)
