"""A repository of somebody with a training script in it, and a branch per bug.

`made(folder)` makes it: `main`, and the branches of `BRANCHES`, each one commit away from it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

SCRIPT = Path(__file__).parent / "train.py"
EXTRA = '    """Nothing; a branch puts its bug here."""\n'

WORK = '''    """A product per step, of about {share:g} of what a step takes."""
    global WORK
    try:
        WORK
    except NameError:
        WORK = torch.ones({size}, {size})
    for _ in range({repeats}):
        WORK @ WORK
'''
KEPT = '''    """Memory that nothing uses."""
    global KEPT
    try:
        KEPT
    except NameError:
        KEPT = torch.ones({megabytes}, 1024, 256)
'''
BRANCHES: Mapping[str, tuple[str, str]] = {
    "nothing": ("since_s = time.perf_counter()", "since_s = time.perf_counter()  # the start"),
    "memory": (EXTRA, KEPT),
    "compile-lost": ("torch.compile(model, backend=given.compile) if", "model if"),
    "loss": ("* 0.5 * (1 + math.cos", "* 0.6 * (1 + math.cos"),
    "crash": ("since_s = time.perf_counter()", "since_s = model.nothing"),
    "time": (EXTRA, WORK),
}
"""What is replaced in the script, and by what."""


def git(folder: Path, *arguments: str) -> str:
    """What git prints there."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def made(folder: Path, **planted: object) -> Path:
    """The repository in this folder. `planted` are the sizes of the bugs: `megabytes` of memory,
    `size` and `repeats` of a product, and the `share` it is of a step."""
    sizes = {"megabytes": 6, "size": 256, "repeats": 1, "share": 0.04} | planted
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "-b", "main")
    text = SCRIPT.read_text(encoding="utf-8")
    (folder / "train.py").write_text(text, encoding="utf-8")
    (folder / "data").mkdir()
    lines = (f"line {n}: {n * n} is the square of {n}\n" for n in range(400))
    (folder / "data/text.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "config").mkdir()
    (folder / "config/ci.json").write_text('{"depth": 2}\n', encoding="utf-8")
    (folder / ".gitignore").write_text("out/\nresults/\n__pycache__/\n*.bin\n", encoding="utf-8")
    (folder / "pyproject.toml").write_text(
        '[tool.mfubench.gate]\nscript = "train.py config/ci.json"\n', encoding="utf-8"
    )
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "a training script")
    for name, (before, after) in BRANCHES.items():
        git(folder, "checkout", "-q", "-b", name, "main")
        assert text.count(before) == 1, f"{name}: the script has changed"
        changed = after.format(**sizes) if after in (KEPT, WORK) else after
        (folder / "train.py").write_text(text.replace(before, changed), encoding="utf-8")
        git(folder, "commit", "-q", "-a", "-m", name)
    git(folder, "checkout", "-q", "main")
    return folder
