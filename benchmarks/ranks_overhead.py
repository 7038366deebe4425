"""What it costs each rank to be measured: DDP's step as it is, beside the same step while watched.

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 benchmarks/ranks_overhead.py [PAIRS OF TURNS]

Two ways to be watched take turns with the bare step, in one process per rank (A B C C B A):

- `mfubench ranks`: its communication hook, which notes arrivals and messages, and DDP's counters;
- `mfubench run` below torchrun: the hooks that find a script's optimizer steps.

Each rank prints the median ratio of turns with its 95 % interval. It asserts nothing: the machine
must be quiet.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from mfubench_model.corpus import open_corpus
from mfubench_model.presets import PRESETS
from torch.nn.parallel import DistributedDataParallel

from mfubench.analysis.paired import paired_ratio
from mfubench.hardware.devices import CpuDevice
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.ranks.measure.strategies import DDPStep, Replica
from mfubench.script.run import TrainingRun

BATCH, STEPS, WARM_STEPS = 4, 4, 8
BARE, RANKS, RUN = "bare", "mfubench ranks", "mfubench run"


def turn_s(step: Callable[[], object], *, watched: bool) -> float:
    """Seconds of a turn on this rank; one step before it is not timed."""
    run = TrainingRun()
    if watched:
        run.start()
        run._to_count.clear()  # hooks only: FLOPs are counted in two to five steps of a whole run
        run._set_alarm()
    step()
    dist.barrier()
    since_s = time.perf_counter()
    for _ in range(STEPS):
        step()
    seconds = time.perf_counter() - since_s
    if watched:
        run.stop()
    return seconds


def measured(pairs: int, folder: Path) -> dict[str, list[float]]:
    """The seconds of all turns on this rank, by what was watching."""
    preset = PRESETS["nanogpt-cpu"]
    sizes = {"vocab_size": preset.config.vocab_size, "block_size": preset.config.block_size}
    workload = GPTWorkload(preset, BATCH, open_corpus(None, cache_dir=folder, **sizes))
    how = {"dtype": "float32", "compile": False, "rank": dist.get_rank()}
    bare = Replica(workload, CpuDevice(), **how)
    bare._forward_model = DistributedDataParallel(bare._forward_model)
    noted = DDPStep(workload, CpuDevice(), **how)
    kinds = {BARE: (bare, False), RANKS: (noted, False), RUN: (bare, True)}
    for step, _ in kinds.values():
        for _ in range(WARM_STEPS):
            step()
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(pairs):
        for kind in list(kinds)[:: -1 if number % 2 else 1]:
            step, watched = kinds[kind]
            noted.communication.forget()
            seconds[kind].append(turn_s(step, watched=watched))
    return seconds


def main() -> None:
    dist.init_process_group("gloo")
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory(prefix="mfubench-") as name:
        seconds = measured(pairs, Path(name))
    step_ms = sorted(seconds[BARE])[pairs // 2] / STEPS * 1e3
    for kind in (RANKS, RUN):
        found = paired_ratio(seconds[kind], seconds[BARE])
        print(
            f"rank {dist.get_rank()}, steps of {step_ms:.1f} ms: under {kind} / bare = "
            f"{found.ratio:.4f} (95 % interval {found.low:.4f} to {found.high:.4f}, {pairs} pairs)",
            flush=True,
        )
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
