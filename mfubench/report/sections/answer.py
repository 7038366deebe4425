"""The answer in words: what the terminal said, what advice verified, what the gate ruled."""

from __future__ import annotations

from mfubench.advise.advice import Advice
from mfubench.gate.rules.document import GateVerdict
from mfubench.gate.show.text import gate_sentence
from mfubench.knobs.text import taken_from
from mfubench.report.answer import answers, compile_times
from mfubench.results.collection import Collection
from mfubench.results.outcomes import Outcome
from mfubench.show.blocks import Block, Commands, Prose, Section


def answer_section(collection: Collection) -> Section:
    """First on the page."""
    blocks: list[Block] = []
    for machine in collection.machines:
        records = [case.record for case in collection.cases if case.run.machine == machine]
        before = f"On {machine}: " if len(collection.machines) > 1 else ""
        blocks += [Prose(text=before + text, kind="lead") for text in answers(records)]
        if compiled := compile_times([r for r in records if r.outcome is Outcome.OK]):
            blocks.append(
                Prose(text=before + compiled[0].upper() + compiled[1:] + ".", kind="note")
            )
    for document in collection.newest("advice"):
        blocks += _advice(document.read(Advice), collection.whose(document))
    for document in collection.newest("gate"):
        text = collection.whose(document) + gate_sentence(document.read(GateVerdict))
        blocks.append(Prose(text=text, kind="lead"))
    if not blocks:
        blocks.append(
            Prose(
                text="No training step was measured in these files. To measure one, type: "
                "pytest benchmarks/",
                kind="lead",
            )
        )
    return Section(key="answer", title="The answer", blocks=blocks)


def _advice(advice: Advice, whose: str) -> list[Block]:
    where = f"{advice.preset} on {advice.device}"
    found = advice.verified
    if found is None or not advice.knobs:
        why = advice.refusal or "nothing that was tried is faster and learns the same"
        text = f"{whose}Advice for {where}: stay as it is; {why}."
        return [Prose(text=text, kind="lead")]
    text = (
        f"{whose}Best verified configuration for {where}: {', '.join(advice.knobs)}. It trains "
        f"×{found.ratio:.3f} as fast (95 % interval {found.low:.3f} to {found.high:.3f}, "
        f"{found.processes} pairs of processes, measured together)."
    )
    if advice.learning is not None:
        text += (
            " It learns as much per token as the baseline did."
            if advice.learning.is_equal
            else " It does not learn the same per token: look at the loss curves."
        )
    blocks: list[Block] = [Prose(text=text, kind="lead")]
    if sources := _sources(advice):
        blocks.append(Prose(text=sources, kind="note"))
    return [*blocks, Commands(lines=[advice.command, *advice.changes])]


def _sources(advice: Advice) -> str:
    """Where each knob that was kept took its time from, an iteration of the same tokens."""
    said = [
        f"{one.knob}: {text}" for one in advice.tries if one.kept and (text := taken_from(one.bars))
    ]
    return "Of an iteration " + "; ".join(said) + " (profiled beside each other)." if said else ""
