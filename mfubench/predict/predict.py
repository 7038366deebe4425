"""From a setting and a machine to a prediction: the sum, its interval, the run, what binds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from mfubench_model.flops import model_flops_per_step
from mfubench_model.parameters import parameter_count
from mfubench_model.presets import PRESETS

from mfubench.predict.document import Grade, Prediction, Setting, Term
from mfubench.predict.machine import Machine
from mfubench.predict.memory import peak_memory_bytes
from mfubench.predict.model import LAUNCHES, Fit, Part, parts_in
from mfubench.predict.operators import OPTIMIZER, Operator, operators
from mfubench.predict.rates import OutsideError
from mfubench.show.units import format_bytes, format_si

HALF_WIDTHS: Mapping[Grade, float] = {"anchored": 0.11, "ceilings": 0.25, "table": 0.45}
"""Of the 80 % interval, as a natural logarithm of a ratio. A self-test of the machine replaces
them: `docs/predict.md` has the figures."""
FITS_RATIO = 0.8
"""A batch is said to fit where its predicted peak is below this share of the device's memory."""
CHECKPOINT_BYTES_PER_S = 1e9
"""Where no checkpoint was timed. Source: two stored loops wrote 1.0 and 1.4 GB/s."""
DATA_S = 25e-6
"""Drawing one sequence, where it was not timed. Source: the stored loop of 357d7529."""


def predict(
    setting: Setting,
    machine: Machine,
    *,
    iterations: int,
    half_widths: Mapping[Grade, float] = HALF_WIDTHS,
) -> Prediction:
    """The prediction of one setting on one machine; raises ConfigError for sizes of no model."""
    config = setting.config
    fitted, grade = machine.fit_of(setting.dtype, setting.compile)
    found = Prediction(
        preset=setting.preset,
        device=machine.device,
        device_name=machine.name,
        dtype=setting.dtype,
        batch_size=setting.batch_size,
        block_size=setting.block_size,
        compile=setting.compile,
        n_layer=setting.n_layer,
        n_head=setting.n_head,
        n_embd=setting.n_embd,
        vocab_size=setting.vocab_size,
        bias=setting.bias,
        gradient_accumulation_steps=setting.gradient_accumulation_steps,
        peak_memory_bytes=peak_memory_bytes(setting, machine.device),
        iterations=iterations,
        grade=grade,
    )
    flops = model_flops_per_step(config, setting.batch_size) * setting.gradient_accumulation_steps
    parts = fill(
        found,
        operators(setting),
        machine,
        half_widths=half_widths,
        model_flops=flops,
        tokens=setting.tokens,
    )
    if found.step_s is not None:
        update_s = sum(fitted.of(OPTIMIZER) * p.seconds for p in parts if p.group == OPTIMIZER)
        batch_s = (found.step_s - update_s) / setting.gradient_accumulation_steps
        loop = _loop_terms(setting, machine, batch_s / 3, iterations)
        found.run_s = iterations * found.step_s + sum(term.seconds for term in loop)
        found.terms += loop
    return found


def fill(
    found: Prediction,
    asked: Iterable[Operator],
    machine: Machine,
    *,
    half_widths: Mapping[Grade, float],
    model_flops: int,
    tokens: int | None,
) -> list[Part]:
    """Put the time of a step that has these operators into its prediction, or why there is none.
    Gives the lines of the sum."""
    fitted, grade = machine.fit_of(found.dtype, found.compile)
    try:
        parts = parts_in(asked, machine.rates, dtype=found.dtype, compile=found.compile)
        _refuse_memory(found, machine)
    except OutsideError as error:
        found.outside = f"outside of what was probed: {error}"
        return []
    step_s = fitted.step_s(parts)
    found.terms = [
        Term(
            name=name,
            seconds=seconds,
            basis=_basis(name, seconds, work, calls)
            + (", while the device works" if fitted.overlaps and name == LAUNCHES else ""),
        )
        for name, (seconds, work, calls) in _by_term(parts, fitted).items()
    ]
    half = max(half_widths[grade], math.log1p(machine.unsteady_ratio) / 2)
    found.step_s = step_s
    found.low_s, found.high_s = step_s * math.exp(-half), step_s * math.exp(half)
    found.tokens_per_s = tokens / step_s if tokens else None
    peak = machine.peaks.get(found.dtype)
    found.mfu = model_flops / step_s / peak if peak else None
    found.binds = _binds(found.terms, step_s, fitted.overlaps)
    return parts


def _binds(terms: Sequence[Term], step_s: float, overlaps: bool) -> str:
    """The largest term; where host and device overlap, of the one that the other waits for."""
    waited_for = [
        term
        for term in terms
        if not overlaps or (term.name == LAUNCHES) is (_launches_s(terms) >= step_s)
    ]
    return max(waited_for, key=lambda term: term.seconds).name


def _launches_s(terms: Sequence[Term]) -> float:
    return sum(term.seconds for term in terms if term.name == LAUNCHES)


def _by_term(parts: Iterable[Part], fitted: Fit) -> dict[str, tuple[float, float, int]]:
    """Seconds, work and calls of each term: fused and unfused operators of it together."""
    found: dict[str, tuple[float, float, int]] = {}
    for part in parts:
        seconds, work, calls = found.get(part.term, (0.0, 0.0, 0))
        own_s = fitted.of(part.group) * part.seconds
        found[part.term] = seconds + own_s, work + part.work, calls + part.calls
    return found


def _basis(name: str, seconds: float, work: float, calls: float) -> str:
    """How much work a term is, and its rate."""
    count = f"{calls:,.0f} call" + ("" if calls == 1 else "s")
    if name == "launches":
        return f"{count}, {seconds / calls * 1e6:.1f} µs each"
    if name == "matrix products":
        return f"{count}, {format_si(6 * work / seconds if seconds else None, 'FLOP/s')}"
    if name == "attention":
        return f"{count}, {format_si(12 * work / seconds if seconds else None, 'FLOP/s')} unmasked"
    moved = 4 * work
    rate = format_si(moved / seconds if seconds else None, "B/s")
    return f"{count} on {format_bytes(moved)}, {rate}"


def _refuse_memory(found: Prediction, machine: Machine) -> None:
    total = machine.total_memory_bytes
    need = found.peak_memory_bytes
    if total and need and need > FITS_RATIO * total:
        raise OutsideError(
            f"it needs about {format_bytes(need)} and the device has {format_bytes(total)}"
        )


def _loop_terms(
    setting: Setting, machine: Machine, forward_s: float, iterations: int
) -> list[Term]:
    """What a run does besides steps, over all of its iterations: data, evaluation, checkpoints.

    nanoGPT evaluates at iteration 0 too. A forward pass is a third of a step without its
    optimizer.
    """
    preset = PRESETS.get(setting.preset or "nanogpt-cpu", PRESETS["nanogpt-cpu"])
    times = iterations // preset.eval_interval + 1
    batches = 2 * preset.eval_iters * times
    data_s = machine.loop_s.get("data", DATA_S) * setting.batch_size
    drawn = iterations * setting.gradient_accumulation_steps + batches
    saved = 12 * parameter_count(setting.config).total
    rate = machine.loop_s.get("checkpoint_bytes_per_s", CHECKPOINT_BYTES_PER_S)
    return [
        Term(
            name="data (whole run)",
            seconds=data_s * drawn,
            basis=f"{drawn:,} batches",
        ),
        Term(
            name="evaluation (whole run)",
            seconds=forward_s * batches,
            basis=f"{batches:,} forward passes, a third of a step each",
        ),
        Term(
            name="checkpoint (whole run)",
            seconds=saved / rate * times,
            basis=f"{times:,} of {format_bytes(saved)}",
        ),
    ]
