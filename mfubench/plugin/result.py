"""What a saved file says beside pytest-benchmark's own: the machine, and all that it drops."""

from __future__ import annotations

import platform
import time
from typing import TYPE_CHECKING, Any

from mfubench import __version__
from mfubench.hardware import provenance
from mfubench.results.outcomes import SCHEMA_VERSION, Outcome

if TYPE_CHECKING:
    from mfubench.hardware.fingerprint import Fingerprint
    from mfubench.suite.session import BenchSession
    from mfubench.suite.sweep import SweepOptions


def machine_info(fingerprint: Fingerprint) -> dict[str, Any]:
    """The stable facts that pytest-benchmark compares between runs, and nothing that drifts.

    Its own version carries the host name, the kernel and the momentary clock, and warns at every
    container start; kernel and clock are in the provenance of the run instead.
    """
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": platform.processor(),
        "python_implementation": platform.python_implementation(),
        "python_version": platform.python_version(),
        "cpu": {"brand_raw": fingerprint.parts.get("cpu_model_name")},
        "fingerprint": fingerprint.id,
    }


def our_part(
    session: BenchSession, options: SweepOptions, fingerprint: Fingerprint
) -> dict[str, Any]:
    """The `mfubench` object of a result file; docs/results.md describes it."""
    return {
        "schema_version": SCHEMA_VERSION,
        "mfubench_version": __version__,
        "fingerprint": {"id": fingerprint.id, "parts": dict(fingerprint.parts)},
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
        "software": provenance.software(),
        "settings": provenance.settings(),
        "started_at_s": session.started_at_s,
        "finished_at_s": time.time(),
        "complete": not session.interrupted,
        "other_outcomes": [
            record.as_extra_info() for record in session.records if record.outcome is not Outcome.OK
        ],
    }
