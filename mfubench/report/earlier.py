"""This run beside an earlier one, for `--benchmark-compare`: before, now, change, spread.

These are two medians and no interval. What they differ by may be the machine's. For certainty
there is the gate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import RenderableType
from rich.text import Text

from mfubench.report.case_line import ceiling_rate
from mfubench.results.outcomes import Outcome, known
from mfubench.results.record import CaseRecord
from mfubench.show.console import Column, fitted, left_out, verdict_text
from mfubench.show.units import format_duration, format_share

COLUMNS = (
    Column(name="case", rank=0, is_text=True),
    Column(name="before", rank=0),
    Column(name="now", rank=0),
    Column(name="change", rank=0),
    Column(name="verdict", rank=0, is_text=True),
    Column(name="spread", rank=1),
)
COMPARED = ("ceiling", "train-step", "train-loop", "script")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One case in two runs."""

    before: CaseRecord
    now: CaseRecord

    @property
    def slowdown(self) -> float:
        """The change of what is shown, so that more is slower: 0.03 is 3 % more time, or 3 % less
        of a rate."""
        if self.now.question != "ceiling":
            return known(self.now.step_s) / known(self.before.step_s) - 1
        was, is_now = known(self.before.ceiling_rate_per_s), known(self.now.ceiling_rate_per_s)
        return was / is_now - 1 if self.now.ceiling_kind == "dispatch" else 1 - is_now / was

    @property
    def spread(self) -> float:
        """The larger spread of the rounds of the two runs."""
        name = "ceiling_noise_ratio" if self.now.question == "ceiling" else "step_spread_ratio"
        return max(getattr(run, name) or 0.0 for run in (self.before, self.now))

    @property
    def verdict(self) -> str:
        """slower, faster, or unclear where the change is within the spread."""
        if abs(self.slowdown) <= self.spread:
            return "unclear"
        return "slower" if self.slowdown > 0 else "faster"


def beside_earlier(
    now: Sequence[CaseRecord], before: Sequence[CaseRecord], name: str, *, width: int
) -> list[RenderableType]:
    """The table of the cases that both runs have, and what was left out and why."""
    changes, missing = _matched(now, before)
    parts: list[RenderableType] = []
    if changes:
        rows: list[list[str | Text]] = []
        section = ""
        for change in changes:
            if (title := _section(change.now)) != section:
                rows.append([Text(title, style="bold")])
                section = title
            rows.append(
                [
                    f"  {_label(change.now)}",
                    _shown(change.before),
                    _shown(change.now),
                    f"{abs(change.slowdown) * 100:.1f} %",
                    verdict_text(change.verdict),
                    format_share(change.spread, digits=2),
                ]
            )
        table, without = fitted(COLUMNS, rows, width=width)
        parts += [Text(f"Beside {name}:"), table]
        if note := left_out(without, width):
            parts.append(Text(note))
    else:
        parts.append(Text(f"{name} has no case of this run."))
    for reason, names in missing.items():
        parts.append(Text(f"Not compared ({reason}): {', '.join(names)}"))
    parts.append(
        Text(
            "Unclear: the change is within the spread of the rounds. Runs minutes apart can differ "
            "by several per cent on a shared machine. For a verdict, type: mfubench gate\n"
        )
    )
    return parts


def _matched(
    now: Sequence[CaseRecord], before: Sequence[CaseRecord]
) -> tuple[list[Change], dict[str, list[str]]]:
    earlier = {one.case_id: one for one in before if one.outcome is Outcome.OK}
    changes: list[Change] = []
    missing: dict[str, list[str]] = {}
    for record in now:
        if record.outcome is not Outcome.OK or record.question not in COMPARED:
            continue
        was = earlier.get(record.case_id)
        reason = "not in the earlier run" if was is None else next(_differs(was, record), None)
        if was is not None and reason is None:
            changes.append(Change(before=was, now=record))
        elif reason is not None:
            missing.setdefault(reason, []).append(record.case_id)
    return changes, missing


def _differs(was: CaseRecord, now: CaseRecord) -> Iterator[str]:
    """Why two cases of one name are not the same work."""
    if was.shape_mnk != now.shape_mnk:
        yield "another matrix shape was fastest"
    if was.threads != now.threads:
        yield "other number of threads"
    if was.question != "ceiling" and was.model_flops_per_step != now.model_flops_per_step:
        yield "another model"


def _section(record: CaseRecord) -> str:
    if record.question == "ceiling":
        return "measured ceilings"
    return f"{record.question.replace('-', ' ')}, {record.preset}"


def _label(record: CaseRecord) -> str:
    if record.question == "ceiling":
        return record.case_id.removeprefix("ceiling/")
    return record.case_id.rsplit("/", 1)[-1]


def _shown(record: CaseRecord) -> str:
    if record.question == "ceiling":
        return ceiling_rate(record).removesuffix(" per operation")
    return format_duration(record.step_s)
