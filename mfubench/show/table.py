"""The table at the end of a run: at most 100 columns, every case in it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mfubench.claims.show.text import claims_table
from mfubench.knobs.text import compile_charges, knob_table, time_sources
from mfubench.show.account import breakdown_sentences, breakdown_table, breakdown_title
from mfubench.show.answer import answers, compile_times
from mfubench.show.case_line import Info, ceiling_rate, harness_ratio
from mfubench.show.console import WIDTH, as_text, plain_table, wrapped
from mfubench.show.units import UNKNOWN, format_bytes, format_share, format_si

QUESTIONS = {"train-step": "train step", "train-loop": "train loop", "script": "training script"}


def render(
    infos: Sequence[Info], *, color: bool = False, notes: Sequence[str] = (), width: int = WIDTH
) -> str:
    """The tables, the sentences and the notes as text, `width` columns wide at most."""
    lines = as_text(*_parts(infos), color=color, width=width).splitlines()
    for note in notes:  # a path must stay whole, to be copied from the screen
        lines += wrapped(note).splitlines()
    return "\n".join(lines).rstrip() + "\n"


def _parts(infos: Sequence[Info]) -> list[RenderableType]:
    parts: list[RenderableType] = []
    ok = [i for i in infos if i["outcome"] == "ok"]
    ceilings = [i for i in ok if i["question"] == "ceiling"]
    training = [i for i in ok if i["question"] in QUESTIONS]
    if ceilings:
        parts.append(_ceiling_table(ceilings))
    if training:
        parts.append(_training_table(training))
    for info in ok:
        if info["question"] == "harness":
            parts.append(Text(f"harness: {harness_ratio(info)}\n"))
    for info in ok:
        if "breakdown" in info:
            parts.append(breakdown_table(info["breakdown"], breakdown_title(info)))
            parts.append(Text(breakdown_sentences(info) + "\n"))
        elif "breakdown_problem" in info:
            parts.append(Text(f"{info['case_id']}: {info['breakdown_problem']}\n"))
    if knobs := [i for i in ok if i["question"] == "knob"]:
        parts.append(knob_table(knobs))
        if sources := time_sources(knobs):
            parts.append(Text("\n".join(["Of an iteration of the same tokens:", *sources, ""])))
        parts.extend(Text(sentence + "\n") for sentence in compile_charges(knobs))
    if claims := [i for i in infos if "claim" in i]:
        parts.append(claims_table(claims))
    others = [i for i in infos if i["outcome"] != "ok" and "claim" not in i]
    if others:
        parts.append(_outcome_table(others))
    if compiled := compile_times(ok):
        parts.append(Text(compiled + "\n"))
    parts.extend(Text(paragraph + "\n") for paragraph in answers(infos))
    return parts


def _ceiling_table(ceilings: Sequence[Info]) -> Table:
    table = plain_table()
    table.add_column("measured ceiling", overflow="fold")
    table.add_column("best sustained", justify="right")
    table.add_column("noise", justify="right")
    table.add_column("how")
    for info in ceilings:
        shape = info.get("shape_mnk")
        how = "m×n×k " + "×".join(map(str, shape)) if shape else ""
        if info.get("peak_flops_per_s"):
            peak = format_si(info["peak_flops_per_s"], "FLOP/s")
            how += f", peak {peak}"
        if (kept := info.get("ceiling_kept_rate_per_s")) and kept > info["ceiling_rate_per_s"]:
            how += f", best lately {format_si(kept, info['ceiling_unit'] + '/s')}"
        noise = format_share(info["ceiling_noise_ratio"], digits=2)
        label = info["case_id"].removeprefix("ceiling/")
        table.add_row(label, ceiling_rate(info), noise, how)
    return table


def _training_table(training: Sequence[Info]) -> Table:
    table = plain_table()
    table.add_column("case", overflow="fold", min_width=24)
    for name in ("ms/step", "spread", "tokens/s", "GFLOP/s", "of ceiling", "MFU", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    section = ""
    for info in sorted(training, key=lambda i: (i["question"] != "train-step", i["preset"])):
        title = f"{QUESTIONS[info['question']]}, {info['preset']}"
        if title != section:
            table.add_row(Text(title, style="bold"))
            section = title
        table.add_row(
            "  " + info["case_id"].rsplit("/", 1)[-1],
            f"{info['step_s'] * 1e3:.2f}",
            format_share(info["step_spread_ratio"], digits=2),
            _thousands(info["tokens_per_s"], 1.0, 0),
            _thousands(info["achieved_flops_per_s"], 1e9, 1),
            format_share(info["ceiling_utilisation"]),
            format_share(info["mfu"]),
            format_bytes(info["peak_memory_bytes"]),
        )
    return table


def _thousands(value: float | None, unit: float, digits: int) -> str:
    """A rate in its unit; a script may have no tokens, or no FLOPs that could be counted."""
    return UNKNOWN if value is None else f"{value / unit:,.{digits}f}"


def _outcome_table(others: Sequence[Info]) -> Table:
    table = plain_table()
    table.add_column("not measured", no_wrap=True, max_width=52, overflow="ellipsis")
    table.add_column("outcome")
    table.add_column("reason", overflow="fold")
    for info in others:
        table.add_row(info["case_id"], info["outcome"], info["outcome_reason"] or UNKNOWN)
    return table
