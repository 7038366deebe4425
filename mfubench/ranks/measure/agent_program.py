"""The program that starts torchrun's own agent, told by its parent what to start.

{"ranks": n, "arguments": [...], "folder": path}   →   {"failures": [{"rank": r, ...}]}
"""

from __future__ import annotations

import os
import sys
import uuid
from typing import Any

from mfubench.pairs.child import Answer, Parent, Request


def launched(request: Request) -> Answer:
    """Run the ranks to their end below the agent, and say which failed."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    settings: Any = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=request["ranks"],
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",  # a free port, so that none can be taken
        local_addr="127.0.0.1",
        max_restarts=0,
        monitor_interval=0.2,
        logs_specs=DefaultLogsSpecs(log_dir=request["folder"], redirects=Std.ALL),
    )
    try:
        elastic_launch(settings, sys.executable)(*request["arguments"])
    except ChildFailedError as error:
        failures = [{"rank": rank, "status": f.exitcode} for rank, f in error.failures.items()]
        return {"failures": failures}
    return {"failures": []}


def main() -> None:
    """Serve until there are no more requests."""
    Parent().serve(launched)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
