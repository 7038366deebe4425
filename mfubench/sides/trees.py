"""Where the sides of a repository run: each in a worktree of its own, gone afterwards.

Nothing that a script writes beside itself lands in the user's tree or is read by the other side.
What git does not have (data, say) is linked into both, file by file: new files of a script stay in
its own worktree.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfubench.arguments import UserError
from mfubench.pairs import revisions
from mfubench.pairs.revisions import RevisionError, git
from mfubench.sides.spec import SideSpec

MOST_LINKS = 20_000
"""Files of a folder that are linked one by one; a larger folder is linked as a whole."""
COPIED_BYTES = 16 * 2**20
"""Larger files of the working tree that git does not have are linked, not copied."""
SUBMODULE = "160000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A checkout, and the folder in it that stands for the one the user is in."""

    root: Path
    cwd: Path
    label: str
    state: str
    """The commit, and what the working tree changes in it: equal where the code is."""


@contextlib.contextmanager
def revision_tree(
    root: Path, below: Path, commit: str, label: str, links: Sequence[str] = ()
) -> Iterator[Tree]:
    """A revision's own files, its submodules, and the links. Raises RevisionError and UserError."""
    with revisions.worktree(root, commit) as tree:
        _add_submodules(root, tree, commit, label)
        _link_all(root / below, tree / below, links)
        (tree / below).mkdir(parents=True, exist_ok=True)
        yield Tree(root=tree, cwd=tree / below, label=label, state=commit)


@contextlib.contextmanager
def working_tree(root: Path, below: Path, links: Sequence[str] = ()) -> Iterator[Tree]:
    """A copy of the working tree as it is now: its last commit, with what has been changed since
    and not ignored. Raises RevisionError and UserError."""
    commit, _ = revisions.resolve(root, "HEAD")
    with revision_tree(root, below, commit, "the working tree", links) as made:
        changed = changed_files(root)
        for name in changed:
            _copy(root / name, made.root / name)
        state = commit if not changed else f"{commit} with {_digest(root, changed)}"
        yield Tree(root=made.root, cwd=made.cwd, label=made.label, state=state)


def changed_files(root: Path) -> list[str]:
    """Files of the working tree that differ from its last commit, new ones included, ignored ones
    not; paths below the root."""
    changed = git("diff", "--name-only", "--ignore-submodules", "-z", "HEAD", cwd=root)
    new = git("ls-files", "--others", "--exclude-standard", "-z", cwd=root)
    return sorted({name for name in (*changed.split("\0"), *new.split("\0")) if name})


def _digest(root: Path, names: Sequence[str]) -> str:
    sha = hashlib.sha256()
    for name in names:
        path = root / name
        sha.update(name.encode(errors="surrogateescape"))
        if path.is_file() and path.stat().st_size <= COPIED_BYTES:
            sha.update(path.read_bytes())
    return sha.hexdigest()[:16]


def _copy(source: Path, target: Path) -> None:
    """A changed file of the working tree, or its absence."""
    if source.is_dir() and not source.is_symlink():
        return  # a repository inside the repository
    with contextlib.suppress(FileNotFoundError):
        target.unlink()
    if not os.path.lexists(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_symlink() and source.stat().st_size > COPIED_BYTES:
        target.symlink_to(source.resolve())
    else:
        shutil.copy2(source, target, follow_symlinks=False)


# --- what git does not have ----------------------------------------------------------------------


def _link_all(source: Path, target: Path, links: Sequence[str]) -> None:
    for name in links:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(
                f"--link {name}: name a path inside the repository; what lies outside is found "
                "by both sides as it is"
            )
        if not (source / name).exists():
            raise UserError(f"--link {name}: there is no {name} in the working tree")
        link(source / name, target / name)


def link(source: Path, target: Path) -> None:
    """Make `target` stand for `source`: links of its files in folders of its own. What the revision
    has itself stays."""
    if not source.is_dir():
        if not os.path.lexists(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source.resolve())
        return
    files = [path for path in _first(source.rglob("*"), MOST_LINKS + 1) if not path.is_dir()]
    if len(files) > MOST_LINKS:
        if not os.path.lexists(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source.resolve(), target_is_directory=True)
        return
    target.mkdir(parents=True, exist_ok=True)
    for path in files:
        own = target / path.relative_to(source)
        if not os.path.lexists(own):
            own.parent.mkdir(parents=True, exist_ok=True)
            own.symlink_to(path.resolve())


def _first(paths: Iterator[Path], most: int) -> Iterator[Path]:
    for number, path in enumerate(paths):
        if number >= most:
            return
        yield path


def not_in_git(words: str, cwd: Path, tree: Tree) -> str | None:
    """The path below the user's folder that a side's words say is missing, where the user's folder
    has it; None where there is none."""
    for quoted in words.replace('"', "'").split("'")[1::2]:
        path = Path(quoted)
        if path.is_absolute():
            if not path.is_relative_to(tree.cwd):
                continue
            path = path.relative_to(tree.cwd)
        if path.parts and ".." not in path.parts and (cwd / path).exists():
            return str(path)
    return None


# --- submodules ----------------------------------------------------------------------------------


def _add_submodules(root: Path, tree: Path, commit: str, label: str) -> None:
    """A worktree's submodules are empty: fill each with the commit that the revision names, from
    the user's own checkout of it. Raises RevisionError where it does not have that commit."""
    if not (tree / ".gitmodules").exists():
        return
    for line in git("ls-tree", "-r", "-z", commit, cwd=root).split("\0"):
        about, _, name = line.partition("\t")
        if not about.startswith(SUBMODULE):
            continue
        wanted = about.split()[2]
        if not (root / name / ".git").exists():
            raise RevisionError(
                f"the submodule {name} is not checked out; type git submodule update --init"
            )
        packed = tree.parent / "submodule.tar"
        try:
            git("archive", "--format=tar", "-o", str(packed), wanted, cwd=root / name)
        except RevisionError:
            raise RevisionError(
                f"the submodule {name} has not the commit {wanted[:10]} that {label} needs; type "
                f"git -C {name} fetch"
            ) from None
        # git packed it. Python 3.11.0 to 3.11.3, Debian's among them, know no filters.
        known: dict[str, Any] = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
        with tarfile.open(packed) as files:
            files.extractall(tree / name, **known)
        packed.unlink()


# --- what a script names -------------------------------------------------------------------------


def named_and_missing(spec: SideSpec, here: Path, cwd: Path) -> set[str]:
    """Paths that a script's text or arguments name, that the user's folder has, and that the
    side's folder `cwd` has not."""
    texts = set(spec.words[1:])
    script = cwd / spec.words[0]
    if not spec.is_module and script.is_file():
        with contextlib.suppress(SyntaxError, ValueError, OSError, RecursionError):
            for node in ast.walk(ast.parse(script.read_bytes())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.add(node.value)
    found = set()
    for text in texts:
        name = text.rpartition("=")[2].strip()
        path = Path(name)
        if not name or "\0" in name or len(name) > 200 or path.is_absolute() or ".." in path.parts:
            continue
        with contextlib.suppress(OSError):
            if path.parts and (here / path).exists() and not (cwd / path).exists():
                found.add(str(path))
    return found
