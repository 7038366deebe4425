"""From a watched run to the record that every other part of the suite reads."""

from __future__ import annotations

import os
import statistics
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import msgspec

from mfubench.analysis import rates
from mfubench.results.answers import ScriptAnswer
from mfubench.results.case_id import CaseId
from mfubench.results.outcomes import Dtype, Outcome
from mfubench.results.record import CaseRecord
from mfubench.script import graphs
from mfubench.script.naming import case_name, without_secret
from mfubench.script.parts import part
from mfubench.script.tally import as_data

if TYPE_CHECKING:
    from mfubench.hardware.ceiling_cache import StoredCeiling
    from mfubench.hardware.devices import Device
    from mfubench.script.found import Found
    from mfubench.script.run import TrainingRun
    from mfubench.script.tally import Tally

QUESTION = "script"
LOWER_BOUND_SHARE = 0.02
"""With more of a step's time than this in operators that nobody can count, MFU is a lower bound."""
KEPT_ROWS = 60


def build_record(
    run: TrainingRun,
    found: Found,
    *,
    label: str,
    argv: list[str],
    tokens_per_step: int | None,
    ended: str | None,
) -> CaseRecord:
    """The record of a run, without its ceiling: `fill_shares` adds that.

    `ended` says what stopped the script early, None after a clean end.
    """
    import torch

    device, tally = run.recorder.device, typical_count(found)
    dtype = _dtype(tally)
    compiled = graphs.compiled_here()
    name = case_name(label, argv)
    where = "cpu" if device is None else str(device).removesuffix(":0")
    record = CaseRecord(
        case_id=str(
            CaseId(question=QUESTION, preset=name, device=where, dtype=dtype, compile=compiled)
        ),
        question="script",
        device=where,
        dtype=dtype,
        preset=name,
        compile=compiled,
        threads=torch.get_num_threads(),
    )
    record.tokens_per_step = tokens_per_step or (tally.tokens if tally else None)
    _fill(record, _what_was_seen(run, found, argv, ended))
    if tally is not None:
        with part(record, "what was counted"):
            _fill(record, _what_was_counted(found, tally))
    if not found.steps.found or not found.rounds_s:
        why = found.steps.boundary
        record.outcome = Outcome.UNSUPPORTED if ended is None else Outcome.ERROR
        record.outcome_reason = f"no training step was measured: {why}" + (
            f"; {ended}" if ended else ""
        )
        return record
    _fill_times(record, run, found, device)
    reason = rates.refuse_times(found.rounds_s) or rates.refuse_loss(record.loss)
    record.outcome = Outcome.OK if reason is None else Outcome.INVALID
    record.outcome_reason = reason
    return record


def _fill(record: CaseRecord, found: dict[str, Any]) -> None:
    """Set fields of `ScriptAnswer`, checked as they are when a file is read."""
    for name, value in msgspec.structs.asdict(msgspec.convert(found, ScriptAnswer)).items():
        if name in found:
            setattr(record, name, value)


def _fill_times(record: CaseRecord, run: TrainingRun, found: Found, device: Any) -> None:
    from mfubench.script.memory import peak_memory_bytes

    record.step_s = statistics.median(found.rounds_s)
    record.step_spread_ratio = rates.spread_ratio(found.rounds_s)
    record.rounds = len(found.rounds_s)
    record.warmup_steps = len(found.warmup_s) or None
    record.warmup_s = sum(found.warmup_s)
    record.steady = len(found.rounds_s) >= 2 * 4
    with part(record, "memory"):
        record.peak_memory_bytes = peak_memory_bytes(run.memory_before_bytes, device)
    with part(record, "the loss"):
        if found.is_over or device is None or device.type == "cpu":  # else it is a wait
            record.loss = run.recorder.learning_loss()
        record.loss_step = run.recorder.loss_step if record.loss is not None else None
    with part(record, "the time of compilation"):
        record.compile_s = graphs.compile_seconds()


def _what_was_seen(
    run: TrainingRun, found: Found, argv: list[str], ended: str | None
) -> dict[str, Any]:
    steps = found.steps.steps
    rows = run.recorder.rows
    seen: dict[str, Any] = {
        "argv": [without_secret(a, before) for before, a in zip(["", *argv], argv, strict=False)],
        "boundary": found.steps.boundary,
        "steps_seen": len(steps),
        "steps_skipped": rows.skipped,
        "accumulation": found.steps.accumulation,
        "ended_early": ended,
        "compiled_graphs": graphs.graphs_compiled(),
    }
    world = int(os.environ.get("WORLD_SIZE") or 1)
    if world > 1:
        seen |= {"rank": int(os.environ.get("RANK", "0")), "ranks": world}
    if steps:
        typical = steps[len(found.warmup_s) :] or steps
        seen["loader_wait_s"] = _middle([s.data_s for s in typical])
        seen["loader_batches"] = _middle([s.batches for s in typical])
        seen["backward_s"] = _middle([s.backward_s for s in typical])
        seen["optimizer_s"] = (
            None if rows.has_closure else _middle([s.optimizer_s for s in typical])
        )
        seen["evaluation_total_s"] = sum(s.evaluation_s for s in steps)
        seen["evaluations"] = sum(s.evaluation_s > 0 for s in steps)
        seen["checkpoint_total_s"] = sum(s.checkpoint_s for s in steps)
        seen["checkpoints"] = sum(s.checkpoint_s > 0 for s in steps)
        seen["loop_s"] = sum(s.seconds + s.evaluation_s + s.checkpoint_s for s in steps)
    return seen


def _middle(values: list[float]) -> float:
    return float(statistics.median(values))


def typical_count(found: Found) -> Tally | None:
    """The count that most counted steps agree on; the last one where none agree."""
    if not found.counts:
        return None
    by_flops = Counter(c.tally.model_flops for c in found.counts)
    most = max(by_flops.values())
    agreed = [c for c in found.counts if by_flops[c.tally.model_flops] == most]
    return agreed[-1].tally


def _what_was_counted(found: Found, tally: Tally) -> dict[str, Any]:
    counted = [c.tally.model_flops for c in found.counts]
    # A counted step is slow: the operators' seconds are held against a step that is not.
    share = uncounted_share(tally, _middle(found.rounds_s) if found.rounds_s else tally.seconds)
    return {
        "flops_uncounted_share": share,
        "flops_uncounted": [
            {"operator": name, "seconds": seconds} for name, seconds in tally.uncounted_s.items()
        ],
        "flops_are_a_lower_bound": share is None or share > LOWER_BOUND_SHARE,
        "flops_vary": len(set(counted)) > 1,
        "flops_counted_steps": counted,
        "flops_forward": tally.flops("model", "forward"),
        "flops_backward": tally.flops("model", "backward"),
        "flops_recomputed": tally.flops("executed", "recomputed"),
        "flops_optimizer": tally.flops("executed", "optimizer"),
        "flops_full_attention_per_step": tally.full_flops,
        "flops_by_operator": as_data(tally.operators, "operator")[:KEPT_ROWS],
        "flops_by_module": as_data(tally.modules, "module")[:KEPT_ROWS],
        "opaque_graphs": tally.opaque_graphs,
        "samples_per_forward": tally.images or None,
    }


def uncounted_share(tally: Tally, step_s: float) -> float | None:
    """The share of a step's time in operators that nobody can count; None where they were
    not timed."""
    seconds = list(tally.uncounted_s.values())
    if not seconds:
        return 0.0
    if any(s is None for s in seconds) or step_s <= 0:
        return None
    return min(1.0, sum(s for s in seconds if s is not None) / step_s)


def fill_shares(
    record: CaseRecord, tally: Tally | None, device: Device | None, ceiling: StoredCeiling | None
) -> None:
    """Rates, and shares of the peak and of the ceiling."""
    if record.step_s is None:
        return
    if device is not None and record.dtype is not None:
        record.peak_flops_per_s, record.peak_source = device.peak(record.dtype)
    if ceiling is not None:
        record.ceiling_flops_per_s = ceiling.rate_per_s
        record.ceiling_noise_ratio = ceiling.noise_ratio
        record.ceiling_age_s = ceiling.age_s()
    if tally is None or not tally.model_flops:
        if record.tokens_per_step:
            record.tokens_per_s = record.tokens_per_step / record.step_s
        return
    rates.fill_rates(
        record,
        tokens=record.tokens_per_step,
        model_flops=tally.model_flops,
        hardware_flops=tally.hardware_flops,
        palm_flops=None,
        nanogpt_flops=None,
        flops_source="counted in a live step",
    )
    reason = rates.refuse_rate(
        tally.model_flops / record.step_s, record.ceiling_flops_per_s, record.ceiling_noise_ratio
    )
    if reason is not None and record.outcome is Outcome.OK:
        record.outcome, record.outcome_reason = Outcome.INVALID, reason
    if record.outcome is not Outcome.OK:
        record.withhold()


def fill_nanogpt(record: CaseRecord, variables: dict[str, Any]) -> None:
    """What the script would print as mfu, if it is nanoGPT's: asked of its own `estimate_mfu`.

    And the closed form, where the model has a GPT's sizes.
    """
    from mfubench_model.conventions import A100_BF16_PEAK_FLOPS_PER_S

    # Not `or`: a compiled module asks the model for its length.
    model: Any = variables["raw_model"] if "raw_model" in variables else variables.get("model")
    batch, accumulation = (variables.get(n) for n in ("batch_size", "gradient_accumulation_steps"))
    if record.step_s is None or not isinstance(batch, int) or not isinstance(accumulation, int):
        return
    if hasattr(model, "estimate_mfu"):
        try:
            mfu = float(model.estimate_mfu(batch * accumulation, record.step_s))
        except Exception:  # whatever it is, it is not nanoGPT's
            return
        record.mfu_a100 = mfu if mfu > 0 else None
        flops = mfu * record.step_s * A100_BF16_PEAK_FLOPS_PER_S
        record.nanogpt_flops_per_step = round(flops)
    record.closed_form_flops_per_step = _closed_form(model, batch * accumulation)


def _closed_form(model: Any, sequences: int) -> int | None:
    from mfubench_model.config import ConfigError, GPTConfig
    from mfubench_model.flops import model_flops_per_step

    names = ("n_layer", "n_head", "n_embd", "block_size", "vocab_size")
    config = getattr(model, "config", None)
    sizes = {name: getattr(config, name, None) for name in names}
    if not all(isinstance(size, int) for size in sizes.values()):
        return None
    try:
        return model_flops_per_step(GPTConfig(**sizes), sequences)  # type: ignore[arg-type]
    except (ConfigError, TypeError):
        return None


def _dtype(tally: Tally | None) -> Dtype | None:
    from mfubench.hardware.dtypes import DTYPES

    name = tally.dtype if tally is not None else None
    return cast(Dtype, name) if name in DTYPES else None
