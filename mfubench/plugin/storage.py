"""How pytest-benchmark saves a run: in this machine's folder, whole, even if nothing was timed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.storage.file import FileStorage
from pytest_benchmark.utils import get_commit_info, get_current_time, get_machine_id

from mfubench.plugin.options import refusal
from mfubench.results.write import json_text, write_elsewhere, write_numbered, write_problem

STORAGE_DEFAULT = "file://./.benchmarks"
"""pytest-benchmark's own default: any other value was chosen by the user and is left alone."""


class ResultStorage(FileStorage):
    """pytest-benchmark's folder of numbered files, written atomically.

    Two sessions that save at once get two numbers; a full disk leaves no half file behind, and the
    run goes to the system's temporary folder instead.
    """

    saved: Path | None = None
    trouble: str | None = None

    def save(self, output_json: dict[str, Any], save: str) -> None:
        text = json_text(output_json)
        try:
            self.saved = write_numbered(self.path / self.default_machine_id, f"{save}.json", text)
        except OSError as error:
            why = f"results could not be saved under {self.path} ({error.strerror or error})"
            try:
                self.saved = write_elsewhere(f"0001_{save}.json", text)
            except OSError as problem:
                print(text, file=sys.stderr)  # the last place that takes it
                self.trouble = (
                    f"{why}, nor elsewhere ({problem.strerror or problem}): they are on standard "
                    "error"
                )
                return
            self.trouble = f"{why}; they are in {self.saved}: copy them there when there is room"
        self.logger.info(f"Saved benchmark data in: {self.saved}")


class RunStorage:
    """Where one pytest run is saved. Results that cannot be kept are refused at once."""

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        """Before pytest-benchmark reads its own options: point it at the folder."""
        self._config = config
        self._folder = folder
        self._save_as: str | None = None
        problem = None if config.option.collectonly else write_problem(folder)
        if problem:
            raise refusal(
                f"results cannot be saved in {folder}: {problem}. Choose another folder with "
                "--results-dir DIR, or make this one writable."
            )
        option = config.option
        self._url = f"file://{folder}"
        if option.benchmark_storage == STORAGE_DEFAULT:
            option.benchmark_storage = self._url
        if not option.benchmark_save and not option.benchmark_autosave:
            commit = get_commit_info(config.getoption("benchmark_project_name", None))
            option.benchmark_autosave = f"{commit['id'][:12]}_{get_current_time()}"
        option.benchmark_save_data = True
        self.earlier: Path | None = None
        """The run to show this one beside, for --benchmark-compare."""
        self.baseline_note = self._look_for_baseline()
        elsewhere = option.benchmark_compare and self.earlier is None
        if not (elsewhere or option.benchmark_verbose or option.benchmark_columns):
            option.benchmark_quiet = True  # our tables stand in for pytest-benchmark's

    def _look_for_baseline(self) -> str | None:
        """Find the run to compare with; say before the first timing, not after the last, that there
        is none.

        pytest-benchmark would only warn, and fail after the whole run if told to fail.
        """
        option = self._config.option
        if not option.benchmark_compare or option.benchmark_storage != self._url:
            return None
        asked = option.benchmark_compare
        wanted = "[0-9][0-9][0-9][0-9]_" if asked is True else asked
        storage = FileStorage(self._folder, None, default_machine_id=get_machine_id())
        if found := storage.query(wanted):
            self.earlier = Path(found[-1])
            return None
        which = "" if asked is True else f" that matches {asked!r}"
        missing = (
            f"--benchmark-compare: there is no saved run{which} of this machine under "
            f"{short_path(self._folder)}"
        )
        if option.benchmark_compare_fail:
            raise refusal(
                f"{missing}, and --benchmark-compare-fail needs one. Run once without it: that "
                "run is saved and becomes the baseline."
            )
        option.benchmark_compare = None
        return f"{missing}. This run is saved and can be the baseline of the next."

    @property
    def _bench(self) -> Any:
        """pytest-benchmark's session, which has no public name."""
        return self._config._benchmarksession  # type: ignore[attr-defined]

    def open(self) -> None:
        """Take over the writing of files."""
        bench = self._bench
        if isinstance(bench.storage.path, Path):
            bench.storage = ResultStorage(
                bench.storage.path, bench.logger, default_machine_id=bench.machine_id
            )

    @property
    def saved(self) -> Path | None:
        """The saved run; None before it is saved."""
        path: Path | None = getattr(self._bench.storage, "saved", None)
        return path

    @property
    def trouble(self) -> str | None:
        """Why the run lies elsewhere than it should; None where it does not."""
        said: str | None = getattr(self._bench.storage, "trouble", None)
        return said

    def before_saving(self) -> None:
        """Where nothing was timed pytest-benchmark only warns: keep it out, `save` comes later."""
        bench = self._bench
        self._save_as = bench.save or bench.autosave
        if not any(bool(timed) and not timed.has_error for timed in bench.benchmarks):
            bench.save = bench.autosave = None
            bench.json = None

    def save(self) -> None:
        """Save what pytest-benchmark has not saved."""
        if self.saved is not None:
            return
        bench, hook = self._bench, self._config.hook
        output_json = hook.pytest_benchmark_generate_json(
            config=self._config,
            benchmarks=bench.benchmarks,
            include_data=True,
            machine_info=bench.get_machine_info(),
            commit_info=hook.pytest_benchmark_generate_commit_info(config=self._config),
        )
        hook.pytest_benchmark_update_json(
            config=self._config, benchmarks=bench.benchmarks, output_json=output_json
        )
        bench.storage.save(output_json, self._save_as)


def short_path(path: Path) -> str:
    """A path as the user would type it from where pytest was started."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):  # OSError: the folder where pytest was started is gone
        return str(path)
