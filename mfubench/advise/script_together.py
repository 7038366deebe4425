"""Settings of a script that look faster alone: what each gives among the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mfubench.advise import factorial
from mfubench.advise.script_budget import ScriptBudget
from mfubench.advise.script_turns import COMPILED, kind_of, rounds_in
from mfubench.analysis.effect import Effect, log_ratio
from mfubench.knobs.knob import Knob, Machine
from mfubench.knobs.script import Turned, turned_with
from mfubench.sides.bench import TooShortError
from mfubench.sides.pair import ScriptPair
from mfubench.sides.spec import SideSpec


class TakePair(Protocol):
    """Fresh processes of the sides, in turns."""

    def __call__(self, sides: Sequence[SideSpec], *, steadied: bool) -> ScriptPair:
        """Raises TooShortError."""


class NotTogetherError(RuntimeError):
    """Settings that could not be measured in one process, in one sentence."""


@dataclass
class ScriptTogether:
    """Pairs of processes with some of the settings, and with the rest."""

    base: SideSpec
    machine: Machine
    take_pair: TakePair
    budget: ScriptBudget
    say: Callable[[str], None]

    def least_s(self, knobs: Sequence[Knob]) -> float:
        """What one round of the design for so many settings takes at the least."""
        few = min(len(knobs), factorial.FEW)
        return self.budget.expected_s(2 * factorial.pairs_of(few), steadied=True) if few else 0.0

    def effects(self, by_gain: Sequence[Knob]) -> dict[str, Effect] | None:
        """What each gives, by name; empty where it could not be measured, None where there is no
        time for it."""
        able = together(by_gain, self.machine)
        if not able:
            return {}
        forked = [k for k in able if not turned_with([k], self.machine).chooses_allocator]
        knobs = factorial.most_that_fit(able, forked, lambda some: self._rounds(some) > 0)
        if not knobs:
            return None
        self.say(f"{len(knobs)} settings at once, some of them in each process")
        effects: list[Effect] = []
        try:
            for found in factorial.measured(
                len(knobs), lambda row: self._log_of(knobs, row), rounds=max(1, self._rounds(knobs))
            ):
                effects = found
                if not self._rounds(knobs):
                    break
        except (TooShortError, NotTogetherError) as error:
            self.say(f"together they could not be measured: {error}")
        return dict(zip((knob.name for knob in knobs), effects, strict=False))

    def _rounds(self, knobs: Sequence[Knob]) -> int:
        fitting = int(self.budget.before_check_s / max(self._once_s(knobs), 0.1))
        return min(factorial.MOST_ROUNDS, max(0, fitting))

    def _once_s(self, knobs: Sequence[Knob]) -> float:
        if not knobs:
            return 0.0
        steadied = not turned_with(knobs, self.machine).chooses_allocator
        return self.budget.expected_s(2 * factorial.pairs_of(len(knobs)), steadied=steadied)

    def _log_of(self, knobs: Sequence[Knob], row: Sequence[int]) -> tuple[float, int]:
        """How much faster a process with the settings of sign 1 is than one with the others, and
        of how many rounds of turns that is."""
        rest, some = (
            turned_with([k for k, its in zip(knobs, row, strict=True) if its == sign], self.machine)
            for sign in (-1, 1)
        )
        sides = [rest.of(self.base, "the rest"), some.of(self.base, "some")]
        steadied = not (rest.chooses_allocator or some.chooses_allocator)
        pair = self.take_pair(sides, steadied=steadied)
        if not {"0", "1"} <= set(pair.sides):
            raise NotTogetherError(next(iter(pair.errors.values()), "a process gave no turns"))
        times = rounds_in(pair, "0", "1")
        return log_ratio(*times), len(times[0])


def together(by_gain: Sequence[Knob], machine: Machine) -> list[Knob]:
    """Those that can be set at once, of two of one setting the first. What compiles is left out: it
    would stretch every pair."""
    found: list[Knob] = []
    settings: set[str] = set()
    for knob in by_gain:
        own = Turned().and_(knob, machine).settings
        if kind_of(knob, machine) != COMPILED and not settings & own:
            settings |= own
            found.append(knob)
    return found
