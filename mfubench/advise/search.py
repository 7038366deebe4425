"""The search for the best verified configuration: knobs alone, then all that look faster among each
other, then everything together against the baseline in fresh pairs.

What one process of a knob says alone is a sieve. What counts is what the knob gives among others,
over pairs of processes (`together.py`), or on top of what was found. A knob that changes numerics
is kept only if the model learns as much from the same tokens.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from mfubench.advise import advice, trial
from mfubench.advise.advice import Advice, Try, Verification
from mfubench.advise.budget import Budget
from mfubench.advise.learning import Learning
from mfubench.advise.learning_check import LearningBench
from mfubench.advise.prospects import Prospects
from mfubench.advise.together import Together
from mfubench.advise.train_command import train_command
from mfubench.advise.trial import Trial
from mfubench.analysis.effect import WORTH_RATIO
from mfubench.knobs.bench import KnobBench
from mfubench.knobs.catalogue import KNOBS
from mfubench.knobs.knob import Knob
from mfubench.measure.loop_config import LoopConfig
from mfubench.pairs.loop_side import LoopSide
from mfubench.pairs.pairing import Pairing
from mfubench.pairs.side import SideError
from mfubench.predict.elsewhere import KnownDevice

EXPECTED_PROFILE_S = 12.0

Say = Callable[[str], None]


class Search:
    """One search under a time budget. What was measured is in the advice however it ends."""

    def __init__(
        self,
        bench: KnobBench,
        *,
        budget_s: float,
        winnable: Mapping[str, float] | None = None,
        known: KnownDevice | None = None,
        knobs: tuple[Knob, ...] = KNOBS,
        learning: LearningBench | None = None,
        say: Say = lambda _: None,
    ) -> None:
        self._bench = bench
        self._budget = Budget(bench, budget_s)
        self._prospects = Prospects(bench, winnable, known)
        self._knobs = knobs
        self._say = say
        self._learning_bench = learning or LearningBench(bench)
        self._tries: list[Try] = []
        self._singles: dict[str, Trial] = {}
        self._found: LoopSide | None = None
        """A process of the configuration found so far, where one runs."""
        self._config = bench.base
        self._kept: list[Knob] = []
        self._learning: Learning | None = None
        self._is_cut = False
        self._among: dict[str, Trial] = {}
        """Of each knob among the others, where that was measured."""
        self._together = Together(bench, self._budget, self._prospects, say)

    def run(self) -> Advice:
        """Singles, combinations, the check. An interrupt ends it with what there is, unverified
        and therefore without a recommendation."""
        try:
            self._try_singles()
            self._combine()
            if not self._kept:
                return self._advice()
            verification = self._verify()
        except KeyboardInterrupt:
            return self._advice(ended=advice.INTERRUPTED)
        if verification is None:
            return self._advice(refusal="the found configuration could not be measured again")
        names = [knob.name for knob in self._kept]
        return self._advice(verification, refusal=verification.refusal_of(names))

    # --- knobs alone ------------------------------------------------------------------------

    def _try_singles(self) -> None:
        self._bench.baseline()
        if not self._prospects.are_known:
            self._say("profiling the baseline")
            self._prospects.measure()
        for knob in self._prospects.ordered(self._knobs):
            self._try_alone(knob)

    def _try_alone(self, knob: Knob) -> None:
        config = self._bench.config_of(knob)
        reason = (
            knob.inapplicable(self._bench.machine)
            or ("the baseline has it already" if config == self._bench.base else None)
            or advice.hopeless(knob.aims_at, self._prospects.of(knob))
            or self._over_budget(self._spare_alone_s(), config)
        )
        tried = Trial(reason=reason)
        if reason is None:
            tried = self._against(
                self._bench.turns_with(config),
                starts_one=self._bench.processes_to_start(config) == 1,
            )
        self._note(knob, tried)
        if tried.looks_faster:
            self._singles[knob.name] = tried

    def _spare_alone_s(self) -> float:
        """What is left when the knobs that look faster have been measured together, losses have
        been compared where they may differ, and the result has been verified."""
        helpful = [knob for knob in self._knobs if knob.name in self._singles]
        later_s = self._together.least_s(helpful)
        if any(k.changes_numerics or self._prospects.trains_other_batches(k) for k in helpful):
            later_s += self._learning_bench.expected_s(self._budget.base_step_s)
        return self._budget.spare_s(self._bench.base) - later_s

    # --- knobs on top of each other -----------------------------------------------------------

    def _combine(self) -> None:
        try:
            effects = self._together.effects(self._by_gain())
            self._is_cut |= self._together.is_cut
            before_s = self._together.before_s
            self._among = {n: Trial(effect=e, before_s=before_s) for n, e in effects.items()}
            for knob in self._by_gain():
                if effect := effects.get(knob.name):
                    so_far_s = before_s / math.prod(map(self._gain, self._kept))
                    tried = replace(self._among[knob.name], before_s=so_far_s)
                    self._keep(knob, tried, advice.not_among_others(effect))
            for knob in self._by_gain():
                if knob.name not in effects and self._singles[knob.name].helps:
                    self._try_on_top(knob)
            if not self._kept:
                self._take_unclear()
        finally:
            self._hold(None)

    def _take_unclear(self) -> None:
        """Where nothing is certain, the best of what may be worth it: only the check can tell."""
        for knob in self._by_gain():
            tried = self._told(knob)
            may_be = tried.is_unclear and tried.ratio >= 1 + WORTH_RATIO and not tried.is_compiled
            if may_be and not self._kept:
                self._keep(knob, tried, None)

    def _try_on_top(self, knob: Knob) -> None:
        on_top_of = bool(self._kept)
        changed = self._bench.config_of(knob, self._config)
        reason = self._conflict(knob) or self._no_budget(changed)
        tried = Trial() if on_top_of else self._singles[knob.name]
        if reason is None and on_top_of:
            tried = self._on_top(changed)
            reason = tried.reason
            if reason is None and not tried.helps:
                assert tried.effect is not None
                reason = f"no gain on top: ×{tried.effect.ratio:.3f}"
        self._keep(knob, tried, reason)

    def _keep(self, knob: Knob, tried: Trial, reason: str | None) -> None:
        """Keep a knob beside those kept before, unless there is a reason not to, or it costs
        loss."""
        beside = tuple(kept.name for kept in self._kept)
        changed = self._bench.config_of(knob, self._config)
        if reason is None and knob.changes_numerics:
            reason = self._loss_of(changed)
        tried = replace(tried, reason=reason)
        if reason is None:
            self._config = changed
            self._kept.append(knob)
            tried = self._explained(tried)
        self._note(knob, tried, beside, kept=reason is None)

    def _on_top(self, changed: LoopConfig) -> Trial:
        """A configuration against the one found so far."""

        @contextlib.contextmanager
        def pairing() -> Iterator[Pairing]:
            if self._found is None:
                self._hold(self._warm(self._config))
                assert self._found is not None
            with self._bench.start(changed.steadied) as side:
                yield self._bench.turns_of([self._found], [side])

        return self._against(pairing(), starts_one=self._found is not None)

    def _warm(self, config: LoopConfig) -> LoopSide:
        return self._bench.start_warm(config.steadied, 1)[0]

    def _hold(self, side: LoopSide | None) -> None:
        """Hold a process of the configuration found so far, and end the one held before."""
        if self._found is not None:
            self._found.close()
        self._found = side

    def _explained(self, tried: Trial) -> Trial:
        """With the bars that the knob kept last changed, where the budget has room to learn them.
        Its configuration's process stays: the next knob is measured against it."""
        before, after = self._found, None
        wanted_s = EXPECTED_PROFILE_S + self._budget.expected_s(self._config, self._config)
        if self._budget.spare_s(self._config) > wanted_s:  # two more tries come first
            with contextlib.suppress(SideError):
                before = before or self._bench.bases_for(self._config)[0]
                after = self._warm(self._config)
                tried = tried.with_bars(before, after)
        self._hold(after)
        return tried

    def _by_gain(self) -> list[Knob]:
        """The largest gain first; what trains other batches, and so may cost loss, after all."""
        helpful = [knob for knob in self._knobs if knob.name in self._singles]
        return sorted(
            helpful, key=lambda k: (self._prospects.trains_other_batches(k), -self._gain(k))
        )

    def _gain(self, knob: Knob) -> float:
        """Among others where that was measured, else alone."""
        return self._told(knob).ratio

    def _told(self, knob: Knob) -> Trial:
        return self._among.get(knob.name) or self._singles[knob.name]

    def _conflict(self, knob: Knob) -> str | None:
        machine, base = self._bench.machine, self._bench.base
        settings = advice.settings_of(knob.change(base, machine))
        for kept in self._kept:
            if settings & advice.settings_of(kept.change(base, machine)):
                return f"changes the same setting as {kept.name}"
        return None

    def _no_budget(self, changed: LoopConfig) -> str | None:
        """The first knob has been measured alone; each further one is, on top of those kept."""
        needed: list[LoopConfig] = []
        if self._kept:
            needed = [changed] if self._found is not None else [changed, self._config]
        return self._over_budget(self._budget.spare_s(changed), *needed)

    def _over_budget(self, left_s: float, *needed: LoopConfig) -> str | None:
        if left_s >= self._budget.expected_s(*needed):
            return None
        self._is_cut = True
        return advice.NO_BUDGET

    def _loss_of(self, config: LoopConfig) -> str | None:
        """Why a configuration costs too much loss to be kept; None where it learns the same."""
        expected_s = self._learning_bench.expected_s(self._bench.base_step_s())
        if self._budget.spare_s(config) < expected_s:
            self._is_cut = True
            return "not kept: no budget left to compare what it learns"
        self._say("comparing what is learnt from the same tokens")
        try:
            learning = self._learning_bench.compare(config)
        except SideError as error:
            return f"not kept: it could not be trained ({error.reason})"
        refusal = learning.refusal("tokens")
        if refusal is None:
            self._learning = learning
        return refusal

    # --- the check ----------------------------------------------------------------------------

    def _verify(self) -> Verification | None:
        """Pairs of processes, the configuration as it would be typed against the plain loop."""
        self._say("measuring the best configuration against the baseline once more")
        batches, rounds = self._budget.plan(self._config)
        try:
            return trial.verification(self._bench, self._config, batches=batches, rounds=rounds)
        except SideError as error:
            self._say(f"it could not be measured: {error.reason}")
            return None

    # --- notes --------------------------------------------------------------------------------

    def _against(
        self,
        pairing: contextlib.AbstractContextManager[Pairing],
        *,
        starts_one: bool,
    ) -> Trial:
        """`starts_one`: whether it starts one process only, so that its time says what tries take
        on this machine now."""
        start_s = time.perf_counter()
        tried = trial.try_out(pairing)
        if starts_one and tried.effect is not None and not tried.is_compiled:
            self._budget.tried(time.perf_counter() - start_s)
        return tried

    def _note(
        self, knob: Knob, tried: Trial, on_top_of: tuple[str, ...] = (), *, kept: bool = False
    ) -> None:
        one = Try(
            knob=knob.name,
            on_top_of=on_top_of,
            effect=tried.effect,
            reason=tried.reason,
            kept=kept,
            aims_at=knob.aims_at,
            to_win_ratio=self._prospects.of(knob),
            bars=None if tried.bars is None else tuple(tried.bars),
        )
        self._tries.append(one)
        self._say(one.in_words)

    def _advice(
        self,
        verification: Verification | None = None,
        *,
        ended: advice.Ended | None = None,
        refusal: str | None = None,
    ) -> Advice:
        is_safe = verification is not None and refusal is None
        kept, base = (self._kept if is_safe else []), self._bench.base
        config = self._config if is_safe else base
        return Advice(
            preset=base.preset,
            device=base.device,
            knobs=tuple(knob.name for knob in kept),
            predicted_ratio=math.prod(map(self._gain, self._kept)) if self._kept else None,
            learning=self._learning,
            baseline=base.as_data(),
            config=config.as_data(),
            tries=tuple(self._tries),
            ended=ended or (advice.OUT_OF_BUDGET if self._is_cut else advice.COMPLETE),
            budget_s=self._budget.budget_s,
            spent_s=self._budget.spent_s,
            verified=verification.effect if verification else None,
            control=verification.control if verification else None,
            refusal=refusal,
            command=train_command(config),
            changes=tuple(k.nanogpt for k in self._knobs if k in kept and not k.is_typed),
        )
