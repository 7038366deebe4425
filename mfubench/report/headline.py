"""The one sentence that leads a page: which share of which machine, of which workload."""

from __future__ import annotations

from dataclasses import dataclass

from mfubench_model.presets import PRESETS

from mfubench.results.collection import Collection
from mfubench.results.outcomes import STEPS, Outcome, known
from mfubench.results.record import CaseRecord
from mfubench.show.units import format_duration, format_share

BREAKDOWN = "run `mfubench breakdown`"
"""Where a breakdown would answer and there is none."""
UNSTEADY_RATIO = 0.2
"""Rounds whose middle half spreads by more than this share of the median settle nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A preset or a script on one device of one machine."""

    name: str
    base: CaseRecord
    """The case that comes nearest to what a user of nanoGPT runs."""
    cases: list[CaseRecord]
    loop: CaseRecord | None
    breakdown: CaseRecord | None

    @property
    def subject(self) -> str:
        """
        >>> step = CaseRecord(case_id="x", question="train-step", device="cpu")
        >>> Workload(name="gpt2", base=step, cases=[step], loop=None, breakdown=None).subject
        "nanoGPT's gpt2"
        """
        if self.base.question == "script":
            return self.name
        if self.name == "nanogpt-cpu":
            return "nanoGPT"
        return f"nanoGPT's {self.name}" if self.is_nanogpt else f"Training {self.name}"

    @property
    def is_nanogpt(self) -> bool:
        """Whether it is one of nanoGPT's own configurations."""
        return self.base.question != "script" and self.name in PRESETS

    @property
    def predicate(self) -> str:
        """What it uses, of the peak; of the measured limit where no peak is known."""
        base = self.base
        kind = "CPU" if base.device == "cpu" else "GPU"
        if base.mfu is not None:
            return f"uses {format_share(base.mfu, digits=2)} of this {kind}'s peak"
        if base.ceiling_utilisation is not None:
            share = format_share(base.ceiling_utilisation, digits=2)
            return f"reaches {share} of this {kind}'s measured limit"
        return "has no MFU, because its FLOPs were not counted"

    @property
    def doubt(self) -> str:
        """Why no training time is predicted from its step and its loop; empty where one is."""
        if doubt := doubt_of(self.base):
            return doubt
        doubt = doubt_of(self.loop) if self.loop else ""
        return f"no prediction: in the loop {doubt}" if doubt else ""


def doubt_of(record: CaseRecord) -> str:
    """Why a case's times are not to be trusted; empty where they are.

    >>> doubt_of(CaseRecord(case_id="x", question="train-step", device="cpu", steady=False,
    ...                     step_spread_ratio=1.47))
    'step times vary by 147 %'
    """
    spread = record.step_spread_ratio
    if spread is not None and spread > UNSTEADY_RATIO:
        return f"step times vary by {format_share(spread)}"
    if record.steady is False and record.question == "script":
        return "too few steps were measured"
    return "step times had not settled" if record.steady is False else ""


def workloads_of(collection: Collection, machine: str) -> list[Workload]:
    """A machine's workloads: GPUs before the CPU, presets before scripts; of a GPU's the one first
    that uses most of it."""
    measured = (c for c in collection.cases if c.record.outcome is Outcome.OK)
    every = [case.record for case in measured if case.run.machine == machine]
    groups: dict[tuple[bool, bool, str, str], list[CaseRecord]] = {}
    for record in (r for r in every if r.question in STEPS):
        is_script = record.question == "script"
        key = (record.device == "cpu", is_script, str(record.preset), record.device)
        groups.setdefault(key, []).append(record)
    found = [(key[:2], _workload(key[2], records, every)) for key, records in groups.items()]
    found.sort(key=lambda item: (item[0], 0.0 if item[0][0] else -_rate_of(item[1])))
    return [workload for _, workload in found]


def _rate_of(workload: Workload) -> float:
    return workload.base.achieved_flops_per_s or 0.0


def _workload(name: str, records: list[CaseRecord], every: list[CaseRecord]) -> Workload:
    base = min(records, key=lambda record: record.distance)
    loops = [record for record in records if record.question == "train-loop"]
    return Workload(
        name=name,
        base=base,
        cases=records,
        loop=min(loops, key=lambda record: record.distance) if loops else None,
        breakdown=breakdown_of(base, every),
    )


def breakdown_of(base: CaseRecord, records: list[CaseRecord]) -> CaseRecord | None:
    """The breakdown of the same setting; of the other compile mode or of the loop where there is
    no closer one. A script's is in its own record.
    """
    if base.question == "script":
        return base if base.breakdown is not None else None
    close = [
        record
        for record in records
        if record.question.startswith("breakdown")
        and record.breakdown is not None
        and record.work == base.work
    ]
    far = {"breakdown": 0, "breakdown-loop": 1}
    close.sort(key=lambda record: (record.how != base.how, far.get(record.question, 2)))
    return close[0] if close else None


def headline(collection: Collection) -> str:
    """The page's title: a number, where there is one."""
    leading = [
        (machine, workloads[0])
        for machine in collection.all_machines
        if (workloads := workloads_of(collection, machine))
    ]
    shares = [(m, w) for m, w in leading if w.base.mfu is not None]
    if len(shares) == 1:
        return _one(collection, *shares[0])
    if len(shares) == 2:
        subjects = {"nanoGPT" if w.is_nanogpt else w.subject for _, w in shares}
        bare = [collection.name(m).partition(", machine ")[0] for m, _ in shares]
        names = [f"this {name}" for name in bare]
        if len(set(bare)) == 1:
            names = [collection.label(m) for m, _ in shares]
        told = " and ".join(
            f"{format_share(w.base.mfu, digits=2)} of {name}"
            for (_, w), name in zip(shares, names, strict=True)
        )
        return f"{subjects.pop() if len(subjects) == 1 else 'Training'} uses {told}"
    if shares:
        found = sorted(known(w.base.mfu) for _, w in shares)
        low, high = (format_share(share, digits=2) for share in (found[0], found[-1]))
        span = low if low == high else f"{low.removesuffix(' %')} to {high}"
        return f"Training uses {span} of {len(shares)} machines"
    if leading:
        return _one(collection, *leading[0])
    return _without_steps(collection)


def _one(collection: Collection, machine: str, workload: Workload) -> str:
    base, subject = workload.base, workload.subject
    name = collection.name(machine).partition(", machine ")[0]
    if base.mfu is not None:
        return f"{subject} uses {format_share(base.mfu, digits=2)} of this {name}"
    if base.ceiling_utilisation is not None:
        share = format_share(base.ceiling_utilisation, digits=2)
        return f"{subject} reaches {share} of what this {name} was seen to do"
    return f"{subject} takes {format_duration(base.step_s)} per step on this {name}"


def _without_steps(collection: Collection) -> str:
    """The title of a page without a training step."""
    machines = collection.all_machines
    if traces := collection.documents.get("trace"):
        return f"Where the time goes in {len(traces)} trace{'s' if len(traces) > 1 else ''}"
    if machines:
        return "Measured on " + " and ".join(map(collection.name, machines[:2]))
    return "Plain timings, without FLOPs"
