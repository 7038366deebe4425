"""From noted rows to training steps: where a step begins and ends, or a sentence why nobody knows.

A step is the recurrence of an optimizer: of the first one where all step equally often, of the one
that steps least where they do not (a GAN whose critic steps five times as often).
"""

from __future__ import annotations

import statistics
from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from itertools import pairwise

from mfubench.script.pauses import CHECKPOINT, EVALUATION, QUIET, Pause, is_occasional

COLUMNS = (
    "at_s",
    "which",
    "n_backward",
    "backward_s",
    "optimizer_s",
    "data_s",
    "batches",
)
PARAMETER = -1
"""Stands for an optimizer that nobody saw: a parameter changed between two backward passes."""

WINDOW = 4
TOLERANCE = 0.10
LARGEST_WARMUP_SHARE = 0.25


@dataclass(slots=True)
class Rows:
    """A row per optimizer step, flat, and what was seen of the run as a whole."""

    data: array[float] = field(default_factory=lambda: array("d"))
    names: list[str] = field(default_factory=list)
    """The classes of the optimizers, in the order in which they first stepped."""
    device_s: array[float] | None = None
    """Seconds since the row before on the device's own clock."""
    pauses: list[Pause] = field(default_factory=list)
    skipped: int = 0
    inside_backward: bool = False
    has_closure: bool = False
    backwards_without_step: int = 0
    backwards_after_last: int = 0
    """Backward passes since the last row, when the run is over."""

    def __len__(self) -> int:
        return len(self.data) // len(COLUMNS)

    def column(self, name: str) -> array[float]:
        """One column of all rows."""
        return self.data[COLUMNS.index(name) :: len(COLUMNS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One training step, from the end of the step before to its own end."""

    first_row: int
    """The row at which the step before ended."""
    last_row: int
    seconds: float
    """Without evaluation and checkpoints."""
    n_backward: int
    backward_s: float
    optimizer_s: float
    data_s: float
    batches: int
    evaluation_s: float
    checkpoint_s: float
    has_quiet_evaluation: bool
    """Whether it holds evaluation that no module was told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The steps of a run, all of them, and how they were found."""

    steps: list[Step]
    boundary: str
    """How steps were found, or why they were not."""
    found: bool

    @property
    def accumulation(self) -> int | None:
        """Backward passes per step, None where steps differ."""
        counts = {step.n_backward for step in self.steps}
        return counts.pop() if len(counts) == 1 else None


def boundary_optimizer(which: array[float]) -> int | None:
    """The optimizer whose recurrence is a step, or None while (or where) that is not clear.

    >>> boundary_optimizer(array("d", [0, 1, 0, 1, 0])), boundary_optimizer(array("d", [0, 0, 0]))
    (0, 0)
    >>> boundary_optimizer(array("d", [0, 0, 1, 0, 0, 1, 0, 0, 1]))  # one steps half as often
    1
    >>> boundary_optimizer(array("d", [0, 1, 0, 0, 0, 1, 1, 0]))  # no order in it
    """
    order = [int(w) for w in which]
    counts = Counter(order)
    if not order:
        return None
    if len(counts) == 1:
        return order[0]
    rarest = min(counts, key=lambda w: (counts[w], order.index(w)))
    equal = max(counts.values()) - min(counts.values()) <= 1
    chosen = order[0] if equal else rarest
    return chosen if _recurs(order, chosen) else None


def _recurs(order: list[int], chosen: int) -> bool:
    """Whether what happens between two steps of the chosen one is always the same."""
    ends = [i for i, w in enumerate(order) if w == chosen]
    periods = {tuple(sorted(Counter(order[a + 1 : b + 1]).items())) for a, b in pairwise(ends)}
    return len(periods) <= 1


def find_steps(rows: Rows) -> Steps:
    """The steps of a run, or a sentence that says why none were found."""
    which = rows.column("which")
    chosen = boundary_optimizer(which)
    if not len(rows):
        return Steps(steps=[], boundary=_why_no_row(rows), found=False)
    if chosen is None:
        shares = ", ".join(
            f"{_name(rows, w)} {count} times" for w, count in Counter(map(int, which)).items()
        )
        sentence = f"not found: the optimizers step in no fixed order ({shares})"
        return Steps(steps=[], boundary=sentence, found=False)
    ends = [row for row, w in enumerate(which) if w == chosen]
    if len(ends) < 2:
        sentence = (
            f"not found: {_name(rows, chosen)} stepped once, and a step is the time from one to "
            "the next; let the script train for longer"
        )
        return Steps(steps=[], boundary=sentence, found=False)
    columns = {name: rows.column(name) for name in COLUMNS}
    pauses = pauses_by_row(rows.pauses, len(rows))
    steps = [
        _step(columns, rows.device_s, [p for row in range(a + 1, b + 1) for p in pauses[row]], a, b)
        for a, b in pairwise(ends)
    ]
    how = _how(rows, which, chosen, len(ends)) + _unseen(rows, steps)
    return Steps(steps=steps, boundary=how, found=True)


def _unseen(rows: Rows, steps: list[Step]) -> str:
    """An optimizer's step that the script replaced in mid-run announces nothing any more."""
    per_step = max(1, *(step.n_backward for step in steps))
    if rows.backwards_after_last <= 2 * per_step:
        return ""
    return (
        f"; {rows.backwards_after_last} backward passes after the last of them were followed by no "
        "step that could be seen"
    )


def pauses_by_row(pauses: list[Pause], rows: int) -> defaultdict[int, list[Pause]]:
    """Pauses by the row that they come before, none of them within another: nanoGPT announces its
    evaluation inside of a function without gradients. A block without gradients that runs in most
    rows is part of a step, and none."""
    sites = Counter(site for site, _ in {(p.site, p.row) for p in pauses if p.kind == QUIET})
    found: defaultdict[int, list[Pause]] = defaultdict(list)
    for pause in sorted(pauses, key=lambda p: (p.since_s, -p.until_s)):
        if pause.kind == QUIET and not is_occasional(sites[pause.site], rows):
            continue
        before = found[pause.row][-1] if found[pause.row] else None
        if before is not None and pause.since_s < before.until_s:
            found[pause.row][-1] = _together(before, pause)
        else:
            found[pause.row].append(pause)
    return found


def _together(first: Pause, second: Pause) -> Pause:
    """Two that overlap, as one: of the kind that was announced, if one was. On a device's clock
    their overlap is not known; the longer one counts."""
    kinds = {first.kind, second.kind}
    devices_s = [p.device_s for p in (first, second) if p.device_s is not None]
    return replace(
        first,
        kind=EVALUATION if EVALUATION in kinds else first.kind,
        until_s=max(first.until_s, second.until_s),
        device_s=max(devices_s, default=None),
    )


def _step(
    columns: dict[str, array[float]],
    device_s: array[float] | None,
    pauses: list[Pause],
    before: int,
    end: int,
) -> Step:
    def total(name: str) -> float:
        return sum(columns[name][before + 1 : end + 1])

    at_s = columns["at_s"]
    if device_s is not None:
        whole_s = sum(device_s[before + 1 : end + 1])
    else:
        whole_s = at_s[end] - at_s[before]
    evaluation_s = sum(p.seconds for p in pauses if p.kind != CHECKPOINT)
    checkpoint_s = sum(p.seconds for p in pauses if p.kind == CHECKPOINT)
    return Step(
        first_row=before,
        last_row=end,
        seconds=max(whole_s - evaluation_s - checkpoint_s, 1e-9),
        n_backward=round(total("n_backward")),
        backward_s=total("backward_s"),
        optimizer_s=total("optimizer_s"),
        data_s=total("data_s"),
        batches=round(total("batches")),
        evaluation_s=evaluation_s,
        checkpoint_s=checkpoint_s,
        has_quiet_evaluation=any(p.kind == QUIET for p in pauses),
    )


def _name(rows: Rows, which: int) -> str:
    if which == PARAMETER:
        return "an update that no optimizer announced"
    name = rows.names[which]
    return name if rows.names.count(name) == 1 else f"{name} (number {which + 1})"


def _how(rows: Rows, which: array[float], chosen: int, count: int) -> str:
    if chosen == PARAMETER:
        return (
            "no optimizer announced a step: a parameter changed in place between backward passes "
            "(a compiled optimizer, or an update by hand)"
        )
    text = f"{_name(rows, chosen)}.step"
    counts = Counter(map(int, which))
    if len(counts) > 1:
        others = ", ".join(
            f"{_name(rows, w)} {_times(n / count)}" for w, n in counts.items() if w != chosen
        )
        text += f" recurs; in each step: {others}"
    if rows.inside_backward:
        text += ", called inside backward: a step ends with its backward pass"
    if rows.has_closure:
        text += ", with a closure that holds forward and backward"
    if rows.skipped:
        text += f"; {rows.skipped} steps were skipped by the gradient scaler"
    return text


def _times(n: float) -> str:
    return "once" if round(n) == 1 else f"{round(n)} times"


def _why_no_row(rows: Rows) -> str:
    if rows.backwards_without_step:
        return (
            f"not found: {rows.backwards_without_step} backward passes were seen, but no optimizer "
            "of torch.optim stepped and no parameter changed in place between them"
        )
    return "not found: no optimizer of torch.optim stepped and no backward pass ran"


def warmup_length(times_s: list[float]) -> int:
    """How many steps at the start are start-up: until two windows of four steps have medians within
    10 %, at most a quarter of the run, and at least the first step of three or more.

    >>> warmup_length([9.0, 3.0] + [1.0] * 40), warmup_length([1.0] * 40), warmup_length([5.0, 1.0])
    (2, 1, 0)
    """
    if len(times_s) < 3:
        return 0
    most = max(1, int(len(times_s) * LARGEST_WARMUP_SHARE))
    for start in range(1, most + 1):
        window = times_s[start : start + WINDOW]
        following = times_s[start + WINDOW : start + 2 * WINDOW]
        if len(following) < WINDOW:
            break
        first, second = statistics.median(window), statistics.median(following)
        if max(window) <= (1 + TOLERANCE) * max(first, second) * 1.5 and (
            abs(first / second - 1) <= TOLERANCE
        ):
            return start
    return most
