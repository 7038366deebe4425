"""Settings of a training script that are turned from outside, in its process and not in its files.

    {"optimizer": "fused", "dtype": "bfloat16", "compile": "default", …}

What is set takes effect where the script builds its optimizer or loader, or calls its model for the
first time. Each setting notes the line of the script that it applies to; one that meets nothing to
set is said to be missing, so that a script's speed without it is never taken for its effect.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

SETTINGS = (
    "attention",
    "compile",
    "cpus",
    "dtype",
    "flush_denormals",
    "loader",
    "matmul_precision",
    "optimizer",
    "pin_memory",
    "seed",
    "threads",
    "weights",
)
NEEDS = {
    "optimizer": "it makes no optimizer with this argument, or says itself which kind it wants",
    "loader": "it makes no DataLoader over a map-style data set without workers",
    "pin_memory": "it makes no DataLoader that does not pin its memory already",
    "compile": "no module that is not compiled yet was called before a backward pass",
    "dtype": "no module with parameters was called before a backward pass",
    "weights": "no module with parameters was called before a backward pass",
    "seed": "it sets no seed with torch.manual_seed",
}
KINDS: dict[str, dict[str, bool]] = {
    "fused": {"fused": True},
    "foreach": {"foreach": True},
    "for-loop": {"foreach": False, "fused": False},
}
BACKENDS = ("eager", "aot_eager")
"""Of torch.compile that make graphs and no code: to see what is traced, quickly."""
_OURS = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120


class Adjustments:
    """The settings of this process, and the lines of the script that they met."""

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        self._wanted = dict(wanted)
        self._roots: dict[int, Any] = {}
        self._depth = 0
        self._casts: Any = None
        self._finish: Callable[[], None] = lambda: None
        self.places: dict[str, str] = {}
        """By setting: the script's file and line, as `train.py:88`."""

    @property
    def missing(self) -> str | None:
        """Why a setting that was asked for changed nothing; None where all did."""
        for name, why in NEEDS.items():
            if name in self._wanted and name not in self.places:
                return why
        return None

    def before_torch(self) -> None:
        """Set what the process itself is given."""
        if cpus := self._wanted.get("cpus"):
            os.sched_setaffinity(0, cpus)

    def backward_starts(self) -> None:
        """The loss is there: what was cast for it is over."""
        if self._casts is not None:
            casts, self._casts = self._casts, None
            casts.__exit__(None, None, None)

    def step_ended(self) -> None:
        """An optimizer has stepped: what was called until now is what is trained."""
        finish, self._finish = self._finish, lambda: None
        finish()

    # --- as soon as torch is here -----------------------------------------------------------------

    def torch_is_here(self) -> None:
        """Set what torch can be told now, and watch for the rest."""
        import torch

        wanted = self._wanted
        if threads := self._threads():
            torch.set_num_threads(threads)
        if wanted.get("flush_denormals"):
            torch.set_flush_denormal(True)
        precision = wanted.get("matmul_precision")
        if wanted.get("dtype") == "tf32":
            precision = "high"
        if precision is not None:
            torch.set_float32_matmul_precision(precision)
        if wanted.get("attention") == "math":
            for switch in ("flash", "mem_efficient", "cudnn"):
                with contextlib.suppress(AttributeError):
                    getattr(torch.backends.cuda, f"enable_{switch}_sdp")(False)
        if "seed" in wanted:
            self._shift_seeds(torch)
        if kind := wanted.get("optimizer"):
            self._choose_optimizer(torch, KINDS[kind])
        if "loader" in wanted or "pin_memory" in wanted:
            self._change_loaders()
        if {"compile", "weights"} & set(wanted) or wanted.get("dtype") in ("bfloat16", "float16"):
            self._watch_modules(torch)

    def _threads(self) -> int | None:
        """None where torch's own number is right.

        OpenMP counts the processors that it may use, once: a fork of a process that saw all of them
        would have a thread for each.
        """
        bound = self._wanted.get("cpus")
        counted = None if bound is None or "OMP_NUM_THREADS" in os.environ else len(bound)
        return self._wanted.get("threads") or counted

    def _shift_seeds(self, torch: Any) -> None:
        original, by = torch.manual_seed, int(self._wanted["seed"])

        def manual_seed(seed: int) -> Any:
            self._met("seed")
            return original(int(seed) + by)

        torch.manual_seed = manual_seed

    def _choose_optimizer(self, torch: Any, arguments: Mapping[str, bool]) -> None:
        from inspect import signature

        for kind in vars(torch.optim).values():
            is_one = isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)
            if is_one and set(arguments) <= set(signature(kind.__init__).parameters):
                self._wrap_init(kind, "optimizer", lambda given: _optimizer(given, arguments))

    def _change_loaders(self) -> None:
        from torch.utils.data import DataLoader, IterableDataset

        def change(given: dict[str, Any]) -> dict[str, Any] | None:
            if isinstance(given.get("dataset"), IterableDataset):
                return None
            workers = self._wanted.get("loader")
            if workers is not None:
                if given.get("num_workers"):
                    return None
                count = int(str(workers).rpartition("-")[2])
                return {"num_workers": count, "persistent_workers": True}
            return None if given.get("pin_memory") else {"pin_memory": True}

        name = "loader" if "loader" in self._wanted else "pin_memory"
        self._wrap_init(DataLoader, name, change)

    def _wrap_init(
        self, kind: Any, name: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]
    ) -> None:
        """`change` gets the arguments by their names, and says which are set instead."""
        from inspect import signature

        original = kind.__init__
        names = list(signature(original).parameters)

        def init(self_: Any, *args: Any, **kwargs: Any) -> None:
            given = dict(zip(names[1:], args, strict=False)) | kwargs
            changed = change(given) if type(self_).__init__ is init else None
            if changed is None:
                original(self_, *args, **kwargs)
                return
            self._met(name)
            original(self_, **(given | changed))

        kind.__init__ = init

    # --- what is called before a backward pass ----------------------------------------------------

    def _watch_modules(self, torch: Any) -> None:
        """Until the first step has ended, every outermost module with parameters is noted."""
        module = torch.nn.Module
        original = module.__call__
        has_gradients = torch.is_grad_enabled

        def call(called: Any, *args: Any, **kwargs: Any) -> Any:
            if self._depth or not has_gradients() or not _has_parameters(called):
                return original(called, *args, **kwargs)
            if id(called) not in self._roots:
                self._roots[id(called)] = called
                self._first_call(torch, called)
            self._depth += 1
            try:
                return original(called, *args, **kwargs)
            finally:
                self._depth -= 1

        def finish() -> None:
            module.__call__ = original
            if mode := self._wanted.get("compile"):
                for root in self._roots.values():
                    self._compile(root, mode)

        module.__call__ = call
        self._finish = finish

    def _first_call(self, torch: Any, root: Any) -> None:
        """Before a root's first call: its weights, and what its products run in."""
        if self._wanted.get("weights") == "bfloat16":
            self._met("weights")
            root.to(torch.bfloat16)
        kind = self._wanted.get("dtype")
        if kind in ("bfloat16", "float16"):
            self._met("dtype")
            dtype, device = getattr(torch, kind), next(root.parameters()).device.type
            root._compiled_call_impl = self._cast(torch, root._call_impl, device, dtype)
        if "compile" in self._wanted and not _is_compiled(root):
            self._met("compile")

    def _cast(self, torch: Any, call: Any, device: str, dtype: Any) -> Callable[..., Any]:
        """From the first call of a step on until its backward pass: forward and the loss."""

        def cast(*args: Any, **kwargs: Any) -> Any:
            if self._casts is None and torch.is_grad_enabled():
                self._casts = torch.autocast(device, dtype=dtype)
                self._casts.__enter__()
            return call(*args, **kwargs)

        return cast

    def _compile(self, root: Any, mode: str) -> None:
        import torch

        if _is_compiled(root):
            return
        backend = mode if mode in BACKENDS else "inductor"
        own = None if mode in ("default", *BACKENDS) else mode
        call = torch.compile(root._call_impl, backend=backend, mode=own)
        if self._wanted.get("dtype") in ("bfloat16", "float16"):
            device = next(root.parameters()).device.type
            call = self._cast(torch, call, device, getattr(torch, self._wanted["dtype"]))
        root._compiled_call_impl = call

    def _met(self, name: str) -> None:
        """Note the innermost line that is neither torch's nor ours."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            file = frame.f_code.co_filename
            is_theirs = not file.startswith((_OURS, "<")) and "site-packages" not in file
            if is_theirs:
                self.places.setdefault(name, f"{os.path.basename(file)}:{frame.f_lineno}")  # noqa: PTH119
                return
            frame = frame.f_back
        self.places.setdefault(name, "")


def _optimizer(given: Mapping[str, Any], arguments: Mapping[str, bool]) -> dict[str, Any] | None:
    """None where the script has chosen a kind itself."""
    if given.get("fused") is not None or given.get("foreach") is not None:
        return None
    return {"foreach": None, "fused": None, **arguments}


def _has_parameters(module: Any) -> bool:
    return next(module.parameters(), None) is not None


def _is_compiled(module: Any) -> bool:
    return "OptimizedModule" in type(module).__name__
