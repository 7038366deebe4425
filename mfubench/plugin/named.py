"""What was named on pytest's command line, and whether that asks for measuring."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

BENCHMARKS_PACKAGE = "mfubench_benchmarks"


def measures(config: pytest.Config) -> bool:
    """Whether this pytest run is to measure: it was given a path under `benchmarks`, or our own
    benchmarks by the name of their package.

    Plain `pytest` proves things right and times nothing.
    """
    if hasattr(config, "workerinput"):
        return False
    folder = config.rootpath / "benchmarks"
    return any(
        _installed_benchmark(config, name) or folder in (path, *path.parents)
        for name, path in _named(config)
    )


def named_paths(config: pytest.Config) -> set[Path]:
    """The files and folders named on the command line, without what follows `::`."""
    return {_installed_benchmark(config, name) or path for name, path in _named(config)}


def _named(config: pytest.Config) -> list[tuple[str, Path]]:
    """Each argument without what follows `::`, and the path that it is if it is one."""
    names = [str(argument).split("::")[0] for argument in config.args]
    return [(name, (config.invocation_params.dir / name).resolve()) for name in names]


def _installed_benchmark(config: pytest.Config, name: str) -> Path | None:
    """Where our package of benchmarks, or a module in it, lies; None for every other argument."""
    if not config.option.pyargs or name.split(".", maxsplit=1)[0] != BENCHMARKS_PACKAGE:
        return None
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None  # pytest refuses the argument itself
    path = Path(spec.origin).resolve()
    return path.parent if path.name == "__init__.py" else path
