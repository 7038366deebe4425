"""`python -m mfubench`, the same as the command `mfubench`."""

from __future__ import annotations

import os
import sys

# `python -m` puts the folder where the user stands first on the path: there, a `timing.py` or a
# `config.py` of theirs must not be taken for a module that we or torch import.
if not sys.flags.safe_path and sys.path[0] == os.getcwd():  # noqa: PTH109 - pathlib comes too late
    del sys.path[0]


def main() -> int:
    """The command line. What interrupts it while it is loaded is no traceback either."""
    try:
        from mfubench.cli import main

        return main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
