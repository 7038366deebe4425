"""The worker of one side of the gate; `worker.py` has the protocol, this its requests:

    {"config": {…}, "evaluates": bool, "extra_memory_ratio": x, …}   →  {"ready": …, "origin": file}
    {"start": n}                           →  {"start_up_s", "step_s", "loss"}
    {"turn": n, "extra_ratio": x}          →  {"step_s", "extra_s", "control_s"}
    {"count": true}                        →  {"peak_bytes", "graphs"}
    {"bars": true}                         →  {"bars": {name: seconds}}

The code under test comes first on the path; everything else is the harness, the same on both sides.
"""

from __future__ import annotations

from typing import Any

from mfubench.pairs import worker


def build(request: dict[str, Any]) -> Any:
    """A case of the gate around the loop of its configuration."""
    from mfubench.gate.measure.gated_loop import GatedLoop

    return GatedLoop(
        worker.build_loop(request),
        evaluates=bool(request.get("evaluates")),
        extra_memory_ratio=request.get("extra_memory_ratio", 0.0),
    )


def respond(case: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Run what is asked for."""
    if "start" in request:
        answer: dict[str, Any] = case.start(request["start"])
        return answer
    if "turn" in request:
        turn: dict[str, Any] = case.turn(request["turn"], request.get("extra_ratio", 0.0))
        return turn
    if "count" in request:
        return {"peak_bytes": case.peak_bytes(), "graphs": case.graphs()}
    if "bars" in request:
        return {"bars": case.loop.bars()}
    return {"error": f"unknown request {sorted(request)}", "outcome": "error"}


if __name__ == "__main__":
    import torch  # noqa: F401 - before the first request, so that both sides load it at once

    worker.main(build, respond)
