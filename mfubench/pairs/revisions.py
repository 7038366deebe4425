"""Revisions of a git repository, each checked out in a worktree of its own while it is needed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

TREE_PREFIX = "mfubench-base-"


class RevisionError(RuntimeError):
    """A revision that cannot be had, in one sentence."""


class NoGitError(RevisionError):
    """git itself is missing."""


def git(*arguments: str, cwd: Path) -> str:
    """What git prints; raises RevisionError with git's own words."""
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
        raise NoGitError(
            "git is not installed, and revisions cannot be compared without it"
        ) from None
    except OSError as error:
        raise RevisionError(f"git cannot be started: {error.strerror or error}") from None
    if done.returncode:
        words = done.stderr.strip().splitlines()
        name = next(a for a in arguments if not a.startswith(("-", "core.")))
        raise RevisionError(f"git {name} failed: {words[-1] if words else done.returncode}")
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
    short = commit[:10]
    return commit, short if commit.startswith(revision) else f"{revision} ({short})"


def resolve_base(root: Path, revision: str | None) -> tuple[str, str]:
    """The base's commit and what to call it: the given revision, or the merge base with the main
    branch. Raises RevisionError."""
    if revision is not None:
        return resolve(root, revision)
    for branch in ("origin/main", "origin/master", "main", "master"):
        with contextlib.suppress(RevisionError):
            commit = git("merge-base", "HEAD", branch, cwd=root)
            return commit, f"merge base with {branch} ({commit[:10]})"
    shallow = "false"
    with contextlib.suppress(RevisionError):
        shallow = git("rev-parse", "--is-shallow-repository", cwd=root)
    if shallow == "true":
        raise RevisionError(
            "this is a shallow clone, which has not the commit where it left the main branch; type "
            "git fetch --unshallow (in GitHub Actions: fetch-depth: 0)"
        )
    raise RevisionError("no main branch was found to compare with; give a revision with --base REV")


@contextlib.contextmanager
def worktree(root: Path, commit: str) -> Iterator[Path]:
    """A checkout of a commit beside the repository's own, gone afterwards whatever happens.

    What a process that was killed left behind is taken away by the next one.
    """
    _remove_left_behind(root)
    folder = Path(tempfile.gettempdir()) / f"{TREE_PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
    try:
        folder.mkdir(mode=0o700)
        # Their hooks may do anything, and are meant for their own tree.
        add = ("-c", f"core.hooksPath={os.devnull}", "worktree", "add", "--detach", "--quiet")
        git(*add, str(folder / "tree"), commit, cwd=root)
        yield folder / "tree"
    finally:
        _remove(root, folder)


def _remove(root: Path, folder: Path) -> None:
    with contextlib.suppress(RevisionError):
        git("worktree", "remove", "--force", str(folder / "tree"), cwd=root)
    shutil.rmtree(folder, ignore_errors=True)  # where git was killed before it knew of it
    with contextlib.suppress(RevisionError):
        git("worktree", "prune", cwd=root)


def _remove_left_behind(root: Path) -> None:
    """Take away the checkouts of this repository by processes that are gone."""
    try:
        listed = git("worktree", "list", "--porcelain", cwd=root)
    except RevisionError:
        return
    for line in listed.splitlines():
        folder = Path(line.removeprefix("worktree ")).parent
        pid = folder.name.removeprefix(TREE_PREFIX).partition("-")[0]
        is_ours = line.startswith("worktree ") and folder.name.startswith(TREE_PREFIX)
        if is_ours and pid.isdecimal() and not psutil.pid_exists(int(pid)):
            _remove(root, folder)
