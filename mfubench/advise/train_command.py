"""The command line of nanoGPT's `train.py` for a configuration, as far as flags can say it."""

from __future__ import annotations

import shlex
from typing import Any

from mfubench_model.presets import get_preset

from mfubench.measure.loop_config import LoopConfig


def train_command(config: LoopConfig) -> str:
    """What to type in nanoGPT's folder. Changes of its code are not in it."""
    preset, scale = get_preset(config.preset), config.schedule_scale
    iterations = preset.max_iters // scale
    flags: dict[str, Any] = {
        "device": config.device,
        # train.py allows TF32 wherever it runs in float32.
        "dtype": "float32" if config.dtype == "tf32" else config.dtype,
        "compile": config.compile != "no",
        "eval_iters": preset.eval_iters,
        "eval_interval": config.eval_interval or preset.eval_interval,
        "log_interval": config.log_interval or preset.log_interval,
        "block_size": preset.config.block_size,
        "batch_size": config.batch_size,
        "n_layer": preset.config.n_layer,
        "n_head": preset.config.n_head,
        "n_embd": preset.config.n_embd,
        "max_iters": iterations,
        "lr_decay_iters": iterations,
        "dropout": preset.config.dropout,
    }
    if config.gradient_accumulation > 1:
        flags["gradient_accumulation_steps"] = config.gradient_accumulation
    if scale > 1:
        flags["learning_rate"] = scale * preset.learning_rate
        flags["min_lr"] = scale * preset.learning_rate / 10
        flags["warmup_iters"] = min(100, preset.max_iters // 10) // scale
    variables = dict(config.environment)
    if config.threads is not None:
        variables["OMP_NUM_THREADS"] = str(config.threads)
    words = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    if config.cpus is not None:
        words += ["taskset", "-c", ",".join(map(str, config.cpus))]
    words += ["python", "train.py", preset.nanogpt_config]
    words += [f"--{name}={value}" for name, value in flags.items()]
    return " ".join(words)
