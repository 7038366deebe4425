"""From a collection to a report: every section that has something to show, in the page's order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from mfubench.advise.learning_section import learning_section
from mfubench.claims.show.section import claims_section
from mfubench.compare.section import compare_section
from mfubench.gate.show.section import gate_section
from mfubench.knobs.section import compile_section, knobs_section
from mfubench.predict.elsewhere import KnownDevice
from mfubench.ranks.show.section import ranks_section
from mfubench.report.headline import headline
from mfubench.report.sections.answer import answer_section
from mfubench.report.sections.breakdown import breakdown_section, roofline_section
from mfubench.report.sections.cases import cases_section, foreign_section
from mfubench.report.sections.heat import heat_section
from mfubench.report.sections.history import history_section
from mfubench.report.sections.machines import machines_section
from mfubench.report.sections.provenance import provenance_section, skipped_section
from mfubench.results.collection import Collection
from mfubench.show.blocks import Prose, Report, Section
from mfubench.trace.section import trace_section

Builder = Callable[[Collection], Section | None]
SIDE_BY_SIDE = "Side by side"
SECTIONS: tuple[tuple[str, Builder], ...] = (
    ("In short", answer_section),
    (SIDE_BY_SIDE, machines_section),
    ("Where the time goes", breakdown_section),
    ("Roofline", roofline_section),
    ("Traces", trace_section),
    ("Many ranks", ranks_section),
    ("Batch and dtype", heat_section),
    ("Settings", knobs_section),
    ("When compiling pays", compile_section),
    ("Loss", learning_section),
    ("Scripts compared", compare_section),
    ("Gate", gate_section),
    ("What forums say", claims_section),
    ("History", history_section),
    ("Cases", cases_section),
    ("Other timings", foreign_section),
    ("Left out", skipped_section),
    ("Repeat it", provenance_section),
)

MALFORMED = (
    ArithmeticError,
    AttributeError,
    LookupError,
    StopIteration,
    TypeError,
    ValueError,
)
"""What a file raises whose fields are not what its version says, beyond what the schema checks."""


def build_report(collection: Collection, asked: Sequence[KnownDevice] = ()) -> Report:
    """The report of everything that was collected, and what is predicted of devices beside it."""
    builders = dict(SECTIONS) | {SIDE_BY_SIDE: partial(machines_section, asked=asked)}
    sections = [
        section
        for title, build in builders.items()
        if (section := _safely(title, build, collection))
    ]
    return Report(title=_title(collection), subtitle=_subtitle(collection), sections=sections)


def _title(collection: Collection) -> str:
    try:
        return headline(collection)
    except MALFORMED:
        return "mfubench"


def _safely(title: str, build: Builder, collection: Collection) -> Section | None:
    """A section, or a sentence in its place: one odd field must not cost the page."""
    try:
        return build(collection)
    except MALFORMED as error:
        text = (
            f"This part cannot be shown: a field of these files is not as its schema version says "
            f"({type(error).__name__}: {error})."
        )
        key = title.lower().replace(" ", "-").replace(",", "")
        return Section(key=key, title=title, blocks=[Prose(text=text[:400])])


def _subtitle(collection: Collection) -> str:
    runs = collection.runs
    if not runs and (traces := collection.documents.get("trace")):
        return f"{len(traces)} trace{'s' if len(traces) > 1 else ''}"
    if not runs:
        return f"{len(collection.foreign)} timings"
    days = sorted({run.datetime[:10] for run in runs})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    told = [_counted(len(runs), "run"), _counted(len(collection.cases), "case"), when]
    if len(machines := collection.all_machines) > 1:
        told.insert(0, _counted(len(machines), "machine"))
    return " · ".join(told)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
