"""The two sides of a gate: what each runs, with which Python and settings, and where from.

The harness is this installation on both sides. What is under test (our model unless told otherwise)
comes first on the path, from the side's own tree.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mfubench_model

import mfubench
from mfubench.gate.measure.cases import BINDING, GateCase
from mfubench.pairs.process import START_TIMEOUT_S, WorkerError, WorkerProcess
from mfubench.results.record import Outcome

HARNESS = Path(mfubench.__file__).resolve().parent.parent
MODEL = Path(mfubench_model.__file__).resolve().parent
MODEL_UNDER_TEST = "model/mfubench_model"
"""Where a revision of this project has its model, below its root."""


class SideError(RuntimeError):
    """A side that cannot be prepared, in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side."""

    label: str
    tree: Path
    """Where the code under test lies."""
    folder: Path
    """First on the path of the side's processes: links to what is under test, nothing else."""
    under_test: tuple[str, ...]
    """Packages and modules, each by its path below the tree, without `.py`."""
    python: str = sys.executable
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Changes of each case's `LoopConfig`."""
    planted_memory_ratio: float = 0.0
    """Memory that a self-test plants, as a share of the step's peak."""

    def start(self, case: GateCase) -> SideWorker:
        """A process that is ready to build cases. Raises WorkerError."""
        return SideWorker(self, case)

    def digest(self) -> str:
        """What identifies this side's code and settings, for pairs that are kept."""
        sha = hashlib.sha256(f"{self.python} {sorted(self.settings.items())}".encode())
        for name in self.under_test:
            root = self.tree / name
            files = sorted(root.rglob("*.py")) if root.is_dir() else [self.tree / f"{name}.py"]
            for path in files:
                sha.update(str(path.relative_to(self.tree)).encode())
                sha.update(path.read_bytes())
        return sha.hexdigest()[:16]


class SideWorker(WorkerProcess):
    """A process of one side; `case` gives the environment, which is the same for all cases."""

    def __init__(self, side: Side, case: GateCase) -> None:
        self.side = side
        settings = case.config.changed(dict(side.settings))
        unbound = BINDING if settings.cpus is not None else ()
        super().__init__(
            [side.python, "-P", "-m", "mfubench.gate.measure.worker"],
            environment={
                **{k: v for k, v in settings.environment.items() if k not in unbound},
                "PYTHONPATH": os.pathsep.join((str(side.folder), str(HARNESS), str(MODEL.parent))),
                "PYTHONDONTWRITEBYTECODE": "1",
                "TORCHINDUCTOR_CACHE_DIR": str(side.folder / "inductor"),
            },
            cwd=side.folder,
        )

    def build(self, case: GateCase, *, corpus: Path | None, cache: Path, seed: int) -> None:
        """Build a case; raises WorkerError, also when the code is not the side's own."""
        request = case.request(**dict(self.side.settings))
        corpus_name = str(corpus.resolve()) if corpus else None
        ready = self.ask(
            {
                **request,
                "extra_memory_ratio": self.side.planted_memory_ratio,
                "corpus": corpus_name,
                "cache": str(cache),
                "seed": seed,
            },
            START_TIMEOUT_S,
        )
        origin = Path(str(ready["origin"])).resolve()
        if (
            MODEL_UNDER_TEST in self.side.under_test
            and self.side.tree.resolve() not in origin.parents
        ):
            raise WorkerError(
                Outcome.ERROR, f"the model was loaded from {origin}, not from {self.side.tree}"
            )


def side(
    label: str,
    tree: Path,
    folder: Path,
    *,
    under_test: Sequence[str] = (MODEL_UNDER_TEST,),
    **settings: Any,
) -> Side:
    """A side whose packages are linked into a folder of their own.

    Raises SideError where the tree lacks one of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in under_test:
        source = tree / name
        if not source.is_dir():
            source = tree / f"{name}.py"
        if not source.exists():
            raise SideError(f"{label} has no {name}; give what is under test with --under-test")
        link = folder / source.name
        if not link.exists():
            link.symlink_to(source.resolve(), target_is_directory=source.is_dir())
    return Side(label=label, tree=tree, folder=folder, under_test=tuple(under_test), **settings)


def git(*arguments: str, cwd: Path) -> str:
    """What git prints; raises SideError with git's own words."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=cwd, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise SideError("git is not installed; --base-python or --set compare without it") from None
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise SideError(f"git {arguments[0]} failed: {words[-1] if words else done.returncode}")
    return done.stdout.strip()


def repository(start: Path) -> Path:
    """The root of the git repository; raises SideError outside of one."""
    try:
        return Path(git("rev-parse", "--show-toplevel", cwd=start))
    except SideError:
        raise SideError(
            f"{start} is in no git repository, so there is no revision to compare with; compare "
            "two settings with --set KEY=VALUE, or two environments with --base-python PATH"
        ) from None


def resolve_base(root: Path, revision: str | None) -> tuple[str, str]:
    """The base's commit and what to call it: the given revision, or the merge base with the main
    branch. Raises SideError."""
    if revision is not None:
        try:
            commit = git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", cwd=root)
        except SideError:
            raise SideError(
                f"there is no revision {revision!r}; type a branch, a tag or a commit (a shallow "
                "clone has only the last one: git fetch --unshallow)"
            ) from None
        return commit, f"{revision} ({commit[:10]})"
    for branch in ("origin/main", "origin/master", "main", "master"):
        with contextlib.suppress(SideError):
            commit = git("merge-base", "HEAD", branch, cwd=root)
            return commit, f"merge base with {branch} ({commit[:10]})"
    raise SideError("no main branch was found to compare with; give a revision with --base REV")


@contextlib.contextmanager
def worktree(root: Path, commit: str) -> Iterator[Path]:
    """A checkout of a commit beside the repository's own, gone afterwards whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="mfubench-base-"))
    tree = folder / "tree"
    try:
        git("worktree", "add", "--detach", "--quiet", str(tree), commit, cwd=root)
        yield tree
    finally:
        with contextlib.suppress(SideError):
            git("worktree", "remove", "--force", str(tree), cwd=root)
        with contextlib.suppress(SideError):
            git("worktree", "prune", cwd=root)
        with contextlib.suppress(OSError):
            folder.rmdir()
