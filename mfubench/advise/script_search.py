"""The search for what trains a script faster, without a change of its files: knobs alone, then on
top of each other, then the losses, then everything together against the script as it is typed."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mfubench.advise import advice, factorial
from mfubench.advise.advice import Advice, Try, Verification
from mfubench.advise.learning import Learning
from mfubench.advise.script_bench import Bench
from mfubench.advise.script_budget import ScriptBudget
from mfubench.advise.script_losses import SEEDS, compared, steps_within
from mfubench.advise.script_together import ScriptTogether
from mfubench.advise.script_turns import ALLOCATOR, COMPILED, effect_in, groups
from mfubench.advise.script_verification import SIDES, verified
from mfubench.analysis.effect import HELPS, UNCLEAR, WORTH_RATIO, Effect
from mfubench.knobs.knob import Knob, Machine
from mfubench.knobs.script import Turned, code_lines, command_line, turned_with
from mfubench.sides.bench import TooShortError
from mfubench.sides.pair import ScriptPair
from mfubench.sides.spec import SideSpec

Group = tuple[int, Sequence[Knob]]
"""Knobs that take turns with one process of the script as it is, and their kind."""
LOSSES_SIDES = 8
"""The comparison of losses takes about as long as so many sides, where the budget is small."""


@dataclass
class ScriptSearch:
    """One search under a time budget. What was measured is in the advice however it ends."""

    base: SideSpec
    bench: Bench
    machine: Machine
    knobs: Sequence[Knob]
    budget_s: float
    say: Callable[[str], None] = lambda _: None
    now_s: Callable[[], float] = time.monotonic
    tries: list[Try] = field(default_factory=list)
    _gains: dict[str, Effect] = field(default_factory=dict)
    """Of those that look faster and have not been turned down, alone or among others."""
    _unclear: dict[str, Effect] = field(default_factory=dict)
    """Of those turned down only because it is not certain that they are worth it."""
    _found: Turned = field(default_factory=Turned)
    _places: dict[str, str] = field(default_factory=dict)
    _learning: Learning | None = None
    _step_s: float = 0.0
    _is_cut: bool = False

    def __post_init__(self) -> None:
        self._budget = ScriptBudget(self.budget_s, self.now_s)
        self._together = ScriptTogether(
            self.base, self.machine, take_pair=self._pair, budget=self._budget, say=self.say
        )

    def run(self) -> Advice:
        """Raises UnrunnableError when the script itself cannot be run as a side."""
        try:
            self._look()
            if not self._found.knobs:
                return self._advice()
            refusal = self._unlearnt()
            verified = None if refusal else self._verified()
        except KeyboardInterrupt:
            return self._advice(ended=advice.INTERRUPTED)
        if verified is None:
            words = refusal or "no budget was left to measure the combination again"
            return self._advice(refusal=words)
        names = [knob.name for knob in self._found.knobs]
        return self._advice(verified, refusal=verified.refusal_of(names))

    def _look(self) -> None:
        """Knobs alone and then among each other; where none of them is kept, what the budget had
        been holding back is for those that were not tried, and for the best of the unclear."""
        waiting: Sequence[Group] = groups(self._able(), self.machine)
        while waiting and not self._found.knobs:
            rest = self._alone(waiting)
            self._combine()
            if len(rest) == len(waiting):
                break
            waiting = rest
        for _, group in waiting:
            self._not_tried(group)
        if not self._found.knobs and self._unclear:
            self._take_unclear()

    @property
    def _spare_s(self) -> float:
        """What is left when the knobs that look faster have been measured among each other, losses
        have been compared where one changes numbers, and the result has been verified."""
        helpful = [knob for knob in self.knobs if knob.name in self._gains]
        later_s = self._together.least_s(helpful)
        if any(knob.changes_numerics for knob in helpful):
            later_s += self._budget.expected_s(LOSSES_SIDES)
        return self._budget.spare_s(later_s)

    # --- knobs alone ------------------------------------------------------------------------------

    def _able(self) -> list[Knob]:
        """Those that can be turned here; of the others it is noted why not."""
        able = []
        for knob in self.knobs:
            turned = Turned().and_(knob, self.machine)
            reason = knob.inapplicable(self.machine) or self._has_it(turned)
            if reason is None:
                able.append(knob)
            else:
                self._note(knob, reason=reason)
        return able

    def _alone(self, waiting: Sequence[Group]) -> list[Group]:
        """Those groups that there was no time for."""
        return [(kind, group) for kind, group in waiting if not self._group(group, kind)]

    def _has_it(self, turned: Turned) -> str | None:
        own = self.base.environment
        has = turned.environment and all(own.get(k) == v for k, v in turned.environment.items())
        return "the script is started with it already" if has and not turned.adjust else None

    def _group(self, group: Sequence[Knob], kind: int) -> bool:
        """Whether there was time for it."""
        if self._spare_s < self._budget.expected_s(1 + len(group)):
            return False
        sides = [self.base]
        sides += [Turned().and_(k, self.machine).of(self.base, k.name) for k in group]
        try:
            pair = self._pair(sides, steadied=kind != ALLOCATOR, is_typical=kind != COMPILED)
        except TooShortError:
            if not self._step_s:
                raise
            return False
        if "0" in pair.errors or "0" not in pair.sides:
            raise UnrunnableError(pair.errors.get("0") or next(iter(pair.errors.values())))
        self._step_s = statistics.median(pair.sides["0"].steps_s)
        trains_on, asked = pair.sides["0"].software.device, self.machine.device.kind
        if trains_on is not None and trains_on != asked:
            raise UnrunnableError(
                f"the script trains on {trains_on}, not on {asked}: add --device {trains_on}"
            )
        for number, knob in enumerate(group, 1):
            self._note_single(knob, pair, str(number))
        return True

    def _note_single(self, knob: Knob, pair: ScriptPair, side: str) -> None:
        if side not in pair.sides:
            self._note(knob, reason=pair.errors.get(side, "it was not measured"))
            return
        self._places |= pair.sides[side].places
        effect = effect_in(pair, "0", side)
        self._note(knob, effect=effect)
        if effect.verdict in (HELPS, UNCLEAR) and effect.ratio >= factorial.WORTH_A_LOOK:
            self._gains[knob.name] = effect

    # --- knobs among each other, and on top of what was found -------------------------------------

    def _combine(self) -> None:
        """Keep those that help among each other, or on top of these."""
        by_gain = self._by_gain()
        effects = self._together.effects(by_gain)
        if effects is None:
            self._is_cut, effects = True, {}
        self._gains |= effects
        for knob in self._by_gain():
            if effect := effects.get(knob.name):
                others = tuple(name for name in effects if name != knob.name)
                if why := advice.not_among_others(effect):
                    self._note(knob, others, effect, reason=why)
                else:
                    self._keep(knob, effect, others)
        for knob in by_gain:
            if knob.name not in effects and self._gains[knob.name].verdict == HELPS:
                self._try_on_top(knob)
        for knob in by_gain:
            if knob not in self._found.knobs:
                self._turn_down(knob)

    def _turn_down(self, knob: Knob) -> None:
        """It was measured as well as the budget allowed, and was not kept."""
        effect = self._gains.pop(knob.name)
        if effect.verdict == UNCLEAR and effect.ratio >= 1 + WORTH_RATIO:
            self._unclear[knob.name] = effect

    def _take_unclear(self) -> None:
        """Of what was not certain, the best: only the check can make it so."""
        if self._budget.before_check_s < 0:
            self._is_cut = True
            return
        able = [knob for knob in self.knobs if knob.name in self._unclear]
        best = max(able, key=lambda knob: self._unclear[knob.name].ratio)
        effect = self._gains[best.name] = self._unclear[best.name]
        self._keep(best, effect, ())

    def _by_gain(self) -> list[Knob]:
        faster = [knob for knob in self.knobs if knob.name in self._gains]
        return sorted(faster, key=lambda one: -self._gains[one.name].ratio)

    def _try_on_top(self, knob: Knob) -> None:
        names = tuple(kept.name for kept in self._found.knobs)
        alone = Turned().and_(knob, self.machine)
        if not names:
            self._keep(knob, self._gains[knob.name], names)
            return
        if shared := alone.settings & self._found.settings:
            with_it = next(k for k in self._found.knobs if self._touches(k, shared))
            self._note(knob, names, reason=f"changes the same setting as {with_it.name}")
            return
        if self._budget.before_check_s < self._budget.expected_s(2):
            self._not_tried([knob], names)
            return
        more = self._found.and_(knob, self.machine)
        sides = [self._found.of(self.base, "found"), more.of(self.base, knob.name)]
        try:
            pair = self._pair(sides, steadied=not more.chooses_allocator)
        except TooShortError:
            self._not_tried([knob], names)
            return
        if not {"0", "1"} <= set(pair.sides):
            self._note(knob, names, reason=next(iter(pair.errors.values()), "not measured"))
            return
        effect = effect_in(pair, "0", "1")
        if effect.verdict == HELPS:
            self._keep(knob, effect, names)
        else:
            self._note(knob, names, effect, reason=f"no gain on top: ×{effect.ratio:.3f}")

    def _touches(self, knob: Knob, settings: set[str]) -> bool:
        return bool(Turned().and_(knob, self.machine).settings & settings)

    def _keep(self, knob: Knob, effect: Effect, names: tuple[str, ...]) -> None:
        self._found = self._found.and_(knob, self.machine)
        self._note(knob, names, effect, kept=True)

    # --- the losses -------------------------------------------------------------------------------

    def _unlearnt(self) -> str | None:
        """Why the combination costs loss; None where it learns as much, or calculates the same."""
        while risky := [knob for knob in self._found.knobs if knob.changes_numerics]:
            why = self._compared_losses()
            if why is None:
                return None
            least = min(risky, key=lambda knob: self._gains[knob.name].ratio)
            self._drop(least, why)
            if not self._found.knobs:
                return why
        return None

    def _drop(self, knob: Knob, why: str) -> None:
        rest = [kept for kept in self._found.knobs if kept is not knob]
        self._found = turned_with(rest, self.machine)
        self._learning = None
        self._note(knob, reason=why)

    def _compared_losses(self) -> str | None:
        one_more_s = self._budget.expected_s(SIDES, steadied=False)
        steps = steps_within(self._budget.before_check_s - one_more_s, self._step_s)
        if steps is not None:
            self.say(f"comparing the losses of {steps} steps from {len(SEEDS)} seeds")
            with contextlib.suppress(TooShortError):
                found = compared(self.bench, self.base, self._found, steps, self._budget.left_s)
                if isinstance(found, str):
                    return found
                self._learning = found
                return found.refusal("steps")
        self._is_cut = True
        return "not kept: no budget left to compare what it learns"

    # --- the check --------------------------------------------------------------------------------

    def _verified(self) -> Verification | None:
        """Fresh processes of the script as it is typed, again, and with everything."""
        sides = [self.base, self.base, self._found.of(self.base, "found")]
        return verified(
            lambda: self._pair(sides, steadied=False, share=1.5),
            left_s=self._budget.left_s,
            pair_s=lambda: self._budget.expected_s(len(sides), steadied=False),
            say=self.say,
        )

    # --- what came of it --------------------------------------------------------------------------

    def _pair(
        self,
        sides: Sequence[SideSpec],
        *,
        steadied: bool,
        share: float = 1.0,
        is_typical: bool = True,
    ) -> ScriptPair:
        """`is_typical` unless something compiles in it for the first time."""
        pair = self.bench.pair(sides, steadied=steadied, left_s=self._budget.left_s(share))
        self._budget.took(pair, len(sides), steadied=steadied, is_typical=is_typical)
        return pair

    def _note(
        self,
        knob: Knob,
        on_top_of: tuple[str, ...] = (),
        effect: Effect | None = None,
        *,
        reason: str | None = None,
        kept: bool = False,
    ) -> None:
        one = Try(knob=knob.name, on_top_of=on_top_of, effect=effect, reason=reason, kept=kept)
        self.tries.append(one)
        self.say(one.in_words)

    def _not_tried(self, knobs: Sequence[Knob], on_top_of: tuple[str, ...] = ()) -> None:
        self._is_cut = True
        for knob in knobs:
            self._note(knob, on_top_of, reason=advice.NO_BUDGET)

    def _advice(
        self,
        verified: Verification | None = None,
        *,
        ended: advice.Ended | None = None,
        refusal: str | None = None,
    ) -> Advice:
        is_safe = verified is not None and refusal is None
        turned = self._found if is_safe else Turned()
        gains = [self._gains[knob.name].ratio for knob in self._found.knobs]
        return Advice(
            preset=None,
            script=command_line(self.base, Turned()).removeprefix("python "),
            device=self.machine.device.kind,
            budget_s=self.budget_s,
            spent_s=self._budget.spent_s,
            ended=ended or (advice.OUT_OF_BUDGET if self._is_cut else advice.COMPLETE),
            baseline={},
            config={"environment": dict(turned.environment), **turned.adjust},
            knobs=tuple(knob.name for knob in turned.knobs),
            verified=verified.effect if verified else None,
            control=verified.control if verified else None,
            predicted_ratio=math.prod(gains) if gains else None,
            learning=self._learning,
            refusal=refusal,
            tries=tuple(self.tries),
            command=command_line(self.base, turned),
            changes=tuple(code_lines(turned, self.machine, self._places)),
        )


class UnrunnableError(RuntimeError):
    """A script that cannot be a side, in one sentence."""
