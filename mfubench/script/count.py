"""The FLOPs of one live step: every operator that the dispatcher runs from one step's end to the
next, and every compiled graph that is called in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from mfubench_model.dispatch_count import DispatchCounter
from torch._subclasses.fake_tensor import FakeTensor

from mfubench.script import graphs
from mfubench.script.causal import SEEN, CausalWatch
from mfubench.script.device_clock import wait_for
from mfubench.script.pauses import clock_s
from mfubench.script.recorder import Recorder
from mfubench.script.tally import (
    BACKWARD,
    COUNTED,
    EMBEDDING,
    EVALUATION,
    FORWARD,
    HIDING,
    OPTIMIZER,
    OTHER,
    RECOMPUTED,
    Tally,
    general_name,
    kind_of,
    name_of,
)

if TYPE_CHECKING:
    from mfubench.script.operators_seen import OperatorsSeen

_graph_task = torch._C._current_graph_task_id
_in_graph = torch._C._current_autograd_node


class StepCounter(DispatchCounter):
    """Counts from `start` to `stop`, both called at the end of a step."""

    def __init__(self, recorder: Recorder, seen: OperatorsSeen | None = None) -> None:
        """`seen` is told every operator of the forward passes."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.tally = Tally()
        self.seen = seen
        self._causal = CausalWatch(self.tally)
        self._recorder = recorder
        self._is_open = False
        self._inside_graph = False
        self._modules: _Modules | None = None
        self._restore_graphs: Any = None

    def start(self) -> None:
        """From now on everything is counted."""
        if not graphs.compiled_here():
            # A hook on a compiled module would make torch compile it again.
            self._modules = _Modules(self.tally)
        self._restore_graphs = graphs.watch_calls(self._graph_called)
        self.tally.seconds = -clock_s()
        self.__enter__()  # type: ignore[no-untyped-call]
        self._is_open = True

    def stop(self) -> bool:
        """Counts no more; False where a mode of the script's own is open above this one."""
        if not self._is_open:
            return True
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not self:
            return False
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        self._is_open = False
        self.tally.seconds += clock_s()
        self._restore_graphs()
        if self._modules is not None:
            self._modules.remove()
        return True

    def __torch_dispatch__(
        self, func: Any, types: object, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = self._run(func, args, kwargs)
        if self.seen is not None and not _is_fake(args) and self._phase() == FORWARD:
            try:
                self.seen.add(func, args, kwargs, out)
            except Exception as error:  # trouble of ours is never the script's
                self._recorder.failed(error)
        return out

    def _run(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        kind = OTHER if self._inside_graph else kind_of(func)
        if kind != HIDING:
            out = func(*args, **kwargs)
            if kind != OTHER:
                self._count(func, kind, args, kwargs, out)
            if not self._inside_graph and name_of(func) in SEEN and not _is_fake(args):
                phase = self._phase()
                module = self._module(phase) if kind == COUNTED else ""
                self._causal.after(func, args, kwargs, out, phase=phase, module=module)
            return out
        wait_for(self._recorder.device)
        since_s = clock_s()
        out = func(*args, **kwargs)
        wait_for(self._recorder.device)
        if not _is_fake(args) and self._phase() != EVALUATION:
            self.tally.add_uncounted(name_of(func), clock_s() - since_s)
        return out

    def _count(
        self, func: Any, kind: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any
    ) -> None:
        if _is_fake(args):  # the compiler tries something out
            return
        phase = self._phase()
        if kind == EMBEDDING:
            if phase == FORWARD:
                self.tally.add_embedding(args)
        elif kind == COUNTED:
            module = self._module(phase)
            self.tally.add(func, args, kwargs, out, phase=phase, module=module)

    def _module(self, phase: str) -> str:
        return self._modules.current(phase) if self._modules is not None else ""

    def _phase(self) -> str:
        if _graph_task() != -1:
            is_forward = torch.is_grad_enabled() and not self._recorder.creates_graph
            return RECOMPUTED if is_forward else BACKWARD
        if self._recorder.in_optimizer and not torch.is_grad_enabled():
            return OPTIMIZER
        # A frozen backbone is in eval mode too, and its forward is part of training.
        is_evaluation = self._recorder.pauses.is_evaluating and not torch.is_grad_enabled()
        return EVALUATION if is_evaluation else FORWARD

    def _graph_called(self, tally: Tally | None, call: Any) -> Any:
        """A compiled graph is called: its operators were counted when it was compiled."""
        self.tally.is_compiled = True
        if self._inside_graph:
            return call()
        if tally is None:
            # Taken from a cache, so that nobody saw its operators: the library calls of the
            # generated code still pass the dispatcher.
            self.tally.opaque_graphs += 1
            return call()
        if self._phase() != EVALUATION:
            self.tally.include(tally)
        self._inside_graph = True
        try:
            return call()
        finally:
            self._inside_graph = False


def _is_fake(args: Sequence[Any]) -> bool:
    return any(
        isinstance(a, FakeTensor) or (isinstance(a, torch.Tensor) and a.device.type == "meta")
        for a in args
    )


class _Modules:
    """Which module runs: by hooks on all modules, for the one step that is counted."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._stack: list[str] = []
        self._names: dict[int, str] = {}
        self._of_node: dict[int, str] = {}
        hooks = torch.nn.modules.module
        self._handles = [
            hooks.register_module_forward_pre_hook(self._enter),
            hooks.register_module_forward_hook(self._leave, always_call=True),
        ]

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _enter(self, module: torch.nn.Module, args: Any) -> None:
        if isinstance(module, torch.nn.DataParallel) and len(module.device_ids) > 1:
            self._tally.add_uncounted("the threads of DataParallel", None)
        if id(module) not in self._names:
            root = type(module).__name__
            for name, inner in module.named_modules():
                self._names.setdefault(id(inner), f"{root}.{name}" if name else root)
        self._stack.append(general_name(self._names[id(module)]))

    def _leave(self, module: torch.nn.Module, args: Any, out: Any) -> None:
        if self._stack:
            self._stack.pop()

    def current(self, phase: str) -> str:
        """The module of an operator: in backward, the one whose forward made its node."""
        if phase == BACKWARD:
            node = _in_graph()
            return self._of_node.get(node._sequence_nr(), "") if node is not None else ""
        module = self._stack[-1] if self._stack else ""
        # Autograd has made the operator's node before it came here.
        self._of_node[torch.autograd._get_sequence_nr() - 1] = module  # type: ignore[attr-defined]
        return module
