"""`mfubench explain` says what the user came for, fits the page, and refuses in one sentence."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mfubench_model.flops import model_flops_per_step
from mfubench_model.presets import PRESETS

from mfubench.cli import main
from mfubench.explain import device
from mfubench.hardware.cpu import DerivedPeak
from mfubench.hardware.peaks import lookup
from tests.unit.explain.printed_by_train_py import (
    CPU_OVERRIDES,
    as_bytes,
    cpu_log,
    cpu_times_ms,
    header,
    iterations,
)

Capture = pytest.CaptureFixture[str]
CARD = "NVIDIA GeForce RTX 4070 Ti"
ON_CUDA = {**CPU_OVERRIDES, "device": "cuda", "dtype": "float32", "compile": True}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return written(tmp_path, cpu_log())


def written(folder: Path, lines: list[str] | bytes) -> Path:
    path = folder / "train.log"
    path.write_bytes(lines if isinstance(lines, bytes) else as_bytes(lines))
    return path


def explained(capsys: Capture, *arguments: object) -> str:
    assert main(["explain", *map(str, arguments)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def data(capsys: Capture, *arguments: object) -> Any:
    return json.loads(explained(capsys, *arguments, "--json"))


def words(text: str) -> str:
    """Text without its line breaks."""
    return " ".join(text.split())


def test_it_begins_with_the_true_mfu_and_says_what_nanogpts_is(log: Path, capsys: Capture) -> None:
    run = data(capsys, log, "--device", CARD, "--dtype", "bfloat16")["runs"][0]
    exact = model_flops_per_step(PRESETS["nanogpt-cpu"].config, 12)
    peak = lookup(CARD)
    assert peak is not None
    assert run["model_flops_per_iter"] == exact
    assert run["mfu"]["low"] == run["mfu"]["high"]
    assert run["mfu"]["low"] == pytest.approx(
        exact / run["times"]["median_s"] / peak.flops_per_s_by_dtype["bfloat16"]
    )
    text = explained(capsys, log, "--device", CARD, "--dtype", "bfloat16")
    first = words(text.split("\n\n")[1])
    assert first == run["conclusion"]
    for part in ("GFLOP/s", "MFU of 0.129 %", CARD, "bfloat16", "0.03 %", "A100", "312 TFLOP/s"):
        assert part in first


@pytest.mark.parametrize(
    "arguments", [(), ("--device", CARD), ("--device", "no such thing at all")]
)
@pytest.mark.parametrize("cut", [slice(None), slice(17, None), slice(400, 500), slice(18, 19)])
def test_the_page_is_100_columns_wide(
    tmp_path: Path, capsys: Capture, arguments: tuple[str, ...], cut: slice
) -> None:
    text = explained(capsys, written(tmp_path, cpu_log()[cut]), *arguments)
    title, *rest = text.splitlines()
    assert max(map(len, rest)) <= 100
    assert "train.log" in title + rest[0]


def test_without_a_device_there_is_a_rate_and_no_mfu(log: Path, capsys: Capture) -> None:
    run = data(capsys, log)["runs"][0]
    assert run["achieved_flops_per_s"]["low"] > 1e9
    assert run["mfu"] is run["peak_flops_per_s"] is None
    assert "--device this" in run["conclusion"]


def test_an_unknown_device_is_answered_with_close_names_and_the_rest(
    log: Path, capsys: Capture
) -> None:
    text = words(explained(capsys, log, "--device", "RTX 4070Ti"))
    assert (
        f"no peak is known for 'RTX 4070Ti', --peak-tflops X gives one; like it are: {CARD}" in text
    )
    assert "GFLOP/s" in text
    assert "step time" in text
    answer = data(capsys, log, "--device", "abacus")
    assert "no known device is called like it" in answer["device"]["problem"]
    assert answer["runs"][0]["mfu"] is None


def test_the_cpu_of_this_machine_may_be_named(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, cpu_log())
    peak = DerivedPeak(200e9, "derived: 32 FLOPs per cycle")
    monkeypatch.setattr(device, "derived_peak", lambda dtype: peak)
    answer = data(capsys, path, "--device", "cpu")
    (run,) = answer["runs"]
    assert "(the CPU of this machine)" in answer["device"]["name"]
    assert (run["dtype"], run["peak_flops_per_s"]) == ("float32", 200e9)
    assert run["mfu"]["low"] == pytest.approx(run["achieved_flops_per_s"]["low"] / 200e9)
    assert "derived: 32 FLOPs per cycle" in words(explained(capsys, path, "--device", " CPU"))


def test_a_cpu_without_a_known_peak_asks_for_one(
    log: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "derived_peak", lambda dtype: None)
    answer = data(capsys, log, "--device", "cpu")
    assert answer["runs"][0]["mfu"] is None
    assert "--peak-tflops X gives one" in answer["device"]["problem"]


def test_a_log_of_a_gpu_is_not_answered_with_the_cpu(tmp_path: Path, capsys: Capture) -> None:
    path = written(tmp_path, header(ON_CUDA) + iterations(cpu_times_ms()))
    (run,) = data(capsys, path)["runs"]
    assert "else --device NAME" in run["conclusion"]
    assert "--device cpu" not in run["conclusion"]


def test_a_peak_may_be_given(log: Path, capsys: Capture) -> None:
    run = data(capsys, log, "--peak-tflops", "0.5")["runs"][0]
    assert run["mfu"]["low"] == pytest.approx(run["achieved_flops_per_s"]["low"] / 0.5e12)
    assert run["dtype"] == "float32"


def test_an_mfu_above_one_is_withheld(log: Path, capsys: Capture) -> None:
    run = data(capsys, log, "--peak-tflops", "0.01")["runs"][0]
    assert run["mfu"] is None
    assert "cannot be" in run["mfu_problem"]


@pytest.mark.parametrize(
    ("settings", "arguments", "dtype"),
    [
        ({"device": "cuda", "dtype": "float32"}, (), "tf32"),
        ({"device": "cuda", "dtype": "float16"}, (), "float16"),
        ({"device": "cuda", "dtype": "float16"}, ("--dtype", "float32"), "float32"),
        ({"device": "cpu", "dtype": "bfloat16"}, (), "float32"),
        ({"device": "cuda:1"}, (), "bfloat16"),
    ],
)
def test_the_peak_is_of_the_format_that_the_run_used(
    settings: dict[str, str],
    arguments: tuple[str, ...],
    dtype: str,
    tmp_path: Path,
    capsys: Capture,
) -> None:
    path = written(tmp_path, header({**CPU_OVERRIDES, **settings}) + iterations(cpu_times_ms()))
    run = data(capsys, path, "--device", "NVIDIA A100-SXM4-80GB", *arguments)["runs"][0]
    peaks = lookup("NVIDIA A100-SXM4-80GB")
    assert peaks is not None
    assert (run["dtype"], run["peak_flops_per_s"]) == (dtype, peaks.flops_per_s(dtype))


def test_a_format_without_a_peak_is_named(log: Path, capsys: Capture) -> None:
    run = data(capsys, log, "--device", "Tesla T4", "--dtype", "bfloat16")["runs"][0]
    assert run["mfu"] is None
    assert "no bfloat16 peak is known for 'Tesla T4', only: float32, float16" in run["mfu_problem"]


def test_without_sizes_the_printed_mfu_give_a_range(tmp_path: Path, capsys: Capture) -> None:
    lines = [line for line in cpu_log(7) if line.startswith("iter")]
    path = written(tmp_path, lines)
    run = data(capsys, path, "--device", CARD)["runs"][0]
    assert run["counted_from"] == "printed mfu"
    assert run["mfu"]["high"] > 1.2 * run["mfu"]["low"]
    text = words(explained(capsys, path, "--device", CARD))
    assert "two decimals, so one value is good to ±1" in text
    assert "GFLOP to" in text


def test_sizes_that_the_log_contradicts_are_called_wrong(tmp_path: Path, capsys: Capture) -> None:
    path = written(tmp_path, [line for line in cpu_log() if line.startswith("iter")])
    text = words(explained(capsys, path, "--preset", "shakespeare-char"))
    assert "CONTRADICTED: the printed mfu and times need" in text
    assert "nanoGPT's count, from its printed mfu" in text


def test_two_runs_are_two_reports(tmp_path: Path, capsys: Capture) -> None:
    path = written(tmp_path, cpu_log(50) + cpu_log(80))
    text = explained(capsys, path)
    assert text.count("This run does") == 2
    assert "run 1 of 2" in text
    assert [run["last_iter"] for run in data(capsys, path)["runs"]] == [49, 79]


def test_what_is_worth_measuring_is_only_that(tmp_path: Path, capsys: Capture) -> None:
    times_ms = [837.0 if row % 10 == 0 else 37.0 for row in range(100)]
    lines = iterations(times_ms, log_interval=10, eval_interval=100)
    path = written(tmp_path, header(ON_CUDA) + lines)
    text = words(explained(capsys, path))
    assert "worth measuring, one change at a time" in text
    for knob in ("eval_interval", "batch_size", "dtype=bfloat16", "fused AdamW"):
        assert knob in text
    assert "log_interval=10" not in text
    assert "of that one iteration alone" in text
    assert "before it waits for the loss" in text


def test_a_log_comes_from_the_standard_input(log: Path, capsys: Capture) -> None:
    command = "import sys; from mfubench.cli import main; sys.exit(main(sys.argv[1:]))"
    for arguments in (["-"], []):
        piped = subprocess.run(
            [sys.executable, "-c", command, "explain", *arguments],
            input=log.read_bytes(),
            capture_output=True,
            check=False,
            env=dict(os.environ),  # readline may have put COLUMNS where only C code sees it
        )
        assert (piped.returncode, piped.stderr) == (0, b"")
        assert piped.stdout.startswith(b"standard input: 622 lines, 1 run")
        assert piped.stdout.decode().endswith(explained(capsys, log).partition("\n\n")[2])


def test_a_terminal_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert main(["explain"]) == 2
    assert "give a log file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "arguments", "sentence"),
    [
        (None, (), "cannot be read"),
        (b"", (), "is empty"),
        (b"epoch 1: loss 2.0\n", (), "is not a log of nanoGPT's train.py"),
        (b"iter 1: loss 2.0, ti", (), "is not a log of nanoGPT's train.py"),
        (as_bytes(cpu_log(9)), ("--n-layer", "0"), "n_layer is 0"),
        (as_bytes(cpu_log(9)), ("--preset", "gpt2", "--n-head", "7"), "multiple of n_head"),
        (as_bytes(cpu_log(9)), ("--ranks", "-1"), "ranks is -1"),
        (as_bytes(cpu_log(9)), ("--batch-size", "1" + "0" * 400), "--batch-size is too large"),
        (as_bytes(cpu_log(9)), ("--gradient-accumulation-steps", "0"), "accumulation_steps is 0"),
        (as_bytes(cpu_log(9)), ("--peak-tflops", "nan"), "--peak-tflops is nan"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(
    content: bytes | None,
    arguments: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    capsys: Capture,
) -> None:
    path = written(tmp_path, content) if content is not None else tmp_path / "none.log"
    assert main(["explain", str(path), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err
    assert captured.err.count("\n") == 1


def test_a_folder_and_an_unreadable_file_are_refused(
    log: Path, tmp_path: Path, capsys: Capture
) -> None:
    paths = [tmp_path]
    log.chmod(0)
    if not os.access(log, os.R_OK):  # root may read everything
        paths.append(log)
    for path in paths:
        assert main(["explain", str(path)]) == 2
        assert f"{path} cannot be read" in capsys.readouterr().err


def test_explaining_needs_no_torch(log: Path) -> None:
    code = (
        "import sys; from mfubench.cli import main; "
        f"main(['explain', {str(log)!r}, '--device', {CARD!r}]); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_every_key_of_the_data_is_documented(log: Path, capsys: Capture) -> None:
    page = (Path(__file__).parents[3] / "docs" / "explain.md").read_text(encoding="utf-8")
    answer = data(capsys, log, "--device", CARD)
    (run,) = answer["runs"]
    keys = [*answer, *answer["log"], *answer["device"], *run, *run["times"], *run["sizes"]]
    keys += [*run["times"]["drift"], *run["flops_from_printed_mfu"], *run["mfu"]]
    assert [key for key in keys if f"`{key}`" not in page] == []


def test_this_machine_is_the_cpu_where_the_log_says_so(log: Path, capsys: Capture) -> None:
    this, cpu = (data(capsys, log, "--device", name)["device"]["name"] for name in ("this", "cpu"))
    assert this == cpu


def test_this_machine_without_the_logs_gpu_is_refused(tmp_path: Path, capsys: Capture) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    gpu = written(tmp_path, [*header(ON_CUDA), *iterations([40.0] * 30)])
    assert main(["explain", str(gpu), "--device", "this"]) == 2
    assert "cuda cannot be used" in capsys.readouterr().err


def test_a_growing_log_is_followed_to_its_last_iteration(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mfubench.explain import follow as following

    lines = cpu_log()
    growing = written(tmp_path, lines[:5])
    parts = iter([200, 400, len(lines)])
    said: list[str] = []

    def grow(_: float) -> None:
        try:
            growing.write_bytes(as_bytes(lines[: next(parts)]))
        except StopIteration:
            raise KeyboardInterrupt from None  # what a user does at the end

    log = following.follow(
        growing,
        lambda found: following_account(found.runs[-1]),
        said.append,
        sleep=grow,
    )
    assert len(log.runs[-1].iters) == 600
    assert said[0].startswith("waiting: ")
    assert len(said) == 4
    assert "of 2,000" in said[-1]
    assert "left" in said[-1]


def following_account(run: Any) -> Any:
    from mfubench.explain.account import explain_run

    return explain_run(run)


def test_a_pipe_is_not_followed(capsys: Capture) -> None:
    assert main(["explain", "-", "--follow"]) == 2
    assert "--follow needs a log file" in capsys.readouterr().err
