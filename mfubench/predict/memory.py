"""Peak memory: the closed form, with what it leaves out."""

from __future__ import annotations

from mfubench_model.memory import training_memory

from mfubench.predict.document import Setting


def peak_memory_bytes(setting: Setting, device: str) -> int:
    """Bytes at the peak of an eager step."""
    dtype = "float32" if setting.dtype == "tf32" else setting.dtype
    memory = training_memory(
        setting.config, setting.batch_size, dtype=dtype, device_type=device.partition(":")[0]
    )
    return memory.total_bytes
