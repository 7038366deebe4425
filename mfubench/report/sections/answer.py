"""One card per machine: its share, what it won, what it lost, and the rest folded."""

from __future__ import annotations

from mfubench.advise.advice import Advice
from mfubench.knobs.text import speed, taken_from
from mfubench.report.answer import answers, compile_times
from mfubench.report.case_line import ceiling_rate
from mfubench.report.headline import BREAKDOWN, Workload, doubt_of, workloads_of
from mfubench.report.sections.card_numbers import gauge_of, tiles_of, whole_number
from mfubench.results.collection import Collection
from mfubench.results.outcomes import Outcome, known
from mfubench.results.read import Document
from mfubench.results.record import CaseRecord
from mfubench.show.account import could_save, worth_winning
from mfubench.show.blocks import (
    Block,
    Card,
    Cell,
    Commands,
    Fold,
    Prose,
    Section,
    Table,
    Verdict,
    Verdicts,
    words,
)
from mfubench.show.figures import Look
from mfubench.show.units import (
    format_bytes,
    format_duration,
    format_share,
    format_si,
)


def answer_section(collection: Collection) -> Section:
    """First on the page."""
    blocks: list[Block] = []
    for index, machine in enumerate(collection.all_machines):
        if card := _card(collection, machine, index):
            blocks.append(card)
    if not blocks:
        blocks.append(
            Prose(
                text="No training step was measured in these files. To measure one, type: "
                "pytest benchmarks/",
                kind="lead",
            )
        )
    return Section(key="answer", title="In short", blocks=blocks)


def _card(collection: Collection, machine: str, index: int) -> Card | None:
    workloads = workloads_of(collection, machine)
    records = [case.record for case in collection.cases if case.run.machine == machine]
    advised = [d for d in collection.documents.get("advice", []) if d.machine == machine][:1]
    if not records and not advised:
        return None
    advice = advised[0].read(Advice) if advised else None
    main = workloads[0] if workloads else None
    lines: list[Verdict] = []
    if main is not None:
        lines += _trust(main.base)
        lines.append(_limit(main))
    if advice is not None:
        lines.append(_advised(advice))
    if main is not None:
        lines += _better(main)
    lines += [_other(workload) for workload in workloads[1:]]
    if not workloads:
        lines += [Verdict(text="No training step was measured here. Type: pytest benchmarks/")]
    lines += _settings(records)
    typed = _to_type(advice) if advice is not None else []
    folded = _folded(collection, machine, records, advised)
    return Card(
        name=collection.name(machine),
        note=_described(collection, machine),
        tiles=tiles_of(main, advice) if main else (),
        gauge=gauge_of(main.base, f"gauge-{index}") if main else None,
        blocks=[Verdicts(lines=lines), *typed, *folded],
    )


def _described(collection: Collection, machine: str) -> str:
    """What kind of machine, and when it was looked at."""
    runs = [run for run in collection.runs if run.machine == machine]
    headers = [collection.headers[run.path] for run in runs if run.path in collection.headers]
    parts = headers[-1].fingerprint.parts if headers else {}
    told = []
    for header in headers[-1:]:
        for kind, described in header.devices.items():
            memory = described.get("total_memory_bytes")
            if kind != "cpu" and isinstance(memory, int):
                told.append(f"{format_bytes(memory)} on the GPU")
        if (torch := header.software.torch) and torch.version:
            told.append(f"torch {torch.version}")
    if isinstance(cores := parts.get("usable_cores"), int | float):
        told.insert(0, f"{cores:g} CPU cores")
    if isinstance(memory := parts.get("memory_gib"), int | float):
        told.insert(1, f"{memory:g} GiB")
    days = sorted({run.datetime[:10] for run in runs if run.datetime})
    return " · ".join(told + ([f"measured {days[-1]}"] if days else []))


def _trust(base: CaseRecord) -> list[Verdict]:
    """First of all, where the number is not to be trusted."""
    doubt = doubt_of(base)
    if not doubt:
        return []
    text = f"{doubt[0].upper()}{doubt[1:]}. Measure again on a quiet machine."
    return [Verdict(text=text, look="warns")]


def _limit(main: Workload) -> Verdict:
    broken = main.breakdown
    if broken is None or broken.breakdown_binds is None:
        return Verdict(text=f"What limits it is not known yet: {BREAKDOWN}.")
    step_s = known(broken.breakdown_step_s)
    which = f"{broken.how} step" if broken.how != main.base.how else "step"
    text = f"The {which} is {broken.breakdown_binds}."
    if to_win := worth_winning(known(broken.breakdown), step_s):
        said = could_save(to_win[0], step_s)
        text += f" {said[0].upper()}{said[1:]}."
    return Verdict(text=text)


def _better(main: Workload) -> list[Verdict]:
    """The fastest case of the sweep, where it is another one."""
    best = max(main.cases, key=lambda record: record.tokens_per_s or 0.0)
    ours, theirs = main.base.tokens_per_s, best.tokens_per_s
    if best is main.base or not ours or not theirs or theirs < 1.02 * ours:
        return []
    text = f"Fastest case measured: {whole_number(theirs)} tokens/s with batch {best.batch_size}, "
    text += f"{best.dtype}, {best.how}"
    if best.mfu is not None:
        text += f" (MFU {format_share(best.mfu)})"
    return [Verdict(text=text + ".")]


def _other(workload: Workload) -> Verdict:
    base = workload.base
    return Verdict(
        text=f"{workload.subject} {workload.predicate}, {format_duration(base.step_s)} per step."
    )


def _settings(records: list[CaseRecord]) -> list[Verdict]:
    """How many settings help, with the best of them."""
    knobs = [r.knob for r in records if r.outcome is Outcome.OK and r.knob and r.knob.ratio]
    if not knobs:
        return []
    helping = [knob for knob in knobs if knob.verdict == "helps"]
    hurting = [knob for knob in knobs if knob.verdict == "hurts"]
    rest = len(knobs) - len(helping) - len(hurting)
    plural = "" if len(knobs) == 1 else "s"
    counts = f"{len(knobs)} setting{plural} tried: {len(helping)} help, {len(hurting)} hurt"
    if rest:
        counts += f", {rest} without a clear difference"
    if helping:
        best = max(helping, key=lambda knob: knob.ratio or 0.0)
        counts += f". The best one alone, {best.name}: {speed(known(best.ratio))}"
    return [Verdict(text=counts + ".")]


def _advised(advice: Advice) -> Verdict:
    """What the search found, in one line."""
    where = f"{advice.what} on {advice.device}"
    found = advice.verified
    if found is None or not advice.knobs:
        why = advice.refusal or "nothing that was tried is faster and learns the same"
        return Verdict(text=f"Keep the settings of {where}: {why}.", look="same")
    low, high = (f"{(edge - 1) * 100:.0f}" for edge in (found.low, found.high))
    text = (
        f"{speed(found.ratio)} ({low} to {high} %) with {', '.join(advice.knobs)}: verified "
        f"together in {found.processes} pairs of processes."
    )
    look: Look = "helps"
    if advice.learning is not None:
        if advice.learning.is_equal:
            text += " It learns as much per token."
        else:
            text += " It does not learn the same per token: see the loss below."
            look = "unclear"
    return Verdict(text=text[0].upper() + text[1:], look=look)


def _to_type(advice: Advice) -> list[Block]:
    """The command line and the changes of what was found, folded."""
    if not advice.knobs or advice.verified is None:
        return []
    inside: list[Block] = [Commands(lines=[advice.command, *advice.changes])]
    if sources := _sources(advice):
        inside.append(Prose(text=sources, kind="note"))
    return [Fold(summary="What to type for it", blocks=inside)]


def _sources(advice: Advice) -> str:
    """Where each knob that was kept took its time from, an iteration of the same tokens."""
    said = [
        f"{one.knob}: {text}" for one in advice.tries if one.kept and (text := taken_from(one.bars))
    ]
    return "In an iteration, " + "; ".join(said) + " (profiled side by side)." if said else ""


def _folded(
    collection: Collection, machine: str, records: list[CaseRecord], advised: list[Document]
) -> list[Block]:
    """The terminal's sentences, the limits, the peaks, the fingerprint."""
    blocks: list[Block] = [Prose(text=text) for text in answers(records)]
    if compiled := compile_times([r for r in records if r.outcome is Outcome.OK]):
        blocks.append(Prose(text=compiled[0].upper() + compiled[1:] + "."))
    rows = [
        words(f"limit, {record.setting}", f"{ceiling_rate(record)}, measured")
        for record in records
        if record.outcome is Outcome.OK and record.question == "ceiling"
    ]
    peaks = dict.fromkeys(
        (
            f"peak, {record.dtype} on {record.device}",
            f"{format_si(record.peak_flops_per_s, 'FLOP/s')} ({record.peak_source})",
        )
        for record in records
        if record.peak_source
    )
    rows += [words(*peak) for peak in peaks]
    rows.append([Cell(text="fingerprint"), Cell(text=machine)])
    name = f"Limits of {collection.name(machine)}"
    blocks.append(Table(name=name, columns=("what", "value"), rows=rows, is_facts=True))
    is_short = len(rows) == 1 and len(blocks) == 1
    summary = "Fingerprint" if is_short else "In words, with limits and peaks"
    return [Fold(summary=summary, blocks=blocks)]
