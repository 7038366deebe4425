"""What a saved run says beside pytest-benchmark's own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mfubench.results.document import header
from mfubench.results.outcomes import Outcome

if TYPE_CHECKING:
    from mfubench.suite.session import BenchSession
    from mfubench.suite.sweep import SweepOptions


def our_part(session: BenchSession, options: SweepOptions) -> dict[str, Any]:
    """The `mfubench` object of a result file; docs/results.md describes it."""
    return {
        **header(),
        "sweep": {
            "name": options.sweep,
            "presets": list(options.presets),
            "devices": list(session.device_names),
            "dtypes": options.dtypes,
            "batch_sizes": options.batch_sizes,
            "compile": options.compile,
            # Its name alone: where a user keeps their files is nobody's business.
            "corpus": options.corpus.name if options.corpus else None,
            "corpora": {
                f"vocab {vocab}, context {context}": {"name": c.name, "sha256": c.sha256}
                for (vocab, context), c in session.corpora.items()
            },
            "threads": session.threads,
        },
        "devices": {name: session.device(name).description() for name in session.device_names},
        "started_at_s": session.started_at_s,
        "finished_at_s": time.time(),
        "complete": not session.interrupted,
        "other_outcomes": [
            record.as_extra_info() for record in session.records if record.outcome is not Outcome.OK
        ],
    }
