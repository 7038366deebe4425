"""What `mfubench advise` prints: every try, the prediction beside the outcome, what to type."""

from __future__ import annotations

from rich.table import Table

from mfubench.advise.advice import INTERRUPTED, Advice, Try
from mfubench.analysis.effect import HELPS
from mfubench.knobs.text import taken_from
from mfubench.results.outcomes import known
from mfubench.show.console import as_text, plain_table, verdict_text, wrapped
from mfubench.show.units import format_duration

NEXT = "Next: make the change, then check it: mfubench gate (or mfubench bench, before and after)."
IN_CODE = "and in its code:"


def advice_text(advice: Advice, *, color: bool = False) -> str:
    """The advice as text."""
    paragraphs = [*sentences(advice), *typed(advice)]
    return "\n\n".join([*paragraphs, as_text(tries_table(advice), color=color), wrapped(NEXT)])


def tries_table(advice: Advice) -> Table:
    """What was measured, in the order in which it was, then what was not and why."""
    table = plain_table()
    table.add_column("knob", overflow="fold")
    table.add_column("speed", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("what came of it", overflow="fold")
    for one in sorted(advice.tries, key=lambda one: one.effect is None):
        name = one.knob + (f" (beside {', '.join(one.on_top_of)})" if one.on_top_of else "")
        effect = one.effect
        if effect is None:
            table.add_row(name, "", "", one.reason)
            continue
        outcome = [effect.in_words] if one.reason is None or effect.verdict == HELPS else []
        outcome += [one.reason] if one.reason else []
        if one.kept:
            outcome += ["kept", *filter(None, (taken_from(one.bars), _aimed(one)))]
        interval = f"{effect.low:.3f}–{effect.high:.3f}"
        table.add_row(name, f"×{effect.ratio:.3f}", interval, verdict_text("; ".join(outcome)))
    return table


def _aimed(one: Try) -> str:
    """What its bars had to win, beside what came out."""
    if one.to_win_ratio is None:
        return ""
    bars = " and ".join(one.aims_at)
    return f"aims at {bars}, {one.to_win_ratio * 100:.1f} % of an iteration"


def sentences(advice: Advice) -> list[str]:
    """What the search ended with, in words."""
    spent = f"{format_duration(advice.spent_s)} of {format_duration(advice.budget_s)}"
    if advice.ended == INTERRUPTED:
        return [wrapped(f"Interrupted after {spent}: nothing is recommended, the tries are kept.")]
    found, control = advice.verified, advice.control
    if found is None or control is None or not advice.knobs:
        why = advice.refusal or "nothing that was tried is faster and learns the same"
        return [wrapped(f"Stay with the baseline: {why} ({spent}, {advice.ended}).")]
    predicted = (
        ""
        if advice.predicted_ratio is None
        else (f"; predicted from the knobs alone ×{advice.predicted_ratio:.3f}")
    )
    text = (
        f"Best verified: {', '.join(advice.knobs)}. ×{found.ratio:.3f} tokens/s "
        f"(95 % interval {found.low:.3f}–{found.high:.3f} over {found.processes} pairs of "
        "processes; processes of the baseline alone differed by "
        f"{abs(control.ratio - 1) * 100:.1f} %){predicted}. {spent}, {advice.ended}."
    )
    return [wrapped(text), *([wrapped(_learnt(advice))] if advice.learning else [])]


def _learnt(advice: Advice) -> str:
    learning = known(advice.learning)
    what, loss = ("tokens", "validation loss") if advice.script is None else ("steps", "loss")
    return (
        f"It learns the same: after {learning.tokens:,} {what} its {loss} lies "
        f"{learning.cost:+.3f} from the baseline's, mean of {len(learning.candidate)} seeds; "
        f"the baseline's own spread over seeds is {learning.spread:.3f}."
    )


def typed(advice: Advice) -> list[str]:
    """The command line in nanoGPT's folder, and what flags cannot say."""
    if not advice.knobs:
        return []
    where = "Type in nanoGPT's folder:" if advice.script is None else "Type:"
    lines = [where, "  " + advice.command]
    if advice.changes:
        lines += [IN_CODE, *(f"  {change}" for change in advice.changes)]
    return ["\n".join(lines)]
