"""`mfubench explain --json`: the same account as plain data. docs/explain.md describes it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mfubench.explain.account import RunAccount
from mfubench.explain.advice import caveats, worth_measuring
from mfubench.explain.device import NamedDevice
from mfubench.explain.log import TrainingLog
from mfubench.explain.text import conclusion

SCHEMA = "mfubench-explain-1"


def explain_as_data(
    log: TrainingLog, accounts: Sequence[RunAccount], device: NamedDevice
) -> dict[str, Any]:
    """Everything the text says, in SI units; what is not known is null."""
    return {
        "schema": SCHEMA,
        "log": {
            "name": log.name,
            "lines": log.lines,
            "iteration_lines": log.iteration_lines,
            "unreadable_iteration_lines": log.unreadable_iteration_lines,
            "truncated_last_line": log.truncated_last_line,
            "starts_without_iterations": log.starts_without_iterations,
        },
        "device": {
            "name": device.name,
            "peak_flops_per_s": dict(device.flops_per_s_by_dtype),
            "source": device.source or None,
            "problem": device.problem,
        },
        "runs": [_run(account, device) for account in accounts],
    }


def explain_as_json(log: TrainingLog, accounts: Sequence[RunAccount], device: NamedDevice) -> str:
    """The account as JSON."""
    data = explain_as_data(log, accounts, device)
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)


def _run(account: RunAccount, device: NamedDevice) -> dict[str, Any]:
    run, sizes = account.run, account.sizes
    return {
        "first_iter": int(run.iters[0]),
        "last_iter": int(run.iters[-1]),
        "printed_iterations": len(run.iters),
        "log_interval": run.log_interval,
        "from_the_start": run.from_the_start,
        "settings": dict(run.settings),
        "sizes": {
            "config": _plain(sizes.config),
            "sequences_per_iter": sizes.sequences_per_iter,
            "ranks": sizes.ranks,
            "sources": dict(sizes.sources),
            "missing": list(sizes.missing),
            "problems": list(sizes.problems),
            "like_preset": None if sizes.usable else sizes.like_preset,
        },
        "tokens_per_s": account.tokens_per_s,
        "model_flops_per_iter": account.model_flops_per_iter,
        "nanogpt_flops_per_iter": account.nanogpt_flops_per_iter,
        "printed_mfu_percent": account.printed_mfu_percent,
        "flops_from_printed_mfu": _plain(account.printed),
        "achieved_flops_per_s": _plain(account.achieved_flops_per_s),
        "counted_from": account.counted_from,
        "dtype": account.dtype,
        "dtype_from": account.dtype_from,
        "peak_flops_per_s": account.peak_flops_per_s,
        "mfu": _plain(account.mfu),
        "mfu_problem": account.mfu_problem,
        "times": _plain(account.times),
        "checkpoints": run.checkpoints,
        "other_rank_lines": run.other_rank_lines,
        "unusable_times": run.unusable_times,
        "not_finite_losses": run.not_finite_losses,
        "first_not_finite_iter": run.first_not_finite_iter,
        "notes": [*sizes.notes, *caveats(account)],
        "worth_measuring": worth_measuring(account),
        "conclusion": conclusion(account, device),
    }


def _plain(record: Any) -> Mapping[str, Any] | None:
    """A dataclass as a mapping, None as it is."""
    return None if record is None else dataclasses.asdict(record)
