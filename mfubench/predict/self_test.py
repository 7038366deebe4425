"""`mfubench predict --self-test`: what is said is saved, then what was spoken of is run."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

from mfubench.predict.document import (
    Errors,
    FrozenPrediction,
    FrozenPredictions,
    Grade,
    HeldOut,
    Mode,
    PredictionTest,
    Probe,
    Setting,
)
from mfubench.predict.held_out import held_out
from mfubench.predict.machine import machine_of
from mfubench.predict.predict import predict
from mfubench.predict.rivals import compared, fastest_found, quantile, rivals_s
from mfubench.results.outcomes import Dtype
from mfubench.timing import now_s

PREDICTION, TEST = "prediction", "prediction-test"
"""The kinds of the two documents."""
STEP_BUDGET_S = 2.0
MOST_VISITS = 9
Measure = Callable[[Setting], HeldOut]


def frozen_of(probe: Probe, half_widths: Mapping[Grade, float]) -> FrozenPredictions:
    """What the model and its rivals say of the held-out settings, from the probe alone."""
    machine = machine_of(probe, "")
    found = []
    for factor, setting in held_out(probe.device, probe.native_dtypes):
        said = predict(setting, machine, iterations=1, half_widths=half_widths)
        found.append(
            FrozenPrediction(
                factor=factor,
                setting=setting,
                step_s=said.step_s,
                low_s=said.low_s,
                high_s=said.high_s,
                peak_memory_bytes=said.peak_memory_bytes,
                outside=said.outside,
                rivals_s=rivals_s(setting, probe),
            )
        )
    return FrozenPredictions(probe=probe, predictions=found, frozen_at_s=time.time())


def modes_of(device: str, dtypes: Sequence[Dtype]) -> list[Mode]:
    """The dtypes and modes that a self-test speaks of."""
    found = [(s.dtype, s.compile) for _, s in held_out(device, dtypes)]
    return sorted(set(found), key=lambda mode: (mode[1], dtypes.index(mode[0])))


def run_held_out(
    frozen: FrozenPredictions,
    done: Sequence[HeldOut],
    measure: Measure,
    keep: Callable[[HeldOut], None],
    *,
    budget_s: float,
    say: Callable[[str], None] = lambda _: None,
) -> str:
    """Visit what was spoken of, and visit it again until the budget is spent; each visit is kept at
    once. Gives how it ended: complete where each setting has a visit."""
    start_s = now_s()
    visits = Counter(held.setting.name for held in done)
    wanted = [p.setting for p in frozen.predictions if p.step_s is not None]
    try:
        for number in range(MOST_VISITS):
            left = [s for s in wanted if visits[s.name] <= number]
            if number:  # no setting always comes after the same one
                random.Random(number).shuffle(left)
            for index, setting in enumerate(left, 1):
                if now_s() - start_s > budget_s:
                    return "complete" if number else "out of budget"
                say(f"visit {number + 1}, {index} of {len(left)}: {setting.name}")
                keep(measure(setting))
    except KeyboardInterrupt:
        return "interrupted"
    return "complete"


def merged(visits: Sequence[HeldOut]) -> list[HeldOut]:
    """One row for each setting: the medians of its visits."""
    by_name: dict[str, list[HeldOut]] = {}
    for visit in visits:
        by_name.setdefault(visit.setting.name, []).append(visit)
    return [_one_of(several) for several in by_name.values()]


def _one_of(visits: Sequence[HeldOut]) -> HeldOut:
    steps_s = [visit.step_s for visit in visits if visit.step_s is not None]
    peaks = [v.peak_memory_bytes for v in visits if v.peak_memory_bytes is not None]
    return msgspec.structs.replace(
        visits[0],
        step_s=statistics.median(steps_s) if steps_s else None,
        peak_memory_bytes=round(statistics.median(peaks)) if peaks else None,
        control_s=statistics.median(visit.control_s for visit in visits),
        problem=None if steps_s else visits[0].problem,
        visits_s=steps_s,
    )


def document_of(
    frozen: FrozenPredictions,
    name: str,
    visits: Sequence[HeldOut],
    *,
    budget_s: float,
    spent_s: float,
    ended: str,
) -> PredictionTest:
    """The document of a self-test, from what was frozen and what was measured after."""
    measured = merged(visits)
    errors, by_factor, memory = compared(frozen.predictions, measured)
    questions, answered = fastest_found(frozen.predictions, measured)
    control = sorted(visit.control_s for visit in visits)
    drift = quantile(control, 0.9) / statistics.median(control) - 1 if control else 0.0
    return msgspec.convert(
        {
            "frozen": name,
            "device": frozen.probe.device,
            "device_name": frozen.probe.device_name,
            "measured": msgspec.to_builtins(measured),
            "errors": msgspec.to_builtins(errors),
            "by_factor": msgspec.to_builtins(by_factor),
            "memory": msgspec.to_builtins(memory),
            "questions": questions,
            "answered": answered,
            "drift_ratio": round(drift, 4),
            "budget_s": budget_s,
            "spent_s": round(spent_s, 1),
            "ended": ended,
        },
        PredictionTest,
    )


def half_width_of(errors: Sequence[Errors]) -> float | None:
    """The half-width that a machine's own self-test gives its intervals; None without one."""
    found = next((e.half_width for e in errors if e.covered is not None), None)
    return found if found and math.isfinite(found) else None
