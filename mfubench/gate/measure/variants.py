"""The two variants that a gate compares: the code of each, its Python, settings and origin.

The harness is this installation on both sides. What is under test (our model unless told otherwise)
comes first on the path, from the variant's own tree.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mfubench_model

import mfubench
from mfubench.gate.measure.cases import BINDING, GateCase
from mfubench.pairs.fork_server import ForkServers
from mfubench.pairs.loop_program import LOAD_FIRST
from mfubench.pairs.loop_side import PROGRAM, build_request
from mfubench.pairs.side import START_TIMEOUT_S, Side, SideError
from mfubench.results.outcomes import Outcome

HARNESS = Path(mfubench.__file__).resolve().parent.parent
MODEL = Path(mfubench_model.__file__).resolve().parent
MODEL_UNDER_TEST = "model/mfubench_model"
"""Where a revision of this project has its model, below its root."""


class VariantError(RuntimeError):
    """A variant that cannot be prepared, in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What one side of a gate runs."""

    label: str
    tree: Path
    """Where the code under test lies."""
    folder: Path
    """First on the path of the variant's processes: links to what is under test, nothing else."""
    under_test: tuple[str, ...]
    """Packages and modules, each by its path below the tree, without `.py`."""
    python: str = sys.executable
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Changes of each case's `LoopConfig`."""
    planted_memory_ratio: float = 0.0
    """Memory that a self-test plants, as a share of the step's peak."""

    def start(self, case: GateCase, forks: ForkServers, *, cache: Path, name: str = "") -> Side:
        """A process that can build cases; `case` gives the environment, the same for all cases.

        Both sides keep compiled code in one `cache`. It is found by the graph that it is made from,
        so that a side finds the other's only where it would have made the same.
        """
        config = case.config.changed(dict(self.settings))
        unbound = BINDING if config.cpus is not None else ()
        command = [self.python, *PROGRAM, LOAD_FIRST]
        paths = (str(HARNESS), str(MODEL.parent))
        shared = {
            **{k: v for k, v in config.environment.items() if k not in unbound},
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return Side(
            command,
            name=name,
            environment={
                **shared,
                "PYTHONPATH": os.pathsep.join((str(self.folder), *paths)),
                "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
            },
            cwd=self.folder,
            start=forks.start_of(command, shared) if config.may_fork else None,
        )

    def build(
        self, side: Side, case: GateCase, *, corpus: Path | None, cache: Path, seed: int
    ) -> None:
        """Tell a process to build a case. Both sides do so at once; `built` waits for one."""
        config = case.config.changed(dict(self.settings))
        side.tell({**build_request(config, cache=cache, corpus=corpus), "seed": seed})

    def built(self, side: Side) -> None:
        """Wait until a case is built; raises SideError, also when the code is not the variant's."""
        loop = side.hear(START_TIMEOUT_S)
        origin = Path(str(loop["origin"])).resolve()
        if MODEL_UNDER_TEST in self.under_test and self.tree.resolve() not in origin.parents:
            raise SideError(
                Outcome.ERROR,
                f"the model was loaded from {origin}, not from {self.tree}",
                side.name,
            )

    def digest(self) -> str:
        """What identifies this variant's code and settings, for pairs that are kept."""
        sha = hashlib.sha256(f"{self.python} {sorted(self.settings.items())}".encode())
        for name in self.under_test:
            root = self.tree / name
            files = sorted(root.rglob("*.py")) if root.is_dir() else [self.tree / f"{name}.py"]
            for path in files:
                sha.update(str(path.relative_to(self.tree)).encode())
                sha.update(path.read_bytes())
        return sha.hexdigest()[:16]

    def as_data(self) -> dict[str, Any]:
        """What the variant was, without paths of this machine."""
        return {
            "label": self.label,
            "digest": self.digest(),
            "settings": dict(self.settings),
            "under_test": list(self.under_test),
        }


def variant(
    label: str,
    tree: Path,
    folder: Path,
    *,
    under_test: Sequence[str] = (MODEL_UNDER_TEST,),
    **settings: Any,
) -> Variant:
    """A variant whose packages are linked into a folder of their own.

    Raises VariantError where the tree lacks one of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in under_test:
        source = tree / name
        if not source.is_dir():
            source = tree / f"{name}.py"
        if not source.exists():
            raise VariantError(
                f"{label} has no {name}, which is compared; name what both revisions have with "
                "--under-test PATHS"
            )
        link = folder / source.name
        if not link.exists():
            link.symlink_to(source.resolve(), target_is_directory=source.is_dir())
    return Variant(label=label, tree=tree, folder=folder, under_test=tuple(under_test), **settings)
