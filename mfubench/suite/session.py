"""One run of the suite: its options, devices, ceilings, corpora and the records it collects."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Hashable
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from mfubench_model.corpus import Corpus, open_corpus
from mfubench_model.flops import model_flops_per_step
from mfubench_model.presets import PRESETS

from mfubench.hardware import ceilings
from mfubench.hardware.ceiling_cache import CeilingCache, StoredCeiling, ceiling_key
from mfubench.hardware.cpu import usable_cores
from mfubench.hardware.devices import Device, available_devices, parse_device
from mfubench.hardware.dtypes import DTYPES
from mfubench.measure.gpt_workload import GPTWorkload
from mfubench.measure.precision import matmul_precision, measured_error_ratio
from mfubench.measure.train_step import use_once
from mfubench.results.case_id import CaseId
from mfubench.results.journal import Journal
from mfubench.results.record import CaseRecord
from mfubench.suite.progress import Progress
from mfubench.suite.sweep import SweepOptions
from mfubench.timing import time_s

LONGEST_CPU_STEP_S = 1.0
"""GPT-2 on a CPU takes minutes per case: beside a GPU, that is measured when it is asked for."""


class Closable(Protocol):
    """What cases of a run share until it ends."""

    def close(self) -> None:
        """Give back what it holds."""


Shared = TypeVar("Shared", bound=Closable)


class BenchSession:
    """What the cases of one run share."""

    def __init__(self, options: SweepOptions, progress: Progress, *, machine_dir: Path) -> None:
        self.options = options
        self.progress = progress
        self.records: list[CaseRecord] = []
        self.interrupted = False
        self.started_at_s = time.time()
        self.machine_dir = machine_dir
        self._open = contextlib.ExitStack()
        self._open.callback(torch.set_num_threads, torch.get_num_threads())
        self.threads = self._set_threads()
        self.journal = Journal(machine_dir)
        self.ceilings = CeilingCache(machine_dir / "ceilings.json")
        scratch = tempfile.TemporaryDirectory(prefix="mfubench-corpus-", ignore_cleanup_errors=True)
        self._scratch = Path(self._open.enter_context(scratch))
        self.corpora: dict[tuple[int, int], Corpus] = {}
        self._devices: dict[str, Device] = {}
        self._used: set[str] = set()
        self._product_errors: dict[tuple[str, str], float | None] = {}
        self._shared: dict[Hashable, Any] = {}
        self.ceiling_records: dict[str, list[CaseRecord]] = {}
        """The records of each ceiling in this run, to be put right when it is measured again: the
        first look may have come in a busy moment."""

    def _set_threads(self) -> int:
        """The asked number of threads, or torch's own choice cut to the usable cores.

        torch sees every core of the host; under a container's CPU quota its default would have
        dozens of threads fight for two.
        """
        threads = self.options.threads
        if threads is None:
            threads = max(1, min(torch.get_num_threads(), int(usable_cores().count)))
        torch.set_num_threads(threads)
        return threads

    def device(self, name: str) -> Device:
        """The device of that name, present or not."""
        if name not in self._devices:
            self._devices[name] = parse_device(name)
        return self._devices[name]

    @cached_property
    def device_names(self) -> tuple[str, ...]:
        """The devices asked for, or every one that is here."""
        if self.options.devices is not None:
            return self.options.devices
        return tuple(device.kind for device in available_devices())

    def is_fast(self, name: str, dtype: str) -> bool:
        """Whether a device computes in a dtype; a CPU may only convert to it, and crawl."""
        device = self.device(name)
        return device.kind != "cpu" or dtype in device.native_dtypes()

    def devices_of(self, preset: str) -> tuple[str, ...]:
        """The devices to sweep a preset on: all, but beside an accelerator the CPU only where a
        step at its peak takes less than `LONGEST_CPU_STEP_S`, unless devices were asked for."""
        names = self.device_names
        if self.options.devices is not None or names == ("cpu",):
            return names
        peak, _ = self.device("cpu").peak("float32")
        flops = model_flops_per_step(PRESETS[preset].config, PRESETS[preset].batch_size)
        if peak is None or flops / peak <= LONGEST_CPU_STEP_S:
            return names
        return tuple(name for name in names if name != "cpu")

    def dtypes_of(self, name: str) -> tuple[str, ...]:
        """The dtypes to sweep on a device where none were asked for."""
        device = self.device(name)
        if device.unavailable_reason() is not None:
            return ("float32",)  # one case, to say that the device is absent
        if self.options.plan.all_dtypes:
            return tuple(d for d in DTYPES if device.unsupported_reason(d) is None)
        return tuple(device.native_dtypes())

    def train_cases(self, compile_modes: tuple[bool, ...], *, sweep_batch: bool) -> list[CaseId]:
        """The cases of a training question in the order in which they run: every combination, eager
        before compiled so that first rows come early.

        A dtype that the device only converts to is swept at the smallest batch alone, unless batch
        sizes were asked for: its steps are up to a hundred times slower.
        """
        options, found = self.options, []
        multiples = options.plan.batch_multiples if sweep_batch else (1,)
        for preset in options.presets:
            sizes = options.batch_sizes or [n * PRESETS[preset].batch_size for n in multiples]
            for compiled in options.compile or compile_modes:
                for device in self.devices_of(preset):
                    for dtype in options.dtypes or self.dtypes_of(device):
                        whole = options.batch_sizes or self.is_fast(device, dtype)
                        found += [
                            CaseId(
                                preset=preset,
                                device=device,
                                dtype=dtype,
                                batch_size=size,
                                compile=compiled,
                            )
                            for size in (sizes if whole else sizes[:1])
                        ]
        return found

    def corpus(self, preset: str) -> Corpus:
        """The corpus, encoded for a preset; raises CorpusError with a sentence for the user."""
        config = PRESETS[preset].config
        key = (config.vocab_size, config.block_size)
        if key not in self.corpora:
            folder = self._scratch / f"v{key[0]}-t{key[1]}"
            folder.mkdir()
            self.corpora[key] = open_corpus(
                self.options.corpus,
                vocab_size=config.vocab_size,
                block_size=config.block_size,
                cache_dir=folder,
            )
        return self.corpora[key]

    def gpt_workload(self, preset: str, batch_size: int) -> GPTWorkload:
        """The GPT of a preset at a batch size."""
        return GPTWorkload(PRESETS[preset], batch_size, self.corpus(preset))

    def first_use(self, device: Device) -> None:
        """Let torch set itself up on a device before the first case's memory is measured."""
        if device_key(device) not in self._used:
            use_once(device)
            self._used.add(device_key(device))

    def product_error_ratio(self, device: Device, dtype: str) -> float | None:
        """The error of a matrix product in a dtype against float64, looked at once per run."""
        key = (device_key(device), dtype)
        if key not in self._product_errors:
            error = measured_error_ratio(device, ceilings.TORCH_DTYPES[dtype])
            self._product_errors[key] = error
        return self._product_errors[key]

    def shared(self, key: Hashable, make: Callable[[], Shared]) -> Shared:
        """What `make` makes the first time: the same for every case, and closed with the run."""
        if key not in self._shared:
            made = self._shared[key] = make()
            self._open.callback(made.close)
        found: Shared = self._shared[key]
        return found

    def ceiling_key(self, kind: str, device: Device, dtype: str | None) -> str:
        return ceiling_key(kind, device_key(device), dtype, self.threads, torch.__version__)

    def keep_ceiling(
        self, kernel: ceilings.Kernel, device: Device, dtype: str | None, rounds_s: list[float]
    ) -> tuple[StoredCeiling, StoredCeiling]:
        """The ceiling of these rounds, and the one that later cases are held against: the better of
        it and what was stored in the last days."""
        ceiling = ceilings.sustained(rounds_s, kernel.work)
        measured = StoredCeiling(
            kind=kernel.kind,
            device=device_key(device),
            dtype=dtype,
            threads=self.threads,
            torch_version=torch.__version__,
            rate_per_s=ceiling.rate_per_s,
            noise_ratio=ceiling.noise_ratio,
            measured_at_s=time.time(),
            detail=kernel.detail,
        )
        kept = self.ceilings.put(measured, max_age_s=self.options.ceiling_max_age_s)
        for record in self.ceiling_records.get(kept.key, []):
            record.ceiling_kept_rate_per_s = kept.rate_per_s
        return measured, kept

    def gemm_ceiling(
        self, device: Device, dtype: str, *, renew: bool = False
    ) -> StoredCeiling | None:
        """The GEMM ceiling of a dtype: from the cache, or measured now; None where it cannot be."""
        key = self.ceiling_key("gemm", device, dtype)
        run_age_s = time.time() - self.started_at_s  # what this run measured is never too old
        max_age_s = max(self.options.ceiling_max_age_s, run_age_s)
        stored = self.ceilings.get(key, max_age_s=max_age_s)
        if stored is not None and not renew:
            return stored
        budget_s = self.options.plan.ceiling_budget_s
        self.first_use(device)
        self.progress.phase(f"measuring the {dtype} GEMM ceiling of {device.kind}")
        try:
            with matmul_precision(dtype):
                kernel, _ = ceilings.best_gemm(device, dtype, budget_s=budget_s)
                rounds_s = timed_rounds(kernel.run, budget_s)
        except (RuntimeError, NotImplementedError):
            return None  # no such matmul on this device: the case says so itself
        return self.keep_ceiling(kernel, device, dtype, rounds_s)[1]

    def close(self) -> None:
        """Close what cases shared, remove the encoded corpora, give torch its threads back."""
        self._open.close()


def device_key(device: Device) -> str:
    """What tells one device of a machine from another in a ceiling's key."""
    if device.kind == "cpu":
        return "cpu"
    index = f":{device.index}" if device.index else ""
    # The fingerprint may not see which of several GPUs a container was given.
    return f"{device.kind}{index} ({device.name})"


def timed_rounds(run: Callable[[], None], budget_s: float) -> list[float]:
    """Time rounds until they add up to the budget."""
    run()
    rounds_s: list[float] = []
    while sum(rounds_s) < budget_s:
        rounds_s.append(time_s(run))
    return rounds_s
