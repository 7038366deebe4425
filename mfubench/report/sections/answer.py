"""The answer in words: what the terminal said, what advice verified, what the gate ruled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mfubench.knobs.text import taken_from
from mfubench.report.answer import answers, compile_times
from mfubench.results.collection import Collection, Document, mapping, number
from mfubench.results.record import Outcome
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
        blocks += _advice(document, collection.whose(document))
    for document in collection.newest("gate"):
        text = collection.whose(document) + gate_sentence(document)
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


def _advice(document: Document, whose: str) -> list[Block]:
    advice = document.body
    verified = mapping(advice.get("verified"))
    knobs = [str(knob) for knob in advice.get("knobs") or []]
    what = ", ".join(knobs)
    ratio, low, high = (number(verified.get(k)) for k in ("ratio", "low", "high"))
    if not knobs:
        why = advice.get("refusal") or "nothing that was tried is faster and learns the same"
        text = f"Advice for {advice.get('preset')} on {advice.get('device')}: stay as it is; {why}."
        return [Prose(text=whose + text, kind="lead")]
    if ratio is None or low is None or high is None:
        text = f"Best configuration found: {what}; it has not been verified in pairs."
    else:
        text = (
            f"Best verified configuration for {advice.get('preset')} on {advice.get('device')}: "
            f"{what}. It trains ×{ratio:.3f} as fast (95 % interval {low:.3f} to {high:.3f}, "
            f"{verified.get('processes')} pairs of processes, measured together)."
        )
    learning = mapping(advice.get("learning"))
    if learning:
        text += (
            " It learns as much per token as the baseline did."
            if learning.get("is_equal") is True
            else " It does not learn the same per token: look at the loss curves."
        )
    blocks: list[Block] = [Prose(text=whose + text, kind="lead")]
    if sources := _sources(advice):
        blocks.append(Prose(text=sources, kind="note"))
    lines = [str(line) for line in (advice.get("command"), *(advice.get("changes") or [])) if line]
    if lines:
        blocks.append(Commands(lines=lines))
    return blocks


def _sources(advice: Mapping[str, Any]) -> str:
    """Where each knob that was kept took its time from, an iteration of the same tokens."""
    kept = [one for one in map(mapping, advice.get("tries") or []) if one.get("kept")]
    said = [
        f"{one.get('knob')}: {text}" for one in kept if (text := taken_from(_bars(one.get("bars"))))
    ]
    return "Of an iteration " + "; ".join(said) + " (profiled beside each other)." if said else ""


def _bars(given: object) -> list[Mapping[str, Any]]:
    """Those of a document that can be read."""
    bars = [mapping(one) for one in given] if isinstance(given, list) else []
    return [b for b in bars if None not in (number(b.get("before_s")), number(b.get("after_s")))]


def gate_sentence(document: Document) -> str:
    """The gate's verdict in one sentence."""
    gate = document.body
    base, candidate = (mapping(gate.get(side)).get("label") for side in ("base", "candidate"))
    cases = [case for case in gate.get("cases") or [] if isinstance(case, dict)]
    counts: dict[str, int] = {}
    for case in cases:
        verdict = str(case.get("verdict"))
        counts[verdict] = counts.get(verdict, 0) + 1
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return f"Gate, {candidate} against {base}: {gate.get('verdict')} ({said or 'no cases'})."
