"""Loads the suite's pytest plugin and Hypothesis profiles, nothing else."""

from __future__ import annotations

import os

pytest_plugins = ["mfubench.plugin", "pytester"]

try:
    from hypothesis import settings
except ImportError:  # a benchmark run does not need it
    pass
else:
    settings.register_profile("default", deadline=None, print_blob=True)
    settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True)
    settings.load_profile("ci" if os.environ.get("CI") else "default")
