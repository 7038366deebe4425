"""What it costs each rank to be measured: DDP's step as it is, beside the same step while watched.

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 benchmarks/ranks_overhead.py [PAIRS] [OF SMALL]

Two ways to be watched take turns with the bare step, in one process per rank, in an order that is
drawn anew each time:

- `mfubench ranks`: its communication hook, which notes arrivals and messages, and DDP's counters;
- `mfubench run` below torchrun: the hooks that find a script's optimizer steps.

What watching adds does not depend on the size of a step: it is a few calls per step and per bucket
of gradients. So it is seen best in a step that does next to nothing but send one message. That
difference, as a share of a step of 40 ms, is known a hundred times more closely than the ratio of
two such steps. It asserts nothing: the machine must be quiet.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mfubench_model.corpus import open_corpus
from mfubench_model.presets import PRESETS
from torch.nn.parallel import DistributedDataParallel

from mfubench.analysis.paired import paired_ratio
from mfubench.hardware.devices import CpuDevice
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.ranks.measure.communication import Communication
from mfubench.ranks.measure.strategies import DDPStep, Replica
from mfubench.script.run import TrainingRun

BATCH, STEPS, SMALL_STEPS, STEP_S = 4, 10, 500, 0.040
WARM_STEPS, SETTLING_STEPS = 8, 2
"""Before all turns; and at the start of each, where the hooks have just been put in place."""
BARE, RANKS, RUN = "bare", "mfubench ranks", "mfubench run"
Step = Callable[[], object]


def turn_s(step: Step, steps: int, *, watched: bool) -> float:
    """Seconds of a step in a turn on this rank."""
    run = TrainingRun()
    if watched:
        run.start()
        run._to_count.clear()  # hooks only: FLOPs are counted in two to five steps of a whole run
        run._set_alarm()
    for _ in range(SETTLING_STEPS):
        step()
    dist.barrier()
    since_s = time.perf_counter()
    for _ in range(steps):
        step()
    seconds = time.perf_counter() - since_s
    if watched:
        run.stop()
    return seconds / steps


def in_turns(
    bare: Step, noted: Step, forget: Step, steps: int, pairs: int
) -> dict[str, list[float]]:
    """The seconds of a step in all turns on this rank, by what was watching."""
    kinds = {BARE: (bare, False), RANKS: (noted, False), RUN: (bare, True)}
    for _ in range(WARM_STEPS):
        bare()
        noted()
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(pairs):
        for kind in random.Random(number).sample(list(kinds), len(kinds)):
            step, watched = kinds[kind]
            forget()
            seconds[kind].append(turn_s(step, steps, watched=watched))
    return seconds


def of_small_steps(pairs: int) -> dict[str, list[float]]:
    """Steps of one layer of 8 by 8, whose gradients are one message."""
    group = dist.group.WORLD
    assert group is not None
    communication = Communication(group, has_queue=False)

    def step_of(model: DistributedDataParallel) -> Step:
        optimizer, batch = torch.optim.SGD(model.parameters()), torch.randn(8, 8)

        def step() -> None:
            model(batch).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    noted = DistributedDataParallel(torch.nn.Linear(8, 8))
    communication.attach(noted)
    bare = DistributedDataParallel(torch.nn.Linear(8, 8))
    return in_turns(step_of(bare), step_of(noted), communication.forget, SMALL_STEPS, pairs)


def of_real_steps(pairs: int, folder: Path) -> dict[str, list[float]]:
    """Steps of a small GPT."""
    preset = PRESETS["nanogpt-cpu"]
    sizes = {"vocab_size": preset.config.vocab_size, "block_size": preset.config.block_size}
    workload = GPTWorkload(preset, BATCH, open_corpus(None, cache_dir=folder, **sizes))
    how: dict[str, Any] = {"dtype": "float32", "compile": False, "rank": dist.get_rank()}
    bare = Replica(workload, CpuDevice(), **how)
    bare._forward_model = DistributedDataParallel(bare._forward_model)
    noted = DDPStep(workload, CpuDevice(), **how)
    return in_turns(bare, noted, noted.communication.forget, STEPS, pairs)


def main() -> None:
    dist.init_process_group("gloo")
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    small_pairs = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    who = f"rank {dist.get_rank()}"
    small = of_small_steps(small_pairs)
    with tempfile.TemporaryDirectory(prefix="mfubench-") as name:
        real = of_real_steps(pairs, Path(name))
    for kind in (RANKS, RUN):
        found = paired_ratio(small[kind], small[BARE])
        bare_s = sorted(small[BARE])[small_pairs // 2]
        more, low, high = ((bound - 1) * bare_s for bound in (found.ratio, found.low, found.high))
        print(
            f"{who}, {kind}, {bare_s * 1e6:.0f} us with one message: {more * 1e6:+.1f} us "
            f"(95 % interval {low * 1e6:+.1f} to {high * 1e6:+.1f} us, {small_pairs} pairs); of "
            f"{STEP_S * 1e3:g} ms {more / STEP_S:.3%}, at most {high / STEP_S:.3%}",
            flush=True,
        )
        found = paired_ratio(real[kind], real[BARE])
        step_ms = sorted(real[BARE])[pairs // 2] * 1e3
        print(
            f"{who}, {kind}, steps of {step_ms:.1f} ms: watched / bare = {found.ratio:.4f} (95 % "
            f"interval {found.low:.4f} to {found.high:.4f}, {pairs} pairs)",
            flush=True,
        )
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
