"""The knobs that can be turned in any training script from outside: those of the catalogue whose
change the process of a script can make (`script/adjust.py`), and a few that our own loop has not.

A knob that needs another batch, another model or another logging is the script's own business.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mfubench.knobs.catalogue import KNOBS
from mfubench.knobs.knob import Knob, Machine, only_cpu, only_cuda, supports
from mfubench.measure.loop_config import ALLOCATOR_VARIABLES, LoopConfig, settings_of_variables
from mfubench.sides.spec import SideSpec

ADJUSTABLE = frozenset(
    {"attention", "compile", "cpus", "dtype", "flush_denormals", "loader", "optimizer", "threads"}
    | {"weights", "environment"}
)
"""Fields of a `LoopConfig` that a script's process can be given."""
UNLIKE = {
    "compile": ("no",),
    "attention": ("float32", "fused"),
    "loader": ("thread", "inline", "fixed"),
    "dtype": ("float16", "float32"),
}
"""Values that need a change of the script's own code: a scaler, a queue, another forward."""


def _only_bf16_cpu(machine: Machine) -> str | None:
    return only_cpu(machine) or supports("bfloat16")(machine)


OWN: tuple[Knob, ...] = (
    Knob(
        name="float32 products in bf16",
        before="strict float32",
        after='float32 products by bfloat16 parts, torch\'s precision "medium"',
        change=lambda config, machine: {"matmul_precision": "medium"},
        nanogpt='torch.set_float32_matmul_precision("medium") in train.py',
        pytorch='torch.set_float32_matmul_precision("medium")',
        changes_numerics=True,
        inapplicable=_only_bf16_cpu,
    ),
    Knob(
        name="pinned memory",
        before="pageable batches",
        after="batches in pinned memory",
        change=lambda config, machine: {"pin_memory": True},
        nanogpt="pin_memory() in get_batch",
        pytorch="DataLoader(…, pin_memory=True)",
        inapplicable=only_cuda,
    ),
    Knob(
        name="transparent huge pages",
        before="torch's allocator takes pages of 4 KiB",
        after="torch's allocator asks for huge pages",
        change=lambda config, machine: {"environment": {"THP_MEM_ALLOC_ENABLE": "1"}},
        nanogpt="THP_MEM_ALLOC_ENABLE=1 python train.py",
        pytorch="the same variable",
        inapplicable=only_cpu,
    ),
)


def script_knobs(machine: Machine) -> tuple[Knob, ...]:
    """What can be turned in a script on this machine, and what cannot with its reason."""
    config = LoopConfig(device=str(machine.device.kind))
    return (*(knob for knob in KNOBS if _is_outside(knob.change(config, machine))), *OWN)


def _is_outside(change: Mapping[str, Any]) -> bool:
    return set(change) <= ADJUSTABLE and not any(
        change.get(name) in values for name, values in UNLIKE.items()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """Knobs that are turned together."""

    knobs: tuple[Knob, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    adjust: Mapping[str, Any] = field(default_factory=dict)

    def and_(self, knob: Knob, machine: Machine) -> Turned:
        """With one more."""
        change = dict(knob.change(LoopConfig(device=str(machine.device.kind)), machine))
        environment = {**self.environment, **change.pop("environment", {})}
        if "threads" in change:
            environment["OMP_NUM_THREADS"] = str(change["threads"])
        return Turned(
            knobs=(*self.knobs, knob),
            environment=environment,
            adjust={**self.adjust, **change},
        )

    def of(self, base: SideSpec, label: str, **adjust: Any) -> SideSpec:
        """A side of the script with these settings."""
        from dataclasses import replace

        return replace(
            base,
            label=label,
            environment={**base.environment, **self.environment},
            adjust={**base.adjust, **self.adjust, **adjust},
        )

    @property
    def settings(self) -> set[str]:
        """What is touched."""
        return set(self.adjust) | settings_of_variables(self.environment)

    @property
    def chooses_allocator(self) -> bool:
        """Whether it sets what memory comes from."""
        return any(name in ALLOCATOR_VARIABLES for name in self.environment)


def turned_with(knobs: Sequence[Knob], machine: Machine) -> Turned:
    """All of them turned."""
    turned = Turned()
    for knob in knobs:
        turned = turned.and_(knob, machine)
    return turned


def command_line(base: SideSpec, turned: Turned) -> str:
    """What is typed to run a script with what a command line can say.

    >>> base = SideSpec(label="", words=("train.py", "--x"), environment={"A": "0"})
    >>> command_line(base, Turned(environment={"OMP_NUM_THREADS": "1"}))
    'A=0 OMP_NUM_THREADS=1 python train.py --x'
    """
    environment = {**base.environment, **turned.environment}
    parts = [f"{name}={shlex.quote(value)}" for name, value in environment.items()]
    if cpus := {**base.adjust, **turned.adjust}.get("cpus"):
        parts += ["taskset", "-c", ",".join(map(str, cpus))]
    return " ".join([*parts, "python", *map(shlex.quote, base.command)])


IN_THE_COMMAND = {"cpus", "threads"}


def code_lines(turned: Turned, machine: Machine, places: Mapping[str, str]) -> list[str]:
    """What must be changed in the script, each with the line it belongs to where that is known."""
    found = []
    for knob in turned.knobs:
        settings = set(Turned().and_(knob, machine).adjust) - IN_THE_COMMAND
        if not settings:
            continue
        place = next((places[name] for name in sorted(settings) if places.get(name)), None)
        where = f"{place}: " if place else "before the model is made: "
        found.append(where + knob.pytorch)
    return found
