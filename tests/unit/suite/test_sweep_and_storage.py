"""Case ids are stable, sweeps are products, files are whole."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mfubench.hardware.devices import CpuDevice, Device
from mfubench.results.case_id import CaseId
from mfubench.results.record import CaseRecord
from mfubench.results.write import json_text, write_whole
from mfubench.suite.progress import Progress
from mfubench.suite.session import BenchSession
from mfubench.suite.single import StreamScreen
from mfubench.suite.sweep import PLANS, SweepOptions


class Machine(BenchSession):
    """A run on a machine with the given devices, both of which compute in float32."""

    def __init__(self, options: SweepOptions, folder: Path, devices: tuple[str, ...]) -> None:
        super().__init__(options, Progress(StreamScreen(io.StringIO())), machine_dir=folder)
        self.device_names = devices

    def is_fast(self, name: str, dtype: str) -> bool:
        return name == "cuda" or dtype == "float32"

    def dtypes_of(self, name: str) -> tuple[str, ...]:
        return ("float32", "bfloat16")

    def device(self, name: str) -> Device:
        return SlowCpu()


class SlowCpu(CpuDevice):
    """Its peak is 200 GFLOP/s: a step of GPT-2 takes half a minute."""

    def peak(self, dtype: str) -> tuple[float | None, str]:
        return 200e9, "derived"


Make = Callable[..., Machine]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Make]:
    """Makes a run with the given options on the given devices."""
    with contextlib.ExitStack() as opened:

        def make(*devices: str, **options: Any) -> Machine:
            made = Machine(SweepOptions(**options), tmp_path, devices)
            return opened.enter_context(contextlib.closing(made))

        yield make


def cases(of: Machine) -> list[CaseId]:
    return of.train_cases((False, True), sweep_batch=True)


def test_every_combination_comes_once_eager_first(machine: Make) -> None:
    found = cases(machine("cuda", "cuda:1", dtypes=("float32",)))
    assert len(found) == len(set(found)) == 2 * 2 * 2
    assert [case.compile for case in found] == [False] * 4 + [True] * 4


def test_a_dtype_that_is_only_converted_is_swept_at_the_smallest_batch(machine: Make) -> None:
    found = cases(machine("cpu", "cuda"))
    slow = [case for case in found if (case.device, case.dtype) == ("cpu", "bfloat16")]
    assert {case.batch_size for case in slow} == {12}
    assert {case.batch_size for case in found} == {12, 48}


def test_options_override_the_sweep(machine: Make) -> None:
    found = cases(machine("cpu", dtypes=("bfloat16",), batch_sizes=(3, 5), compile=(False,)))
    assert [(case.dtype, case.batch_size, case.compile) for case in found] == [
        ("bfloat16", 3, False),
        ("bfloat16", 5, False),
    ]


def test_ids_do_not_depend_on_other_cases(machine: Make) -> None:
    alone = cases(machine("cuda", batch_sizes=(48,)))
    together = cases(machine("cpu", "cuda"))
    assert set(map(str, alone)) <= set(map(str, together))


def test_each_sweep_measures_no_less_than_the_one_before() -> None:
    smoke, default, full = PLANS["smoke"], PLANS["default"], PLANS["full"]
    for less, more in ((smoke, default), (default, full)):
        assert set(less.batch_multiples) <= set(more.batch_multiples)
        assert set(less.compile) <= set(more.compile)
        assert less.rounds_budget_s < more.rounds_budget_s


def test_a_record_is_flat_json_with_its_extra_fields() -> None:
    record = CaseRecord(
        case_id=str(CaseId(question="ceiling", kernel="gemm", device="cpu", dtype="float32")),
        question="ceiling",
        device="cpu",
        extra={"shape_mnk": [1, 2, 3]},
    )
    info = json.loads(json_text(record.as_extra_info()))
    assert info["shape_mnk"] == [1, 2, 3]
    assert info["outcome"] == "error"
    assert "extra" not in info


def test_nan_and_infinity_become_null() -> None:
    text = json_text({"a": [float("nan"), {"b": float("inf")}]})
    assert json.loads(text) == {"a": [None, {"b": None}]}


def test_a_file_is_never_written_over_and_leaves_no_part(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "0001_x.json", "first")
    with pytest.raises(FileExistsError):
        write_whole(path, "second")
    assert path.read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["0001_x.json"]


RACE = """
import sys
from pathlib import Path
from mfubench.results.write import write_whole
try:
    write_whole(Path(sys.argv[1]), sys.argv[2] * 100_000)
except FileExistsError:
    sys.exit(3)
"""


def test_of_sessions_that_race_for_a_number_one_wins_whole(tmp_path: Path) -> None:
    path = tmp_path / "0001_x.json"
    racers = [subprocess.Popen([sys.executable, "-c", RACE, str(path), str(n)]) for n in range(4)]
    statuses = [racer.wait(timeout=60) for racer in racers]
    assert sorted(statuses) == [0, 3, 3, 3]
    text = path.read_text()
    assert text == text[0] * 100_000


def test_beside_a_gpu_the_cpu_is_left_out_where_it_would_take_minutes_unless_asked_for(
    machine: Make,
) -> None:
    both = ("cpu", "cuda")
    assert machine(*both).devices_of("nanogpt-cpu") == both
    assert machine(*both).devices_of("gpt2") == ("cuda",)
    assert machine(*both, devices=both).devices_of("gpt2") == both
    assert machine("cpu").devices_of("gpt2") == ("cpu",)
