"""The wheel, installed away from the checkout, in a folder like a nanoGPT checkout.

Whatever the user's folder has, everything works in it, and takes no module from it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.inner_runs import store_ceiling
from tests.unit.docs.pages import ROOT, fenced, page
from tests.unit.explain.printed_by_train_py import header, iterations

pytest.importorskip("pip", reason="pip, which builds the wheel, is not installed here")

PACKAGES = {"mfubench", "mfubench_benchmarks", "mfubench_model"}
COMMANDS = (
    *(
        "bench",
        "flops",
        "explain",
        "breakdown",
        "advise",
        "gate",
        "report",
        "device",
        "show",
        "validate",
        "completion",
    ),
)
POISON = """
open(__file__ + ".imported", "w").close()
raise ImportError("mfubench took the user's " + __file__)
"""
NANOGPT = (
    *("train.py", "bench.py", "configurator.py", "sample.py", "config/train_gpt2.py"),
    *("config.py", "data/__init__.py", "timing.py", "utils.py", "results/__init__.py"),
)
HOSTILE = ("conftest.py", "model.py", "numpy.py", "torch.py", "copy.py", "json.py", "re.py")
"""What no user has and lives: Python itself would take it. We don't."""

CONFTEST = 'pytest_plugins = ["mfubench.plugin"]\n'
MODEL = 'class GPT:\n    """Theirs."""\n'
(EXAMPLE,) = (b for b in fenced(page("docs/extending.md"), "python") if "MLPRegression" in b)
THEIR_BENCHMARK = (
    "import model\n"
    + EXAMPLE.partition("\n\n\ndef test_mlp_loop")[0].replace(
        "measure_case.train_step",
        "assert model.GPT.__doc__ == 'Theirs.'\n    measure_case.train_step",
    )
    + "\n"
)

QUICK = """
import sys
from dataclasses import replace

from mfubench.advise import command
from mfubench.analysis import rates
from mfubench.cli import main
from mfubench.compare import comparison
from mfubench.measure import profiling
from mfubench.suite import breakdown, sweep

# Timed for an instant: what is right about these numbers is other tests' business.
sweep.PLANS["default"] = replace(
    sweep.PLANS["smoke"], rounds_budget_s=0.02, warmup_budget_s=0.02, ceiling_budget_s=0.02
)
profiling.BLOCKS = profiling.PLAIN_STEPS = 1
breakdown.SAME_SPEED = 1e9
breakdown.LONG_STEP_S = 0.0  # is not checked by ablation
rates.LEAST_GROWTH = 0.0  # a guard that compares times
comparison.LOOKS = (1,)  # one pair
command.LEAST_BUDGET_S = 0.0
command._stored_account = lambda *_: {}  # the baseline is not profiled
if __name__ == "__main__":
    sys.exit(main())
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, because building leaves files behind."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("mfubench", "model", "benchmarks"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    pip("wheel", str(folder), "--no-build-isolation", "--wheel-dir", str(folder))
    (path,) = folder.glob("*.whl")
    return path


def pip(*arguments: str) -> None:
    words = [sys.executable, "-m", "pip", *arguments, "--no-deps", "--no-index", "--quiet"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel is installed; its dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("site")
    pip("install", str(wheel), "--target", str(folder))
    return folder


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nanoGPT checkout with a benchmark of its own."""
    folder = tmp_path_factory.mktemp("nanogpt")
    for name in NANOGPT:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(POISON, encoding="utf-8")
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "model.py").write_text(MODEL, encoding="utf-8")
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "test_mlp.py").write_text(THEIR_BENCHMARK, encoding="utf-8")
    log = "\n".join([*header(), *iterations([40.0] * 30)])
    (folder / "train.log").write_text(log, encoding="utf-8")
    store_ceiling(folder / "results", threads=1)
    return folder


@pytest.fixture(scope="module")
def run(site: Path) -> Run:
    """Run a command in a folder with the installed wheel."""

    def run(words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            list(words), cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture(scope="module")
def measured(users: Path, run: Run) -> Path:
    """The user's folder after `pytest benchmarks/`, which is a run of their own benchmark."""
    arguments = ("--sweep=smoke", "--devices=cpu", "--dtypes=float32", "-k", "step")
    done = run([sys.executable, "-P", "-m", "pytest", "benchmarks/", *arguments], users)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train-step/mlp-regression/cpu-float32-b128-eager" in done.stdout
    return users


@pytest.fixture(scope="module")
def hostile(measured: Path) -> Path:
    """The same folder, where any import of ours that looks there first now fails."""
    for name in HOSTILE:
        (measured / name).write_text(POISON, encoding="utf-8")
    return measured


def imported(folder: Path) -> list[str]:
    """Modules of the folder that something has imported."""
    return sorted(path.stem for path in folder.rglob("*.imported"))


def test_the_wheel_has_every_benchmark_and_no_package_of_another_name(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.partition("/")[0] for name in names}
    assert {name for name in folders if not name.endswith(".dist-info")} == PACKAGES
    ours = {path.name for path in (ROOT / "benchmarks").glob("*.py")}
    assert {n.rpartition("/")[2] for n in names if n.startswith("mfubench_benchmarks/")} == ours


def test_model_is_the_users(users: Path, site: Path, run: Run) -> None:
    code = (
        "import importlib.util as u, mfubench, mfubench_model\n"
        "print(mfubench.__file__, mfubench_model.__file__, sep='\\n')\n"
        "print((s := u.find_spec('model')) and s.origin)"
    )
    here = run([sys.executable, "-c", code], users).stdout.splitlines()
    assert [Path(path).is_relative_to(site) for path in here[:2]] == [True, True]
    assert Path(here[2]) == users / "model.py"
    away = run([sys.executable, "-c", code], site).stdout.splitlines()
    assert away[2] == "None"


def test_pytest_with_the_plugin_measures_their_benchmark(measured: Path) -> None:
    assert imported(measured) == []
    assert len(list((measured / "results").rglob("0001_*.json"))) == 1


@pytest.mark.parametrize("as_module", [False, True], ids=["mfubench", "python -m mfubench"])
def test_every_light_command_works_there(
    hostile: Path, site: Path, run: Run, as_module: bool
) -> None:
    (result,) = hostile.joinpath("results").rglob("0001_*.json")
    script = shutil.which("mfubench", path=site / "bin") or str(site / "Scripts" / "mfubench")
    program = [sys.executable, "-m", "mfubench"] if as_module else [script]
    for words, status, said in (
        (["--help"], 0, "usage: mfubench"),
        (["flops", "--preset", "nanogpt-cpu"], 0, "exact-causal"),
        (["explain", "train.log"], 0, "40.0 ms"),
        (["report", "results", "-o", "page.html"], 0, "wrote page.html"),
        (["show", str(result)], 0, "mlp-regression"),
        (["validate", str(result)], 0, "valid"),
    ):
        done = run([*program, *words], hostile)
        assert done.returncode == status, done.stderr
        assert said in done.stdout + done.stderr
    assert imported(hostile) == []


def test_a_gate_is_refused_there(hostile: Path, run: Run) -> None:
    done = run([sys.executable, "-m", "mfubench", "gate"], hostile)
    assert done.returncode == 3
    assert "is in no git repository" in done.stderr
    assert imported(hostile) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_help_there(hostile: Path, run: Run, command: str) -> None:
    done = run([sys.executable, "-m", "mfubench", command, "--help"], hostile)
    assert done.returncode == 0, done.stderr
    assert f"usage: mfubench {command}" in done.stdout
    assert imported(hostile) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["device"], "cpu"),
        (["breakdown", "nanogpt-cpu/cpu-float32-b1-eager", "--threads=1"], "the step"),
        # Its workers are processes of their own, which start in this folder.
        (["advise", "--threads=1", "--budget=1", "--knobs=adamw fused"], "saved in results"),
    ],
    ids=lambda words: words[0],
)
def test_every_measuring_command_works_there(
    hostile: Path, run: Run, words: list[str], said: str
) -> None:
    done = run([sys.executable, "-P", "-c", QUICK, *words], hostile)
    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout
    assert imported(hostile) == []


def test_the_sweep_runs_by_the_name_of_its_package(tmp_path: Path, site: Path, run: Run) -> None:
    before = {path for path in site.rglob("*") if "__pycache__" not in path.parts}
    words = ("--pyargs", "mfubench_benchmarks.test_ceilings", "--sweep=smoke", "-k", "dispatch")
    done = run([sys.executable, "-P", "-m", "pytest", *words], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"ceiling/dispatch/cpu +\d", done.stdout)
    assert len(list((tmp_path / "results").rglob("0001_*.json"))) == 1
    assert {path for path in site.rglob("*") if "__pycache__" not in path.parts} == before


@pytest.mark.parametrize("as_module", [False, True], ids=["mfubench", "python -m mfubench"])
def test_bench_measures_from_the_wheel_in_any_folder(
    hostile: Path, site: Path, run: Run, as_module: bool
) -> None:
    """Their conftest.py, their pytest settings and their modules change nothing."""
    (hostile / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n", encoding="utf-8")
    script = shutil.which("mfubench", path=site / "bin") or str(site / "Scripts" / "mfubench")
    program = [sys.executable, "-m", "mfubench"] if as_module else [script]
    words = ["bench", "--sweep=smoke", "--only=ceilings", "-k", "dispatch", "--results-dir=bench"]
    before = set((hostile / "bench").rglob("*.json")) if (hostile / "bench").exists() else set()
    done = run([*program, *words], hostile)
    assert done.returncode == 0, done.stdout + done.stderr
    first, *rest = done.stdout.splitlines()
    assert first.startswith("mfubench ")
    assert "results go to bench/" in first
    assert any("1 case on" in line for line in rest)
    assert not {".", ". "} & set(rest), "a heading of pytest's"
    assert "warnings summary" not in done.stdout
    assert any(line.startswith("dispatch/cpu") for line in rest)
    saved = set((hostile / "bench").rglob("0*_*.json")) - before
    assert len(saved) == 1
    assert imported(hostile) == []


def test_the_run_as_json_is_all_that_the_standard_output_has(hostile: Path, run: Run) -> None:
    words = ["bench", "--sweep=smoke", "--only=ceilings", "-k", "dispatch", "--json"]
    done = run([sys.executable, "-m", "mfubench", *words, "--results-dir=json"], hostile)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert [case["case_id"] for case in data["cases"]] == ["ceiling/dispatch/cpu"]
    assert Path(data["result"]).is_file()
    assert "measured ceiling" in done.stderr


def test_quiet_keeps_the_table_and_the_whole_sentences(hostile: Path, run: Run) -> None:
    words = ["bench", "--sweep=smoke", "--only=train-step", "--dtypes=float32", "-q"]
    done = run([sys.executable, "-m", "mfubench", *words, "--threads=1"], hostile)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Training uses .* of this CPU's peak", done.stdout)
    assert "Next: " in done.stdout
    assert "saved in" in done.stdout
