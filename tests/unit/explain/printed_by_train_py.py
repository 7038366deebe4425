"""What nanoGPT's train.py would print: the same words, and mfu by the same arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

CPU_OVERRIDES: Mapping[str, object] = {
    "device": "cpu",
    "compile": False,
    "eval_iters": 20,
    "log_interval": 1,
    "block_size": 64,
    "batch_size": 12,
    "n_layer": 4,
    "n_head": 4,
    "n_embd": 128,
    "max_iters": 2000,
}
CPU_FLOPS = 3_969_515_520
"""nanoGPT's count for one iteration of that run: 768 tokens * (6 * 795,904 + 12 * 4 * 128 * 64)."""


def header(
    overrides: Mapping[str, object] = CPU_OVERRIDES,
    *,
    tokens: int = 768,
    parameters: str = "0.80M",
    decayed: str = "802,944",
    vocabulary: int = 65,
) -> list[str]:
    """From the overrides to the optimizer."""
    return [
        *(f"Overriding: {name} = {value}" for name, value in overrides.items()),
        f"tokens per iteration will be: {tokens:,}",
        f"found vocab_size = {vocabulary} (inside data/shakespeare_char/meta.pkl)",
        "Initializing a new model from scratch",
        f"number of parameters: {parameters}",
        f"num decayed parameter tensors: 18, with {decayed} parameters",
        "num non-decayed parameter tensors: 9, with 1,152 parameters",
        "using fused AdamW: False",
    ]


def iterations(
    times_ms: Iterable[float],
    *,
    flops: float = CPU_FLOPS,
    first: int = 0,
    log_interval: int = 1,
    eval_interval: int | None = 250,
    losses: Sequence[str] = (),
) -> list[str]:
    """One line per time, with the evaluations and checkpoints before them; mfu as train.py does."""
    lines = []
    running = -1.0
    for row, time_ms in enumerate(times_ms):
        iteration = first + row * log_interval
        if eval_interval is not None and iteration % eval_interval == 0:
            lines.append(f"step {iteration}: train loss 2.1234, val loss 2.2345")
            if iteration > 0:
                lines.append("saving checkpoint to out-shakespeare-char")
        if row * log_interval >= 5:
            mfu = flops / (time_ms / 1e3) / 312e12
            running = mfu if running == -1.0 else 0.9 * running + 0.1 * mfu
        loss = losses[row] if row < len(losses) else f"{1.5 + 2.7 / (1 + iteration):.4f}"
        lines.append(
            f"iter {iteration}: loss {loss}, time {time_ms:.2f}ms, mfu {running * 100:.2f}%"
        )
    return lines


def cpu_times_ms(count: int = 600, *, evaluation_ms: float = 800.0) -> list[float]:
    """About 37 ms, with evaluations every 250 and a first iteration that took 300 ms more."""
    times = [37.0 + 0.37 * ((7 * i) % 11 - 5) for i in range(count)]
    for i in range(0, count, 250):
        times[i] += evaluation_ms
    times[0] += 300.0
    return times


def cpu_log(count: int = 600) -> list[str]:
    """nanoGPT's README run for a CPU."""
    return header() + iterations(cpu_times_ms(count))


def as_bytes(lines: Iterable[str], end: str = "\n") -> bytes:
    return "".join(line + end for line in lines).encode()
