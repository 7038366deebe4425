"""nanoGPT's training step on many ranks: DDP as nanoGPT has it, and `fully_shard`."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mfubench.analysis import components
from mfubench.hardware.devices import Device
from mfubench.measure.ddp_counters import communication_s
from mfubench.measure.train_step import FIXED_BATCHES, SEED, Phase, TrainStep
from mfubench.measure.workload import Batch, Workload, fixed_batches
from mfubench.ranks.measure.communication import Communication, Gather, Scatter

BACKENDS = {"cpu": "gloo", "cuda": "nccl", "xpu": "xccl"}
"""ROCm's library is RCCL, and torch calls it nccl there too."""


class Replica(TrainStep):
    """A step of one rank by itself, with batches of its own and nanoGPT's accumulation."""

    def __init__(
        self,
        workload: Workload,
        device: Device,
        *,
        dtype: str,
        compile: bool,
        rank: int,
        accumulation: int = 1,
        batches: Iterable[Batch] | None = None,
    ) -> None:
        self.accumulation = accumulation
        self._rank = rank
        self._given = batches
        super().__init__(workload, device, dtype=dtype, compile=compile)

    def _drawn_before(self) -> Iterable[Batch]:
        if self._given is not None:
            return self._given
        torch.manual_seed(SEED + 1 + self._rank)  # as nanoGPT offsets its seed by the rank
        return fixed_batches(self.workload, self._torch_device, FIXED_BATCHES)

    def synchronises(self, wanted: bool) -> None:
        """Whether the next backward pass communicates; a replica never does."""

    def iterate(self, phase: Phase) -> None:
        """One optimizer step of `accumulation` micro-steps; only the last one communicates."""
        for micro in range(self.accumulation):
            self.synchronises(micro == self.accumulation - 1)
            with phase(components.FORWARD):
                loss = self.forward(self.next_batch()) / self.accumulation
            with phase(components.BACKWARD):
                self.backward(loss)
        with phase(components.CLIP):
            self.clip()
        with phase(components.OPTIMIZER):
            self.optimize()
        self.last_loss = loss.detach() * self.accumulation


class Strategy(Replica):
    """A step that trains together with the other ranks."""

    def __init__(self, workload: Workload, device: Device, **how: Any) -> None:
        self.group = dist.group.WORLD
        assert self.group is not None
        self.communication = Communication(self.group, has_queue=device.has_queue)
        super().__init__(workload, device, **how)

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Without communication. What the ranks learn apart from each other is forgotten."""
        kept = [tensor.clone() for tensor in self.state()]
        self.communication.is_silent = True
        try:
            yield
        finally:
            self.communication.is_silent = False
            with torch.no_grad():
                for tensor, before in zip(self.state(), kept, strict=True):
                    tensor.copy_(before)

    def state(self) -> list[Tensor]:
        """Parameters and what the optimizer keeps, this rank's parts of them."""
        of_optimizer = [
            value
            for parameter in self._parameters
            for _, value in sorted(self.optimizer.state.get(parameter, {}).items())
            if isinstance(value, Tensor)
        ]
        return [_local(tensor.detach()) for tensor in (*self._parameters, *of_optimizer)]

    def checksum(self) -> str:
        """Of the parameters. Equal on all ranks after training with DDP."""
        digest = hashlib.sha256()
        for parameter in self._parameters:
            digest.update(_local(parameter.detach()).float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def counters_exposed_s(self) -> float | None:
        """What the strategy itself counted of its last step but one; None where it counts none."""
        return None

    def close(self) -> None:
        self.communication.close()


class DDPStep(Strategy):
    """nanoGPT's: the model is compiled, then wrapped, and `require_backward_grad_sync` is set for
    the last micro-step alone, which is what `no_sync` does."""

    def __init__(self, workload: Workload, device: Device, **how: Any) -> None:
        super().__init__(workload, device, **how)
        ids = [self._torch_device] if self._torch_device.type != "cpu" else None
        self._ddp = DistributedDataParallel(self._forward_model, device_ids=ids)
        self.communication.attach(self._ddp)
        self._forward_model = self._ddp

    def synchronises(self, wanted: bool) -> None:
        self._ddp.require_backward_grad_sync = wanted

    def counters_exposed_s(self) -> float | None:
        """Communication less its overlap with the backward pass."""
        spent_s, beside_s = communication_s(self._ddp)
        return spent_s - beside_s if spent_s > 0 else None


class FSDP2Step(Strategy):
    """Every block is sharded by itself, and the rest with the root, as in torch's own examples.
    Compiled, each block is compiled in place before it is sharded."""

    def __init__(self, workload: Workload, device: Device, **how: Any) -> None:
        self._compiles = bool(how.pop("compile"))
        super().__init__(_Sharded(workload, self._shard), device, compile=False, **how)
        from torch.distributed.fsdp import FSDPModule

        self.compiled = self._compiles
        for module in self.model.modules():
            if isinstance(module, FSDPModule):
                module.set_custom_all_gather(cast(Any, Gather(self.communication)))
                module.set_custom_reduce_scatter(cast(Any, Scatter(self.communication)))

    def _shard(self, model: nn.Module) -> nn.Module:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        device = self.device.torch_device
        # Without a mesh it would take a GPU that is visible, whatever the model is on.
        mesh = init_device_mesh(device.type, (dist.get_world_size(),))
        model = model.to(device)
        for block in cast(Any, model).transformer.h:
            if self._compiles:
                block.compile()
            if any(True for _ in block.parameters()):
                fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        return model

    @property
    def device(self) -> Device:
        return self._device

    @device.setter
    def device(self, device: Device) -> None:
        self._device = device

    def synchronises(self, wanted: bool) -> None:
        cast(Any, self.model).set_requires_gradient_sync(wanted)


class _Sharded:
    """A workload whose model is sharded as soon as it is made, before its optimizer is."""

    def __init__(self, workload: Workload, shard: Callable[[nn.Module], nn.Module]) -> None:
        self._workload, self._shard = workload, shard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._workload, name)

    def make_model(self) -> nn.Module:
        return self._shard(self._workload.make_model())


def _local(tensor: Tensor) -> Tensor:
    """This rank's part of a tensor that is spread over ranks, or the tensor."""
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local


STEPS: dict[str, type[Strategy]] = {"ddp": DDPStep, "fsdp2": FSDP2Step}
