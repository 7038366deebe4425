"""A case on many ranks in words and as tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from mfubench.results.outcomes import Outcome, known
from mfubench.results.ranks import Factor, RankFigures
from mfubench.results.record import CaseRecord
from mfubench.show.console import Column, as_text, fitted, left_out, wrapped
from mfubench.show.units import UNKNOWN, format_duration, format_share, format_si

SHOWN_RANKS = 8
"""More are shown by the slowest and the fastest."""
MECHANISM = (
    "These ranks share one small machine: this tests the mechanism and says nothing of scaling."
)
COLUMNS = (
    Column(name="ranks", rank=0, is_text=True, min_width=16),
    Column(name="ms/step", rank=3),
    Column(name="tokens/s", rank=3),
    Column(name="times", rank=0),
    Column(name="efficiency", rank=0),
    Column(name="batch", rank=6),
    Column(name="contention", rank=1),
    Column(name="exposed", rank=1),
    Column(name="skew", rank=1),
    Column(name="MFU", rank=4),
)


def ranks_line(record: CaseRecord) -> str:
    """What came of a case, short.

    >>> from mfubench.results.ranks import Factor
    >>> ranks_line(CaseRecord(case_id="x", question="ranks", device="cuda", ranks=2, step_s=0.1,
    ...     strategy="ddp", efficiency=Factor(value=0.8, low=0.78, high=0.82)))
    '100 ms · 1.60 times one rank · efficiency 80.0 % (78.0 % to 82.0 %)'
    """
    times = known(record.ranks) * known(record.efficiency).value
    return (
        f"{format_duration(record.step_s)} · {times:.2f} times one rank · "
        f"efficiency {with_interval(record.efficiency)}"
    )


def with_interval(factor: Factor | None) -> str:
    """A part of the efficiency in per cent, with its interval."""
    if factor is None:
        return UNKNOWN
    low, high = format_share(factor.low), format_share(factor.high)
    return f"{format_share(factor.value)} ({low} to {high})"


def losses(record: CaseRecord) -> list[tuple[str, float]]:
    """Of a whole number of ranks, what each part took away, largest first; they add up to what is
    missing.

    The parts are a product, so each is given its share of the logarithm.

    >>> from mfubench.results.ranks import Factor
    >>> def f(x): return Factor(value=x, low=x, high=x)
    >>> [(name, round(lost, 2)) for name, lost in losses(CaseRecord(case_id="x", question="ranks",
    ...     device="cuda", ranks=2, efficiency=f(0.72), contention=f(0.9),
    ...     communication_exposed=f(0.8), skew=f(1.0)))]
    [('communication that nothing hides', 0.38), ('sharing the machine', 0.18), \
('waiting for the slowest rank', 0.0)]
    """
    parts = {
        "a smaller batch per rank": record.smaller_batch,
        "sharing the machine": record.contention,
        "communication that nothing hides": record.communication_exposed,
        "waiting for the slowest rank": record.skew,
    }
    whole = known(record.efficiency).value
    missing = known(record.ranks) * (1 - whole)
    logs = {name: math.log(part.value) for name, part in parts.items() if part is not None}
    total = sum(logs.values())
    if abs(total) < 1e-12:
        return [(name, 0.0) for name in logs]
    found = [(name, missing * log / total + 0.0) for name, log in logs.items()]
    return sorted(found, key=lambda item: -item[1])


def ranks_answer(record: CaseRecord) -> str:
    """The one sentence: what so many ranks bring, and what takes the rest."""
    ranks = known(record.ranks)
    efficiency = known(record.efficiency)
    times = ranks * efficiency.value
    if ranks == 1:
        took = format_share(1 - efficiency.value)
        return f"One rank is the baseline; {record.strategy} by itself takes {took} of its speed."
    lost = [f"{part:.2f} to {name}" for name, part in losses(record) if part >= 0.005]
    text = f"On {ranks} ranks you get {times:.2f} times one rank's speed with {record.strategy}"
    if lost:
        text += f"; lost are {', '.join(lost)}"
    gained = [f"{-part:.2f} from {name}" for name, part in losses(record) if part <= -0.005]
    if gained:
        text += f"; more than alone: {', '.join(gained)}"
    text += f" (efficiency {with_interval(efficiency)})."
    if record.is_a_test_of_the_mechanism:
        text += f" {MECHANISM}"
    return text


def ranks_sentences(record: CaseRecord) -> list[str]:
    """What else there is to say of a case."""
    told = [ranks_answer(record)]
    if record.slow_rank is not None:
        told.append(f"Slow: {record.slow_rank_because}.")
    elif record.ranks != 1:
        extra = f" ({record.slow_rank_because})" if record.slow_rank_because else ""
        told.append(f"No rank is certainly slow{extra}.")
    if record.communication_exposed_s is not None and record.ranks != 1:
        low, high = record.communication_exposed_low_s, record.communication_exposed_high_s
        told.append(
            f"Communication that nothing hides takes "
            f"{signed(record.communication_exposed_s)} of each step by taking it out "
            f"({signed(low)} to {signed(high)}), and waiting {signed(record.waiting_s)}."
            + _checks(record)
        )
    return told


def _checks(record: CaseRecord) -> str:
    told = []
    if record.counters_exposed_s is not None:
        told.append(f"{format_duration(record.counters_exposed_s)} by DDP's own counters")
    if record.profile_exposed_s is not None:
        told.append(f"{format_duration(record.profile_exposed_s)} by a profile")
    if not told:
        return ""
    return f" Both together are {' and '.join(told)}."


def signed(seconds: float | None) -> str:
    """A duration that may be below zero.

    >>> signed(-0.002), signed(None)
    ('-2.00 ms', '–')
    """
    if seconds is None:
        return UNKNOWN
    return f"-{format_duration(-seconds)}" if seconds < 0 else format_duration(seconds)


def ranks_tables(records: Sequence[CaseRecord], width: int) -> list[RenderableType]:
    """Every case with the parts of its efficiency; of the last one, its ranks and collectives."""
    rows: list[list[str | Text]] = []
    for record in records:
        rows.append(
            [
                f"{known(record.ranks)} {record.strategy}, {record.scaling}, {record.how}",
                f"{known(record.step_s) * 1e3:.2f}",
                f"{record.tokens_per_s:,.0f}" if record.tokens_per_s else UNKNOWN,
                f"{known(record.ranks) * known(record.efficiency).value:.2f}",
                Text(format_share(known(record.efficiency).value), style="bold"),
                *(
                    UNKNOWN if part is None else format_share(part.value)
                    for part in (
                        record.smaller_batch,
                        record.contention,
                        record.communication_exposed,
                        record.skew,
                    )
                ),
                format_share(record.mfu),
            ]
        )
    parts = _table(COLUMNS, rows, width)
    for record in records:
        parts += [Text(f"{sentence}\n") for sentence in ranks_sentences(record)]
        if record.ranks != 1:
            parts += bar_table(record, width)
        parts += rank_table(record.per_rank or [], width)
    return parts


def step_bars(record: CaseRecord) -> list[tuple[str, float]]:
    """Where the time of a step together goes, in seconds; the bars add up to the step.

    >>> from mfubench.results.ranks import Factor
    >>> def f(x): return Factor(value=x, low=x, high=x)
    >>> bars = step_bars(CaseRecord(case_id="x", question="ranks", device="cuda", ranks=2,
    ...     step_s=0.1, efficiency=f(0.72), contention=f(0.9), wrapper_s=0.004,
    ...     communication_exposed_s=0.012, waiting_s=0.003))
    >>> [(name, round(seconds * 1e3, 2)) for name, seconds in bars]
    [('one rank alone', 72.0), ('contention', 8.0), ("the strategy's own code", 4.0), \
('communication, exposed', 12.0), ('waiting for the slowest rank', 3.0), ('unexplained', 1.0)]
    """
    step_s = known(record.step_s)
    batch = record.smaller_batch.value if record.smaller_batch else 1.0
    alone_s = step_s * known(record.efficiency).value / batch
    bars = [
        ("one rank alone", alone_s),
        ("contention", alone_s * (1 / known(record.contention).value - 1)),
        ("the strategy's own code", record.wrapper_s or 0.0),
        ("communication, exposed", record.communication_exposed_s or 0.0),
        ("waiting for the slowest rank", record.waiting_s or 0.0),
    ]
    return [*bars, ("unexplained", step_s - sum(seconds for _, seconds in bars))]


def bar_table(record: CaseRecord, width: int) -> list[RenderableType]:
    """The same as a table, with hidden communication beside it."""
    step_s = known(record.step_s)
    rows: list[list[str | Text]] = [
        [name, _ms(seconds), f"{seconds / step_s:.0%}".replace("%", " %")]
        for name, seconds in step_bars(record)
    ]
    rows.append(["the step", _ms(step_s), "100 %"])
    if record.communication_hidden_s is not None:
        rows.append(["beside it: communication, hidden", _ms(record.communication_hidden_s), ""])
    return _table(BAR_COLUMNS, rows, width)


BAR_COLUMNS = (
    Column(name="a step on one rank of many", rank=0, is_text=True, min_width=20),
    Column(name="ms", rank=0),
    Column(name="share", rank=1),
)


def ranks_text(record: CaseRecord, where: str, *, color: bool, width: int) -> str:
    """What `mfubench ranks` prints: the tables and sentences; of a case that broke off, why, and
    what each rank had measured by then."""
    if record.outcome is Outcome.OK:
        parts = ranks_tables([record], width)
    else:
        reason = f"{record.case_id}: {record.outcome}: {record.outcome_reason}"
        parts = [Text(reason + "\n"), *rank_table(record.per_rank or [], width)]
    return "\n".join([as_text(*parts, color=color, width=width), "", wrapped(where, width=width)])


RANK_COLUMNS = (
    Column(name="rank", rank=0),
    Column(name="host", rank=1),
    Column(name="alone ms", rank=2),
    Column(name="beside ms", rank=2),
    Column(name="together ms", rank=0),
    Column(name="waited ms", rank=0),
    Column(name="late ms", rank=0),
    Column(name="product FLOP/s", rank=3),
    Column(name="copy B/s", rank=4),
)


def rank_table(figures: Sequence[RankFigures], width: int) -> list[RenderableType]:
    """Ranks side by side; of many, those that come last and those that come first."""
    shown = sorted(figures, key=lambda one: -(one.late_s or 0.0))
    if len(shown) > SHOWN_RANKS:
        half = SHOWN_RANKS // 2
        shown = [*shown[:half], *shown[-half:]]
    rows: list[list[str | Text]] = [
        [
            str(one.rank),
            str(one.host),
            *(_ms(s) for s in (one.alone_s, one.beside_s, one.step_s, one.waited_s, one.late_s)),
            format_si(one.gemm_flops_per_s, ""),
            format_si(one.copy_bytes_per_s, ""),
        ]
        for one in sorted(shown, key=lambda one: one.rank)
    ]
    parts = _table(RANK_COLUMNS, rows, width)
    if len(figures) > len(shown):
        parts.append(Text(f"{len(shown)} of {len(figures)} ranks: the latest and the earliest.\n"))
    return parts


def _table(
    columns: Sequence[Column], rows: list[list[str | Text]], width: int
) -> list[RenderableType]:
    table, without = fitted(columns, rows, width=width)
    note = left_out(without, width)
    return [table, Text(note + "\n")] if note else [table, Text("")]


def _ms(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else f"{seconds * 1e3:.2f}"
