"""One pair: a fresh process per side, and the turns that they take."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import mfubench
from mfubench.measure.loop_config import (
    ALLOCATOR_VARIABLES,
    HELD_MEMORY,
    IDLE_THREADS,
)
from mfubench.pairs.child import ENDED, LOADED, Answer
from mfubench.pairs.pairing import SETTLE_S, is_told, rounds_until, turn_plan
from mfubench.pairs.side import TIMEOUT_S, Side, SideError, Start
from mfubench.results.outcomes import Outcome
from mfubench.sides.control import Control
from mfubench.sides.forks import ScriptForks
from mfubench.sides.pair import ScriptPair, SideOfPair, Software
from mfubench.sides.spec import SideSpec

PROGRAM = Path(mfubench.__file__).resolve().parent / "script" / "side_main.py"
"""Run by its path: the Python of a side need not have this package."""
LEAST_TURNS = 4
ALONE_STEPS, LONG_STEP_S = 2, 1.0
"""Before the turns: steps of each side alone, unless they are long."""
LOSS_TURN = 10
"""Steps between two looks at the clock, where losses alone are wanted."""


class TooShortError(RuntimeError):
    """The time was over before the first pair was, in one sentence."""


class Beside(Protocol):
    """What is timed between the turns."""

    def seconds(self) -> float:
        """How long it takes now."""


@dataclass(slots=True)
class Taken:
    """A side's process in a pair, and what it has given so far."""

    side: Side
    start: Answer
    started_alone: bool
    losses: list[float | None] = field(default_factory=list)
    steps_s: list[float] = field(default_factory=list)
    control_s: list[float] = field(default_factory=list)
    counted: Answer | None = None
    steps: int = 0
    ending: str | None = None
    """Why its script is over, empty after a clean end."""

    @property
    def has_ended(self) -> bool:
        """Whether its script is over."""
        return self.ending is not None

    def turn(self, steps: int) -> float | None:
        """Mean seconds of a step; None where the script ended in the turn."""
        answer: Answer = self.side.turn(steps)
        self.losses += answer["losses"]
        if ENDED in answer:
            self.steps += int(answer[ENDED])
            self.ending = str(answer["reason"] or "")
            self.counted = answer
            return None
        self.steps += steps
        return float(answer["step_s"])


@dataclass
class ScriptBench:
    """Measures pairs of processes of the sides."""

    sides: Sequence[SideSpec]
    folder: Path
    """For what must not be shared: compiled code."""
    control: Beside = field(default_factory=Control)
    is_steadied: bool = True
    tokens_per_step: int | None = None
    say: Callable[[str], None] = lambda _: None
    settle_s: float = SETTLE_S
    forks: ScriptForks | None = None
    """None: every side is a process of its own."""

    def pair(self, wanted: Sequence[int], number: int, left_s: float) -> ScriptPair:
        """One pair of the sides with these numbers, the reference among them.

        In the first one each side starts alone and is a process of its own, so that what it takes
        to start is its own. From the second one on all sides are forks, or none is. Who comes first
        alternates. Raises TooShortError when `left_s` end before all have started.
        """
        since_s = time.monotonic()
        until_s = since_s + left_s
        order = list(wanted) if number % 2 == 0 else list(reversed(wanted))
        errors: dict[str, str] = {}
        taken: dict[int, Taken] = {}
        with contextlib.ExitStack() as stack:
            for which, side in self._started(order, stack, alone=number == 0):
                try:
                    start = self._start_of(side, until_s)
                except SideError as error:
                    if time.monotonic() >= until_s:
                        raise TooShortError(
                            f"the budget of time is too short for one pair: after {left_s:.0f} s "
                            f"{self.sides[which].label!r} had not begun its first turn"
                        ) from None
                    errors[str(which)] = error.words
                    continue
                if self.forks is not None:
                    self.forks.learn(self.sides[which], start)
                taken[which] = Taken(side, start, number == 0, list(start["losses"]))
                taken[which].steps = int(start["steps"])
            if len(taken) > 1:
                errors |= self._turns(taken)
            found = self._found(taken, errors)
            for one in taken.values():  # all at once: each takes a moment to end
                one.side.tell({"stop": True})
        return ScriptPair(
            number=number,
            at_s=time.time(),
            seconds=time.monotonic() - since_s,
            sides=found,
            errors=errors,
            shared_writes=_shared(taken),
        )

    def losses(self, steps: int, left_s: float) -> list[list[float | None] | str]:
        """The losses of so many steps of each side, fewer where its script ends, or why it has
        none. Raises TooShortError when `left_s` end before."""
        until_s = time.monotonic() + left_s
        found: list[list[float | None] | str] = []
        with contextlib.ExitStack() as stack:
            started = list(self._started(range(len(self.sides)), stack, alone=False))
            for _, side in started:
                try:
                    found.append(self._losses_of(side, steps, until_s)[:steps])
                except SideError as error:
                    if time.monotonic() >= until_s:
                        raise TooShortError("the budget is over before the losses are") from None
                    found.append(error.words)
        return found

    def _losses_of(self, side: Side, steps: int, until_s: float) -> list[float | None]:
        start = self._start_of(side, until_s)
        one = Taken(side, start, False, list(start["losses"]))
        one.steps = int(start["steps"])
        while one.steps < steps and not one.has_ended:
            if time.monotonic() >= until_s:
                raise TooShortError("the budget is over before the losses are")
            one.turn(min(LOSS_TURN, steps - one.steps))
        if one.ending:
            raise SideError(Outcome.ERROR, one.ending, side.name)
        return one.losses

    # --- starting ---------------------------------------------------------------------------------

    def _started(
        self, order: Sequence[int], stack: contextlib.ExitStack, *, alone: bool
    ) -> Iterator[tuple[int, Side]]:
        """Each side, started and told what to run; with `alone` when the one before has settled.
        Else all load torch at once."""
        if alone:
            for which in order:
                yield which, stack.enter_context(self._start(which, waits=False, start=None))
            return
        starts = [self._fork_of(which) for which in order]
        if None in starts:  # a fork against a process of its own is no fair comparison
            starts = [None] * len(starts)
        sides = [
            stack.enter_context(self._start(which, waits=True, start=start))
            for which, start in zip(order, starts, strict=True)
        ]
        yield from zip(order, sides, strict=True)

    def _command(self, which: int) -> list[str]:
        return [self.sides[which].python, str(PROGRAM)]

    def _fork_of(self, which: int) -> Start | None:
        """What forks a side, where it can be a fork."""
        if self.forks is None:
            return None
        spec = self.sides[which]
        return self.forks.start_of(spec, self._command(which), self._environment(spec, which))

    @staticmethod
    def _start_of(side: Side, until_s: float) -> Answer:
        """What a side has to say before its first turn. Their first steps, and what comes before
        them, are taken one side after the other: two whose threads wait for each other on the same
        cores take up to twenty times as long. Raises SideError."""

        def left_s() -> float:
            return max(0.1, min(until_s - time.monotonic(), TIMEOUT_S))

        answer = side.hear(left_s())
        return side.ask({"go": True}, left_s()) if LOADED in answer else answer

    def _start(self, which: int, *, waits: bool, start: Start | None) -> Side:
        spec = self.sides[which]
        return Side(
            self._command(which),
            name=str(which),
            environment=self._environment(spec, which),
            cwd=spec.cwd,
            first={
                "script": spec.words[0],
                "is_module": spec.is_module,
                "arguments": spec.words[1:],
                "since_s": time.monotonic(),
                "adjust": dict(spec.adjust),
                "waits": waits,
                "not_from": None if spec.not_from is None else str(spec.not_from.resolve()),
            },
            start=start,
        )

    def _environment(self, spec: SideSpec, which: int) -> dict[str, str]:
        """What the user has set stays; compiled code of one side is not found by another."""
        given = {**os.environ, **spec.environment}
        ours = {"TORCHINDUCTOR_CACHE_DIR": str(self.folder / f"compiled-{which}")}
        if self.is_steadied:
            ours |= IDLE_THREADS
            if not any(name in given for name in ALLOCATOR_VARIABLES):
                ours |= HELD_MEMORY
        return {k: v for k, v in ours.items() if k not in given} | dict(spec.environment)

    # --- turns ------------------------------------------------------------------------------------

    def _turns(self, taken: dict[int, Taken]) -> dict[str, str]:
        """Turns in the order A B B A; what went wrong, by side. They end when a script does; a side
        that fails has no more of them, and the others go on."""
        try:
            plan = turn_plan(self._aligned(taken))
            for names in rounds_until(tuple(taken), plan, lambda: self._is_told(taken)):
                running = {which: taken[which] for which in names if not taken[which].has_ended}
                if len(running) < 2 or any(one.ending == "" for one in taken.values()):
                    break
                for one in running.values():
                    self._turn(one, plan.steps)
        except SideError as error:
            return {error.side: error.words}
        errors = {str(which): one.ending for which, one in taken.items() if one.ending}
        good = {which: one for which, one in taken.items() if not one.ending}
        whole = min((len(one.steps_s) for one in good.values()), default=0)
        for which, one in good.items():
            del one.steps_s[whole:], one.control_s[whole:]
            if one.has_ended and whole < LEAST_TURNS:
                needed = one.steps + (LEAST_TURNS - whole) * plan.steps
                errors[str(which)] = (
                    f"it ended after {one.steps} steps; a pair needs about {needed}. Let it train "
                    "for longer"
                )
        return errors

    @staticmethod
    def _is_told(taken: Mapping[int, Taken]) -> bool:
        """Of each side against the first one that has all its turns."""
        able = [one.steps_s for one in taken.values() if not one.has_ended]
        return all(is_told(steps_s, able[0]) for steps_s in able[1:])

    @staticmethod
    def _aligned(taken: Mapping[int, Taken]) -> float:
        """All sides at the same step of their run, and the seconds of a step that runs alone: at
        their start the sides slowed each other down."""
        step_s = max(float(one.start["step_s"]) for one in taken.values())
        more = ALONE_STEPS if step_s < LONG_STEP_S else 0
        goal = more + max(one.steps for one in taken.values())
        alone = [one.turn(goal - one.steps) for one in taken.values() if one.steps < goal]
        return max(filter(None, alone), default=step_s) if more else step_s

    def _turn(self, one: Taken, steps: int) -> None:
        step_s = one.turn(steps)
        if step_s is not None:
            time.sleep(self.settle_s)
            one.steps_s.append(step_s)
            one.control_s.append(self.control.seconds())

    # --- what came of it --------------------------------------------------------------------------

    def _found(self, taken: dict[int, Taken], errors: dict[str, str]) -> dict[str, SideOfPair]:
        found = {}
        for which, one in taken.items():
            if not one.steps_s or str(which) in errors:
                continue
            try:
                one.counted = one.counted or one.side.ask({"count": True})
            except SideError as error:
                errors[str(which)] = error.words
                continue
            start = one.start
            found[str(which)] = SideOfPair(
                start_up_s=start["start_up_s"],
                compile_s=start["compile_s"],
                started_alone=one.started_alone,
                tokens_per_step=self.tokens_per_step or start["tokens_per_step"],
                workers=start["workers"],
                software=Software(**start["software"]),
                steps_s=one.steps_s,
                control_s=one.control_s,
                losses=one.losses,
                peak_bytes=one.counted["peak_bytes"],
                graphs=one.counted.get("graphs", 0),
                places=start.get("places", {}),
                writes=sorted({Path(path).name for path in one.counted["writes"]}),
            )
        return found


def _shared(taken: dict[int, Taken]) -> list[str]:
    """Names of files that more than one side opened for writing, by their whole paths."""
    counts = Counter(
        path for one in taken.values() if one.counted for path in set(one.counted["writes"])
    )
    return sorted({Path(path).name for path, count in counts.items() if count > 1})
