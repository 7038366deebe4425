"""Case ids are stable, sweeps are products, files are whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mfubench.results.case_id import CaseId
from mfubench.results.record import CaseRecord
from mfubench.results.write import json_text, write_whole
from mfubench.suite.sweep import PLANS, SweepOptions, train_cases


def cases(options: SweepOptions, **changes: object) -> list[CaseId]:
    settings: dict[str, object] = {
        "devices_of": lambda preset: ("cpu", "cuda"),
        "dtypes_of": lambda device: ("float32", "bfloat16"),
        "batch_size_of": lambda preset: 12,
        "compile_modes": (False, True),
        "batch_multiples": (1, 4),
        "is_native": lambda device, dtype: device == "cuda" or dtype == "float32",
    }
    return list(train_cases(options, **{**settings, **changes}))  # type: ignore[arg-type]


def test_every_combination_comes_once_eager_first() -> None:
    found = cases(SweepOptions(), is_native=lambda *_: True)
    assert len(found) == len(set(found)) == 2 * 2 * 2 * 2
    assert [c.compile for c in found] == [False] * 8 + [True] * 8


def test_a_dtype_that_is_only_converted_is_swept_at_the_smallest_batch() -> None:
    sizes = {
        c.batch_size for c in cases(SweepOptions()) if (c.device, c.dtype) == ("cpu", "bfloat16")
    }
    assert sizes == {12}


def test_options_override_the_sweep() -> None:
    options = SweepOptions(dtypes=("bfloat16",), batch_sizes=(3, 5), compile=(False,))
    found = cases(options, devices_of=lambda _: ("cpu",))
    assert [(c.dtype, c.batch_size, c.compile) for c in found] == [
        ("bfloat16", 3, False),
        ("bfloat16", 5, False),
    ]


def test_ids_do_not_depend_on_other_cases() -> None:
    alone = cases(SweepOptions(batch_sizes=(48,)), devices_of=lambda _: ("cuda",))
    together = cases(SweepOptions(), devices_of=lambda _: ("cpu", "cuda"))
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


def test_beside_a_gpu_the_cpu_is_left_out_where_it_would_take_minutes_unless_asked_for() -> None:
    from types import SimpleNamespace

    from mfubench.suite.session import BenchSession

    def devices_of(preset: str, asked: tuple[str, ...] | None, names: tuple[str, ...]) -> object:
        cpu = SimpleNamespace(peak=lambda dtype: (200e9, "derived"))
        session = SimpleNamespace(
            options=SweepOptions(devices=asked), device_names=names, device=lambda name: cpu
        )
        return BenchSession.devices_of(session, preset)  # type: ignore[arg-type]

    both = ("cpu", "cuda")
    assert devices_of("nanogpt-cpu", None, both) == both
    assert devices_of("gpt2", None, both) == ("cuda",)
    assert devices_of("gpt2", both, both) == both
    assert devices_of("gpt2", None, ("cpu",)) == ("cpu",)
