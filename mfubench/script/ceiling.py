"""Ceilings for a script: from the cache, or measured in a process of their own, so that the
script's random numbers, threads and memory stay as they are."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from mfubench.hardware.ceiling_cache import CeilingCache, StoredCeiling, ceiling_key
from mfubench.hardware.fingerprint import fingerprint

if TYPE_CHECKING:
    from mfubench.hardware.devices import Device

MAX_AGE_S = 7 * 86400.0
BUDGET_S = 2.0
TIMEOUT_S = 300.0


def cache_of(results_dir: Path) -> CeilingCache:
    """The ceilings kept for this machine."""
    return CeilingCache(results_dir / fingerprint().id / "ceilings.json")


def any_is_stored(results_dir: Path) -> bool:
    """Whether a matrix multiplication of this torch was measured here in the last days. torch is
    not imported for it."""
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return True  # the script will say so itself
    return any(
        c.kind == "gemm" and c.torch_version == version and c.age_s() <= MAX_AGE_S
        for c in cache_of(results_dir).stored()
    )


def stored(results_dir: Path, device: Device, dtype: str, threads: int) -> StoredCeiling | None:
    """The ceiling of exactly these conditions, None where it was not measured lately."""
    import torch

    from mfubench.suite.session import device_key

    key = ceiling_key("gemm", device_key(device), dtype, threads, torch.__version__)
    return cache_of(results_dir).get(key, max_age_s=MAX_AGE_S)


def measure_apart(
    results_dir: Path,
    *,
    device: str | None = None,
    dtype: str | None = None,
    threads: int | None = None,
) -> None:
    """Measure in a child process and keep the result; without a device every one that is here, in
    its own dtypes. A child that fails leaves no ceiling, which the record then says."""
    # -P: no file of the user's folder is taken for a module.
    command = [sys.executable, "-P", "-m", "mfubench.script.ceiling", str(results_dir.absolute())]
    for option, value in (("--device", device), ("--dtype", dtype), ("--threads", threads)):
        if value is not None:
            command += [option, str(value)]
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError:
        return
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(TIMEOUT_S)
    finally:
        child.kill()
        child.wait()
        assert child.stdin is not None
        child.stdin.close()


def _end_with_parent() -> None:
    """A parent that is killed takes nothing with it; but its end of our input is closed then."""

    def wait_for_end() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait_for_end, daemon=True).start()


def main(argv: list[str] | None = None) -> int:
    """The child: measures, and writes the cache."""
    parser = argparse.ArgumentParser()
    parser.add_argument("results_dir", type=Path)
    parser.add_argument("--device")
    parser.add_argument("--dtype")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args(argv)

    import torch

    from mfubench.hardware.devices import available_devices, parse_device

    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    devices = [parse_device(arguments.device)] if arguments.device else available_devices()
    cache = cache_of(arguments.results_dir)
    for device in devices:
        for dtype in [arguments.dtype] if arguments.dtype else device.native_dtypes():
            _measure(cache, device, dtype)
    return 0


def _measure(cache: CeilingCache, device: Device, dtype: str) -> None:
    import torch

    from mfubench.hardware import ceilings
    from mfubench.measure.precision import matmul_precision
    from mfubench.measure.train_step import use_once
    from mfubench.suite.session import device_key, timed_rounds

    use_once(device)
    with matmul_precision(dtype):
        kernel, _ = ceilings.best_gemm(device, dtype, budget_s=BUDGET_S)
        rounds_s = timed_rounds(kernel.run, BUDGET_S)
    ceiling = ceilings.sustained(rounds_s, kernel.work)
    cache.put(
        StoredCeiling(
            kind=kernel.kind,
            device=device_key(device),
            dtype=dtype,
            threads=torch.get_num_threads(),
            torch_version=torch.__version__,
            rate_per_s=ceiling.rate_per_s,
            noise_ratio=ceiling.noise_ratio,
            measured_at_s=time.time(),
            detail=kernel.detail,
        ),
        max_age_s=MAX_AGE_S,
    )


if __name__ == "__main__":
    _end_with_parent()
    sys.exit(main())
