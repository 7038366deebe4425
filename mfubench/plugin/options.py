"""The suite's options on the pytest command line: declared, read, and refused before timing."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfubench.arguments import UserError
from mfubench.defaults import Defaults
from mfubench.files import output_problem
from mfubench.options import COMPILE_MODES, DEFAULT_REPORT, DEFAULT_RESULTS_DIR, OPTIONS
from mfubench.results.read import ResultError, read_result
from mfubench.streams import escaped, shortened
from mfubench.suite.sweep import SweepOptions


def refusal(text: str) -> pytest.UsageError:
    """What cannot be, in one sentence that quotes no more than a line of what was given."""
    return pytest.UsageError(shortened(escaped(text)))


def add_options(parser: pytest.Parser) -> None:
    """Declare the options, with the defaults of the user's pyproject.toml."""
    group = parser.getgroup("mfubench", "mfubench: what share of this machine training uses")
    try:
        defaults = Defaults.near(Path.cwd())
        for option in OPTIONS:
            given = defaults.of_option(option)
            group.addoption(option.name, **{**option.settings, **given})
    except UserError as error:
        raise pytest.UsageError(str(error)) from None


def _result_file(base: Path, given: Path | None) -> Path | None:
    """The path of a result; refused at once when it is none."""
    if given is None:
        return None
    path = base / given
    try:
        read_result(path)
    except ResultError as error:
        raise refusal(f"--claims-against: {error}") from None
    return path


def report_path(config: pytest.Config) -> Path | None:
    """Where the page goes, absolute; refused before anything is timed where it cannot be.

    `--report benchmarks/` takes the word after it: a folder is no page, so that is refused too.
    """
    given: Path | None = config.getoption("report")
    if given is None:
        return None
    path = config.invocation_params.dir / given
    if problem := output_problem(path):
        raise refusal(
            f"--report {given}: the page cannot be written: {problem}. Give a file, for instance "
            f"--report={DEFAULT_REPORT}, or put --report last."
        )
    return path


def read_options(config: pytest.Config) -> SweepOptions:
    """The parsed options of this run, with paths made absolute from where pytest was typed."""
    get = config.getoption
    corpus: Path | None = get("corpus")
    base = config.invocation_params.dir
    results_dir: Path = get("results_dir")
    # The default folder belongs to the project, wherever pytest was typed. What is run by the name
    # of a package (--pyargs) belongs to no project.
    is_of_project = results_dir == Path(DEFAULT_RESULTS_DIR) and not get("pyargs")
    return SweepOptions(
        sweep=get("sweep"),
        presets=get("preset"),
        devices=get("devices"),
        dtypes=get("dtypes"),
        batch_sizes=get("batch_sizes"),
        compile=COMPILE_MODES[get("compile")],
        corpus=None if corpus is None else base / corpus,
        threads=get("threads"),
        ranks=get("ranks"),
        strategies=get("strategy"),
        scalings=get("scaling"),
        results_dir=(config.rootpath if is_of_project else base) / results_dir,
        ceiling_max_age_s=get("ceiling_max_age") * 86400.0,
        claims_against=_result_file(base, get("claims_against")),
    )
