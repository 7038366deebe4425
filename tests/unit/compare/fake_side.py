"""Stands in for `mfubench/script/side_main.py`: answers as a training script would, without torch
and without a clock. The script's name says how it behaves, its arguments how fast it is."""

import json
import os
import sys
import time
from multiprocessing.connection import Client
from pathlib import Path

address, key = json.loads(os.environ["MFUBENCH_SIDE_ADDRESS"]), os.environ["MFUBENCH_SIDE_KEY"]
address = tuple(address) if isinstance(address, list) else address
connection = Client(address, authkey=bytes.fromhex(key))
asked = json.loads(connection.recv_bytes())
name, arguments = asked["script"], asked["arguments"]
options = dict(word.removeprefix("--").split("=") for word in arguments)
step_s, steps = float(options.get("step_s", 0.01)), int(options.get("start", 6))
lr = float(options.get("lr", 1.0))
log = Path(options["log"]) if "log" in options else None


def reply(answer):
    connection.send_bytes(json.dumps(answer).encode())


def losses(first, last):
    noise = os.getpid() * 1e-6 if name == "noisy.py" else 0.0
    return [4.0 - lr * 0.01 * step + noise for step in range(first, last)]


def note(what):
    if log is not None:
        with log.open("a") as file:
            file.write(f"{options['who']} {what}\n")


if name == "fails.py":
    reply({"error": "the script failed: ValueError: no such file", "outcome": "error"})
if name == "hangs.py":
    time.sleep(600)
if name == "dies.py":
    print("out of disk", file=sys.stderr, flush=True)
    os._exit(7)
if asked["waits"]:
    reply({"loaded": True})
    note(json.loads(connection.recv_bytes()))
    time.sleep(0.05)
    note("started")
software = {"python": "3", "torch": "2", "threads": 1, "device": "cpu", "is_compiled": False}
reply(
    {
        "start_up_s": 2.0,
        "step_s": step_s,
        "steps": steps,
        "compile_s": None,
        "tokens_per_step": 100,
        "workers": 0,
        "software": software,
        "losses": losses(0, steps),
    }
)
while True:
    request = json.loads(connection.recv_bytes())
    if request.get("stop"):
        break
    note(request)
    writes = {"peak_bytes": 1000, "writes": [options["writes"]] if "writes" in options else []}
    if "count" in request:
        reply(writes)
        continue
    last = steps + request["turn"]
    end = int(options.get("ends_after", 1_000_000))
    if last > end:
        given = losses(steps, end)
        reply({"ended": end - steps, "reason": options.get("reason"), "losses": given, **writes})
        break
    reply({"step_s": step_s, "losses": losses(steps, last)})
    steps = last
