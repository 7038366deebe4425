"""A case in the words of a reader instead of its id."""

from __future__ import annotations

from mfubench.results.record import CaseRecord

KINDS = {
    "train-step": "step",
    "train-loop": "loop",
    "breakdown": "step",
    "breakdown-loop": "loop",
    "harness": "harness",
}


def plain_case(record: CaseRecord, *, preset: bool = True) -> str:
    """What was measured, short enough for a heading on a phone.

    >>> plain_case(CaseRecord(case_id="train-step/gpt2/cuda-bfloat16-b12-compiled", preset="gpt2",
    ...     question="train-step", device="cuda", dtype="bfloat16", batch_size=12, compile=True))
    'gpt2, step, batch 12, bfloat16, compiled'

    A case of another kind keeps its id:

    >>> plain_case(CaseRecord(case_id="ceiling/copy/cpu", question="ceiling", device="cpu"))
    'ceiling/copy/cpu'
    """
    if record.question == "script" and record.preset:
        return record.preset
    kind = KINDS.get(record.question)
    if kind is None or not record.preset or record.batch_size is None:
        return record.case_id
    parts = [record.preset if preset else "", kind, f"batch {record.batch_size}"]
    parts.append(record.dtype or "")
    parts.append("" if record.compile is None else record.how)
    return ", ".join(filter(None, parts))
