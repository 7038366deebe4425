"""One pytest run of the suite, from its options to its saved file and its last sentence."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mfubench import __version__
from mfubench.hardware.fingerprint import fingerprint
from mfubench.interrupts import terminated_as_interrupted
from mfubench.options import QUESTIONS
from mfubench.plugin.gate_option import GateOption, marked_limits
from mfubench.plugin.named import named_paths
from mfubench.plugin.options import read_options, refusal, report_path
from mfubench.plugin.result import our_part
from mfubench.plugin.screen import PytestScreen
from mfubench.plugin.storage import RunStorage, short_path
from mfubench.results.document import machine_info
from mfubench.results.journal import left_behind
from mfubench.results.outcomes import Outcome
from mfubench.results.write import json_text, write_elsewhere
from mfubench.show.units import format_duration
from mfubench.suite.progress import Progress
from mfubench.suite.sweep import SWEEPS

if TYPE_CHECKING:
    from mfubench.plugin.fixture import MeasureCase
    from mfubench.suite.session import BenchSession

TRAIN_PARAMETERS = ("preset", "device", "dtype", "batch_size", "compile")


class SuiteRun:
    """The suite's side of one pytest session: a plugin object, whose hooks pytest calls."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        if getattr(config.option, "dist", "no") != "no":
            raise refusal(
                "benchmarks run one at a time: two at once would be each other's noise. Leave out "
                "-n, or give -n 0."
            )
        self.options = read_options(config)
        self.fingerprint = fingerprint()
        self.machine_dir = self.options.results_dir / self.fingerprint.id
        self._session: BenchSession | None = None
        self._cases: list[MeasureCase] = []
        self._screen: PytestScreen | None = None
        self._signals = contextlib.ExitStack()
        self._storage = RunStorage(config, self.machine_dir)
        self.report_path: Path | None = report_path(config)
        wants_gate = config.getoption("gate") and not config.option.collectonly
        self._gate = GateOption(self.machine_dir, config.rootpath) if wants_gate else None

    # --- before anything is timed --------------------------------------------------------------

    @property
    def screen(self) -> PytestScreen:
        if self._screen is None:
            self._screen = PytestScreen(self.config)
        return self._screen

    @property
    def session(self) -> BenchSession:
        assert self._session is not None, "the session starts first"
        return self._session

    def pytest_sessionstart(self) -> None:
        """Bring up torch, and take over saving."""
        from mfubench.suite.session import BenchSession

        self._storage.open()
        if self._storage.baseline_note:
            self.screen.line(self._storage.baseline_note)
        for note in self._gate.notes() if self._gate else ():
            self.screen.line(note)
        for path in left_behind(self.machine_dir):
            self.screen.line(
                f"an earlier run ended before it could save; its finished cases are in "
                f"{short_path(path)} (delete the file when it is of no use)"
            )
        progress = Progress(self.screen)
        self._session = BenchSession(self.options, progress, machine_dir=self.machine_dir)
        self._signals.enter_context(terminated_as_interrupted())

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give a benchmark the cases of the sweep, by the parameters it names."""
        names, session, options = metafunc.fixturenames, self.session, self.options
        if "measure_case" not in names or "device" not in names:
            return
        if all(name in names for name in TRAIN_PARAMETERS):
            marker = metafunc.definition.get_closest_marker("mfubench")
            few = bool(marker and marker.kwargs.get("few"))
            if "strategy" in names:
                self._parametrize_ranks(metafunc)
                return
            modes = options.plan.few_compile if few else options.plan.compile
            cases = session.train_cases(modes, sweep_batch=not few)
            values = [tuple(getattr(case, name) for name in TRAIN_PARAMETERS) for case in cases]
            metafunc.parametrize(TRAIN_PARAMETERS, values, ids=[str(case) for case in cases])
            return
        presets = options.presets if "preset" in names else ()
        # A device that is left out for every preset is left out here too.
        wanted = {device for preset in presets for device in session.devices_of(preset)}
        devices = [name for name in session.device_names if not presets or name in wanted]
        if "dtype" in names:
            pairs = [(d, t) for d in devices for t in options.dtypes or session.dtypes_of(d)]
            metafunc.parametrize(("device", "dtype"), pairs)
        else:
            metafunc.parametrize("device", devices)
        if presets:
            metafunc.parametrize("preset", presets)

    def _parametrize_ranks(self, metafunc: pytest.Metafunc) -> None:
        """Cases on many ranks last a minute each, so that few of them are in a sweep."""
        from mfubench.ranks.measure.sweep import RANKS_PARAMETERS, ranks_cases

        cases = ranks_cases(self.session)
        values = [(*(getattr(c, name) for name in TRAIN_PARAMETERS), *how) for c, how in cases]
        ids = [f"{case}/{'-'.join(map(str, how))}" for case, how in cases]
        metafunc.parametrize((*TRAIN_PARAMETERS, *RANKS_PARAMETERS), values, ids=ids)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Drop the questions that this sweep does not ask, unless their file was named."""
        rank = SWEEPS.index(self.options.sweep)
        named = named_paths(self.config)
        kept: list[pytest.Item] = []
        dropped: list[pytest.Item] = []
        for item in items:
            if "script" in getattr(item, "fixturenames", ()) and not self.config.option.script:
                dropped.append(item)
                continue
            marker = item.get_closest_marker("mfubench")
            least = marker.kwargs.get("from_sweep", "smoke") if marker else "smoke"
            asked = SWEEPS.index(least) <= rank or item.path in named
            marked_limits(item)  # a wrong one is refused before anything is timed
            (kept if asked else dropped).append(item)
        if dropped:
            self.config.hook.pytest_deselected(items=dropped)
        # Ceilings first: they take seconds, and every share is held against them. Files of the
        # user's own come last.
        order = {stem: place for place, stem in enumerate(QUESTIONS.values())}
        items[:] = sorted(kept, key=lambda item: order.get(item.path.stem, len(order)))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Read every corpus that will be needed, plan the progress, say what is about to happen."""
        from mfubench_model.corpus import CorpusError

        from mfubench.predict.sweep import predicted_steps_s

        cases: dict[str, bool] = {}
        presets: dict[str, None] = {}
        training: dict[str, dict[str, Any]] = {}
        for item in session.items:
            if "measure_case" in getattr(item, "fixturenames", ()):
                params = item.callspec.params if hasattr(item, "callspec") else {}
                cases[item.nodeid] = bool(params.get("compile"))
                if "preset" in params:
                    presets[params["preset"]] = None
                is_step = item.path.stem == QUESTIONS["train-step"]
                if is_step and all(name in params for name in TRAIN_PARAMETERS):
                    training[item.nodeid] = params
        try:
            for preset in presets:
                self.session.corpus(preset)
        except CorpusError as error:
            raise refusal(str(error)) from None
        steps_s = predicted_steps_s(training, self.machine_dir, self.session.threads)
        self.session.progress.plan(cases, self.options.plan, steps_s)
        if cases:
            left = format_duration(self.session.progress.time_left_s())
            many, threads = len(cases), self.session.threads
            self.screen.line(
                f"mfubench {__version__}: {many} {'case' if many == 1 else 'cases'} on "
                f"{self.fingerprint.id}, {threads} {'thread' if threads == 1 else 'threads'}; "
                f"about {left}"
            )

    # --- while it runs -------------------------------------------------------------------------

    def measure_case(self, benchmark: Any, node: pytest.Item) -> MeasureCase:
        """The fixture of one test."""
        from mfubench.plugin.fixture import MeasureCase

        case = MeasureCase(self.session, benchmark, node.nodeid, gate=marked_limits(node))
        self._cases.append(case)
        return case

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.session.progress.start(nodeid)

    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, str] | None:
        """No dot for a case that has its own line; failures keep pytest's letter."""
        if report.failed or self.config.option.verbose > 0 or report.when != "call":
            return None
        category = "skipped" if report.skipped else "passed"
        return category, "", ""

    # --- when it ends --------------------------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_generate_machine_info(self) -> dict[str, Any]:
        return machine_info()

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        output_json["mfubench"] = our_part(self.session, self.options)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Around pytest-benchmark's own: what it does not save, or fails to, is saved here.

        Neither tryfirst nor trylast: inside the terminal's wrapper, whose summary tells what was
        saved.
        """
        if self._session is not None:
            self.session.interrupted = session.exitstatus == pytest.ExitCode.INTERRUPTED
        for case in self._cases:
            case.refresh()
        self._storage.before_saving()
        try:
            yield
        except OSError as error:
            self.screen.line(
                f"could not write {error.filename or 'the results'}: {error.strerror or error}"
            )
            self._storage.save()
        self._finish(session)

    def _finish(self, session: pytest.Session) -> None:
        """Save a run in which nothing was timed, and say by the exit status that nothing was."""
        records = self.session.records if self._session is not None else []
        if records:
            self._storage.save()
        saved = self._storage.saved
        if saved is not None:
            self.session.journal.saved()
        nothing = records and all(record.outcome is not Outcome.OK for record in records)
        is_green = self._gate is None or (saved is not None and self._gate.judge(saved))
        if (nothing or not is_green) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self) -> None:
        """The table, the sentences, and where the run was saved."""
        if self._session is None or not self.session.records:
            return
        saved, notes = self._storage.saved, []
        if saved:
            notes.append(f"saved in {short_path(saved)}")
        notes += [note for note in (self._storage.trouble, self.session.ceilings.problem) if note]
        if self.report_path is not None and saved:
            notes.append(self._write_report(saved, self.report_path))
        if self.session.interrupted:
            notes.append("interrupted: what was measured until then is above, and saved")
        self.screen.summary(self.session.records, notes, self._storage.earlier)
        if self.config.option.json:
            self.screen.print_json(self.session.records, saved)
        if self._gate is not None:
            self.screen.verdicts(self._gate.verdicts, saved.name if saved else "this run")

    @staticmethod
    def _write_report(saved: Path, page: Path) -> str:
        """The page about this run; a page that cannot be written costs nothing but itself."""
        from mfubench.report.write import ReportError, Wanted, write_report

        try:
            write_report([saved], Wanted(html=page))
        except ReportError as error:
            return f"no report: {error}"
        return f"report in {short_path(page)}"

    def pytest_unconfigure(self) -> None:
        """Give back what the start of the session took."""
        if self._session is not None:
            self._save_late()
        self._signals.close()
        if self._session is not None:
            self._session.close()

    def _save_late(self) -> None:
        """Save where pytest broke off before it told us that the session ends: the folder in which
        it was started may be gone."""
        if not self.session.records or self._storage.saved is not None:
            return
        text = json_text([record.as_extra_info() for record in self.session.records])
        with contextlib.suppress(OSError):
            saved = write_elsewhere("unsaved.json", text)
            print(f"mfubench: pytest broke off; the finished cases are in {saved}", file=sys.stderr)
