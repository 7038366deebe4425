"""What this machine's folder knows about its own gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mfubench.gate.rules.trials import summary
from mfubench.results.collection import has_load
from mfubench.results.read import ResultError, read_json

KIND = "self-test"


def newest_self_test(machine: Path, pairs: int) -> dict[str, Any] | None:
    """The newest self-test of this machine without a planted load, for gates of so many pairs."""
    for path in sorted((machine / KIND).glob("[0-9]*.json"), reverse=True):
        try:
            data = read_json(path)
            kept = data[KIND]["summary"]  # a body that is no object ends here
            if has_load(data[KIND]):
                continue
            figures = kept if kept["pairs"] == pairs else summary(data[KIND], pairs)
            return {"created": data["mfubench"]["created"], **figures}
        except (ResultError, KeyError, TypeError, ValueError):
            continue
    return None
