"""One pytest run of the suite, from its options to its saved file and its last sentence."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pytest_benchmark.storage.file import FileStorage
from pytest_benchmark.utils import get_commit_info, get_current_time, get_machine_id

from mfubench import __version__
from mfubench.gate.option import GateOption, marked_limits
from mfubench.hardware.fingerprint import fingerprint
from mfubench.interrupts import terminated_as_interrupted
from mfubench.results.journal import left_behind
from mfubench.results.record import Outcome
from mfubench.results.write import ResultStorage, write_problem
from mfubench.show.units import format_duration
from mfubench.suite.options import read_options, report_path
from mfubench.suite.progress import Progress
from mfubench.suite.result import machine_info, our_part
from mfubench.suite.screen import PytestScreen
from mfubench.suite.sweep import SWEEPS

if TYPE_CHECKING:
    from mfubench.suite.runner import CaseRunner
    from mfubench.suite.session import BenchSession

STORAGE_DEFAULT = "file://./.benchmarks"
"""pytest-benchmark's own default: any other value was chosen by the user and is left alone."""

QUESTION_FILES = (
    "test_ceilings",
    "test_train_step",
    "test_train_loop",
    "test_harness",
    "test_breakdown",
    "test_knobs",
    "test_claims",
)
"""The order in which questions are asked."""

TRAIN_PARAMETERS = ("preset", "device", "dtype", "batch_size", "compile")


def measures(config: pytest.Config) -> bool:
    """Whether this pytest run is to measure: it was given a path under `benchmarks`.

    Plain `pytest` proves things right and times nothing.
    """
    if hasattr(config, "workerinput"):
        return False
    folder = config.rootpath / "benchmarks"
    return any(path == folder or folder in path.parents for path in named_paths(config))


def named_paths(config: pytest.Config) -> set[Path]:
    """The files and folders named on the command line, without what follows `::`."""
    base = config.invocation_params.dir
    return {(base / str(argument).split("::")[0]).resolve() for argument in config.args}


class SuiteRun:
    """The suite's side of one pytest session."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.options = read_options(config)
        self.fingerprint = fingerprint()
        self.machine_dir = self.options.results_dir / self.fingerprint.id
        self._session: BenchSession | None = None
        self._screen: PytestScreen | None = None
        self._signals = contextlib.ExitStack()
        if not config.option.collectonly:
            self._refuse_unwritable(self.machine_dir)
        option = config.option
        self._storage_url = f"file://{self.machine_dir}"
        if option.benchmark_storage == STORAGE_DEFAULT:
            option.benchmark_storage = self._storage_url
        if not option.benchmark_save and not option.benchmark_autosave:
            commit = get_commit_info(self.config.getoption("benchmark_project_name", None))["id"][
                :12
            ]
            option.benchmark_autosave = f"{commit}_{get_current_time()}"
        option.benchmark_save_data = True
        self.report_path: Path | None = report_path(config)
        self._baseline_note = self._note_missing_baseline()
        wants_gate = config.getoption("gate") and not config.option.collectonly
        self._gate = GateOption(self.machine_dir, config.rootpath) if wants_gate else None
        if not (option.benchmark_compare or option.benchmark_verbose or option.benchmark_columns):
            option.benchmark_quiet = True  # our table stands in for pytest-benchmark's

    # --- before anything is timed --------------------------------------------------------------

    @staticmethod
    def _refuse_unwritable(folder: Path) -> None:
        """Results that cannot be kept are refused before they are measured."""
        if problem := write_problem(folder):
            raise pytest.UsageError(
                f"results cannot be saved in {folder}: {problem}. Choose another folder with "
                "--results-dir DIR, or make this one writable."
            )

    @property
    def _bench(self) -> Any:
        """pytest-benchmark's session, which has no public name."""
        return self.config._benchmarksession  # type: ignore[attr-defined]

    @property
    def screen(self) -> PytestScreen:
        if self._screen is None:
            self._screen = PytestScreen(self.config)
        return self._screen

    @property
    def session(self) -> BenchSession:
        assert self._session is not None, "open() comes first"
        return self._session

    def open(self) -> None:
        """Bring up torch, and take over saving."""
        from mfubench.suite.session import BenchSession

        bench = self._bench
        if isinstance(bench.storage.path, Path):
            bench.storage = ResultStorage(
                bench.storage.path, bench.logger, default_machine_id=bench.machine_id
            )
        if self._baseline_note:
            self.screen.line(self._baseline_note)
        for note in self._gate.notes() if self._gate else ():
            self.screen.line(note)
        for path in left_behind(self.machine_dir):
            self.screen.line(
                f"an earlier run ended before it could save; its finished cases are in "
                f"{_short(path)} (delete the file when it is of no use)"
            )
        self._session = BenchSession(
            self.options, Progress(self.screen), machine_dir=self.machine_dir
        )
        self._signals.enter_context(terminated_as_interrupted())

    def _note_missing_baseline(self) -> str | None:
        """Say before the first timing, not after the last, that there is nothing to compare with.

        pytest-benchmark would only warn, and fail after the whole run if told to fail.
        """
        option = self.config.option
        if not option.benchmark_compare or option.benchmark_storage != self._storage_url:
            return None
        asked = option.benchmark_compare
        wanted = "[0-9][0-9][0-9][0-9]_" if asked is True else asked
        storage = FileStorage(self.machine_dir, None, default_machine_id=get_machine_id())
        if storage.query(wanted):
            return None
        which = "" if asked is True else f" that matches {asked!r}"
        missing = (
            f"--benchmark-compare: there is no saved run{which} of this machine under "
            f"{_short(self.machine_dir)}"
        )
        if option.benchmark_compare_fail:
            raise pytest.UsageError(
                f"{missing}, and --benchmark-compare-fail needs one. Run once without it: that "
                "run is saved and becomes the baseline."
            )
        option.benchmark_compare = None
        return f"{missing}. This run is saved and can be the baseline of the next."

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Give a benchmark the cases of the sweep, by the parameters it names."""
        names = metafunc.fixturenames
        if "measure_case" not in names:
            return
        if all(name in names for name in TRAIN_PARAMETERS):
            marker = metafunc.definition.get_closest_marker("mfubench")
            few = bool(marker and marker.kwargs.get("few"))
            plan = self.options.plan
            cases = self.session.train_cases(
                plan.few_compile if few else plan.compile, sweep_batch=not few
            )
            metafunc.parametrize(TRAIN_PARAMETERS, cases, ids=[case.id for case in cases])
        elif "device" in names:
            presets = self.options.presets if "preset" in names else ()
            devices = self.session.device_names
            if presets:
                # A device that is left out for every preset is left out here too.
                wanted = [d for p in presets for d in self.session.devices_of(p)]
                devices = tuple(d for d in devices if d in wanted)
            if "dtype" in names:
                pairs = [
                    (device, dtype)
                    for device in devices
                    for dtype in self.options.dtypes or self.session.dtypes_of(device)
                ]
                metafunc.parametrize(("device", "dtype"), pairs, ids=[f"{d}-{t}" for d, t in pairs])
            else:
                metafunc.parametrize("device", devices, ids=list(devices))
            if presets:
                metafunc.parametrize("preset", presets, ids=list(presets))

    def choose(self, items: list[pytest.Item]) -> None:
        """Drop the questions that this sweep does not ask, unless their file was named."""
        rank = SWEEPS.index(self.options.sweep)
        named = named_paths(self.config)
        kept: list[pytest.Item] = []
        dropped: list[pytest.Item] = []
        for item in items:
            marker = item.get_closest_marker("mfubench")
            least = marker.kwargs.get("from_sweep", "smoke") if marker else "smoke"
            asked = SWEEPS.index(least) <= rank or item.path in named
            marked_limits(item)  # a wrong one is refused before anything is timed
            (kept if asked else dropped).append(item)
        if dropped:
            self.config.hook.pytest_deselected(items=dropped)
        # Ceilings first: they take seconds, and every share is held against them.
        items[:] = sorted(kept, key=lambda item: _rank(item.path.stem))

    def announce(self, session: pytest.Session) -> None:
        """Read every corpus that will be needed, plan the progress, say what is about to happen."""
        from mfubench_model.corpus import CorpusError

        cases: dict[str, bool] = {}
        presets: dict[str, None] = {}
        for item in session.items:
            if "measure_case" in getattr(item, "fixturenames", ()):
                params = item.callspec.params if hasattr(item, "callspec") else {}
                cases[item.nodeid] = bool(params.get("compile"))
                if "preset" in params:
                    presets[params["preset"]] = None
        try:
            for preset in presets:
                self.session.corpus(preset)
        except CorpusError as error:
            raise pytest.UsageError(str(error)) from None
        self.session.progress.plan(cases, self.options.plan)
        if cases:
            left = format_duration(self.session.progress.time_left_s())
            self.screen.line(
                f"mfubench {__version__}: {len(cases)} cases on {self.fingerprint.id}, "
                f"{self.session.threads} threads; about {left}"
            )

    # --- while it runs -------------------------------------------------------------------------

    def runner(self, benchmark: Any, node: pytest.Item) -> CaseRunner:
        from mfubench.suite.runner import CaseRunner

        return CaseRunner(self.session, benchmark, node.nodeid, gate=marked_limits(node))

    def start_case(self, item: pytest.Item) -> None:
        self.session.progress.start(item.nodeid)

    def letter(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, str] | None:
        """No dot for a case that has its own line; failures keep pytest's letter."""
        if report.failed or self.config.option.verbose > 0 or report.when != "call":
            return None
        category = "skipped" if report.skipped else "passed"
        return category, "", ""

    # --- when it ends --------------------------------------------------------------------------

    def machine_info(self) -> dict[str, Any]:
        return machine_info(self.fingerprint)

    def complete_json(self, output_json: dict[str, Any]) -> None:
        output_json["mfubench"] = our_part(self.session, self.options, self.fingerprint)

    def before_saving(self, session: pytest.Session) -> None:
        """Where nothing was timed pytest-benchmark only warns: keep it out, `finish` saves."""
        if self._session is not None:
            self.session.interrupted = session.exitstatus == pytest.ExitCode.INTERRUPTED
        bench = self._bench
        self._save_as = bench.save or bench.autosave
        if not any(bool(timed) and not timed.has_error for timed in bench.benchmarks):
            bench.save = bench.autosave = None
            bench.json = None

    def rescue(self, error: OSError) -> None:
        """pytest-benchmark could not write where it was told to: save where results belong."""
        self.screen.line(
            f"could not write {error.filename or 'the results'}: {error.strerror or error}"
        )
        if not self._storage_saved():
            self._save()

    def finish(self, session: pytest.Session) -> None:
        """Save a run in which nothing was timed, and say by the exit status that nothing was."""
        records = self.session.records if self._session is not None else []
        if records and not self._storage_saved():
            self._save()
        if self._storage_saved():
            self.session.journal.saved()
        nothing = records and all(record.outcome is not Outcome.OK for record in records)
        is_green = self._gate is None or (
            self._storage_saved() and self._gate.judge(self._bench.storage.saved)
        )
        if (nothing or not is_green) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _storage_saved(self) -> bool:
        return getattr(self._bench.storage, "saved", None) is not None

    def _save(self) -> None:
        bench, hook = self._bench, self.config.hook
        commit_info = hook.pytest_benchmark_generate_commit_info(config=self.config)
        output_json = hook.pytest_benchmark_generate_json(
            config=self.config,
            benchmarks=bench.benchmarks,
            include_data=True,
            machine_info=self.machine_info(),
            commit_info=commit_info,
        )
        hook.pytest_benchmark_update_json(
            config=self.config, benchmarks=bench.benchmarks, output_json=output_json
        )
        bench.storage.save(output_json, self._save_as)

    def summarize(self, terminalreporter: Any) -> None:
        """The table, the sentences, and where the run was saved."""
        if self._session is None or not self.session.records:
            return
        from mfubench.report.table import render

        storage = self._bench.storage
        notes = []
        if saved := getattr(storage, "saved", None):
            notes.append(f"saved in {_short(saved)}")
        for trouble in (getattr(storage, "trouble", None), self.session.ceilings.problem):
            if trouble:
                notes.append(trouble)
        if self.report_path is not None and saved:
            notes.append(self._write_report(saved, self.report_path))
        if self.session.interrupted:
            notes.append("interrupted: what was measured until then is above, and saved")
        infos = [record.as_extra_info() for record in self.session.records]
        writer = terminalreporter._tw
        terminalreporter.section("mfubench")
        width = writer.fullwidth if sys.stdout.isatty() else 100
        text = render(infos, color=writer.hasmarkup, notes=notes, width=width)
        writer.write(text)
        if self._gate is not None:
            from mfubench.gate.show.stored import stored_text

            terminalreporter.section("mfubench gate")
            run = saved.name if saved else "this run"
            writer.write(stored_text(self._gate.verdicts, run=run, color=writer.hasmarkup) + "\n")

    @staticmethod
    def _write_report(saved: Path, page: Path) -> str:
        """The page about this run; a page that cannot be written costs nothing but itself."""
        from mfubench.report.write import ReportError, Wanted, write_report

        try:
            write_report([saved], Wanted(html=page))
        except ReportError as error:
            return f"no report: {error}"
        return f"report in {_short(page)}"

    def close(self) -> None:
        """Give back what `open` took."""
        self._signals.close()
        if self._session is not None:
            self._session.close()


def _rank(stem: str) -> int:
    """Where a benchmark file stands; files of the user's own come last."""
    return QUESTION_FILES.index(stem) if stem in QUESTION_FILES else len(QUESTION_FILES)


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
