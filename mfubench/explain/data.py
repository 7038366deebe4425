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
        "log": _fields(
            log,
            *("name", "lines", "iteration_lines", "unreadable_iteration_lines"),
            *("truncated_last_line", "starts_without_iterations"),
        ),
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
        **_fields(run, "log_interval", "from_the_start", "settings"),
        "sizes": {
            **_fields(sizes, "config", "sequences_per_iter", "ranks", "sources"),
            **_fields(sizes, "missing", "problems"),
            "like_preset": None if sizes.usable else sizes.like_preset,
        },
        **_fields(account, "tokens_per_s", "model_flops_per_iter", "nanogpt_flops_per_iter"),
        "printed_mfu_percent": account.printed_mfu_percent,
        "flops_from_printed_mfu": _plain(account.printed),
        **_fields(account, "achieved_flops_per_s", "counted_from", "dtype", "dtype_from"),
        **_fields(account, "peak_flops_per_s", "mfu", "mfu_problem", "times", "predicted"),
        **_fields(run, "checkpoints", "other_rank_lines", "unusable_times"),
        **_fields(run, "not_finite_losses", "first_not_finite_iter"),
        "notes": [*sizes.notes, *caveats(account)],
        "worth_measuring": list(worth_measuring(account)),
        "conclusion": conclusion(account, device),
    }


def _fields(record: Any, *names: str) -> dict[str, Any]:
    return {name: _plain(getattr(record, name)) for name in names}


def _plain(value: Any) -> Any:
    """A dataclass as a mapping, a mapping as a dict; the rest is plain already."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return dict(value) if isinstance(value, Mapping) else value
