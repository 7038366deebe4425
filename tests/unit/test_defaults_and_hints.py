"""A wrong word gets a hint, and options can be given once and for all in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfubench.arguments import UserError
from mfubench.cli import build_parser, main
from mfubench.commands.bench import PACKAGE, pytest_words
from mfubench.defaults import Defaults
from mfubench.options import OPTIONS, QUESTIONS
from tests.unit.docs.pages import ROOT

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["benc"], "did you mean bench?"),
        (["benchmark"], "did you mean bench?"),
        (["advise", "--budgt", "5m"], "unknown option '--budgt'; did you mean --budget?"),
        (["flops", "--preset", "gtp2"], "did you mean gpt2?"),
        (["bench", "--devices", "gpu"], "did you mean cuda or cpu?"),
        (["bench", "--dtypes", "fp16"], "did you mean float16 or bfloat16?"),
        (["bench", "--sweep", "quick"], "did you mean smoke?"),
        (["bench", "--device", "cpu"], "did you mean --devices?"),
        (["bench", "--only", "knob"], "did you mean knobs?"),
        (["show", "a.json", "b.json"], "unknown word 'b.json'"),
    ],
)
def test_a_wrong_word_gets_a_hint_in_one_line(words: list[str], said: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def bench_words(*words: str) -> list[str]:
    arguments = build_parser().parse_known_args(["bench", *words])[0]
    arguments.words = list(words)
    return pytest_words(arguments)


def test_bench_gives_pytest_what_was_typed_and_nothing_of_the_folder() -> None:
    words = bench_words("--sweep=smoke", "--only", "knobs,ceilings", "-x", "--color=never")
    assert words[-2:] == ["--sweep=smoke", "-x"]
    modules = [word for word in words if word.startswith(PACKAGE)]
    assert modules == [f"{PACKAGE}.test_knobs", f"{PACKAGE}.test_ceilings"]
    for word in ("--noconftest", "-c", "--color=no"):
        assert word in words
    with pytest.raises(UserError, match="--only"):
        bench_words("benchmarks/test_knobs.py")


def test_every_benchmark_is_a_question() -> None:
    files = {path.stem for path in (ROOT / "benchmarks").glob("test_*.py")}
    assert files == set(QUESTIONS.values())


def written(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return folder


def test_the_nearest_table_gives_defaults_and_what_is_typed_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    table = '[tool.mfubench]\npreset = "gpt2"\nbatch-size = 3\n[tool.mfubench.flops]\njson = true\n'
    inner = written(tmp_path, table) / "a" / "b"
    inner.mkdir(parents=True)
    written(inner.parent, "[project]\nname = 'x'\n")
    monkeypatch.chdir(inner)
    assert main(["flops"]) == 0
    said = capsys.readouterr()
    assert '"batch_size": 3' in said.out
    assert "defaults from" in said.err
    assert "preset = gpt2, batch-size = 3, json = True" in said.err
    assert main(["flops", "--batch-size", "7"]) == 0
    assert '"batch_size": 7' in capsys.readouterr().out


def test_a_sweep_takes_them_too_and_paths_start_at_the_file(tmp_path: Path) -> None:
    table = '[tool.mfubench]\ndevices = ["cpu"]\nresults-dir = "kept"\nsweep = "smoke"\n'
    defaults = Defaults.near(written(tmp_path, table))
    given = {o.name: defaults.of_option(o) for o in OPTIONS if defaults.of_option(o)}
    assert given == {
        "--sweep": {"default": "smoke"},
        "--devices": {"default": ("cpu",)},
        "--results-dir": {"default": tmp_path / "kept"},
    }


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            "[tool.mfubench]\nprset = 'gpt2'",
            "prset is no option of any command",
        ),
        ("[tool.mfubench.advice]\nbudget = '5m'", "advice is no command; did you mean advise?"),
        ("[tool.mfubench.flops]\nbudget = '5m'", "budget is no option of mfubench flops"),
        ("[tool.mfubench]\npreset = 'gtp2'", "did you mean gpt2?"),
        ("[tool.mfubench]\njson = 'yes'", "allowed: true or false"),
        ("[tool]\nmfubench = 3", "must be a table"),
        ("[tool.mfubench", "is not valid TOML"),
    ],
)
def test_a_table_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, table: str, said: str
) -> None:
    monkeypatch.chdir(written(tmp_path, table))
    assert main(["flops", "--preset", "gpt2"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "pyproject.toml" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_completion_knows_commands_options_and_values(shell: str, capsys: Capture) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    for word in ("bench", "advise", "--results-dir", "shakespeare-char"):
        assert word in text
