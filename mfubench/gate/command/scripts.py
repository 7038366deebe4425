"""What `mfubench gate --script` sets up: both revisions of the user's repository, and its scripts
as cases."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfubench.arguments import UserError

if TYPE_CHECKING:
    from mfubench.gate.measure.scripts import ScriptCase, ScriptPairBench
    from mfubench.sides.spec import Command, SideSpec
    from mfubench.sides.trees import Tree

HOW = 'type for instance mfubench gate --script "train.py config/ci.py"'
OURS = {
    "preset": "--preset",
    "set": "--set",
    "set_base": "--set-base",
    "self_test": "--self-test",
    "against": "--against",
    "corpus": "--corpus",
    "threads": "--threads",
}
"""Options of our own loop."""
TABLE = ("script", "base_script", "link", "python", "base_python")
"""What the table `tool.mfubench.gate` may say of scripts."""


def scripts_of(arguments: argparse.Namespace, table: Mapping[str, Any]) -> list[str]:
    """The scripts to gate, as typed or as the table has them; none for our own loop.

    Raises UserError for what cannot be.
    """
    if arguments.script:
        return list(arguments.script)
    if not (_typed_for_ours(arguments) or "script" not in table):
        return listed(table, "script")
    for name in ("base_script", "link", "python"):
        if getattr(arguments, name):
            option = "--" + name.replace("_", "-")
            raise UserError(f"{option} is for training scripts, and there is no --script; {HOW}")
    return []


def refuse_mixed(arguments: argparse.Namespace) -> None:
    """Raise UserError where a script and an option of our own loop are typed together."""
    if arguments.script and (ours := _typed_for_ours(arguments)):
        raise UserError(
            f"{ours[0]} is for our own loop; a script has its settings among its arguments: {HOW}"
        )


def _typed_for_ours(arguments: argparse.Namespace) -> list[str]:
    return [option for name, option in OURS.items() if getattr(arguments, name)]


def listed(table: Mapping[str, Any], name: str) -> list[str]:
    """A word or a list of words of the table. Raises UserError.

    >>> listed({"script": "train.py"}, "script"), listed({}, "script")
    (['train.py'], [])
    """
    value = table.get(name, [])
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(one, str) and one for one in words):
        raise UserError(
            f"{name} is {value!r} in tool.mfubench.gate; write a text or a list of texts, for "
            f'instance {name} = "train.py config/ci.py"'
        )
    return words


@contextlib.contextmanager
def script_bench(
    arguments: argparse.Namespace,
    scripts: Sequence[str],
    table: Mapping[str, Any],
    say: Callable[[str], None],
) -> Iterator[tuple[ScriptPairBench, list[ScriptCase]]]:
    """Both sides of all scripts, ready to be measured; whatever was set up is taken away again.

    Raises UserError and RevisionError, and says before the first pair what both sides lack.
    """
    from mfubench.gate.measure.cases import chosen
    from mfubench.gate.measure.pairs import BASE
    from mfubench.gate.measure.scripts import ScriptCase, ScriptPairBench, ScriptVariant
    from mfubench.pairs import revisions
    from mfubench.sides import trees
    from mfubench.sides.control import Control
    from mfubench.sides.forks import ScriptForks

    here = Path.cwd()
    root = revisions.repository(here)
    below = here.resolve().relative_to(root.resolve())
    commands = _commands(scripts, root)
    base_commands = _base_commands(
        arguments.base_script or listed(table, "base_script"), commands, root
    )
    links = arguments.link or listed(table, "link")
    pythons = _pythons(arguments, table)
    commit, label = revisions.resolve_base(root, arguments.base)
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(trees.working_tree(root, below, links))
        other = stack.enter_context(trees.revision_tree(root, below, commit, label, links))
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="mfubench-gate-", ignore_cleanup_errors=True)
        )
        places = {"base": (other, pythons[0]), "candidate": (own, pythons[1])}
        paths = {name: _path(python, root, tree) for name, (tree, python) in places.items()}

        def spec(name: str, command: Command) -> SideSpec:
            tree, python = places[name]
            return _spec(command, tree, python or command.python, paths[name], root)

        cases = [
            ScriptCase(id=text, base=spec("base", before), candidate=spec("candidate", command))
            for text, before, command in zip(scripts, base_commands, commands, strict=True)
        ]
        cases = chosen(cases, arguments.cases)
        for case in cases:
            _refuse_missing(case, here, other)
        say(f"{own.label} against {other.label}, each in a checkout of its own")
        for sentence in _missing(cases, root, here, own):
            say(sentence)
        control = Control()
        stack.callback(control.close)

        def explain(side: str, words: str) -> str:
            tree = other if side == BASE else own
            path = trees.not_in_git(words, here, tree)
            if path is None:
                return words
            return f"{words} ({path} is in your working tree and not in git: {_link_it(path)})"

        def variant(tree: Tree, name: str) -> ScriptVariant:
            spec = cases[0].base if name == "base" else cases[0].candidate
            return ScriptVariant(
                label=tree.label,
                state=tree.state,
                python=spec.python,
                scripts=tuple(case.id for case in cases),
            )

        yield (
            ScriptPairBench(
                base=variant(other, "base"),
                candidate=variant(own, "candidate"),
                folder=Path(folder),
                control=control,
                forks=stack.enter_context(ScriptForks()),
                say=say,
                explain=explain,
            ),
            cases,
        )


# --- what is run ---------------------------------------------------------------------------------


def _commands(scripts: Sequence[str], root: Path) -> list[Command]:
    from mfubench.sides.spec import parse_command

    for text in scripts:
        if scripts.count(text) > 1:
            raise UserError(f"--script {text!r} is given twice; each is a case of its own")
    commands = [parse_command(text, HOW) for text in scripts]
    for command in commands:
        path = Path(command.words[0])
        if not command.is_module and path.is_absolute():
            raise UserError(
                f"the script {path.name} is named by its whole path, which both sides would run; "
                f"name it by its path below {root.name}"
            )
    return commands


def _base_commands(typed: Sequence[str], commands: list[Command], root: Path) -> list[Command]:
    if not typed:
        return commands
    if len(typed) != len(commands):
        raise UserError(
            f"{len(typed)} --base-script for {len(commands)} --script: give one for each, in the "
            "same order"
        )
    return _commands(typed, root)


def _pythons(
    arguments: argparse.Namespace, table: Mapping[str, Any]
) -> tuple[str | None, str | None]:
    """Of the base and of the candidate; None where it is the one that runs this."""
    from mfubench.sides.spec import found_python

    def one(option: str) -> str | None:
        typed = getattr(arguments, option) or next(iter(listed(table, option)), None)
        return None if typed is None else found_python(str(typed))

    python = one("python")
    return one("base_python") or python, python


def _path(python: str | None, root: Path, tree: Tree) -> str | None:
    from mfubench.sides.interpreter import moved_path, path_of
    from mfubench.sides.spec import short_path

    shown = "this Python" if python is None else short_path(python)
    return moved_path(path_of(python or sys.executable, shown, tree.cwd), root, tree.root)


def _spec(
    command: Command, tree: Tree, python: str | None, path: str | None, root: Path
) -> SideSpec:
    from mfubench.sides.spec import SideSpec, found_python

    return SideSpec(
        label=tree.label,
        words=command.words,
        is_module=command.is_module,
        python=sys.executable if python is None else found_python(python),
        environment={**command.environment, **({} if path is None else {"PYTHONPATH": path})},
        adjust=command.adjust,
        cwd=tree.cwd,
        commit=tree.state,
        not_from=root,
    )


# --- before the first pair -----------------------------------------------------------------------


def _refuse_missing(case: ScriptCase, here: Path, base: Tree) -> None:
    for spec, where in ((case.candidate, "the working tree"), (case.base, base.label)):
        if spec.is_module:
            continue
        path = spec.cwd / spec.words[0]
        if path.is_file() or (path / "__main__.py").is_file():
            continue
        hint = HOW
        if spec is case.candidate and (here / spec.words[0]).exists():
            hint = "it is in your folder and git ignores it, so that no revision has it"
        elif spec is case.base:
            hint = (
                "where it has another name there, give it with --base-script; a script that is new "
                "has nothing to be compared with"
            )
        raise UserError(f"there is no script {spec.words[0]!r} in {where}; {hint}")


def _missing(cases: Sequence[ScriptCase], root: Path, here: Path, own: Tree) -> list[str]:
    """Sentences on files that a script names, the user's folder has, and git has not."""
    from mfubench.sides.trees import changed_files, named_and_missing

    found = []
    if changed := changed_files(root):
        files = "1 file" if len(changed) == 1 else f"{len(changed)} files"
        found.append(f"{files} changed since the last commit: part of what is judged")
    names = sorted({n for case in cases for n in named_and_missing(case.candidate, here, own.cwd)})
    if names:
        listed_names = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        found.append(f"not in git, so neither side has it: {listed_names}; {_link_it(names[0])}")
    return found


def _link_it(path: str) -> str:
    return f"where the script reads it, add --link {path}, or link in tool.mfubench.gate"
