"""The model: a step's time as the sum of its operators' times, fitted to steps that were run.

    step = Σ factor(group) × Σ count × work(operator, shape, dtype)  +  factor × Σ count × launch

The factors are 1 where nothing was run. They are fitted per device, dtype and mode to at most
three anchor steps, in logarithms, and are held near 1 (`RIDGE`): three steps cannot bend them far.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mfubench.predict.document import MeasuredStep, Setting
from mfubench.predict.operators import FUSING, GROUPS, Operator, operators
from mfubench.predict.rates import CostSource, work_of

LAUNCHES, FUSED = "launches", "fused"
FITTED = (*GROUPS, FUSED, LAUNCHES)
RIDGE = 0.03
"""How much a factor of e from 1 costs against a misfit of e in one anchor, both squared."""
SWEEPS, SETTLED = 100, 1e-5
START = {FUSED: 0.6}
"""What is known before anything is run: a fused kernel saves most of what its operators wrote for
each other."""


@dataclass(frozen=True, slots=True)
class Part:
    """A line of the sum."""

    term: str
    group: str
    seconds: float
    """Without its factor."""
    work: float
    """What it works on: see `rates.work_of`."""
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Factors per group of one device, dtype and mode."""

    factors: Mapping[str, float] = field(default_factory=dict)
    anchors: int = 0
    overlaps: bool = False
    """Whether the host launches while the device works, so that the longer of the two counts."""

    def of(self, group: str) -> float:
        """The factor of a group."""
        return self.factors.get(group, START.get(group, 1.0))

    def step_s(self, parts: Iterable[Part]) -> float:
        """Seconds of a step that has these parts."""
        work_s = launches_s = 0.0
        for part in parts:
            seconds = self.of(part.group) * part.seconds
            if part.group == LAUNCHES:
                launches_s += seconds
            else:
                work_s += seconds
        return max(work_s, launches_s) if self.overlaps else work_s + launches_s

    def share(self, group: str, parts: Sequence[Part]) -> float:
        """By how much a step's logarithm grows with that of a group's factor: its share of the
        step, and nothing where the step does not wait for it."""
        own_s = sum(self.of(group) * part.seconds for part in parts if part.group == group)
        step_s = self.step_s(parts)
        if self.overlaps:
            launches_s = sum(self.of(LAUNCHES) * p.seconds for p in parts if p.group == LAUNCHES)
            if (group == LAUNCHES) is (launches_s < step_s):
                return 0.0
        return own_s / step_s


def parts_of(setting: Setting, rates: CostSource) -> list[Part]:
    """The lines of a setting's sum; as `parts_in`."""
    return parts_in(operators(setting), rates, dtype=setting.dtype, compile=setting.compile)


def parts_in(
    asked: Iterable[Operator], rates: CostSource, *, dtype: str, compile: bool
) -> list[Part]:
    """The lines of a step's sum, before factors; raises rates.OutsideError.

    Compiled, the operators that fuse count as `fused`, and only what is left is launched.
    """
    works: dict[tuple[str, str], tuple[float, float, int]] = {}
    launches_s, calls = 0.0, 0
    for operator in asked:
        cost = rates.cost(operator, dtype)
        fused = compile and operator.name in FUSING
        key = (operator.term, FUSED if fused else operator.group)
        seconds, work, count = works.get(key, (0.0, 0.0, 0))
        if operator.name != "step":  # it has no work
            works[key] = (
                seconds + operator.count * cost.work_s,
                work + operator.count * work_of(operator.name, operator.shape),
                count + operator.count,
            )
        if not fused:
            launches_s += operator.count * cost.launch_s
            calls += operator.count
    parts = [Part(term, group, *found) for (term, group), found in works.items()]
    return [*parts, Part("launches", LAUNCHES, launches_s, float(calls), calls)]


def fit(anchors: Sequence[MeasuredStep], rates: CostSource, *, overlaps: bool = False) -> Fit:
    """Factors that bring the sums of the anchors to their measured times.

    Coordinate descent on Σ (log measured − log predicted)² + RIDGE × Σ (log factor − log start)².
    """
    rows = [(parts_of(a.setting, rates), math.log(a.step_s)) for a in anchors]
    names = sorted({part.group for parts, _ in rows for part in parts})
    logs = dict.fromkeys(names, 0.0)
    for _ in range(SWEEPS if rows else 0):
        moved = 0.0
        for name in names:
            now = _fit_of(logs, len(rows), overlaps)
            up, down = -RIDGE * logs[name], RIDGE
            for parts, measured in rows:
                share = now.share(name, parts)
                up += share * (measured - math.log(now.step_s(parts)))
                down += share * share
            logs[name] += up / down
            moved = max(moved, abs(up / down))
        if moved < SETTLED:
            break
    return _fit_of(logs, len(rows), overlaps)


def _fit_of(logs: Mapping[str, float], anchors: int, overlaps: bool) -> Fit:
    factors = {name: START.get(name, 1.0) * math.exp(value) for name, value in logs.items()}
    return Fit(factors=factors, anchors=anchors, overlaps=overlaps)
