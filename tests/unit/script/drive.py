"""Runs scripts bare and under `mfubench run`, each in a child of one process that has imported
torch already: a start of Python and torch for each would take minutes.

    python drive.py FOLDER SCRIPT …     "recomputing.py reentrant" is a script with an argument

In FOLDER each run leaves NAME.bare.out, NAME.bare.err, NAME.run.out, NAME.run.err and NAME.json
(the record); the exit statuses are printed as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
import torch._dynamo  # each child would import it for itself

SCRIPTS = Path(__file__).parent / "scripts"


def in_child(run: Callable[[], object], out: Path, err: Path) -> int:
    """The exit status of `run` in a forked child, its output in two files."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    try:
        # As Python ends: exit functions, then the status.
        status = run()
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    import atexit

    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 0 if status is None else 1)


def bare(script: str, arguments: list[str]) -> None:
    import runpy

    sys.argv[:] = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


def watched(script: str, arguments: list[str], folder: Path, name: str) -> int:
    from mfubench.cli import main

    return main(
        [
            *("run", "--no-ceilings", "--results-dir", str(folder / f"{name}.results")),
            *("--json", str(folder / f"{name}.json"), script, *arguments),
        ]
    )


def main() -> None:
    folder, statuses = Path(sys.argv[1]), {}
    torch.set_num_threads(1)
    for line in sys.argv[2:]:
        script, *arguments = line.split()
        name = "-".join([Path(script).stem, *arguments])
        path = str(SCRIPTS / script)
        statuses[name] = [
            in_child(
                lambda path=path, arguments=arguments: bare(path, arguments),  # type: ignore[misc]
                folder / f"{name}.bare.out",
                folder / f"{name}.bare.err",
            ),
            in_child(
                lambda path=path, arguments=arguments, name=name: watched(  # type: ignore[misc]
                    path, arguments, folder, name
                ),
                folder / f"{name}.run.out",
                folder / f"{name}.run.err",
            ),
        ]
    print(json.dumps(statuses))


if __name__ == "__main__":
    main()
