"""From pairs to what is said of each side."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from mfubench.analysis.effect import break_even_iters
from mfubench.compare import losses as loss_rule
from mfubench.compare.document import REFERENCE, UNCLEAR, ComparedScript, Verdict
from mfubench.compare.rule import Judged, control_moved, log_ratio, why_unclear
from mfubench.sides.pair import ScriptPair, SideOfPair
from mfubench.sides.spec import SideSpec

LONGER_START = 0.25
"""Each side has one start-up, and two of one script differ too: only from this share on is one
called longer. It is also what the gate lets pass."""


def compared_sides(
    specs: Sequence[SideSpec],
    pairs: Sequence[ScriptPair],
    judged: Mapping[int, Judged],
    logs: Mapping[int, Sequence[float]],
    precision: float,
    failures: Mapping[int, str],
) -> list[ComparedScript]:
    """Every side, the reference first. `logs` are a side's log-ratios, `failures` why it failed."""
    processes = {
        number: [pair.sides[str(number)] for pair in pairs if str(number) in pair.sides]
        for number in range(len(specs))
    }
    found = [_side(specs[0], processes[0], processes[0], is_reference=True)]
    found[0].ratio, found[0].low, found[0].high = 1.0, 1.0, 1.0
    for number in range(1, len(specs)):
        side = _side(specs[number], processes[number], processes[0], is_reference=False)
        one = judged.get(number)
        if one is not None and logs.get(number):
            side.ratio, (side.low, side.high) = one.ratio, one.bounds
            side.verdict, side.reason = _verdict(one, pairs, number, precision)
            side.pairs = len(logs[number])
        if number in failures:
            reasons = [f"it failed: {failures[number]}", side.reason if processes[number] else None]
            side.reason = "; ".join(filter(None, reasons))
        found.append(side)
        side.break_even_steps = _break_even(side, found[0])
    return found


def _verdict(
    one: Judged, pairs: Sequence[ScriptPair], number: int, precision: float
) -> tuple[Verdict, str | None]:
    both = [p.sides for p in pairs if str(number) in p.sides and "0" in p.sides]
    control = [log_ratio(sides[str(number)].control_s, sides["0"].control_s) for sides in both]
    if moved := control_moved(control, precision, one):
        return UNCLEAR, moved
    if one.verdict == UNCLEAR:
        return UNCLEAR, why_unclear(one, precision, len(both))
    return one.verdict, None


def _side(
    spec: SideSpec,
    processes: Sequence[SideOfPair],
    reference: Sequence[SideOfPair],
    *,
    is_reference: bool,
) -> ComparedScript:
    software = processes[0].software if processes else None
    runs = [one.losses for one in processes]
    loss = loss_rule.of_reference(runs)
    if not is_reference:
        theirs = [one.losses for one in reference]
        other = reference[0].software if reference else None
        loss = loss_rule.of_side(runs, theirs, software, other)
    step_s = _median(statistics.median(one.steps_s) for one in processes)
    tokens = _tokens(processes) or (
        _tokens(reference) if loss.verdict in ("same", "same within rounding") else None
    )
    cold = [one for one in processes if one.started_alone]
    warm = [one for one in processes if not one.started_alone]
    common = min((len(run) for run in runs if run), default=0)
    return ComparedScript(
        label=spec.label,
        command=spec.command,
        python=spec.python_as_typed,
        environment=dict(spec.environment),
        revision=spec.revision,
        verdict=REFERENCE if is_reference else UNCLEAR,
        reason=None if processes else "nothing was measured of it",
        ratio=None,
        low=None,
        high=None,
        pairs=len(processes),
        step_s=step_s,
        tokens_per_s=None if tokens is None or step_s is None else tokens / step_s,
        start_up_s=_median(one.start_up_s for one in cold or warm),
        compile_s=_median(s for one in cold or warm if (s := one.compile_s) is not None),
        warm_start_up_s=_median(one.start_up_s for one in warm),
        break_even_steps=None,
        peak_memory_bytes=max((b for one in processes if (b := one.peak_bytes)), default=None),
        loss_verdict=loss.verdict,
        loss_words=loss.words,
        loss_parts_at_step=None if loss.parting is None else loss.parting.step,
        loss_largest_ratio=_finite(None if loss.parting is None else loss.parting.largest_ratio),
        final_loss=next((run[common - 1] for run in runs if run), None) if common else None,
        software=software,
    )


def _median(values: Iterable[float]) -> float | None:
    several = list(values)
    return statistics.median(several) if several else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _tokens(processes: Sequence[SideOfPair]) -> int | None:
    return next((one.tokens_per_step for one in processes if one.tokens_per_step), None)


def _break_even(side: ComparedScript, reference: ComparedScript) -> float | None:
    """Steps after which a shorter step has won back a start-up that is certainly longer."""
    known = (side.start_up_s, reference.start_up_s, side.step_s, reference.step_s)
    start_s, base_start_s, step_s, base_s = known
    if start_s is None or base_start_s is None or step_s is None or base_s is None:
        return None
    more_s = start_s - base_start_s
    is_longer = more_s > LONGER_START * base_start_s
    return break_even_iters(more_s, base_s, step_s) if is_longer else None


def notes(sides: Sequence[ComparedScript], pairs: Sequence[ScriptPair]) -> list[str]:
    """What a reader must know beside the verdicts, one sentence each."""
    found = []
    if shared := sorted({name for pair in pairs for name in pair.shared_writes}):
        names = ", ".join(shared[:3]) + (", …" if len(shared) > 3 else "")
        found.append(
            f"The sides write to the same files ({names}): what one reads of them may be the "
            "other's. Give each an output folder of its own."
        )
    if any(one.workers for pair in pairs for one in pair.sides.values()):
        found.append(
            "Workers of the data loader are stopped while their side is held; batches that were "
            "ready stay ready."
        )
    if any("they start apart" in side.loss_words for side in sides[1:]):
        found.append(
            "Losses of the first step differ: the sides may train on different data or start from "
            "different weights, and then their speeds are of different work."
        )
    if sides[0].loss_verdict == "not deterministic":
        found.append(
            "The reference does not repeat its own losses, so equal losses cannot be asked of the "
            "others: set a seed."
        )
    return found
