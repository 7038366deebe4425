"""The commands start without torch, count right, and refuse in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mfubench_model.conventions import CONVENTIONS
from mfubench_model.presets import PRESETS

from mfubench.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    "code",
    [
        "import mfubench",
        "from mfubench.cli import main; main(['flops', '--preset', 'gpt2'])",
        "from mfubench.cli import build_parser; build_parser().format_help()",
        "import mfubench.report.table, mfubench.results.read, mfubench.results.schema",
    ],
)
def test_torch_is_not_imported(code: str) -> None:
    check = f"import sys; {code}; assert 'torch' not in sys.modules, 'torch was imported'"
    subprocess.run([sys.executable, "-c", check], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("command", ["--help", "flops --help", "explain --help", "gate --help"])
def test_the_command_line_is_made_without_what_is_slow_to_import(command: str) -> None:
    check = (
        "import sys; from mfubench.cli import build_parser\n"
        f"try: build_parser().parse_args({command.split()!r})\n"
        "except SystemExit: pass\n"
        "slow = {'torch', 'pandas', 'scipy', 'numpy', 'rich', 'jinja2', 'psutil'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("preset", PRESETS)
def test_flops_counts_what_the_formulas_count(preset: str, capsys: Capture) -> None:
    assert main(["flops", "--preset", preset, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    config, batch = PRESETS[preset].config, PRESETS[preset].batch_size
    assert sum(c["total"] for c in data["components"].values()) == data["model_flops_per_step"]
    for name, convention in CONVENTIONS.items():
        expected = convention.flops_per_step(config, batch)
        assert data["conventions"][name]["flops_per_step"] == expected


def test_flops_takes_explicit_sizes_and_changes_of_a_preset(capsys: Capture) -> None:
    sizes = ["--n-layer", "12", "--n-head", "12", "--n-embd", "768"]
    sizes += ["--block-size", "1024", "--vocab-size", "50304"]
    assert main(["flops", *sizes, "--batch-size", "12", "--json"]) == 0
    explicit = json.loads(capsys.readouterr().out)
    assert main(["flops", "--preset", "gpt2-xl", *sizes, "--json"]) == 0
    changed = json.loads(capsys.readouterr().out)
    assert explicit["model_flops_per_step"] == changed["model_flops_per_step"]


def test_flops_text_fits(capsys: Capture) -> None:
    assert main(["flops", "--preset", "gpt2-xl"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give --preset"),
        (["--n-layer", "3"], "missing: --n-head"),
        (["--preset", "gpt2", "--n-head", "7"], "n_embd"),
        (["--preset", "gpt2", "--n-layer", "0"], "n_layer"),
        (["--preset", "gpt2", "--batch-size", "-1"], "batch_size"),
        (["--preset", "gpt2", "--batch-size", "1" + "0" * 400], "--batch-size is too large"),
    ],
)
def test_flops_refuses_in_one_sentence(arguments: list[str], words: str, capsys: Capture) -> None:
    assert main(["flops", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert "Traceback" not in captured.err


def test_a_pipe_that_is_not_utf_8_gets_every_line() -> None:
    command = "import sys; from mfubench.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", command, "flops", "--preset", "gpt2"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u" not in done.stdout, "our own signs have a plain spelling"
    assert b"124,373,760 parameters" in done.stdout


def test_device_names_the_machine_and_the_source_of_its_peak(
    capsys: Capture, tmp_path: Path
) -> None:
    assert main(["device", "--json", "--results-dir", str(tmp_path)]) == 0
    machine = json.loads(capsys.readouterr().out)
    cpu = next(d for d in machine["devices"] if d["kind"] == "cpu")
    assert cpu["available"]
    assert cpu["peaks"]["float32"]["source"]
    assert {d["kind"] for d in machine["devices"]} == {"cpu", "cuda", "xpu", "mps"}
    assert main(["device", "--results-dir", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    assert "peak float32" in text
    assert "nothing yet" in text


@pytest.mark.parametrize("command", ["show", "validate"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"", "not a result file"),
        (b'{"benchmarks": [{"na', "not a result file"),
        (b"\xff\xfe\x00", "not a result file"),
        (b"[1, 2]", "not an object"),
    ],
)
def test_files_that_are_no_results(
    command: str, content: bytes | None, words: str, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    assert main([command, str(path)]) != 0
    assert words in capsys.readouterr().err


def test_another_schema_version_is_named(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"mfubench": {"schema_version": 99}}')
    assert main(["validate", str(path)]) == 1
    assert "schema version 99" in capsys.readouterr().err


def test_a_rate_in_a_case_that_failed_breaks_the_schema(tmp_path: Path) -> None:
    from mfubench.results.outcomes import Outcome
    from mfubench.results.record import CaseRecord
    from mfubench.results.schema import problems

    good = CaseRecord(
        case_id="c",
        question="train-step",
        device="cpu",
        outcome=Outcome.INVALID,
        outcome_reason="zero time",
    ).as_extra_info()
    data = {
        "machine_info": {},
        "commit_info": {},
        "benchmarks": [],
        "datetime": "",
        "version": "",
        "mfubench": {
            "schema_version": 1,
            "mfubench_version": "0",
            "fingerprint": {"id": "x", "parts": {}},
            "sweep": {"name": "", "presets": [], "devices": [], "corpus": None, "threads": 1},
            "devices": {},
            "software": {},
            "settings": {},
            "started_at_s": 0,
            "finished_at_s": 1,
            "complete": True,
            "other_outcomes": [good],
        },
    }
    assert problems(data) == []
    good["mfu"] = 0.5
    assert any("mfu" in problem for problem in problems(data))
    good["mfu"], good["outcome_reason"] = None, None
    assert any("outcome_reason" in problem for problem in problems(data))


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")])
def test_too_little_memory_is_one_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: object) -> int:
        raise error

    monkeypatch.setattr("mfubench.commands.flops.run", fails)
    assert main(["flops", "--preset", "gpt2"]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("mfubench flops: there is too little memory")


def test_other_errors_of_ours_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> int:
        raise RuntimeError("another")

    monkeypatch.setattr("mfubench.commands.flops.run", fails)
    with pytest.raises(RuntimeError, match="another"):
        main(["flops", "--preset", "gpt2"])
