"""`mfubench advise` as it is typed, on sides that are made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mfubench.advise import search as advise
from mfubench.advise.learning import Curve
from mfubench.cli import main
from mfubench.hardware.fingerprint import fingerprint
from mfubench.knobs import bench as knob_bench
from mfubench.pairs import pairing
from mfubench.report.bodies import BODIES
from mfubench.results import document
from mfubench.results.schema import problems
from tests.one_sentence import assert_refused
from tests.unit.advise.made_up_bench import MadeUpBench, speed_of


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bench = MadeUpBench(speed_of(fused=1.10, thread=1.05))
    monkeypatch.setattr(knob_bench, "KnobBench", lambda *_, **__: bench)
    monkeypatch.setattr(pairing, "SETTLE_S", 0.0)
    monkeypatch.chdir(tmp_path)


KNOBS = ["advise", "--knobs", "adamw fused, loader thread", "--results-dir", "kept"]


def saved() -> dict[str, Any]:
    (path,) = (Path("kept") / fingerprint().id / "advice").iterdir()
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert problems(data, BODIES) == []
    return data


def test_it_is_printed_and_saved(made_up: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(KNOBS) == 0
    said = capsys.readouterr()
    assert "Best verified: adamw fused, loader thread. ×1.155" in said.out
    assert "adamw fused: ×1.100 helps" in said.err
    advice = saved()["advice"]
    assert advice["verified"]["ratio"] == pytest.approx(1.155)
    assert advice["changes"] == [
        "AdamW(…, fused=True) in configure_optimizers",
        "replace get_batch in train.py",
    ]
    assert "--batch_size=12" in advice["command"]


def test_json_is_the_saved_document(made_up: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*KNOBS, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == saved()["advice"]


def test_an_interrupt_saves_the_tries(
    made_up: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(advise.Search, "_verify", interrupted)
    assert main(KNOBS) == 130
    assert "nothing is recommended, the tries are kept" in capsys.readouterr().out
    assert saved()["advice"]["knobs"] == []
    assert saved()["advice"]["tries"]


def test_a_page_shows_the_advice(made_up: None, capsys: pytest.CaptureFixture[str]) -> None:
    main(KNOBS)
    assert main(["report", "kept", "-o", "page.html"]) == 0
    page = Path("page.html").read_text(encoding="utf-8")
    assert "faster" in page
    assert "verified together in 4 pairs of processes" in page
    assert "--batch_size=12" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--budget", "5"], "a budget of 5 s is too short to measure anything twice"),
        (["--knobs", "magic"], "'magic' is no knob; there are: malloc keeps memory"),
        (["--knobs", " , "], "--knobs names none"),
        (["--device", "cuda:77"], "cuda:77 cannot be used"),
        (["--corpus", "absent.txt"], "There is no absent.txt"),
        (["--threads", "0"], "0 is not a number of threads"),
    ],
)
def test_what_cannot_be_advised_on_is_one_sentence(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(capsys, ["advise", *arguments], words, status=2)


def test_a_document_that_cannot_be_kept_there_is_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept").write_text("a file, no folder", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    curve = Curve(seed=0, tokens=[1], losses=[2.0], validation_loss=2.0)
    where = document.save("learning", curve, Path("kept"))
    assert "it could not be saved in kept" in where
    (rescued,) = tmp_path.glob("mfubench-results-*/*.json")
    assert json.loads(rescued.read_text(encoding="utf-8"))["learning"]["seed"] == 0
