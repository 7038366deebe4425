"""What is put in place to see a training run, and taken away again: hooks where torch has them, and
six of its functions wrapped where it has none.

torch is not imported for it: a script may set its environment before it imports torch itself, so
everything waits for that import.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from mfubench.script.pauses import clock_s
from mfubench.script.recorder import Recorder


class Signals:
    """The hooks and wrappers of one recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._undo: list[Callable[[], object]] = []
        self.on_save: Callable[[Any], None] = lambda file: None
        """Called with what `torch.save` is told to write to."""

    def attach_when_imported(self, ready: Callable[[], None]) -> None:
        """Attach to torch now, or as soon as it is imported; `ready` is called then."""

        def attach() -> None:
            self.attach()
            ready()

        if "torch" in sys.modules:
            attach()
        else:
            self._undo.append(after_import("torch", attach))
        if "safetensors.torch" in sys.modules:
            self._watch_safetensors()
        else:
            self._undo.append(after_import("safetensors.torch", self._watch_safetensors))

    def attach(self) -> None:
        """Put everything in place. torch is imported already."""
        import torch
        from torch.optim.optimizer import (
            register_optimizer_step_post_hook,
            register_optimizer_step_pre_hook,
        )
        from torch.utils.data.dataloader import _BaseDataLoaderIter

        recorder = self._recorder
        graph_task = torch._C._current_graph_task_id
        is_compiling = torch.compiler.is_compiling

        def before(optimizer: Any, args: Any, kwargs: Any) -> None:
            if is_compiling():
                return
            try:
                recorder.optimizer_starts()
            except Exception as error:
                recorder.failed(error)

        def after(optimizer: Any, args: Any, kwargs: Any) -> None:
            if is_compiling():
                return
            try:
                recorder.optimizer_ended(optimizer, inside_backward=graph_task() != -1)
            except Exception as error:
                recorder.failed(error)

        self._undo += [
            register_optimizer_step_pre_hook(before).remove,
            register_optimizer_step_post_hook(after).remove,
        ]
        self._wrap(torch.autograd, "_engine_run_backward", self._backward)
        self._wrap(torch.amp.GradScaler, "_maybe_opt_step", self._scaler)
        self._wrap(torch.amp.GradScaler, "scale", self._scale)
        self._wrap(torch.nn.Module, "train", self._mode)
        self._wrap(torch, "save", self._save)
        for block in (torch.no_grad, torch.inference_mode, torch.set_grad_enabled):
            self._wrap(block, "__enter__", self._gradients_off)
            self._wrap(block, "__exit__", self._gradients_on)
        self._wrap(_BaseDataLoaderIter, "__next__", self._batch)

    def detach(self) -> None:
        """Take everything away again."""
        while self._undo:
            self._undo.pop()()

    def _wrap(self, owner: Any, name: str, around: Callable[[Any], Any]) -> None:
        """Replace a function of torch by a wrapper of it; one that is not there is left alone."""
        original = owner.__dict__.get(name)
        if original is None:
            return
        wrapper = functools.wraps(original)(around(original))
        setattr(owner, name, wrapper)

        def restore() -> None:
            if owner.__dict__.get(name) is wrapper:  # else the script has put its own there
                setattr(owner, name, original)

        self._undo.append(restore)

    def _backward(self, original: Any) -> Any:
        recorder = self._recorder

        def run_backward(roots: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
            if recorder.backward_depth:
                return original(roots, *args, **kwargs)
            try:
                recorder.creates_graph = len(args) > 2 and bool(args[2])
                recorder.backward_starts(roots)
            except Exception as error:
                recorder.failed(error)
            recorder.backward_depth = 1
            since_s = clock_s()
            try:
                return original(roots, *args, **kwargs)
            finally:
                recorder.backward_depth = 0
                accumulates = bool(kwargs.get("accumulate_grad", True))
                try:
                    recorder.backward_ended(since_s, accumulates=accumulates)
                except Exception as error:
                    recorder.failed(error)

        return run_backward

    def _scaler(self, original: Any) -> Any:
        recorder = self._recorder

        def maybe_step(scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            recorder.loss_is_scaled = True
            rows = len(recorder.rows)
            result = original(scaler, optimizer, *args, **kwargs)
            if len(recorder.rows) == rows:
                recorder.optimizer_skipped(optimizer)
            return result

        return maybe_step

    def _scale(self, original: Any) -> Any:
        recorder = self._recorder

        def scale(scaler: Any, outputs: Any) -> Any:
            recorder.unscaled = outputs if hasattr(outputs, "detach") else None
            return original(scaler, outputs)

        return scale

    def _mode(self, original: Any) -> Any:
        recorder = self._recorder
        import torch

        is_compiling = torch.compiler.is_compiling

        def train(module: Any, mode: bool = True) -> Any:
            result = original(module, mode)
            if not is_compiling():
                recorder.training_mode(mode)
            return result

        return train

    def _save(self, original: Any) -> Any:
        recorder = self._recorder

        def save(*args: Any, **kwargs: Any) -> Any:
            self.on_save(args[1] if len(args) > 1 else kwargs.get("f"))
            recorder.checkpoint_starts()
            try:
                return original(*args, **kwargs)
            finally:
                recorder.checkpoint_saved()

        return save

    def _gradients_off(self, original: Any) -> Any:
        recorder = self._recorder

        def enter(block: Any) -> Any:
            result = original(block)
            if _is_without_gradients(block):
                try:
                    recorder.gradients_off(sys._getframe(1))
                except Exception as error:
                    recorder.failed(error)
            return result

        return enter

    def _gradients_on(self, original: Any) -> Any:
        recorder = self._recorder

        def leave(block: Any, *error: Any) -> Any:
            if _is_without_gradients(block):
                try:
                    recorder.gradients_on()
                except Exception as error_of_ours:
                    recorder.failed(error_of_ours)
            return original(block, *error)

        return leave

    def _watch_safetensors(self) -> None:
        self._wrap(sys.modules["safetensors.torch"], "save_file", self._save)

    def _batch(self, original: Any) -> Any:
        recorder = self._recorder

        def next_batch(iterator: Any) -> Any:
            since_s = clock_s()
            try:
                return original(iterator)
            finally:
                recorder.batch_loaded(since_s, getattr(iterator, "_workers", ()))

        return next_batch


def _is_without_gradients(block: Any) -> bool:
    """`set_grad_enabled(True)` and `inference_mode(False)` switch gradients on."""
    mode = getattr(block, "mode", None)
    return mode is None or mode is (type(block).__name__ == "inference_mode")


class _AfterImport(importlib.abc.MetaPathFinder):
    """Lets the other finders find a module, and calls back when it has been executed."""

    def __init__(self, name: str, callback: Callable[[], None]) -> None:
        self._name, self._callback = name, callback
        self._is_asking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name or self._is_asking:
            return None
        self._is_asking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._is_asking = False
        if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
            return spec
        loader, execute = spec.loader, spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module
            execute(module)
            # Asked for by many, executed once.
            _remove(self)
            self._callback()

        loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def in_forked_children(method: Callable[[], Callable[[], None] | None]) -> None:
    """Have a method called in every child that the script forks; `method` is a weak one, for Python
    forgets no such wish."""

    def in_child() -> None:
        if (call := method()) is not None:
            call()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=in_child)


def after_import(name: str, callback: Callable[[], None]) -> Callable[[], None]:
    finder = _AfterImport(name, callback)
    sys.meta_path.insert(0, finder)
    return lambda: _remove(finder)


def _remove(finder: _AfterImport) -> None:
    if finder in sys.meta_path:
        sys.meta_path.remove(finder)
