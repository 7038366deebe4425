"""Small files and programs are read, or nothing is said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mfubench.hardware.memory import last_level_cache_bytes
from mfubench.hardware.textfile import integer_of, output_of, text_of


def test_a_file_is_its_text_without_white_space(tmp_path: Path) -> None:
    path = tmp_path / "version"
    path.write_bytes(b"570.86 \xff\n")
    assert text_of(path) == "570.86 \ufffd"
    path.write_text("0x1002\n")
    assert (integer_of(path, 16), integer_of(path)) == (0x1002, None)


def test_what_cannot_be_read_is_empty(tmp_path: Path) -> None:
    assert text_of(tmp_path) == text_of(tmp_path / "none") == ""
    assert integer_of(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("code", "printed"), [("print(' a b ')", "a b"), ("print()", None), ("exit(1)", None)]
)
def test_a_program_is_what_it_prints(code: str, printed: str | None) -> None:
    assert output_of(sys.executable, "-c", code) == printed


def test_a_program_that_is_not_there_prints_nothing(tmp_path: Path) -> None:
    assert output_of(str(tmp_path / "none")) is None


def test_the_largest_cache_counts(tmp_path: Path) -> None:
    assert last_level_cache_bytes(tmp_path) == 0
    for index, size in enumerate(("32K", "1M", "odd", "", "512K")):
        folder = tmp_path / f"devices/system/cpu/cpu0/cache/index{index}"
        folder.mkdir(parents=True)
        (folder / "size").write_text(size + "\n")
    assert last_level_cache_bytes(tmp_path) == 2**20
