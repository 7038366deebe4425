"""What a training run needs of memory."""

from __future__ import annotations

import sys
from typing import Any


def process_bytes(name: str) -> int | None:
    """VmRSS, VmHWM or RssFile of this process on Linux, which writes them in kB of 1024 bytes."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            for line in file:
                if line.startswith(name + ":"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None


def own_bytes(name: str) -> int | None:
    """The same without pages of files, which a fork maps again one by one as it uses them."""
    size, of_files = process_bytes(name), process_bytes("RssFile")
    return None if size is None or of_files is None else size - of_files


def peak_memory_bytes(before_bytes: int | None, device: Any) -> int | None:
    """On an accelerator the most that tensors held; on a CPU by how much the process grew after
    torch was imported, of which `before_bytes` is the size then."""
    import torch

    if device is not None and device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    highest = process_bytes("VmHWM")
    if highest is None or before_bytes is None:
        return None
    return max(0, highest - before_bytes)
