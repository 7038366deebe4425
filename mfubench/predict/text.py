"""What `mfubench predict` prints: a row per setting and device, what binds, what to type."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from mfubench.predict.document import GRADES, Errors, Prediction, PredictionTest
from mfubench.predict.rivals import once_measured
from mfubench.results.write import json_text
from mfubench.show.console import Column, as_text, fitted, left_out, wrapped
from mfubench.show.terminal import has_color, width_of
from mfubench.show.units import UNKNOWN, format_bytes, format_duration, format_share

COLUMNS = (
    Column(name="setting", rank=0, is_text=True, min_width=24),
    Column(name="ms/step", rank=0),
    Column(name="80 % interval", rank=1),
    Column(name="tokens/s", rank=3),
    Column(name="MFU", rank=0),
    Column(name="memory", rank=4),
    Column(name="run", rank=2),
    Column(name="grade", rank=1),
    Column(name="binds", rank=5),
)
EXIT_NO_NUMBER = 1


def predictions_text(predictions: Sequence[Prediction], *, width: int, color: bool = False) -> str:
    """The table, the terms where one setting was asked for, and what the grades mean."""
    rows: list[list[str | Text]] = []
    device = ""
    for one in predictions:
        if one.device_name != device:
            device = one.device_name
            rows.append([Text(f"{device} ({one.device})", style="bold")])
        rows.append(_row(one))
    table, without = fitted(COLUMNS, rows, width=width)
    parts: list[Any] = [table]
    if without:
        parts.append(Text(left_out(without, width).replace("mfubench show", "mfubench predict")))
    if len(predictions) == 1 and predictions[0].terms:
        parts += [Text(""), Text("\n".join(_terms(predictions[0])))]
    lines = [as_text(*parts, color=color, width=width), ""]
    for one in predictions:
        if one.outside:
            lines.append(wrapped(f"{name_of(one)}: {one.outside}.", width=width))
    for grade in dict.fromkeys(one.grade for one in predictions):
        lines.append(wrapped(f"Predicted. {GRADES[grade]}.", width=width))
    return "\n".join(lines)


def name_of(one: Prediction) -> str:
    """A setting as the table names it, without its sizes where a preset has them; b4x3 is a batch
    of 4 that is accumulated 3 times. A counted step has its script's name."""
    how = "compiled" if one.compile else "eager"
    if one.script is not None:
        return f"{one.script.partition(' ')[0]} {one.dtype}-{how}"
    sizes = one.preset or f"L{one.n_layer} C{one.n_embd} T{one.block_size} V{one.vocab_size}"
    more = one.gradient_accumulation_steps or 1
    batch = f"b{one.batch_size}" + (f"x{more}" if more > 1 else "")
    return f"{sizes} {one.dtype}-{batch}-{how}"


def _row(one: Prediction) -> list[str | Text]:
    memory = format_bytes(one.peak_memory_bytes)
    name = "  " + name_of(one)
    if one.step_s is None or one.low_s is None or one.high_s is None:
        return [name, "outside", UNKNOWN, UNKNOWN, UNKNOWN, memory, UNKNOWN, one.grade, UNKNOWN]
    return [
        name,
        f"{one.step_s * 1e3:.4g}",
        f"{one.low_s * 1e3:.4g}–{one.high_s * 1e3:.4g}",
        UNKNOWN if one.tokens_per_s is None else f"{one.tokens_per_s:,.0f}",
        format_share(one.mfu),
        memory,
        format_duration(one.run_s),
        one.grade,
        one.binds or UNKNOWN,
    ]


def _terms(one: Prediction) -> list[str]:
    width = max(len(term.name) for term in one.terms)
    return [
        f"  {term.name:<{width}}  {format_duration(term.seconds):>9}  {term.basis}"
        for term in one.terms
    ]


def predictions_json(predictions: Sequence[Prediction], **beside: Any) -> str:
    """The contract of `--json`: the list `predictions`, and what else was found."""
    import msgspec

    return json_text({"predictions": msgspec.to_builtins(list(predictions)), **beside})


def screen_width(stream: Any) -> int:
    """Columns of the standard output."""
    return width_of(stream)


def tell(
    found: Sequence[Prediction],
    shown: Sequence[Prediction],
    lines: Sequence[str],
    *,
    as_json: bool,
    **beside: Any,
) -> int:
    """Print predictions as a table and sentences, or as JSON; exit status 1 where none has a
    number."""
    if as_json:
        print(predictions_json(found, **beside))
    else:
        width, color = screen_width(sys.stdout), has_color(sys.stdout)
        print(predictions_text(shown, width=width, color=color))
        for text in lines:
            print("\n" + wrapped(text, width=width))
    return 0 if any(one.step_s is not None for one in found) else EXIT_NO_NUMBER


TEST_COLUMNS = (
    Column(name="rule", rank=0, is_text=True, min_width=20),
    Column(name="settings", rank=1),
    Column(name="median error", rank=0),
    Column(name="90th percentile", rank=0),
    Column(name="worst", rank=2),
    Column(name="in the interval", rank=3),
)


def errors_text(test: PredictionTest, *, color: bool = False, width: int | None = None) -> str:
    """The errors of the model and its rivals, of each factor, of the memory, and what to think of
    the machine meanwhile."""
    columns = screen_width(sys.stdout) if width is None else width
    rows: list[list[str | Text]] = [[Text("predicted first, then measured", style="bold")]]
    rows += [_errors_row(errors) for errors in _rules(test)]
    rows.append([Text("this model, by what was held out", style="bold")])
    rows += [_errors_row(errors) for errors in test.by_factor.values()]
    if test.memory is not None:
        rows += [[Text("peak memory, eager", style="bold")], _errors_row(test.memory)]
    table, without = fitted(TEST_COLUMNS, rows, width=columns)
    lines = [
        as_text(table, color=color, width=columns),
        *filter(None, [left_out(without, columns)]),
    ]
    ours = test.errors[0] if test.errors else None
    said = [f"{test.ended}: {len(test.measured)} settings in {format_duration(test.spent_s)}."]
    if ours is not None:
        said.append(f"The worst is {ours.worst_setting}.")
    if test.questions:
        said.append(
            f"The fastest setting was found (within 3 %) in {test.answered} of {test.questions} "
            "questions."
        )
    said.append(
        f"A kernel that does the same each time varied by {format_share(test.drift_ratio)}: what "
        "the machine did by itself."
    )
    return "\n".join([*lines, "", *(wrapped(sentence, width=columns) for sentence in said)])


def _rules(test: PredictionTest) -> list[Errors]:
    """The model, its rivals, and what the machine differs from itself."""
    return [*test.errors, *filter(None, [once_measured(test.measured)])]


def _errors_row(errors: Errors) -> list[str | Text]:
    return [
        "  " + errors.rule,
        str(errors.settings),
        format_share(errors.median),
        format_share(errors.p90),
        format_share(errors.worst),
        format_share(errors.covered),
    ]


def errors_markdown(test: PredictionTest) -> str:
    """The same as rows of the table in docs/predict.md, which a test holds to the stored files."""
    memory = [test.memory] if test.memory else []
    several = [*_rules(test), *test.by_factor.values(), *memory]
    return "\n".join(
        f"| {' | '.join(cell.strip() for cell in map(str, _errors_row(errors)))} |"
        for errors in several
    )
