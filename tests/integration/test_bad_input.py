"""What cannot be is refused before anything is timed, in one sentence that says what can."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

Project = Callable[..., Path]
Bench = Callable[..., pytest.RunResult]


def refusal(result: pytest.RunResult) -> str:
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert not any("[1/" in line for line in result.outlines), "something was timed"
    text = "\n".join([*result.errlines, *result.outlines])
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "gpt3"], ["unknown preset 'gpt3'", "nanogpt-cpu", "did you mean gpt2"]),
        (["--preset", "gpt2,,gpt2-xl"], ["empty preset"]),
        (["--devices", "tpu"], ["unknown device 'tpu'", "cpu, cuda, xpu, mps"]),
        (["--devices", "cuda:x"], ["'cuda:x'", "cuda:1"]),
        (["--devices", "cpu:1"], ["'cpu:1'"]),
        (["--dtypes", "fp16"], ["unknown dtype 'fp16'", "float16"]),
        (["--dtypes", "float8"], ["unknown dtype", "bfloat16"]),
        (["--batch-sizes", "0"], ["batch size '0'", "from 1"]),
        (["--batch-sizes", "-4"], ["batch size '-4'"]),
        (["--batch-sizes", "12,many"], ["batch size 'many'", "--batch-sizes 12,48"]),
        (["--batch-sizes", "1e9"], ["batch size '1e9'"]),
        (["--threads", "0"], ["threads", "1 to 4096"]),
        (["--compile", "maybe"], ["maybe", "auto", "both"]),
        (["--ceiling-max-age", "-1"], ["age in days"]),
        (["--results-dir", "/dev/null/here"], ["cannot be saved", "--results-dir"]),
    ],
)
def test_values(project: Project, bench: Bench, arguments: list[str], words: list[str]) -> None:
    project()
    text = refusal(bench(*arguments))
    for word in words:
        assert word in text


def test_an_unknown_sweep(project: Project, bench: Bench) -> None:
    project()
    assert "smoke" in refusal(bench("--sweep", "huge"))


def test_measuring_in_parallel(project: Project, bench: Bench) -> None:
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    project()
    assert "each other's noise" in refusal(bench("-n", "2"))


PRESET_CASE = """
def test_step(measure_case, preset, device):
    raise AssertionError("never reached")
"""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["holds no text"]),
        (b"too short", ["block_size"]),
        (b"\x00\x01\x02\xff" * 4000, ["text"]),
        (None, ["there is no", "corpus.txt"]),
    ],
)
def test_corpora(project: Project, bench: Bench, content: bytes | None, words: list[str]) -> None:
    path = project(PRESET_CASE)
    if content is not None:
        (path / "corpus.txt").write_bytes(content)
    text = refusal(bench("--corpus", "corpus.txt")).casefold()
    for word in words:
        assert word in text


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read and write everything"
)
def test_an_unreadable_corpus_and_an_unwritable_folder(project: Project, bench: Bench) -> None:
    path = project(PRESET_CASE)
    (path / "corpus.txt").write_text("text " * 1000)
    (path / "corpus.txt").chmod(0)
    assert "corpus.txt" in refusal(bench("--corpus", "corpus.txt"))
    (path / "locked").mkdir(mode=0o500)
    assert "--results-dir" in refusal(bench("--results-dir", "locked"))
