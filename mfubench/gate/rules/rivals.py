"""What other rules would have said of the times of a self-test of the gate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats

from mfubench.gate.rules.case_trials import NO_PLANT, CaseTrials
from mfubench.gate.rules.document import Rival

Rule = Callable[[Sequence[float], Sequence[float]], Any]


def rivals(trials: Sequence[CaseTrials], shares: Sequence[str]) -> list[Rival]:
    """The same times through a threshold and through tests over steps: one process now against
    another one earlier, as a stored baseline is compared; every ordered two of the pairs."""
    rules: dict[str, Rule] = {
        "--benchmark-compare-fail=median:5%": lambda b, c: np.median(c) > 1.05 * np.median(b),
        "--benchmark-compare-fail=min:5%": lambda b, c: np.min(c) > 1.05 * np.min(b),
        "Welch's t over steps, p < 0.05": lambda b, c: (
            stats.ttest_ind(c, b, equal_var=False, alternative="greater").pvalue < 0.05
        ),
        "Mann-Whitney over steps, p < 0.05": lambda b, c: (
            stats.mannwhitneyu(c, b, alternative="greater").pvalue < 0.05
        ),
    }
    found = []
    for name, alarms in rules.items():
        rates = {
            share: _mean(
                bool(alarms(trial.base_s[i], trial.candidate_s[share][j]))
                for trial in trials
                for i in range(len(trial.base_s))
                for j in range(len(trial.base_s))
                if i != j
            )
            for share in (NO_PLANT, *shares)
        }
        found.append(Rival(name=name, rates=rates))
    return found


def _mean(values: Any) -> float:
    several = list(values)
    return sum(several) / len(several) if several else math.nan
