"""`mfubench explain`: what a log of nanoGPT's `train.py` says, and what its mfu does not say."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from mfubench_model.conventions import A100_BF16_PEAK_FLOPS_PER_S

from mfubench.explain.account import RunAccount
from mfubench.explain.advice import caveats, worth_measuring
from mfubench.explain.device import NamedDevice
from mfubench.explain.fields import A100_PEAK, between, counted, fields, range_text
from mfubench.explain.log import TrainingLog
from mfubench.show.units import format_share, format_si

WIDTH = 100
_LABEL_WIDTH = 14
_WORTH_MEASURING = (
    "worth measuring, one change at a time (a log shows where time went, not what helps)"
)


def explain_as_text(log: TrainingLog, accounts: Sequence[RunAccount], device: NamedDevice) -> str:
    """The report, 100 columns wide at most; it ends with the sentence the user came for."""
    lines = [_wrapped(_read(log))]
    for number, account in enumerate(accounts, start=1):
        lines.append("")
        if len(accounts) > 1:
            lines.append(f"run {number} of {len(accounts)}")
        lines += [
            _wrapped(text, label.ljust(_LABEL_WIDTH)) for label, text in fields(account, device)
        ]
        notes = [*account.sizes.notes, *caveats(account)]
        for title, items in (("note", notes), (_WORTH_MEASURING, worth_measuring(account))):
            if items:
                lines += ["", title, *(_wrapped(item, "  - ") for item in items)]
        lines += ["", _wrapped(conclusion(account, device))]
    return "\n".join(lines)


def _wrapped(text: str, begin: str = "") -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=begin,
        subsequent_indent=" " * len(begin),
        break_on_hyphens=False,
    )


def _read(log: TrainingLog) -> str:
    iterations = counted(sum(len(run.iters) for run in log.runs), "printed iteration")
    text = (
        f"{log.name}: {counted(log.lines, 'line')}, {counted(len(log.runs), 'run')}, {iterations}"
    )
    if log.starts_without_iterations:
        text += f"; headers without an iteration: {log.starts_without_iterations}"
    if log.unreadable_iteration_lines:
        text += f"; 'iter' lines not as nanoGPT prints them: {log.unreadable_iteration_lines:,}"
    if log.truncated_last_line:
        text += "; the last line is cut off and was left out"
    return text


def conclusion(account: RunAccount, device: NamedDevice) -> str:
    """The sentence the user came for."""
    percent = account.printed_mfu_percent
    text = _achieved(account, device)
    if percent is not None:
        same = device.flops_per_s_by_dtype.get("bfloat16") == A100_BF16_PEAK_FLOPS_PER_S
        text += (
            f" The {percent:.2f} % that nanoGPT printed is a share of an A100's bfloat16 peak "
            f"({A100_PEAK}), whatever the device"
            f"{'.' if same else ', and says nothing about yours.'}"
        )
    return text


def _achieved(account: RunAccount, device: NamedDevice) -> str:
    achieved = account.achieved_flops_per_s
    if achieved is None:
        if account.times.median_s is None:
            return "What this run achieved is not known: no plain iteration has a usable time."
        why = "the sizes contradict the log" if account.sizes.problems else "sizes are missing"
        return (
            f"What this run achieved is not known: {why}. Give --preset, or the sizes, of what was "
            "trained."
        )
    count = "exact causal count"
    if account.counted_from == "printed mfu":
        count = "nanoGPT's count, from its printed mfu"
    text = f"This run does {range_text(achieved, 'FLOP/s')} ({count})"
    if account.mfu is None:
        if device.name is None:
            return (
                text + "; to get its MFU, name the device (--device NAME) or give --peak-tflops X."
            )
        return text + "; it has no MFU, because no usable peak of the device is known."
    share = between(account.mfu, format_share(account.mfu.low), format_share(account.mfu.high))
    peak = format_si(account.peak_flops_per_s, "FLOP/s")
    return (
        f"{text}. That is an MFU of {share}, its share of the {peak} that {device.name} can do in "
        f"{account.dtype}."
    )
