"""The GitHub action: its file, and its steps run by hand with programs that stand in for others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.repository_with_a_script import git, made

ROOT = Path(__file__).parents[3]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
GATE, COMMENT = ROOT / ".ci" / "gate", ROOT / ".ci" / "comment"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the action's steps are bash")

Step = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_action_has_the_keys_that_github_knows_and_no_other() -> None:
    assert set(ACTION) == {"name", "description", "inputs", "outputs", "runs"}
    assert ACTION["runs"]["using"] == "composite"
    for one in ACTION["inputs"].values():
        assert set(one) == {"description", "default"}
        assert isinstance(one["default"], str)
    for step in ACTION["runs"]["steps"]:
        assert set(step) <= {"name", "id", "if", "shell", "run", "env", "working-directory"}
        assert step["shell"] == "bash"
        assert "${{" not in step["run"]  # what a pull request says never becomes a command


def test_every_input_is_used_and_no_other() -> None:
    text = json.dumps(ACTION["runs"])
    used = {part.partition(" ")[0] for part in text.split("inputs.")[1:]}
    assert {name.strip("'}") for name in used} == set(ACTION["inputs"])


def test_our_own_workflow_uses_the_action() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/gate.yml").read_text(encoding="utf-8"))
    (step,) = [s for s in workflow["jobs"]["gate"]["steps"] if s.get("uses") == "./"]
    assert set(step.get("with", {})) <= set(ACTION["inputs"])


@pytest.fixture
def step(tmp_path: Path) -> Step:
    """Runs a step; `python` and `gh` write down what they are asked, and answer as told."""
    (tmp_path / "bin").mkdir()
    for name in ("python", "gh"):
        program = tmp_path / "bin" / name
        program.write_text(
            "#!/usr/bin/env bash\n"
            f'printf "%s\\n" "$@" "--" >> "{tmp_path}/{name}.asked"\n'
            f'[ -f "{tmp_path}/{name}.says" ] && cat "{tmp_path}/{name}.says"\n'
            f'[ -f "{tmp_path}/{name}.err" ] && cat "{tmp_path}/{name}.err" >&2\n'
            f'exit "$(cat "{tmp_path}/{name}.status" 2>/dev/null || echo 0)"\n'
        )
        program.chmod(0o755)

    def run(program: Path, cwd: Path | None = None, **variables: str) -> Any:
        environment = {
            "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "RUNNER_TEMP": str(tmp_path),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
        }
        return subprocess.run(
            [str(program)],
            cwd=cwd or tmp_path,
            env=environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_gate_step_passes_its_inputs_on_and_keeps_the_text(step: Step, tmp_path: Path) -> None:
    (tmp_path / "python.says").write_text("### verdict\n")
    done = step(GATE, SCRIPT="train.py config/a b.py\neval.py\n", LINK="data", OPTIONS="--pairs 6")
    assert done.returncode == 0
    asked = (tmp_path / "python.asked").read_text().splitlines()
    assert asked[:3] == ["-m", "mfubench", "gate"]
    assert asked[3:9] == [
        "--script",
        "train.py config/a b.py",
        "--script",
        "eval.py",
        "--link",
        "data",
    ]
    assert "--pairs" in asked
    assert (tmp_path / "summary.md").read_text() == "### verdict\n"
    assert (tmp_path / "output").read_text() == "status=0\n"


@pytest.mark.parametrize(
    ("status", "inconclusive", "ends", "words"),
    [
        ("1", "warn", 1, "::error::the gate is red"),
        ("2", "warn", 0, "::warning::the gate is inconclusive"),
        ("2", "fail", 2, "::warning::the gate is inconclusive"),
        ("3", "warn", 3, "::error::the gate could not run"),
    ],
)
def test_the_job_ends_as_the_gate_did(
    step: Step, tmp_path: Path, status: str, inconclusive: str, ends: int, words: str
) -> None:
    (tmp_path / "python.status").write_text(status)
    (tmp_path / "python.err").write_text("progress\nmfubench gate: no `torch` here\n")
    done = step(GATE, INCONCLUSIVE=inconclusive)
    assert done.returncode == ends
    assert words in done.stdout
    summary = (tmp_path / "summary.md").read_text()
    assert "could not run" in summary
    assert "mfubench gate: no torch here\n```" in summary
    assert "progress" not in summary


def test_the_reason_is_whole_although_it_is_written_late(step: Step, tmp_path: Path) -> None:
    slow = tmp_path / "bin" / "tee"
    slow.write_text('#!/usr/bin/env bash\nsleep 0.5\nexec cat > "$1"\n')
    slow.chmod(0o755)
    (tmp_path / "python.status").write_text("3")
    (tmp_path / "python.err").write_text("mfubench gate: no torch here\n")
    step(GATE)
    assert "no torch here" in (tmp_path / "summary.md").read_text()


def test_a_pull_request_is_compared_with_where_it_left_its_base(step: Step, tmp_path: Path) -> None:
    folder = made(tmp_path / "repository")
    git(folder, "checkout", "-q", "nothing")
    assert step(GATE, folder, PULL_BASE=git(folder, "rev-parse", "main")).returncode == 0
    asked = (tmp_path / "python.asked").read_text().splitlines()
    assert asked[asked.index("--base") + 1] == git(folder, "rev-parse", "main")
    away = step(GATE, folder, PULL_BASE="0" * 40)
    assert away.returncode == 3
    assert "fetch-depth: 0" in away.stdout


@pytest.mark.parametrize(("known", "how"), [("", "POST"), ("77\n78\n", "PATCH")])
def test_one_comment_is_written_and_later_changed(
    step: Step, tmp_path: Path, known: str, how: str
) -> None:
    (tmp_path / "gate.md").write_text("### verdict\n")
    (tmp_path / "gh.says").write_text(known)
    assert step(COMMENT, REPOSITORY="a/b", NUMBER="5").returncode == 0
    asked = (tmp_path / "gh.asked").read_text()
    assert f"--method\n{how}\n" in asked
    assert ("repos/a/b/issues/comments/77" in asked) == bool(known)
    assert (tmp_path / "comment.md").read_text() == "<!-- mfubench gate -->\n### verdict\n"


def test_a_token_that_may_not_write_is_a_notice(step: Step, tmp_path: Path) -> None:
    (tmp_path / "gate.md").write_text("### verdict\n")
    (tmp_path / "gh.status").write_text("1")
    done = step(COMMENT, REPOSITORY="a/b", NUMBER="5")
    assert done.returncode == 0
    assert "::notice::no comment was written" in done.stdout
