"""The history: per case over time, with change points and changes of the environment."""

from __future__ import annotations

from mfubench.analysis.history import LEAST_RUNS, SEARCHED_RUNS, History, history_of
from mfubench.results.collection import Collection
from mfubench.show.blocks import Block, Cell, Figure, Prose, Section, Table
from mfubench.show.figures.history import history_picture
from mfubench.show.units import format_duration

TILE_PX = 340.0
MOST_TILES = 60
LEAST_POINTS = 3


def history_section(collection: Collection) -> Section | None:
    """A small picture per case, those whose level changed first."""
    histories = [
        history_of(collection.label(machine), case_id, points)
        for (machine, case_id), points in collection.history.items()
        if len(points) >= LEAST_POINTS
    ]
    if not histories:
        return None
    histories.sort(key=lambda h: (not h.change_points, h.case_id))
    several = len({h.machine for h in histories}) > 1
    blocks: list[Block] = [Prose(text=_summary(histories))]
    for index, history in enumerate(histories[:MOST_TILES]):
        picture = history_picture(history, key=f"history-{index}", width=TILE_PX)
        name = f"{history.machine}: {history.case_id}" if several else history.case_id
        said = "; ".join(change.sentence for change in history.change_points)
        blocks.append(
            Figure(
                key=f"history-{index}",
                caption=f"{name}. {said}." if said else name,
                wide=picture,
                narrow=picture,
                is_tile=True,
            )
        )
    blocks.append(_table(histories))
    blocks.append(Prose(text=_note(), kind="note"))
    return Section(key="history", title="History", blocks=blocks)


def _summary(histories: list[History]) -> str:
    changed = sum(bool(h.change_points) for h in histories)
    runs = max(h.runs for h in histories)
    text = f"{len(histories)} cases over up to {runs} runs; the level of {changed} changed."
    if len(histories) > MOST_TILES:
        text += f" Pictures of {MOST_TILES}, all in the table."
    return text


def _note() -> str:
    return (
        "Triangles mark where the level of the medians changed, horizontal lines the levels, "
        "dotted lines where software or settings changed: there a change need not be the code's. "
        "The band is the quartiles of each run. Change points are looked for in the newest "
        f"{SEARCHED_RUNS} runs of a case that has at least {LEAST_RUNS}. For a verdict on a "
        "commit, use the gate."
    )


def _table(histories: list[History]) -> Table:
    rows = []
    for history in histories:
        first = history.levels[0].median_s
        ratio = history.levels[-1].median_s / first
        rows.append(
            [
                Cell(text=history.case_id, note=history.machine),
                Cell(text=str(history.runs), value=history.runs),
                Cell(text=format_duration(history.last_s), value=history.last_s),
                Cell(text=f"{(ratio - 1) * 100:+.1f} %".replace("-", "−"), value=ratio),
                Cell(text="; ".join(c.sentence for c in history.change_points) or "none"),
                Cell(text=str(len(history.environment)), value=len(history.environment)),
            ]
        )
    columns = (
        "case",
        "#runs",
        "#newest",
        "#last level over first",
        "change points",
        "#changes of the environment",
    )
    return Table(name="History", columns=columns, rows=rows, is_folded=True)
