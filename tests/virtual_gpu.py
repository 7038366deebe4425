"""A GPU that runs behind our back, on a clock that only it and its host move.

Work is put into queues and done later: an operator on a tensor of the device costs the host a
launch and the device a known time; `synchronize`, an event and a value that is read wait; streams
overlap; a captured graph is one launch. Nothing is computed (tensors are on torch's meta device)
and nothing is random, so that what any measurement should find can be said exactly, and a missing
wait shows as a wrong number, in no time at all.

It is the module behind a `CudaDevice`, in place of `torch.cuda`, and a dispatch mode: everything
that runs inside `with gpu:` passes through it.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_structure, tree_unflatten

import mfubench
from mfubench import timing
from mfubench.hardware.devices import CudaDevice
from tests.unit.measure.fake_events import FakeEvent

PRODUCT = str(mfubench.__path__[0])
GIB = 2**30
Site = tuple[str, int]
"""File (below the package) and line of a call that waits."""

_PRODUCTS = ("mm", "addmm", "bmm")
_NO_KERNEL = ("empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided", "view")
_NO_KERNEL += ("_unsafe_view", "detach", "detach_", "alias", "scalar_tensor", "lift_fresh")


@dataclass(slots=True)
class Kernel:
    """One piece of work of a stream, in seconds of the virtual clock."""

    name: str
    length_s: float
    stream: int
    start_s: float = 0.0
    recorded: bool = True

    @property
    def end_s(self) -> float:
        return self.start_s + self.length_s


class Event:
    """A mark in a stream; its time can be read once the device has reached it and not before."""

    def __init__(self, gpu: VirtualGpu, *, enable_timing: bool = False) -> None:
        self._gpu, self._timed, self.at_s = gpu, enable_timing, math.nan

    def record(self, stream: object = None) -> None:
        self.at_s = max(self._gpu.host_s, self._gpu.free_s[self._gpu.stream])

    def synchronize(self) -> None:
        self._gpu.wait_until(self.at_s)

    def elapsed_time(self, end: Event) -> float:
        if not (self._timed and end._timed):
            raise RuntimeError("Both events must be created with argument 'enable_timing=True'")
        if not end.at_s <= self._gpu.host_s:
            raise RuntimeError("CUDA error: device not ready")
        return (end.at_s - self.at_s) * 1e3


class Graph:
    """Kernels that were captured; one launch runs them all."""

    def __init__(self, gpu: VirtualGpu) -> None:
        self._gpu = gpu
        self.kernels: list[tuple[str, float]] = []

    def replay(self) -> None:
        self._gpu.launch("cudaGraphLaunch", self.kernels)


@dataclass
class Profile:
    """What the profiler of this device saw: a context, as torch's is."""

    gpu: VirtualGpu
    found: list[FakeEvent] = field(default_factory=list)
    open: list[FakeEvent] = field(default_factory=list)

    def __enter__(self) -> Profile:
        self.gpu.profile = self
        return self

    def __exit__(self, *_: object) -> None:
        self.gpu.profile = None
        self.gpu.was_profiled = True

    def events(self) -> list[FakeEvent]:
        return self.found

    def begin(self, name: str) -> FakeEvent:
        event = FakeEvent(name, self.gpu.host_s * 1e6, math.nan)
        if self.open:
            event.cpu_parent = self.open[-1]
            self.open[-1].below.append(event)
        self.found.append(event)
        self.open.append(event)
        return event

    def end(self) -> None:
        self.gpu.host_s += self.gpu.profiled_event_s
        self.open.pop().end = self.gpu.host_s * 1e6


class VirtualGpu(TorchDispatchMode):
    """The device, its host's clock, and what a test may set of both."""

    def __init__(self, *, flops_per_s: float = 100e12, launch_s: float = 5e-6) -> None:
        super().__init__()
        self.flops_per_s, self.launch_s = flops_per_s, launch_s
        self.bytes_per_s, self.cached_bytes_per_s, self.cache_bytes = 1e12, 4e12, 40 * 2**20
        self.host_copy_bytes_per_s, self.least_kernel_s = 10e9, 1e-6
        self.memory_bytes, self.counts_memory = 80 * GIB, False
        self.slowdown: Callable[[float], float] = lambda at_s: 1.0
        """How many times as long a kernel takes that starts then: clocks that rise or throttle."""
        self.profiled_event_s = 0.0
        self.attached_launch_s = 0.0
        """What a launch costs more once a profiler has run."""
        self.loses: Callable[[Kernel], bool] = lambda kernel: False
        self.host_s = 1000.0
        self.stream = 0
        self.free_s: dict[int, float] = {0: 0.0}
        self.kernels: list[Kernel] = []
        self.launches = 0
        self.ignored: frozenset[Site] = frozenset()
        """Waits of the product that do nothing, as if they were not there."""
        self.waits: set[Site] = set()
        """Waits of the product that were reached."""
        self.profile: Profile | None = None
        self.was_profiled = False
        self._capturing: list[tuple[str, float]] | None = None
        self._storages: list[tuple[StorageWeakRef, int]] = []
        self._peak_bytes = 0
        self._known: dict[Any, Any] = {}

    # --- the clock and the queues -----------------------------------------------------------------

    def now_s(self) -> float:
        """The host's clock; looking at it takes 50 ns."""
        self.host_s += 5e-8
        return self.host_s

    def work_on_host(self, seconds: float) -> None:
        """The host does something else."""
        self.host_s += seconds

    def launch(self, name: str, kernels: list[tuple[str, float]]) -> None:
        """One call into the runtime that queues these kernels on the current stream."""
        if self._capturing is not None:
            self._capturing += kernels
            return
        self.launches += 1
        if self.profile:
            self.profile.begin(name).id = self.launches
        self.host_s += self.launch_s + self.was_profiled * self.attached_launch_s
        for kernel_name, length_s in kernels:
            kernel = Kernel(kernel_name, length_s, self.stream)
            kernel.start_s = max(self.host_s, self.free_s[self.stream])
            kernel.length_s *= self.slowdown(kernel.start_s)
            self.free_s[self.stream] = kernel.end_s
            kernel.recorded = not self.loses(kernel)
            self.kernels.append(kernel)
            if self.profile and kernel.recorded:
                self._record(kernel)
        if self.profile:
            self.profile.end()

    def _record(self, kernel: Kernel) -> None:
        assert self.profile is not None
        start_us, end_us = kernel.start_s * 1e6, kernel.end_s * 1e6
        event = FakeEvent(kernel.name, start_us, end_us, device="CUDA", id=self.launches)
        self.profile.found.append(event)
        if len(self.profile.open) > 1:
            launcher = self.profile.open[-2]
            launcher.id = launcher.id or -len(self.profile.found)
            event.linked_correlation_id = launcher.id
            launcher.kernels_us += (end_us - start_us,)
            launcher.kernel_name = kernel.name

    def wait_until(self, at_s: float) -> None:
        """The host waits, unless the product's call that asked for it is ignored."""
        sites = _product_sites()
        self.waits |= set(sites)
        if not self.ignored.intersection(sites):
            self.host_s = max(self.host_s, at_s)

    # --- torch.cuda, as far as it is used ---------------------------------------------------------

    def synchronize(self, index: int = 0) -> None:
        self.host_s += 1e-6
        self.wait_until(max(self.free_s.values()))

    def Event(self, **settings: bool) -> Event:  # noqa: N802 - torch's name
        return Event(self, **settings)

    def CUDAGraph(self) -> Graph:  # noqa: N802 - torch's name
        return Graph(self)

    @contextlib.contextmanager
    def graph(self, graph: Graph) -> Iterator[None]:
        self._capturing = graph.kernels
        try:
            yield
        finally:
            self._capturing = None

    @contextlib.contextmanager
    def on_stream(self, stream: int) -> Iterator[None]:
        """What is launched inside goes to another queue."""
        before, self.stream = self.stream, stream
        self.free_s.setdefault(stream, 0.0)
        try:
            yield
        finally:
            self.stream = before

    def is_available(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def get_device_name(self, index: int) -> str:
        return "Virtual GPU"

    def get_device_capability(self, index: int) -> tuple[int, int]:
        return 8, 0

    def get_device_properties(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(
            major=8,
            minor=0,
            multi_processor_count=100,
            total_memory=self.memory_bytes,
            L2_cache_size=self.cache_bytes,
        )

    def get_arch_list(self) -> list[str]:
        return ["sm_80"]

    def empty_cache(self) -> None:
        """Nothing is kept for later."""

    def memory_allocated(self, index: int = 0) -> int:
        self._storages = [(ref, size) for ref, size in self._storages if not ref.expired()]
        return sum(size for _, size in self._storages)

    def memory_reserved(self, index: int = 0) -> int:
        return self.memory_allocated()

    def max_memory_allocated(self, index: int = 0) -> int:
        return self._peak_bytes

    def max_memory_reserved(self, index: int = 0) -> int:
        return self._peak_bytes

    def reset_peak_memory_stats(self, index: int = 0) -> None:
        self._peak_bytes = self.memory_allocated()

    def mem_get_info(self, index: int = 0) -> tuple[int, int]:
        return self.memory_bytes - self.memory_allocated(), self.memory_bytes

    # --- operators --------------------------------------------------------------------------------

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name.startswith("_record_function") and self.profile:
            if "enter" in name:
                self.profile.begin(str(args[0]))
            else:
                self.profile.end()
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if name == "_local_scalar_dense" and given[0].is_meta:
            with self._operator("aten::_local_scalar_dense"):
                self.wait_until(self.free_s[self.stream])
            return 1.0
        result = self._shapes_of(func, args, kwargs, given)
        made = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        if not any(t.is_meta for t in (*given, *made)):
            return result
        if self.counts_memory:
            self._allocate(given, made)
        with self._operator(f"aten::{name}"):
            if any(not t.is_meta and t.dim() for t in given):  # from pinned memory: nobody waits
                length_s = sum(t.nbytes for t in made) / self.host_copy_bytes_per_s
                self.launch("cudaMemcpyAsync", [("Memcpy HtoD (Pinned -> Device)", length_s)])
            elif not (func.is_view or name in _NO_KERNEL):
                self.launch(
                    "cudaLaunchKernel", [(f"{name}_kernel", self.length_s(name, given, made))]
                )
        return result

    def _shapes_of(self, func: Any, args: Any, kwargs: Any, given: list[Tensor]) -> Any:
        """The result of an operator, as torch says once: its own arithmetic of shapes takes longer
        than a real kernel would."""
        on_device = any(t.is_meta for t in given)
        if not on_device or func.is_view or not all(t.is_meta or not t.dim() for t in given):
            return func(*args, **kwargs)
        if func._schema.is_mutable:
            known = kwargs.get("out", args[0] if isinstance(args[0], Tensor) else None)
            return known if known is None or isinstance(known, Tensor) else func(*args, **kwargs)
        leaves = tree_leaves((args, kwargs))
        key = (func, *(_form(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves))
        if key not in self._known:
            result = func(*args, **kwargs)
            forms = [_form(t) if isinstance(t, Tensor) else None for t in tree_leaves(result)]
            self._known[key] = None if None in forms else (tree_structure(result), forms)
            return result
        if (form := self._known[key]) is None:
            return func(*args, **kwargs)
        structure, forms = form
        made = [torch.empty_strided(s, st, dtype=d, device="meta") for s, st, d, _ in forms]
        return tree_unflatten(made, structure)

    @contextlib.contextmanager
    def _operator(self, name: str) -> Iterator[None]:
        if self.profile:
            self.profile.begin(name)
        yield
        if self.profile:
            self.profile.end()

    def length_s(self, name: str, given: list[Tensor], made: list[Tensor]) -> float:
        """What an operator takes on the device: a product by its FLOPs, the rest by its bytes."""
        if name in _PRODUCTS:
            a, b = given[:2] if name != "addmm" else given[1:3]
            flops = 2 * math.prod(a.shape) * b.shape[-1]
            return max(self.least_kernel_s, flops / self.flops_per_s)
        held = {id(t): t.nbytes for t in (*given, *made)}
        moved = sum(held.values())
        rate = self.cached_bytes_per_s if moved <= self.cache_bytes else self.bytes_per_s
        return max(self.least_kernel_s, moved / rate)

    def _allocate(self, given: list[Tensor], made: list[Tensor]) -> None:
        known = {t.untyped_storage()._cdata for t in given}
        for tensor in made:
            storage = tensor.untyped_storage()
            if tensor.is_meta and storage._cdata not in known:
                known.add(storage._cdata)
                self._storages.append((StorageWeakRef(storage), storage.nbytes()))
        if self.memory_allocated() > self.memory_bytes:
            self._storages.pop()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate too much.")
        self._peak_bytes = max(self._peak_bytes, self.memory_allocated())


class VirtualCudaDevice(CudaDevice):
    """The product's own device, with the virtual GPU behind it."""

    def __init__(self, gpu: VirtualGpu) -> None:
        version = SimpleNamespace(__version__="2.13.0+virtual", cuda="13.0", hip=None, xpu=None)
        super().__init__(torch_cuda=gpu, torch_version=version)

    @property
    def torch_device(self) -> torch.device:
        return torch.device("meta")


@contextlib.contextmanager
def behind_our_back(gpu: VirtualGpu) -> Iterator[VirtualCudaDevice]:
    """Everything inside runs on the virtual GPU, its clock and its profiler."""
    from mfubench.measure import profiler_events

    clock_s, profile = timing.clock_s, profiler_events.profile
    timing.clock_s = gpu.now_s
    profiler_events.profile = lambda **_: Profile(gpu)  # type: ignore[assignment]
    try:
        with gpu:
            yield VirtualCudaDevice(gpu)
    finally:
        timing.clock_s, profiler_events.profile = clock_s, profile  # type: ignore[assignment]


def _form(tensor: Tensor) -> tuple[Any, ...]:
    return tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device.type


def _product_sites() -> list[Site]:
    """The nearest calls of the product that led here: the wait itself, and who asked for it."""
    sites: list[Site] = []
    frame = sys._getframe(1)
    while frame is not None and len(sites) < 2:
        file = frame.f_code.co_filename
        if file.startswith(PRODUCT):
            sites.append((file.removeprefix(PRODUCT).lstrip("/"), frame.f_lineno))
        elif sites:
            break
        frame = frame.f_back  # type: ignore[assignment]
    return sites
