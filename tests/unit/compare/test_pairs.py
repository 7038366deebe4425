"""One pair of real processes that stand in for scripts: turns, ends, failures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from mfubench.compare.losses import of_reference, of_side
from mfubench.pairs.pairing import turn_plan
from mfubench.sides import bench as bench_module
from mfubench.sides.bench import ALONE_STEPS, ScriptBench, TooShortError
from mfubench.sides.pair import ScriptPair
from mfubench.sides.spec import SideSpec
from tests.unit.compare.made_up import SOFTWARE

MakeBench = Callable[..., ScriptBench]


class Still:
    """A control kernel that always takes the same."""

    def seconds(self) -> float:
        return 0.003


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeBench:
    """A bench of sides that are given as "NAME ARGUMENTS"."""
    monkeypatch.setattr(bench_module, "PROGRAM", Path(__file__).parent / "fake_side.py")

    def make(*commands: str) -> ScriptBench:
        sides = [
            SideSpec(label=f"side {n}", words=tuple(command.split()), cwd=tmp_path)
            for n, command in enumerate(commands)
        ]
        return ScriptBench(sides=sides, folder=tmp_path, control=Still(), settle_s=0.0)

    return make


def no_process_is_left() -> bool:
    return not [
        child
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE
    ]


def test_sides_take_turns_there_and_back(bench: MakeBench, tmp_path: Path) -> None:
    log = tmp_path / "turns.txt"
    pair = bench(f"a.py --who=A --log={log}", f"b.py --who=B --log={log}").pair([0, 1], 1, 60.0)
    said = [line.split(" ", 1) for line in log.read_text().splitlines()]
    turns, _, steps = turn_plan(0.01)
    order = "".join(who for who, request in said if "turn" in request)
    assert order == "BA" + ("BAAB" * turns)[: 2 * turns]  # of an odd pair
    requests = [r for _, r in said if "turn" in r]
    assert requests[:2] == [f"{{'turn': {ALONE_STEPS}}}"] * 2
    assert set(requests[2:]) == {f"{{'turn': {steps}}}"}
    assert pair.errors == {}
    assert pair.sides["0"].steps_s == [0.01] * turns
    assert len(pair.sides["1"].losses) == 6 + ALONE_STEPS + turns * steps
    assert no_process_is_left()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_no_two_sides_train_at_the_same_time_at_their_start(
    bench: MakeBench, tmp_path: Path, number: int
) -> None:
    log = tmp_path / "starts.txt"
    sides = [f"{name.lower()}.py --who={name} --log={log}" for name in "ABC"]
    bench(*sides).pair([0, 1, 2], number, 60.0)
    lines = [line for line in log.read_text().splitlines() if "go" in line or "started" in line]
    order = {0: "", 1: "CBA", 2: "ABC"}[number]  # in the first pair each is started alone
    assert lines == [line for who in order for line in (f"{who} {{'go': True}}", f"{who} started")]


def test_both_begin_their_turns_at_the_same_step(bench: MakeBench) -> None:
    pair = bench("a.py --start=6", "b.py --start=11").pair([0, 1], 0, 60.0)
    assert len(pair.sides["0"].losses) == len(pair.sides["1"].losses)
    assert pair.sides["0"].started_alone


def test_a_script_that_ends_keeps_the_turns_that_all_had(bench: MakeBench) -> None:
    pair = bench("a.py", "b.py --ends_after=25").pair([0, 1], 0, 60.0)
    assert pair.errors == {}
    assert (
        len(pair.sides["0"].steps_s) == len(pair.sides["1"].steps_s) == (25 - 6 - ALONE_STEPS) // 3
    )
    assert pair.sides["1"].peak_bytes == 1000


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("b.py --ends_after=12", "it ended after 12 steps; a pair needs about"),
        ("b.py --ends_after=20 --reason=interrupted", "interrupted"),
        ("fails.py", "the script failed: ValueError: no such file"),
        ("dies.py", "the process ended (status 7): out of disk"),
    ],
)
def test_what_goes_wrong_is_named(bench: MakeBench, command: str, words: str) -> None:
    pair = bench("a.py", command).pair([0, 1], 0, 60.0)
    assert words in pair.errors["1"]
    assert "1" not in pair.sides
    assert no_process_is_left()


def test_one_side_that_fails_does_not_stop_the_others(bench: MakeBench) -> None:
    in_mid_turn = "b.py --ends_after=20 --reason=planted"
    pair = bench("a.py", "fails.py", "c.py", in_mid_turn).pair([0, 1, 2, 3], 0, 60.0)
    assert pair.errors == {
        "1": "the script failed: ValueError: no such file",
        "3": "planted",
    }
    assert set(pair.sides) == {"0", "2"}
    assert len(pair.sides["0"].steps_s) == turn_plan(0.01)[0]


def test_a_budget_that_is_too_short_for_a_pair_is_told(bench: MakeBench) -> None:
    with pytest.raises(TooShortError, match="too short for one pair: after 1 s 'side 0'"):
        bench("hangs.py", "b.py").pair([0, 1], 0, 1.0)
    assert no_process_is_left()


def test_files_that_both_sides_write_are_named(bench: MakeBench) -> None:
    pair = bench("a.py --writes=/x/ckpt.pt", "b.py --writes=/x/ckpt.pt").pair([0, 1], 0, 60.0)
    assert pair.shared_writes == ["ckpt.pt"]
    apart = bench("a.py --writes=/x/ckpt.pt", "b.py --writes=/y/ckpt.pt").pair([0, 1], 0, 60.0)
    assert apart.shared_writes == []


def test_the_environment_is_steadied_where_the_user_has_not_set_it(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TORCHINDUCTOR_CACHE_DIR", "MALLOC_TOP_PAD_", "LD_PRELOAD", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)  # torch sets the first itself when it compiles
    made = bench("a.py", "b.py")
    plain = made._environment(made.sides[0], 0)
    assert {"GOMP_SPINCOUNT", "MALLOC_TOP_PAD_", "TORCHINDUCTOR_CACHE_DIR"} <= set(plain)
    monkeypatch.setenv("LD_PRELOAD", "jemalloc.so")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", tempfile.gettempdir())
    chosen = made._environment(made.sides[0], 0)
    assert not {"MALLOC_TOP_PAD_", "TORCHINDUCTOR_CACHE_DIR"} & set(chosen)


# --- losses --------------------------------------------------------------------------------------


def runs(pairs: list[ScriptPair], side: str) -> list[list[float | None]]:
    return [pair.sides[side].losses for pair in pairs]


def test_a_learning_rate_is_a_difference_and_the_same_code_is_none(bench: MakeBench) -> None:
    made = bench("a.py", "a.py", "a.py --lr=1.001", "noisy.py")
    pairs = [made.pair([0, 1, 2, 3], number, 60.0) for number in range(2)]
    reference = runs(pairs, "0")
    assert of_reference(reference).verdict == "same"
    same, other, noisy = (
        of_side(runs(pairs, side), reference, SOFTWARE, SOFTWARE) for side in ("1", "2", "3")
    )
    assert same.verdict == "same"
    assert "bit for bit" in same.words
    assert other.verdict == "different"
    assert other.parting is not None
    assert other.parting.step == 2
    assert noisy.verdict == "not deterministic"
    assert "from itself at step 1" in noisy.words


def test_rounding_is_a_reason_on_other_software_only() -> None:
    one, other = [[4.0, 3.0]] * 2, [[4.0, 3.0 * (1 + 1e-6)]] * 2
    compiled = type(SOFTWARE)(python="3", torch="2", threads=1, device="cpu", is_compiled=True)
    assert of_side(other, one, compiled, SOFTWARE).verdict == "same within rounding"
    found = of_side(other, one, SOFTWARE, SOFTWARE)
    assert found.verdict == "different"
    assert "of the size of rounding" in found.words
    far = [[4.0, 3.1]] * 2
    assert of_side(far, one, compiled, SOFTWARE).verdict == "different"


def test_other_data_is_said() -> None:
    found = of_side([[5.0, 4.0]] * 2, [[4.0, 3.0]] * 2, SOFTWARE, SOFTWARE)
    assert "data, seed or model differ" in found.words


def test_a_loss_that_is_not_finite_parts_where_it_begins() -> None:
    found = of_side([[4.0, None]] * 2, [[4.0, 3.0]] * 2, SOFTWARE, SOFTWARE)
    assert found.words == "different: part at step 2, where a loss is missing or not finite"
    assert of_side([[]], [[]], None, None).verdict == "unknown"
