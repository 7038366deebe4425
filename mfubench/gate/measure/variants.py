"""The two variants that a gate compares: the code of each, its Python, settings and origin.

The harness is this installation on both sides. What is under test (our model unless told otherwise)
comes first on the path, from the variant's own tree.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mfubench_model
import psutil

import mfubench
from mfubench.gate.measure.cases import BINDING, GateCase
from mfubench.pairs.loop_program import LOAD_FIRST
from mfubench.pairs.loop_side import PROGRAM, build_request
from mfubench.pairs.side import START_TIMEOUT_S, Side, SideError
from mfubench.results.outcomes import Outcome

HARNESS = Path(mfubench.__file__).resolve().parent.parent
MODEL = Path(mfubench_model.__file__).resolve().parent
MODEL_UNDER_TEST = "model/mfubench_model"
"""Where a revision of this project has its model, below its root."""


BASE_PREFIX = "mfubench-base-"


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

    def start(self, case: GateCase, *, name: str = "") -> Side:
        """A process that can build cases; `case` gives the environment, the same for all cases."""
        config = case.config.changed(dict(self.settings))
        unbound = BINDING if config.cpus is not None else ()
        return Side(
            [self.python, *PROGRAM, LOAD_FIRST],
            name=name,
            environment={
                **{k: v for k, v in config.environment.items() if k not in unbound},
                "PYTHONPATH": os.pathsep.join((str(self.folder), str(HARNESS), str(MODEL.parent))),
                "PYTHONDONTWRITEBYTECODE": "1",
                "TORCHINDUCTOR_CACHE_DIR": str(self.folder / "inductor"),
            },
            cwd=self.folder,
        )

    def build(
        self, side: Side, case: GateCase, *, corpus: Path | None, cache: Path, seed: int
    ) -> None:
        """Build a case in a process; raises SideError, also when the code is not the variant's."""
        config = case.config.changed(dict(self.settings))
        request = build_request(config, cache=cache, corpus=corpus)
        loop = side.ask({**request, "seed": seed}, START_TIMEOUT_S)
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


def git(*arguments: str, cwd: Path) -> str:
    """What git prints; raises VariantError with git's own words."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=cwd,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            check=False,
            # A group of its own: Ctrl-C must not end it halfway through a checkout or its removal.
            process_group=None if sys.platform == "win32" else 0,
        )
    except FileNotFoundError:
        raise VariantError(
            "git is not installed; --base-python or --set compare without it"
        ) from None
    except OSError as error:
        raise VariantError(f"git cannot be started: {error.strerror or error}") from None
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise VariantError(f"git {arguments[0]} failed: {words[-1] if words else done.returncode}")
    return done.stdout.strip()


def repository(start: Path) -> Path:
    """The root of the git repository; raises VariantError outside of one."""
    try:
        return Path(git("rev-parse", "--show-toplevel", cwd=start))
    except VariantError:
        raise VariantError(
            f"{start} is in no git repository, so there is no revision to compare with; compare "
            "two settings with --set KEY=VALUE, or two environments with --base-python PATH"
        ) from None


def resolve_base(root: Path, revision: str | None) -> tuple[str, str]:
    """The base's commit and what to call it: the given revision, or the merge base with the main
    branch. Raises VariantError."""
    if revision is not None:
        try:
            commit = git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", cwd=root)
        except VariantError:
            raise VariantError(
                f"there is no revision {revision!r}; type a branch, a tag or a commit (a shallow "
                "clone has only the last one: git fetch --unshallow)"
            ) from None
        return commit, f"{revision} ({commit[:10]})"
    for branch in ("origin/main", "origin/master", "main", "master"):
        with contextlib.suppress(VariantError):
            commit = git("merge-base", "HEAD", branch, cwd=root)
            return commit, f"merge base with {branch} ({commit[:10]})"
    raise VariantError("no main branch was found to compare with; give a revision with --base REV")


@contextlib.contextmanager
def worktree(root: Path, commit: str) -> Iterator[Path]:
    """A checkout of a commit beside the repository's own, gone afterwards whatever happens.

    What a gate that was killed left behind is taken away by the next one.
    """
    _remove_left_behind(root)
    folder = Path(tempfile.gettempdir()) / f"{BASE_PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
    try:
        folder.mkdir(mode=0o700)
        git("worktree", "add", "--detach", "--quiet", str(folder / "tree"), commit, cwd=root)
        yield folder / "tree"
    finally:
        _remove(root, folder)


def _remove(root: Path, folder: Path) -> None:
    with contextlib.suppress(VariantError):
        git("worktree", "remove", "--force", str(folder / "tree"), cwd=root)
    shutil.rmtree(folder, ignore_errors=True)  # where git was killed before it knew of it
    with contextlib.suppress(VariantError):
        git("worktree", "prune", cwd=root)


def _remove_left_behind(root: Path) -> None:
    """Take away the checkouts of this repository by processes that are gone."""
    try:
        listed = git("worktree", "list", "--porcelain", cwd=root)
    except VariantError:
        return
    for line in listed.splitlines():
        folder = Path(line.removeprefix("worktree ")).parent
        pid = folder.name.removeprefix(BASE_PREFIX).partition("-")[0]
        is_ours = line.startswith("worktree ") and folder.name.startswith(BASE_PREFIX)
        if is_ours and pid.isdecimal() and not psutil.pid_exists(int(pid)):
            _remove(root, folder)
