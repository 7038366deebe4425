"""`mfubench explain`: the speed and the real MFU in a log of nanoGPT's `train.py`, as text."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Sequence

from mfubench_model.conventions import A100_BF16_PEAK_FLOPS_PER_S

from mfubench.explain.account import Range, RunAccount
from mfubench.explain.advice import caveats, worth_measuring
from mfubench.explain.device import NamedDevice
from mfubench.explain.log import TrainingLog
from mfubench.explain.mfu import MFU_RESOLUTION_PERCENT
from mfubench.explain.sizes import RunSizes
from mfubench.explain.times import Drift
from mfubench.show.terminal import width_of
from mfubench.show.units import format_duration, format_share, format_si

NEXT = "Next: mfubench run train.py (measures the same training live, with nothing changed in it)."
_A100_PEAK = "312 TFLOP/s"
_LABEL_WIDTH = 14
_STALLS_NAMED = 5
_WORTH_MEASURING = (
    "worth measuring, one change at a time (a log shows where time went, not what helps)"
)


def explain_as_text(log: TrainingLog, accounts: Sequence[RunAccount], device: NamedDevice) -> str:
    """The report, as wide as the terminal. The sentence that the user came for stands first."""
    lines = [_wrapped(_read(log))]
    for number, account in enumerate(accounts, start=1):
        lines.append("")
        if len(accounts) > 1:
            lines.append(f"run {number} of {len(accounts)}")
        lines += [_wrapped(conclusion(account, device)), ""]
        lines += [
            _wrapped(text, label.ljust(_LABEL_WIDTH)) for label, text in _fields(account, device)
        ]
        notes = [*account.sizes.notes, *caveats(account)]
        for title, items in (("note", notes), (_WORTH_MEASURING, [*worth_measuring(account)])):
            if items:
                lines += ["", title, *(_wrapped(item, "  - ") for item in items)]
    lines += ["", _wrapped(NEXT)]
    return "\n".join(lines)


def _wrapped(text: str, begin: str = "") -> str:
    later = " " * len(begin)
    width = width_of(sys.stdout)
    return textwrap.fill(
        text, width, initial_indent=begin, subsequent_indent=later, break_on_hyphens=False
    )


def _read(log: TrainingLog) -> str:
    iterations = _counted(sum(len(run.iters) for run in log.runs), "printed iteration")
    text = (
        f"{log.name}: {_counted(log.lines, 'line')}, {_counted(len(log.runs), 'run')}, {iterations}"
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
        text += f" nanoGPT shows {percent:.2f} % because it divides by an A100's bfloat16 peak"
        text += f" ({_A100_PEAK})."
        if not same:
            text += " That is not your device's."
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
    text = f"This run does {_range(achieved, 'FLOP/s')} ({count})"
    if account.mfu is None:
        if device.name is None:
            return (
                f"{text}. To get its MFU, type --device this if it ran on this machine, else "
                "--device NAME or --peak-tflops X."
            )
        return text + "; it has no MFU, because no usable peak of the device is known."
    share = _between(account.mfu, format_share(account.mfu.low), format_share(account.mfu.high))
    peak = format_si(account.peak_flops_per_s, "FLOP/s")
    return (
        f"{text}. That is an MFU of {share}, its share of the {peak} that {device.name} can do in "
        f"{account.dtype}."
    )


def _fields(account: RunAccount, device: NamedDevice) -> Iterator[tuple[str, str]]:
    """Label and text, in the order in which they are printed."""
    run, times = account.run, account.times
    every = "" if run.log_interval == 1 else f", one line every {run.log_interval}"
    yield "iterations", f"{run.iters[0]:,} to {run.iters[-1]:,}{every}"
    yield "sizes", _sizes(account.sizes)
    yield "work", _work(account)
    yield "step time", _step_time(account)
    if account.predicted is not None:
        yield "predicted", account.predicted.in_words(times.median_s)
    if times.first_s is not None:
        yield "first step", _first_step(account)
    if times.evaluations:
        yield "evaluation", _evaluation(account)
    if times.median_s is not None:
        yield "stalls", _stalls(account)
    if times.drift is not None:
        yield "trend", _trend(times.drift)
    yield "printed mfu", _printed(account)
    if account.mfu_problem is not None:
        yield "device", account.mfu_problem
    elif device.name is not None and account.peak_flops_per_s is None:
        why = account.dtype_from
        yield "device", f"{device.name}: no peak is known for the run's format ({why})"
    elif device.name is not None:
        peak = f"{format_si(account.peak_flops_per_s, 'FLOP/s')} dense in {account.dtype}"
        yield "device", f"{device.name}: {peak} ({account.dtype_from}); source: {device.source}"


def _sizes(sizes: RunSizes) -> str:
    parts = []
    if (config := sizes.config) is not None:
        heads = f"{config.n_head} heads, " if "n_head" in sizes.sources else ""
        shape = f"{config.n_layer} layers, {heads}{config.n_embd} wide"
        shape += f", context {config.block_size}, vocabulary {config.vocab_size}"
        parts.append(shape + (", biases" if config.bias else ""))
    if sizes.sequences_per_iter is not None and config is not None:
        tokens = sizes.sequences_per_iter * config.block_size
        ranks = f" on each of {sizes.ranks} ranks" if sizes.ranks > 1 else ""
        parts.append(f"{sizes.sequences_per_iter} sequences = {tokens:,} tokens{ranks}")
    if parts:
        parts[-1] += f" ({_origins(sizes)})"
    if sizes.missing:
        parts.append(f"not known: {', '.join(sizes.missing)}")
    parts += [f"CONTRADICTED: {problem}" for problem in sizes.problems]
    if not sizes.usable and sizes.like_preset:
        parts.append(f"the parameter counts are those of --preset {sizes.like_preset}")
    return "; ".join(parts)


def _origins(sizes: RunSizes) -> str:
    """Where the sizes are from: one word where it is one place, else each with its sizes."""
    by_origin: dict[str, list[str]] = {}
    for name, origin in sizes.sources.items():
        by_origin.setdefault(origin, []).append(name)
    if len(by_origin) == 1:
        return f"from the {next(iter(by_origin))}"
    return "; ".join(f"{origin}: {', '.join(names)}" for origin, names in by_origin.items())


def _work(account: RunAccount) -> str:
    if account.model_flops_per_iter is not None and account.nanogpt_flops_per_iter is not None:
        return (
            f"{format_si(account.model_flops_per_iter, 'FLOP')} per iteration, exact causal count; "
            f"{format_si(account.nanogpt_flops_per_iter, 'FLOP')} by nanoGPT's"
        )
    printed = account.printed
    if printed is not None and printed.consistent:
        bounds = Range(low=printed.low_flops, high=printed.high_flops)
        return (
            f"{_range(bounds, 'FLOP')} per iteration by nanoGPT's count, as {printed.lines:,} "
            "printed mfu and times bound it"
        )
    return "not known: it takes the sizes, or printed mfu that fit the times"


def _step_time(account: RunAccount) -> str:
    times = account.times
    if times.median_s is None:
        return "not known: no plain iteration with a usable time is in the log"
    tokens = account.tokens_per_s
    rate = f", {format_si(tokens, 'tokens/s')}" if tokens is not None else ""
    return (
        f"median {format_duration(times.median_s)}{rate}; half lie between "
        f"{format_duration(times.q1_s)} and {format_duration(times.q3_s)}, 95 % below "
        f"{format_duration(times.p95_s)}; of {_counted(times.plain_iterations, 'plain iteration')}"
    )


def _first_step(account: RunAccount) -> str:
    times = account.times
    text = format_duration(times.first_s)
    text += " with an evaluation" if times.first_includes_evaluation else ""
    if times.first_extra_s is not None:
        both = " and an evaluation" if times.first_includes_evaluation else ""
        text += (
            f"; {format_duration(max(0.0, times.first_extra_s))} more than a plain iteration{both}:"
            " compiling, allocating, warming up"
        )
    elif times.median_s is not None:
        text += "; no later evaluation is there to tell the warm-up from it"
    return text


def _evaluation(account: RunAccount) -> str:
    times = account.times
    text = f"{times.evaluations} in the log"
    if times.evaluation_s is None:
        return text + ", none in the time of a later printed iteration"
    text += f", {format_duration(times.evaluation_s)} each on top of a plain iteration"
    if account.run.checkpoints:
        text += f", {account.run.checkpoints} of them with a checkpoint"
    if times.evaluation_share is not None:
        text += f": {format_share(times.evaluation_share, digits=2)} of the time"
    if not account.run.evaluations_printed:
        text += " (by eval_interval; the log has no 'step' lines)"
    return text


def _stalls(account: RunAccount) -> str:
    times = account.times
    if not times.stalls:
        return "none: no plain iteration took more than 3 medians"
    first = ", ".join(f"{iteration:,}" for iteration in times.stall_iters[:_STALLS_NAMED])
    more = ", …" if times.stalls > _STALLS_NAMED else ""
    return (
        f"{times.stalls:,} of {times.plain_iterations:,} plain iterations above 3 medians, "
        f"{format_duration(times.stall_excess_s)} lost (at {first}{more})"
    )


def _trend(drift: Drift) -> str:
    change, low, high = (
        f"{round(ratio * 100, 1) + 0.0:+.1f}"  # no -0.0
        for ratio in (drift.change_ratio, drift.low, drift.high)
    )
    return (
        f"{'drifts' if drift.notable else 'steady'}: {change} % from first to last iteration (95 % "
        f"interval {low} to {high} %)"
    )


def _printed(account: RunAccount) -> str:
    percent = account.printed_mfu_percent
    if percent is None:
        return "none in the log"
    text = f"{percent:.2f} % at the end, of an A100's bfloat16 peak ({_A100_PEAK}), always"
    if percent > 0:
        resolution_ratio = MFU_RESOLUTION_PERCENT / percent
        text += f"; two decimals, so one value is good to ±{resolution_ratio * 100:.2g} %"
    if account.printed is not None and account.printed.consistent and account.sizes.usable:
        text += f"; {account.printed.lines:,} values and times agree with the sizes"
    return text


def _counted(number: int, thing: str) -> str:
    """A number with its noun.

    >>> _counted(1, "run"), _counted(2000, "run")
    ('1 run', '2,000 runs')
    """
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def _range(value: Range, unit: str) -> str:
    """A quantity, or the range in which it lies.

    >>> _range(Range(low=3e9, high=4e9), "FLOP"), _range(Range(low=0, high=4e9), "FLOP")
    ('3.00 GFLOP to 4.00 GFLOP', 'at most 4.00 GFLOP')
    """
    return _between(value, format_si(value.low, unit), format_si(value.high, unit))


def _between(value: Range, low: str, high: str) -> str:
    """The words for a range whose ends are already formatted."""
    if low == high:
        return high
    return f"at most {high}" if value.low == 0 else f"{low} to {high}"
