"""Revisions of a git repository, each checked out in a worktree of its own while it is needed."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


class RevisionError(RuntimeError):
    """A revision that cannot be had, in one sentence."""


class NoGitError(RevisionError):
    """git itself is missing."""


def git(*arguments: str, cwd: Path) -> str:
    """What git prints; raises RevisionError with git's own words."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=cwd, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise NoGitError(
            "git is not installed, and revisions cannot be compared without it"
        ) from None
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise RevisionError(f"git {arguments[0]} failed: {words[-1] if words else done.returncode}")
    return done.stdout.strip()


def repository(start: Path) -> Path:
    """The root of the git repository; raises RevisionError outside of one."""
    try:
        return Path(git("rev-parse", "--show-toplevel", cwd=start))
    except NoGitError:
        raise
    except RevisionError:
        raise RevisionError(
            f"{start} is in no git repository, so there is no revision to compare with"
        ) from None


def resolve(root: Path, revision: str) -> tuple[str, str]:
    """The commit of a revision, and what to call it. Raises RevisionError where there is none."""
    try:
        commit = git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", cwd=root)
    except RevisionError:
        raise RevisionError(
            f"there is no revision {revision!r}; type a branch, a tag or a commit (a shallow "
            "clone has only the last one: git fetch --unshallow)"
        ) from None
    return commit, f"{revision} ({commit[:10]})"


def resolve_base(root: Path, revision: str | None) -> tuple[str, str]:
    """The base's commit and what to call it: the given revision, or the merge base with the main
    branch. Raises RevisionError."""
    if revision is not None:
        return resolve(root, revision)
    for branch in ("origin/main", "origin/master", "main", "master"):
        with contextlib.suppress(RevisionError):
            commit = git("merge-base", "HEAD", branch, cwd=root)
            return commit, f"merge base with {branch} ({commit[:10]})"
    raise RevisionError("no main branch was found to compare with; give a revision with --base REV")


@contextlib.contextmanager
def worktree(root: Path, commit: str) -> Iterator[Path]:
    """A checkout of a commit beside the repository's own, gone afterwards whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="mfubench-base-"))
    tree = folder / "tree"
    try:
        git("worktree", "add", "--detach", "--quiet", str(tree), commit, cwd=root)
        yield tree
    finally:
        with contextlib.suppress(RevisionError):
            git("worktree", "remove", "--force", str(tree), cwd=root)
        with contextlib.suppress(RevisionError):
            git("worktree", "prune", cwd=root)
        with contextlib.suppress(OSError):
            folder.rmdir()
