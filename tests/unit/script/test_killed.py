"""What a script leaves that is killed, or leaves by os._exit; and how it ends then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mfubench.cli import main
from mfubench.results.read import read_result
from mfubench.results.schema import problems
from mfubench.script.journal import killed_runs
from mfubench.script.parts import part

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")

TRAIN = """
import os, signal, sys, torch
if "handles" in sys.argv:
    def handle(number, frame):
        os.write(1, b"handled")  # a print may be in the midst of one
        sys.exit(5)
    assert signal.signal(signal.SIGTERM, handle) is signal.SIG_DFL
assert (signal.getsignal(signal.SIGTERM) is signal.SIG_DFL) == ("handles" not in sys.argv)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters())
for i in range(10**9):
    model(torch.randn(3, 4)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    if i == 40 and "leaves" in sys.argv:
        print("not flushed", end="")
        os._exit(7)
    if i == 2000:
        print("ready", flush=True)
"""

# The journal is written after a fifth of a second, not after ten.
RUN = """
import sys
from mfubench.script import run
run.next_after_s = lambda lasted_s: 0.2
from mfubench.cli import main
sys.exit(main(sys.argv[1:]))
"""


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    (folder / "train.py").write_text(TRAIN)
    options = ["run", "--no-ceilings", "--results-dir", str(folder / "results")]
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *options, "train.py", *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def machine_folder(folder: Path) -> Path:
    (found,) = (folder / "results").iterdir()
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_is_saved_by_the_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    with started(tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert killed_runs(machine_folder(tmp_path)) == []  # it lasts
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == -number
    assert len(killed_runs(machine_folder(tmp_path))) == 1
    rescue = ["run", "--rescue", "--results-dir", str(tmp_path / "results")]
    assert main(rescue) == 0
    assert "an earlier run was killed" in capsys.readouterr().err
    (path,) = (tmp_path / "results").rglob("0001_*.json")
    assert problems(json.loads(path.read_text(encoding="utf-8"))) == []
    result = read_result(path)
    ((record, stats),) = result.records
    assert record.ended_early is not None
    assert record.ended_early.startswith("the process was killed after its step ")
    assert stats is not None
    assert len(stats.data or []) == record.rounds
    assert record.model_flops_per_step == 2 * (2 * 3 * 4 * 2)
    assert main(rescue) == 0
    assert "no killed run has left anything behind" in capsys.readouterr().err


def test_a_handler_of_the_scripts_own_is_called_and_the_run_reported(tmp_path: Path) -> None:
    with started(tmp_path, "handles") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (5, "handled"), err
    assert "Steps were found by SGD.step" in err
    assert killed_runs(machine_folder(tmp_path)) == []
    assert len(list((tmp_path / "results").rglob("0001_*.json"))) == 1


def test_a_script_that_leaves_at_once_is_reported_first(tmp_path: Path) -> None:
    with started(tmp_path, "leaves") as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (7, "")
    assert "Steps were found by SGD.step: 40 of them" in err
    (path,) = (tmp_path / "results").rglob("0001_*.json")
    ((record, _),) = read_result(path).records
    assert record.ended_early == "the script left by os._exit(7)"
    assert not list((tmp_path / "results").rglob("unsaved-*"))


def test_a_process_number_that_came_again_is_no_run_that_lasts(tmp_path: Path) -> None:
    mine, others = f"unsaved-{os.getpid()}-1000.json", f"unsaved-{os.getpid()}-9999999999.json"
    for name in (mine, others, "unsaved-77.jsonl"):
        (tmp_path / name).write_text("{}")
    assert [path.name for path in killed_runs(tmp_path)] == [mine]


def test_only_the_part_that_failed_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    import mfubench
    from mfubench.script import finish, record

    def fails(*arguments: object, **named: object) -> None:
        raise TypeError("nobody\nknows why")

    monkeypatch.setattr(finish, "fill_shares", fails)
    monkeypatch.setattr(record, "_what_was_counted", fails)
    with mfubench.measure_training(results_dir=tmp_path) as run:
        model = torch.nn.Linear(4, 2)
        optimizer = torch.optim.SGD(model.parameters())
        for _ in range(12):
            model(torch.randn(3, 4)).sum().backward()
            optimizer.step()
    assert run.record is not None
    assert run.record.parts_lost == [
        "what was counted: TypeError: nobody",
        "rates and shares: TypeError: nobody",
    ]
    assert run.record.step_s
    assert run.record.loss is not None
    text = " ".join(str(run).split())
    assert "One part of the record is missing. what was counted: TypeError: nobody." in text
    (path,) = tmp_path.rglob("0001_*.json")
    assert read_result(path).records[0][0].parts_lost == run.record.parts_lost


def test_an_interrupt_is_no_part_that_failed() -> None:
    from mfubench.results.record import CaseRecord

    record = CaseRecord(case_id="script/x/cpu", question="script", device="cpu")
    with pytest.raises(KeyboardInterrupt), part(record, "the breakdown"):
        raise KeyboardInterrupt
    assert record.parts_lost is None


# What is interrupted again is interrupted in the midst of saving.
RUN_INTERRUPTED = """
import os, signal, sys
from mfubench.script import finish
save = finish.save_result
def interrupted(*arguments):
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    return save(*arguments)
finish.save_result = interrupted
from mfubench.cli import main
sys.exit(main(sys.argv[1:]))
"""
ENDS = """
import os, signal, sys, torch
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters())
for i in range(50):
    if i == 40 and "interrupted" in sys.argv:
        os.kill(os.getpid(), signal.SIGINT)
    if i == 3 and "closes" in sys.argv:
        sys.stderr.close()
    model(torch.randn(3, 4)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
print("done")
sys.exit(6)
"""


def ended(folder: Path, run: str, word: str) -> subprocess.CompletedProcess[str]:
    (folder / "train.py").write_text(ENDS)
    options = ["run", "--breakdown", "--no-ceilings", "--results-dir", str(folder / "results")]
    return subprocess.run(
        [sys.executable, "-c", run, *options, "train.py", word],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("word", "status"), [("interrupted", -signal.SIGINT), ("ends", 6)])
def test_who_interrupts_while_it_is_saved_loses_the_table_only(
    tmp_path: Path, word: str, status: int
) -> None:
    done = ended(tmp_path, RUN_INTERRUPTED, word)
    assert done.returncode == status, done.stderr
    assert done.stdout == ("" if word == "interrupted" else "done\n")
    assert done.stderr.count("interrupted again: the table is left out; saved in") == 1
    assert "Steps were found" not in done.stderr
    (path,) = (tmp_path / "results").rglob("0001_*.json")
    ((record, _),) = read_result(path).records
    assert record.steps_seen == (39 if word == "interrupted" else 49)
    assert not list((tmp_path / "results").rglob("unsaved-*"))


def test_a_script_that_closed_its_errors_is_saved(tmp_path: Path) -> None:
    done = ended(tmp_path, RUN, "closes")
    assert (done.returncode, done.stdout) == (6, "done\n")
    (path,) = (tmp_path / "results").rglob("0001_*.json")
    ((record, _),) = read_result(path).records
    assert record.steps_seen == 49
    assert record.model_flops_per_step == 2 * (2 * 3 * 4 * 2)


def test_what_measures_ceilings_ends_with_its_parent(tmp_path: Path) -> None:
    done = subprocess.run(  # a parent that is gone has closed the input
        [sys.executable, "-P", "-m", "mfubench.script.ceiling", str(tmp_path)],
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 1
    assert not list(tmp_path.iterdir())
