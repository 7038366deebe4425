"""What every form of `mfubench gate` sets up: limits, cases, both sides, and the kept pairs."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfubench.arguments import UserError, refuse_corpus, refuse_device, refuse_threads
from mfubench.gate.command.scripts import TABLE

if TYPE_CHECKING:
    from mfubench.gate.measure.pairs import PairBench
    from mfubench.gate.measure.variants import Variant
    from mfubench.pairs.journal import PairJournal

MOST_PAIRS = 200
PRESET = "nanogpt-cpu"
"""Of our own loop, unless told otherwise."""


def open_journal(folder: Path, key: str, *, resume: bool) -> PairJournal:
    """The pairs of a comparison: those of an interrupted one with `resume`, else none.

    Raises UserError where a kept one is not valid.
    """

    from mfubench.gate.rules.document import Pair
    from mfubench.pairs.journal import JournalError, PairJournal

    journal = PairJournal(folder / f".pairs-{key}.jsonl")
    try:
        journal.begin(Pair, resume=resume)
    except JournalError as error:
        raise UserError(str(error)) from None
    if resume:
        say(f"{len(journal.pairs)} pairs are kept from before")
    return journal


def say(text: str) -> None:
    """Progress, on standard error."""
    print(f"  {text}", file=sys.stderr, flush=True)


def gate_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The table `tool.mfubench.gate` of pyproject.toml, the command line's limits over it.

    Raises UserError for a limit that is none.
    """
    from mfubench.gate.rules.limits import Limits, LimitsError, gate_table, is_share
    from mfubench.gate.rules.policy import LEAST_PAIRS

    known = {*Limits.__struct_fields__, "cases", "pairs", "within_tolerance", *TABLE}
    try:
        table = gate_table(Path("pyproject.toml"))
    except LimitsError as error:
        raise UserError(str(error)) from None
    for name in ("floor", "tolerance"):
        if getattr(arguments, name) is not None:
            table[name] = getattr(arguments, name)
    for where, values in (("", table), *table.get("cases", {}).items()):
        for name, value in values.items():
            place = f"tool.mfubench.gate{f'.cases.{where}' if where else ''}"
            if name not in known:
                raise UserError(f"{place} has {name!r}; allowed: {', '.join(sorted(known))}")
            if name in Limits.__struct_fields__ and not is_share(value):
                raise UserError(f"{name} is {value!r}; it must be a share, for instance 0.05")
    if table.get("within_tolerance", "fail") not in ("fail", "pass"):
        given = table["within_tolerance"]
        raise UserError(
            f'within_tolerance is {given!r} in tool.mfubench.gate; type "fail" or "pass"'
        )
    pairs = table.get("pairs", LEAST_PAIRS)
    if not isinstance(pairs, int) or not LEAST_PAIRS <= pairs <= MOST_PAIRS:
        raise UserError(f"pairs is {pairs!r} in tool.mfubench.gate; {_allowed_pairs()}")
    floor = table.get("floor", Limits().floor)
    tolerance = table.get("tolerance", Limits().tolerance)
    if floor >= tolerance:
        raise UserError(f"the floor ({floor:g}) must be below the tolerance ({tolerance:g})")
    return table


def gate_cases_of(arguments: argparse.Namespace) -> list[Any]:
    """The chosen cases, refused where device, threads, pairs or patterns cannot be."""
    from mfubench.gate.measure.cases import chosen, gate_cases

    refuse_threads(arguments.threads)
    refuse_pairs(arguments.pairs)
    refuse_device(arguments.device)
    preset = arguments.preset or PRESET
    cases = gate_cases(preset, arguments.device, threads=arguments.threads)
    return chosen(cases, arguments.cases)


@contextlib.contextmanager
def gate_bench(
    arguments: argparse.Namespace, settings: Mapping[str, Any]
) -> Iterator[tuple[Any, list[Any], Callable[[], dict[str, Any]]]]:
    """A bench of both sides, its cases, and what the document says of them once they have been
    measured: of scripts where some are named, else of our own loop."""
    from mfubench.gate.command.scripts import script_bench, scripts_of

    if not (scripts := scripts_of(arguments, settings)):
        cases = gate_cases_of(arguments)
        with pair_bench(arguments) as bench:
            about = {"preset": arguments.preset or PRESET, "device": arguments.device}
            yield bench, cases, lambda: about
        return
    refuse_pairs(arguments.pairs)
    with script_bench(arguments, scripts, settings, say) as (script_pairs, script_cases):
        yield script_pairs, script_cases, script_pairs.about


def refuse_pairs(pairs: int | None) -> None:
    """Raise UserError for a number of pairs that says nothing."""
    from mfubench.gate.rules.policy import LEAST_PAIRS

    if pairs is not None and not LEAST_PAIRS <= pairs <= MOST_PAIRS:
        raise UserError(f"{pairs} pairs: {_allowed_pairs()}")


def _allowed_pairs() -> str:
    from mfubench.gate.rules.policy import LEAST_PAIRS

    return f"fewer than {LEAST_PAIRS} say nothing; allowed: {LEAST_PAIRS} to {MOST_PAIRS}"


@contextlib.contextmanager
def pair_bench(arguments: argparse.Namespace, **more: Any) -> Iterator[PairBench]:
    """Both sides ready to be measured; whatever was set up is taken away again."""
    from mfubench.gate.measure import variants
    from mfubench.gate.measure.pairs import PairBench
    from mfubench.pairs import revisions
    from mfubench.pairs.fork_server import ForkServers

    refuse_corpus(arguments.corpus)
    under_test = _under_test(arguments.under_test)
    python = arguments.base_python
    if python is not None and not (python.is_file() and os.access(python, os.X_OK)):
        raise UserError(
            f"--base-python {python} is no program; give the base environment's python, for "
            "instance .venv-base/bin/python"
        )
    base_settings, settings = _settings(arguments.set_base), _settings(arguments.set)
    same_tree = bool(base_settings or settings or python) and arguments.base is None
    same_tree = same_tree or arguments.self_test
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mfubench-gate-")))
        here = Path.cwd() if same_tree else revisions.repository(Path.cwd())
        tree, label = here, "this tree"
        if not same_tree:
            commit, label = revisions.resolve_base(here, arguments.base)
            tree = stack.enter_context(revisions.worktree(here, commit))
        base: dict[str, Any] = {"python": str(python.absolute())} if python else {}

        def make(name: str, where: Path, changes: dict[str, Any], **special: Any) -> Variant:
            words = ", ".join(f"{k}={v}" for k, v in changes.items())
            return variants.variant(
                f"{name} with {words}" if words else name,
                where,
                folder / str(len(list(folder.iterdir()))),
                under_test=under_test,
                settings=changes,
                **special,
            )

        cache = folder / "cache"
        cache.mkdir()
        yield PairBench(
            base=make(label, tree, base_settings, **base),
            candidate=make("the working tree" if not same_tree else "this tree", here, settings),
            cache=cache,
            corpus=arguments.corpus,
            say=say,
            forks=stack.enter_context(ForkServers()),
            **more,
        )


def _under_test(text: str) -> tuple[str, ...]:
    """Paths below the root of each revision. Raises UserError for others."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise UserError("--under-test names nothing; type for instance --under-test model")
    for name in names:
        path = Path(name)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise UserError(
                f"--under-test {name}: give a package or module by its path below the repository's "
                "root, for instance model/mfubench_model"
            )
    return names


def _settings(words: list[str]) -> dict[str, Any]:
    """Settings of a training loop from KEY=VALUE; a value is JSON, or a word as it is."""
    import json

    import msgspec

    from mfubench.measure.loop_config import LoopConfig
    from mfubench.results.read import in_words

    changes: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or key not in LoopConfig.__dataclass_fields__:
            allowed = ", ".join(LoopConfig.__dataclass_fields__)
            raise UserError(f"{word!r} is no KEY=VALUE of a training loop; keys: {allowed}")
        try:
            changes[key] = json.loads(text)
        except (ValueError, RecursionError):
            changes[key] = text
    try:
        whole = msgspec.convert(LoopConfig().as_data() | changes, LoopConfig)
    except (msgspec.ValidationError, OverflowError, RecursionError) as error:
        raise UserError(f"--set {in_words(error)}") from None
    for name, value in whole.environment.items():
        if not name or "=" in name or "\0" in name + value:
            raise UserError(
                f"--set environment: no variable can be {name!r} with the value {value!r}; type "
                """for instance --set environment='{"OMP_NUM_THREADS": "1"}'"""
            )
    return changes
