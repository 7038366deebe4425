"""What can be told of Windows and macOS without them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
POSIX_ONLY = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog"}
SOURCES = sorted([*(ROOT / "mfubench").rglob("*.py"), *(ROOT / "model").rglob("*.py")])


def test_nothing_of_ours_imports_at_its_start_what_only_posix_has() -> None:
    found = []
    for path in SOURCES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            else:
                names = {node.module or ""} if isinstance(node, ast.ImportFrom) else set()
            found += [f"{path.name} imports {name}" for name in names & POSIX_ONLY]
    assert found == []


@pytest.mark.parametrize("words", [["--help"], ["flops", "--preset", "gpt2"], ["gate", "--help"]])
def test_a_command_starts_without_them(words: list[str]) -> None:
    code = f"""
import sys
for name in {POSIX_ONLY!r} - set(sys.builtin_module_names):
    sys.modules[name] = None
from mfubench.cli import main
sys.exit(main({words!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


def test_signals_and_flags_that_windows_lacks_are_asked_for_by_name() -> None:
    code = """
import os, signal
for name in ("SIGHUP", "SIGXFSZ"):
    delattr(signal, name)
for name in ("O_NONBLOCK", "O_NOCTTY", "set_blocking", "mkfifo", "fork", "setsid", "killpg"):
    delattr(os, name)
from mfubench.cli import main
import sys
sys.exit(main(["validate", sys.argv[1]]))
"""
    run = next((ROOT / "results").glob("*/Linux*/0001_*.json"))
    done = subprocess.run(
        [sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=str)
def test_actions_are_pinned_by_commit(path: Path) -> None:
    used = re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8"))
    assert used
    others = [name for name in used if name != "./"]  # our own, of the same commit
    assert [name for name in others if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", name)] == []


def test_every_text_file_is_opened_with_its_encoding() -> None:
    """The default differs from system to system."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            says = {word.arg for word in node.keywords} | {
                "encoding" for word in node.args if getattr(word, "value", "") == "utf-8"
            }
            if node.func.attr in ("read_text", "write_text") and "encoding" not in says:
                found.append(f"{path.name}:{node.lineno}")
    assert found == []
