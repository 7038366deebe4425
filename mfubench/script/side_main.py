"""The program of a side that is a training script, run by its path: `python PATH/side_main.py`.

The Python may be another environment than ours, with another torch. It needs nothing that ours has:
this package is loaded from where it lies, and our folder of packages does not come on its path.
"""

from __future__ import annotations

import importlib.util
import os
import sys

LEAST_PYTHON = (3, 11)


def main() -> None:
    """Load this package, then serve."""
    if sys.version_info < LEAST_PYTHON:
        sys.exit(f"Python 3.11 or later is needed; this is {sys.version.split()[0]}")
    if not sys.flags.safe_path:
        del sys.path[0]  # our own folder; the script's comes in its place
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    spec = importlib.util.spec_from_file_location(
        "mfubench",
        os.path.join(package, "__init__.py"),  # noqa: PTH118
        submodule_search_locations=[package],
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mfubench"] = module
    spec.loader.exec_module(module)
    from mfubench.pairs.forked import FORK_SERVER, NOTHING, load_and_fork
    from mfubench.script.memory import own_bytes
    from mfubench.script.side import serve

    is_server = FORK_SERVER in sys.argv
    serve(load_and_fork(lambda: own_bytes("VmRSS")) if is_server else NOTHING)


if __name__ == "__main__":
    main()
