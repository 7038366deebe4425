"""What `mfubench run` costs a script: per step, and at the start. About 5 minutes on 2 cores.

    python benchmarks/script_overhead.py [PAIRS OF BLOCKS] [PAIRS OF STARTS] [OF SMALL STEPS]

Steps: one process trains a small GPT; the hooks are in place for a block of steps and away for the
next (A B B A), so that the machine's drift meets both. Starts: a short script, bare and under
`mfubench run`, process after process in the same order. Prints the median ratio (of starts the
difference too) with its 95 % interval. It asserts nothing: the machine must be quiet.

Hooks alone: the hooks run as often in a step of any size, so that their cost is seen best in a step
that does next to nothing. That difference, as a share of a step of 40 ms, is known a hundred times
more closely than the ratio of two steps of 40 ms.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from mfubench_model.corpus import open_corpus
from mfubench_model.presets import PRESETS

from mfubench.analysis.paired import paired_ratio
from mfubench.hardware.devices import CpuDevice
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.measure.train_step import TrainStep
from mfubench.script.run import TrainingRun

BLOCK_STEPS = 10
SMALL_STEPS, STEP_S = 1000, 0.040
SETTLING_STEPS = 2
"""Steps at the start of a block that are not timed: the hooks have just been put in place."""
SCRIPT = """
import torch
model = torch.nn.Linear(8, 8)
optimizer = torch.optim.SGD(model.parameters())
for _ in range(3):
    model(torch.randn(8, 8)).sum().backward()
    optimizer.step()
"""


def block_s(step: Callable[[], object], *, watched: bool, steps: int = BLOCK_STEPS) -> float:
    """Seconds of a block of steps, with the hooks of `mfubench run` in place or without."""
    run = TrainingRun()
    if watched:
        run.start()
        run._to_count.clear()  # hooks only: FLOPs are counted in two to five steps of a whole run
        run._set_alarm()
    for _ in range(SETTLING_STEPS):
        step()
    since_s = time.perf_counter()
    for _ in range(steps):
        step()
    seconds = time.perf_counter() - since_s
    if watched:
        run.stop()
    return seconds


def steps(pairs: int, folder: Path) -> str:
    preset = PRESETS["nanogpt-cpu"]
    sizes = {"vocab_size": preset.config.vocab_size, "block_size": preset.config.block_size}
    corpus = open_corpus(None, cache_dir=folder, **sizes)
    workload = GPTWorkload(preset, preset.batch_size, corpus)
    step = TrainStep(workload, CpuDevice(), dtype="float32", compile=False)
    for _ in range(20):
        step()
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for number in range(pairs):
        for watched in (False, True) if number % 2 else (True, False):
            seconds[watched].append(block_s(step, watched=watched))
    found = paired_ratio(seconds[True], seconds[False])
    typical_ms = sorted(seconds[False])[pairs // 2] / BLOCK_STEPS * 1e3
    return (
        f"steps of {typical_ms:.1f} ms: with hooks / without = {found.ratio:.4f} (95 % interval "
        f"{found.low:.4f} to {found.high:.4f}, {found.pairs} pairs, {BLOCK_STEPS} steps a block)"
    )


def hooks_alone(pairs: int) -> str:
    model = torch.nn.Linear(8, 8)
    optimizer, batch = torch.optim.SGD(model.parameters()), torch.randn(8, 8)

    def step() -> None:
        model(batch).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    seconds: dict[bool, list[float]] = {False: [], True: []}
    for number in range(-2, pairs):  # the first ones warm up
        for watched in (False, True) if number % 2 else (True, False):
            taken_s = block_s(step, watched=watched, steps=SMALL_STEPS)
            if number >= 0:
                seconds[watched].append(taken_s)
    found = paired_ratio(seconds[True], seconds[False])
    bare_s = sorted(seconds[False])[pairs // 2] / SMALL_STEPS
    more, low, high = ((bound - 1) * bare_s for bound in (found.ratio, found.low, found.high))
    return (
        f"hooks alone, on a step of {bare_s * 1e6:.0f} us: {more * 1e6:.1f} us (95 % interval "
        f"{low * 1e6:.1f} to {high * 1e6:.1f} us, {found.pairs} pairs); of a step of "
        f"{STEP_S * 1e3:g} ms {more / STEP_S:.3%}, at most {high / STEP_S:.3%}"
    )


def starts(pairs: int, folder: Path) -> str:
    script = folder / "train.py"
    script.write_text(SCRIPT, encoding="utf-8")
    options = ["run", "--no-ceilings", "--results-dir", str(folder / "results")]
    commands = {
        False: [sys.executable, str(script)],
        True: [sys.executable, "-m", "mfubench", *options, str(script)],
    }
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for number in range(-1, pairs):  # the first pair fills the file cache
        for watched in (False, True) if number % 2 else (True, False):
            since_s = time.perf_counter()
            subprocess.run(commands[watched], check=True, capture_output=True)
            if number >= 0:
                seconds[watched].append(time.perf_counter() - since_s)
    found = paired_ratio(seconds[True], seconds[False])
    bare_s = sorted(seconds[False])[pairs // 2]
    more, low, high = ((bound - 1) * bare_s for bound in (found.ratio, found.low, found.high))
    return (
        f"a script of {bare_s:.2f} s from start to end: {more:+.2f} s (95 % interval {low:+.2f} to "
        f"{high:+.2f} s) under mfubench run, its report and its file included; {found.pairs} pairs"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="mfubench-") as name:
        print(hooks_alone(int(sys.argv[3]) if len(sys.argv) > 3 else 40), flush=True)
        print(steps(int(sys.argv[1]) if len(sys.argv) > 1 else 120, Path(name)))
        print(starts(int(sys.argv[2]) if len(sys.argv) > 2 else 12, Path(name)))
