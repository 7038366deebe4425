"""What this machine's folder knows about its own gate."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import asdict

from mfubench.gate.rules.document import DatedSummary, SelfTest
from mfubench.gate.rules.policy import RULE
from mfubench.gate.rules.trials import summary
from mfubench.results.folder import saved_documents
from mfubench.results.read import read_document


def newest_self_test(machine: Path, pairs: int) -> DatedSummary | None:
    """The newest self-test of this machine without a planted load, for gates of so many pairs."""
    for path in saved_documents(machine, "self-test"):
        try:
            document = read_document(path)
            if document.has_load():
                continue
            kept = document.read(SelfTest)
            figures = kept.summary
            if figures.pairs != pairs or figures.rule != RULE:
                figures = summary(kept.measured, pairs)
        except ValueError:  # not valid, or too few pairs
            continue
        return DatedSummary(created=document.header.created, **asdict(figures))
    return None
