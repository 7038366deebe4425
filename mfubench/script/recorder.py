"""What is noted of a training run while it runs: a row of numbers at each optimizer step.

Between two steps nothing is allocated but that row, and no device is waited for. Everything that
can be worked out later is worked out later (`steps.py`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import FrameType
from typing import Any

from mfubench.script.device_clock import CudaClock
from mfubench.script.pauses import Pause, Pauses, clock_s
from mfubench.script.steps import COLUMNS, PARAMETER, Rows

LOSS_STEP = 10
"""The loss is kept at this step, as the suite's own cases keep it, or at the last before it."""
NEVER = float("inf")


class Recorder:
    """The rows of one run. Its methods are called by what `signals.py` puts in place."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.started_s = clock_s()
        self.process = os.getpid()
        self.thread = threading.get_ident()
        self.loss: Any = None
        """A detached scalar, read when the run is over."""
        self.loss_step = 0
        self.loss_is_scaled = False
        self.unscaled: Any = None
        """What a gradient scaler was given last, until the backward pass that it is for."""
        self.on_loss: Callable[[Any], None] | None = None
        """Called with the scalar that each outermost backward pass starts from, not scaled."""
        self.workers: Sequence[Any] = ()
        """The processes of the loader that gave the last batch of training."""
        self.device: Any = None
        """torch's device of the first parameter that was stepped."""
        self.on_alarm: Callable[[int], None] = lambda which: None
        self.alarm: float = NEVER
        """From this many steps of the first optimizer on, `on_alarm` is called at each step."""
        self.alarm_at_s: float = NEVER
        """The same, from this moment on."""
        self.steps = 0
        self.backward_depth = 0
        self.creates_graph = False
        """Whether the backward pass that runs is itself to be differentiated."""
        self.in_optimizer = False
        self.phases: Any = None
        """The clock of a breakdown, in the few steps in which there is one."""
        self.trouble: str | None = None
        """What went wrong in our own part; the script went on."""
        self.backwards = 0
        self._known: dict[int, int] = {}
        self._optimizers: list[Any] = []  # held, so that no id is used twice
        self._in_backward: list[Any] = []
        self.pauses = Pauses()
        self._device_clock: CudaClock | None = None
        self._parameter: Any = None
        self._version = 0
        self._step_since_s = 0.0
        self._backwards_before = 0
        self._clear()

    def _clear(self) -> None:
        self._n_backward = 0
        self._backward_s = self._optimizer_s = self._data_s = 0.0
        self._batches = 0

    def failed(self, error: Exception) -> None:
        """Trouble of ours is never the script's."""
        self.trouble = self.trouble or f"not all was seen: {type(error).__name__}: {error}"

    def parameters(self) -> list[Any]:
        """What the optimizers update, each once."""
        groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]
        found = {id(one): one for group in groups for one in group["params"]}
        return list(found.values())

    # --- the optimizer ---------------------------------------------------------------------------

    def optimizer_starts(self) -> None:
        """Before `Optimizer.step` does its work."""
        self.in_optimizer = True
        self._backwards_before = self.backwards
        if self.phases is not None:
            self.phases.enter("optimizer")
        self._step_since_s = clock_s()

    def optimizer_ended(self, optimizer: Any, *, inside_backward: bool) -> None:
        """After `Optimizer.step` has done its work."""
        self.in_optimizer = False
        if self.backwards == self._backwards_before:  # else a closure: forward and backward too
            self._optimizer_s += clock_s() - self._step_since_s
        else:
            self.rows.has_closure = True
        if self.phases is not None:
            self.phases.leave("optimizer")
        if inside_backward:
            self.rows.inside_backward = True
            self._in_backward.append(optimizer)
        else:
            self.step_ended(optimizer)

    def optimizer_skipped(self, optimizer: Any) -> None:
        """A scaler met infinities: the step ends all the same, and changes nothing."""
        self.rows.skipped += 1
        self.step_ended(optimizer)

    def step_ended(self, optimizer: Any) -> None:
        """Note a row for this optimizer."""
        which = self._known.get(id(optimizer))
        if which is None:
            which = self._meet(optimizer)
        self._note(which)

    def _meet(self, optimizer: Any) -> int:
        which = self._known[id(optimizer)] = len(self._optimizers)
        self._optimizers.append(optimizer)
        self.rows.names.append(type(optimizer).__name__)
        self._parameter = None
        if self.device is None:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    self._use_device(parameter.device)
                    return which
        return which

    def _use_device(self, device: Any) -> None:
        self.device = device
        if device.type == "cuda":
            clock = self._device_clock = CudaClock(device)
            self.pauses.event, self.pauses.ended = clock.event, clock.paused

    def _note(self, which: int) -> None:
        now_s = clock_s()
        self._was(self.pauses.step_ended())
        self.rows.data.extend(
            (
                now_s,
                which,
                self._n_backward,
                self._backward_s,
                self._optimizer_s,
                self._data_s,
                self._batches,
            )
        )
        if self._device_clock is not None:
            self._device_clock.mark()
        self._clear()
        if which <= 0:
            self.steps += 1
        if self.steps >= self.alarm or now_s >= self.alarm_at_s:
            self.on_alarm(which)

    # --- backward --------------------------------------------------------------------------------

    def backward_starts(self, roots: Sequence[Any]) -> None:
        """Before the outermost backward pass."""
        if self.phases is not None:
            self.phases.enter("backward")
        if not self._optimizers:
            self._look_at_parameter(roots)
        if self.on_loss is not None and len(roots) == 1:
            unscaled, self.unscaled = self.unscaled, None
            self.on_loss(roots[0] if unscaled is None else unscaled)
        if self.loss_step < LOSS_STEP and self.steps >= self.loss_step and len(roots) == 1:
            root = roots[0]
            if hasattr(root, "data") and root.numel() == 1:
                # Not `detach`, an operator: the script's own profiler would see it.
                self.loss, self.loss_step = root.data, self.steps + 1

    def backward_ended(self, since_s: float, *, accumulates: bool) -> None:
        """After the outermost backward pass."""
        self._backward_s += clock_s() - since_s
        if self.phases is not None:
            self.phases.leave("backward")
        self.backwards += 1
        self._n_backward += accumulates
        if self._in_backward:
            optimizers, self._in_backward = self._in_backward, []
            for optimizer in optimizers:
                self.step_ended(optimizer)

    def _look_at_parameter(self, roots: Sequence[Any]) -> None:
        """No optimizer has stepped yet: a parameter that changes in place between two backward
        passes shows a compiled optimizer, or an update by hand."""
        if self._parameter is None:
            self._parameter = _a_leaf(roots)
            if self._parameter is None:
                return
            self._version = self._parameter._version
            if self.device is None:
                self._use_device(self._parameter.device)
        elif self._parameter._version != self._version:
            self._version = self._parameter._version
            self._note(PARAMETER)

    # --- pauses and data -------------------------------------------------------------------------

    def training_mode(self, training: bool) -> None:
        """A module was told to evaluate, or to train again."""
        self._was(self.pauses.mode(training, len(self.rows)))

    def checkpoint_starts(self) -> None:
        """Before `torch.save` or the like."""
        self.pauses.saving(len(self.rows))

    def checkpoint_saved(self) -> None:
        """After it."""
        self._was(self.pauses.saved())

    def gradients_off(self, frame: FrameType) -> None:
        """A block without gradients is entered from a frame of the script, or of torch's."""
        if not self._is_busy():
            self.pauses.gradients_off(frame, len(self.rows), self._n_backward)

    def gradients_on(self) -> None:
        """Such a block ends."""
        if not self._is_busy():
            self._was(self.pauses.gradients_on())

    def _is_busy(self) -> bool:
        """Whether a block without gradients is part of something that is known already."""
        return self.in_optimizer or self.backward_depth > 0 or threading.get_ident() != self.thread

    def _was(self, pause: Pause | None) -> None:
        if pause is not None and self.phases is not None:
            self.phases.known("pause", pause.since_s)

    def batch_loaded(self, since_s: float, workers: Sequence[Any] = ()) -> None:
        """A data loader gave a batch; `workers` are its processes."""
        if not self.pauses.is_evaluating and not self.pauses.is_without_gradients:
            self.workers = workers
            self._data_s += clock_s() - since_s
            if self.phases is not None:
                self.phases.known("data wait", since_s)
            self._batches += 1

    @property
    def backwards_since_step(self) -> int:
        """Backward passes since the last row."""
        return self._n_backward

    # --- afterwards ------------------------------------------------------------------------------

    def so_far(self) -> Rows:
        """The rows whose times are known, without a wait for a device."""
        rows = replace(self.rows, data=self.rows.data[:], pauses=self.pauses.all)
        if self._device_clock is not None:
            rows.device_s = self._device_clock.so_far()
            del rows.data[len(rows.device_s) * len(COLUMNS) :]
        return rows

    def finished(self) -> Rows:
        """The rows; device times are waited for here, once."""
        self.rows.pauses = self.pauses.all
        if self._device_clock is not None:
            self.rows.device_s = self._device_clock.finished()
        return self.rows

    def learning_loss(self) -> float | None:
        """The loss at `loss_step`, None where there was none or a scaler multiplied it."""
        if self.loss is None or self.loss_is_scaled:
            return None
        return float(self.loss)


def _a_leaf(roots: Sequence[Any]) -> Any:
    """A parameter that these results were computed from, None where none is near."""
    nodes = [root.grad_fn for root in roots if getattr(root, "grad_fn", None) is not None]
    seen: set[Any] = set()
    while nodes and len(seen) < 10_000:
        node = nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            return node.variable
        nodes += [following for following, _ in node.next_functions if following is not None]
    return None
