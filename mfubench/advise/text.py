"""What `mfubench advise` prints: every try, the prediction beside the outcome, what to type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from mfubench.knobs.text import taken_from, verdict
from mfubench.show.console import as_text, plain_table, wrapped
from mfubench.show.units import format_duration

Data = Mapping[str, Any]
IN_CODE = "and in its code:"


def advice_text(data: Data, *, color: bool = False) -> str:
    """The advice as text, from its document."""
    paragraphs = [as_text(tries_table(data), color=color), *sentences(data)]
    return "\n\n".join([*paragraphs, *typed(data)])


def tries_table(data: Data) -> Table:
    """What was measured, in the order in which it was, then what was not and why."""
    table = plain_table()
    table.add_column("knob", overflow="fold")
    table.add_column("speed", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("what came of it", overflow="fold")
    tries = sorted(data["tries"], key=lambda one: one["effect"] is None)
    for one in tries:
        upon = one["on_top_of"]
        name = one["knob"] + (f" (on top of {', '.join(upon)})" if upon else "")
        effect = one["effect"]
        if effect is None:
            table.add_row(name, "", "", one["reason"])
            continue
        outcome = [verdict(effect)] if one["reason"] is None or effect["verdict"] == "helps" else []
        outcome += [one["reason"]] if one["reason"] else []
        outcome += ["kept"] if one["kept"] else []
        if one["kept"]:
            outcome += [text for text in (taken_from(one.get("bars")), _aimed(one)) if text]
        table.add_row(
            name,
            f"×{effect['ratio']:.3f}",
            f"{effect['low']:.3f}–{effect['high']:.3f}",
            "; ".join(outcome),
        )
    return table


def _aimed(one: Data) -> str:
    """What its bars had to win, beside what came out."""
    if one["to_win_ratio"] is None:
        return ""
    bars = " and ".join(one["aims_at"])
    return f"aims at {bars}, {one['to_win_ratio'] * 100:.1f} % of an iteration"


def sentences(data: Data) -> list[str]:
    """What the search ended with, in words."""
    spent = f"{format_duration(data['spent_s'])} of {format_duration(data['budget_s'])}"
    if data["ended"] == "interrupted":
        return [wrapped(f"Interrupted after {spent}: nothing is recommended, the tries are kept.")]
    found = data["verified"]
    if not data["knobs"]:
        why = data["refusal"] or "nothing that was tried is faster and learns the same"
        return [wrapped(f"Stay with the baseline: {why} ({spent}, {data['ended']}).")]
    text = (
        f"Best verified: {', '.join(data['knobs'])}. ×{found['ratio']:.3f} tokens/s "
        f"(95 % interval {found['low']:.3f}–{found['high']:.3f} over {found['processes']} pairs of "
        "processes; processes of the baseline alone differed by "
        f"{abs(data['control']['ratio'] - 1) * 100:.1f} %); predicted from the knobs alone "
        f"×{data['predicted_ratio']:.3f}. {spent}, {data['ended']}."
    )
    return [wrapped(text), *([wrapped(_learnt(data["learning"]))] if data["learning"] else [])]


def _learnt(learning: Data) -> str:
    return (
        f"It learns the same: after {learning['tokens']:,} tokens its validation loss lies "
        f"{learning['cost']:+.3f} from the baseline's, mean of {len(learning['candidate'])} seeds; "
        f"the baseline's own spread over seeds is {learning['spread']:.3f}."
    )


def typed(data: Data) -> list[str]:
    """The command line in nanoGPT's folder, and what flags cannot say."""
    if not data["knobs"]:
        return []
    lines = ["Type in nanoGPT's folder:", "  " + data["command"]]
    if data["changes"]:
        lines += [IN_CODE, *(f"  {change}" for change in data["changes"])]
    return ["\n".join(lines)]
