"""Peak memory of a step: the closed form of what is saved, and what lives beside it at the peak.

Letters: N tokens, C width, V vocabulary, P parameters.
"""

from __future__ import annotations

from mfubench_model.memory import TrainingMemory, training_memory

from mfubench.predict.document import Setting

GPU_WORKSPACE_BYTES = 65 * 2**20
"""What cuBLAS keeps for itself: an H200's step of 0.8 million parameters had it besides."""
CPU_PARAMETERS, CPU_SAVED, CPU_LOGITS, CPU_TABLE, CPU_STREAMS = 16.2, 0.96, 4.3, 1.5, 27.1
FLOAT32_BYTES = 4


def peak_memory_bytes(setting: Setting, device: str) -> int:
    """Bytes at the peak of a step, as results have them: of tensors on a GPU, resident on a CPU.

    GPU: the closed form without one float32 table of logits (4·N·V) and without the gradients,
    which are not there yet when the loss goes backward, and 65 MiB of workspace. Compiled, without
    one more table. Source: ten stored steps of an H200, of 0.8 to 124 million parameters, all
    within 4 %.

    CPU: 16.2·P (weights, gradients, moments, and temporaries) + 0.96 of what is saved + 4.3 tables
    of float32 logits + 1.5 token tables + 27.1 tensors of N·C (what one layer's backward
    needs beside what it had saved) + 1 MiB. Source: fitted to 49 eager steps on an AMD EPYC, of
    0.01 to 124 million parameters: median error 7 %, 90th percentile 14 %; the same step measured
    twice differs as much, by what the heap had before.

    >>> gpt2 = Setting(preset="gpt2", device="cuda", dtype="bfloat16", batch_size=12,
    ...                block_size=1024, compile=False, n_layer=12, n_head=12, n_embd=768,
    ...                vocab_size=50304)
    >>> round(peak_memory_bytes(gpt2, "cuda") / 1e9, 2)  # an H200 measured 12.14
    12.13
    """
    dtype = "float32" if setting.dtype == "tf32" else setting.dtype
    kind = device.partition(":")[0].partition(" ")[0]
    memory = training_memory(setting.config, setting.batch_size, dtype=dtype, device_type=kind)
    tokens = setting.batch_size * setting.block_size
    logits = FLOAT32_BYTES * tokens * setting.vocab_size
    if kind == "cpu":
        return _resident(setting, memory, logits)
    fewer = 2 * logits if setting.compile else logits
    return memory.total_bytes - memory.gradients_bytes - fewer + GPU_WORKSPACE_BYTES


def _resident(setting: Setting, memory: TrainingMemory, logits: int) -> int:
    return round(
        CPU_PARAMETERS * memory.parameters_bytes / FLOAT32_BYTES
        + CPU_SAVED * memory.activations_bytes
        + CPU_LOGITS * logits
        + CPU_TABLE * FLOAT32_BYTES * setting.vocab_size * setting.n_embd
        + CPU_STREAMS * FLOAT32_BYTES * setting.batch_size * setting.block_size * setting.n_embd
        + 2**20
    )
