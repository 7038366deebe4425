"""The gate's course, on pairs that are made up: looks, failures, what is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mfubench.arguments import UserError
from mfubench.gate.command.setup import open_journal
from mfubench.gate.measure import variants
from mfubench.gate.measure.cases import CaseChoiceError, GateCase, chosen, gate_cases
from mfubench.gate.measure.pairs import BASE, CANDIDATE, PairBench
from mfubench.gate.measure.variants import VariantError
from mfubench.gate.measure.verdict_run import CouldNotRunError, Gate, comparison_key
from mfubench.gate.rules.document import GateVerdict
from mfubench.gate.rules.ledger import (
    NAME,
    QuietGate,
    add_to_ledger,
    counted,
    ledger_text,
    quiet_gate,
    read_ledger,
)
from mfubench.gate.rules.policy import IMPROVED, INCONCLUSIVE, PASS, REGRESSED, SLOWER
from mfubench.gate.show.text import gate_junit, gate_markdown, gate_text
from mfubench.pairs import revisions
from mfubench.pairs.journal import PairJournal
from mfubench.pairs.machine_lock import BusyError, machine_lock
from mfubench.pairs.revisions import RevisionError
from tests.unit.gate.made_up_pairs import CODE, measured, repository

CASES = gate_cases("nanogpt-cpu", "cpu")
Answer = Callable[[GateCase, int], dict[str, Any]]


class MadeUpPairs(PairBench):
    """A bench whose pairs are made up."""

    def __init__(self, folder: Path, answer: Answer) -> None:
        (folder / "tree/model/mfubench_model").mkdir(parents=True, exist_ok=True)
        sides = [
            variants.variant(name, folder / "tree", folder / name) for name in (BASE, CANDIDATE)
        ]
        super().__init__(*sides, cache=folder)
        self.answer = answer
        self.asked: list[tuple[int, list[str]]] = []

    def pair(self, cases: Sequence[GateCase], number: int) -> dict[str, Any]:
        self.asked.append((number, [case.id for case in cases]))
        return {
            "number": number,
            "at_s": 0.0,
            "cases": {case.id: self.answer(case, number) for case in cases},
        }

    def bars(self, case: GateCase) -> dict[str, dict[str, float]]:
        return {BASE: {"attention": 0.01}, CANDIDATE: {"attention": 0.014}}


def gate(
    tmp_path: Path,
    answer: Answer,
    cases: Sequence[GateCase] = CASES[:2],
    settings: dict[str, Any] | None = None,
) -> dict[str, Any]:
    bench = MadeUpPairs(tmp_path, answer)
    found = Gate(bench, cases, PairJournal(None), settings=settings or {}).run()
    found["asked"] = bench.asked
    return found


def near(number: int, middle: float = 0.012, reach: float = 0.012) -> dict[str, Any]:
    """Pairs that scatter around a change that no few of them decide."""
    return measured(middle + (reach if number % 2 else -reach))


def test_no_change_passes_at_the_first_look(tmp_path: Path) -> None:
    found = gate(tmp_path, lambda case, number: measured())
    assert (found["verdict"], found["exit_status"]) == (PASS, 0)
    assert [number for number, _ in found["asked"]] == list(range(6))


def test_a_slow_case_is_reported_at_the_first_look_and_its_bar_named(tmp_path: Path) -> None:
    slow = CASES[1].id
    found = gate(tmp_path, lambda case, number: measured(0.06 if case.id == slow else 0.0))
    assert (found["verdict"], found["exit_status"]) == (REGRESSED, 1)
    assert len(found["asked"]) == 6
    plain, judged = found["cases"]
    assert plain["verdict"] == PASS
    assert judged["bar"] == {"name": "attention", "grew_s": 0.004, "share": 1.0}
    assert judged["metrics"][0]["change"] == pytest.approx(0.06)


def test_a_case_that_is_near_gets_more_pairs_and_the_others_do_not(tmp_path: Path) -> None:
    open_case = CASES[1].id
    found = gate(
        tmp_path, lambda case, number: near(number) if case.id == open_case else measured()
    )
    assert [ids for number, ids in found["asked"] if number >= 6] == [[open_case]] * 24
    assert found["cases"][1]["metrics"][0]["pairs"] == 30
    assert found["looks"] == [6, 10, 18, 30]


def test_a_case_that_is_certainly_red_is_measured_no_further(tmp_path: Path) -> None:
    red = CASES[1].id

    def answer(case: GateCase, number: int) -> dict[str, Any]:
        one = near(number)
        one["counts"][CANDIDATE]["peak_bytes"] = 1050 if case.id == red else 1000
        return one

    found = gate(tmp_path, answer)
    assert found["cases"][1]["verdict"] == REGRESSED
    assert all(red not in ids for number, ids in found["asked"] if number >= 6)
    assert len(found["asked"]) == 30


@pytest.mark.parametrize(("setting", "status"), [("fail", 1), ("pass", 0)])
def test_between_floor_and_tolerance_it_is_never_silent(
    tmp_path: Path, setting: str, status: int
) -> None:
    settings = {"within_tolerance": setting}
    found = gate(tmp_path, lambda case, number: measured(0.03), settings=settings)
    assert (found["verdict"], found["exit_status"]) == (SLOWER, status)
    found |= {"preset": "nanogpt-cpu", "device": "cpu", "self_test": None}
    verdict = msgspec.convert(found, GateVerdict)
    assert "SLOWER, WITHIN TOLERANCE" in gate_text(verdict)
    assert ("<failure" in gate_junit(verdict)) == bool(status)


def test_a_faster_candidate_is_improved(tmp_path: Path) -> None:
    assert gate(tmp_path, lambda case, number: measured(-0.05))["verdict"] == IMPROVED


def test_more_memory_fails_at_any_speed(tmp_path: Path) -> None:
    found = gate(tmp_path, lambda case, number: measured(-0.05, peak_bytes=1050))
    assert found["verdict"] == REGRESSED


@pytest.mark.parametrize(
    ("errors", "verdict", "words"),
    [
        ({CANDIDATE: "NameError: x"}, REGRESSED, "the candidate fails: NameError: x"),
        ({BASE: "no such preset"}, INCONCLUSIVE, "new: the base does not run it: no such preset"),
    ],
)
def test_a_case_that_a_side_fails_is_never_green(
    tmp_path: Path, errors: dict[str, str], verdict: str, words: str
) -> None:
    broken = CASES[1].id

    def answer(case: GateCase, number: int) -> dict[str, Any]:
        return {"errors": errors} if case.id == broken else measured()

    found = gate(tmp_path, answer)
    assert found["verdict"] == verdict
    assert found["cases"][1]["reason"] == words
    assert found["cases"][1]["metrics"] == []  # of no pair nothing is said
    # After two failures it is measured no further.
    assert sum(broken in ids for _, ids in found["asked"]) == 2


def test_a_side_that_died_once_leaves_the_case_open(tmp_path: Path) -> None:
    def answer(case: GateCase, number: int) -> dict[str, Any]:
        return {"errors": {CANDIDATE: "the process ended"}} if number == 3 else measured()

    found = gate(tmp_path, answer, CASES[:1])
    assert found["verdict"] == INCONCLUSIVE
    assert found["cases"][0]["reason"] == "a side failed: the process ended"


def test_a_base_that_runs_nothing_is_no_gate(tmp_path: Path) -> None:
    with pytest.raises(CouldNotRunError, match="base runs none of the cases: no module"):
        gate(tmp_path, lambda case, number: {"errors": {BASE: "no module"}})


def test_where_neither_side_runs_one_pair_is_enough(tmp_path: Path) -> None:
    bench = MadeUpPairs(
        tmp_path, lambda case, number: {"errors": {BASE: "no data", CANDIDATE: "no data"}}
    )
    with pytest.raises(CouldNotRunError, match="neither side runs any of the cases: no data"):
        Gate(bench, CASES[:2], PairJournal(None)).run()
    assert len(bench.asked) == 1


def test_both_sides_that_fail_once_at_different_times_go_on(tmp_path: Path) -> None:
    def answer(case: GateCase, number: int) -> dict[str, Any]:
        side = {1: BASE, 3: CANDIDATE}.get(number)
        return measured() if side is None else {"errors": {side: "the process ended"}}

    assert gate(tmp_path, answer, CASES[:1])["verdict"] == INCONCLUSIVE


def test_an_interrupted_gate_goes_on_with_its_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"

    def until_three(case: GateCase, number: int) -> dict[str, Any]:
        if number == 3:
            raise KeyboardInterrupt
        return measured()

    bench = MadeUpPairs(tmp_path, until_three)
    with pytest.raises(KeyboardInterrupt):
        Gate(bench, CASES[:1], PairJournal(path)).run()
    with path.open("a", encoding="utf-8") as file:
        file.write('{"number": 4, "ca')  # cut off
    journal = PairJournal(path)
    journal.load()
    assert [pair["number"] for pair in journal.pairs] == [0, 1, 2]
    again = MadeUpPairs(tmp_path, lambda case, number: measured())
    assert Gate(again, CASES[:1], journal).run()["verdict"] == PASS
    assert [number for number, _ in again.asked] == list(range(3, 6))
    journal = PairJournal(path)  # what was cut off did not spoil the pair behind it
    journal.load()
    assert [pair["number"] for pair in journal.pairs] == list(range(6))


def test_a_kept_pair_that_is_not_valid_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    kept = tmp_path / ".pairs-key.jsonl"
    kept.write_text('{"number": 0, "at_s": 0.0, "cases": {"x": {"times": 3}}}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"key\.jsonl holds a pair that is not valid: 0/cases/"):
        open_journal(tmp_path, "key", resume=True)
    assert kept.exists()
    assert open_journal(tmp_path, "key", resume=False).pairs == []


def test_a_full_disk_says_where(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with pytest.raises(OSError, match="/dev/full"):
        PairJournal(Path("/dev/full")).add({"number": 0})


def test_pairs_of_other_code_are_another_comparison(tmp_path: Path) -> None:
    bench = MadeUpPairs(tmp_path, lambda case, number: measured())
    before = comparison_key(bench, CASES)
    (tmp_path / "tree/model/mfubench_model/gpt.py").write_text("x = 1\n", encoding="utf-8")
    assert comparison_key(bench, CASES) != before
    assert comparison_key(bench, CASES[:1]) != comparison_key(bench, CASES)


# --- what is chosen, and where it comes from -----------------------------------------------------


def test_eight_cases_and_a_choice_of_them() -> None:
    assert len({case.id for case in CASES}) == 8
    assert [case.id for case in chosen(CASES, "compiled")] == [CASES[-1].id]
    assert len(chosen(CASES, "train-loop/*, evaluation")) == 4
    with pytest.raises(CaseChoiceError, match="'gpt9' fits no case; there are: train-step/"):
        chosen(CASES, "b12,gpt9")


def test_the_base_is_a_worktree_that_goes_whatever_happens(tmp_path: Path) -> None:
    root = repository(tmp_path / "repository")
    commit, label = revisions.resolve_base(root, "HEAD~1")
    assert label.startswith("HEAD~1 (")

    def fails_inside() -> None:
        with revisions.worktree(root, commit) as tree:
            seen.append(tree)
            assert (tree / CODE).read_text(encoding="utf-8") == "speed = 1\n"
            base = variants.variant("base", tree, tmp_path / "links")
            assert (base.folder / "mfubench_model.py").read_text(encoding="utf-8") == "speed = 1\n"
            raise KeyboardInterrupt

    seen: list[Path] = []
    with pytest.raises(KeyboardInterrupt):
        fails_inside()
    assert not seen[0].parent.exists()
    assert len(revisions.git("worktree", "list", cwd=root).splitlines()) == 1


def test_the_default_base_is_the_merge_base_with_main(tmp_path: Path) -> None:
    root = repository(tmp_path / "repository")
    commit, label = revisions.resolve_base(root, None)
    assert commit == revisions.git("rev-parse", "HEAD", cwd=root)
    assert label.startswith("merge base with main (")


def test_what_cannot_be_a_base_is_said(tmp_path: Path) -> None:
    with pytest.raises(RevisionError, match="is in no git repository"):
        revisions.repository(tmp_path)
    root = repository(tmp_path / "repository")
    with pytest.raises(RevisionError, match="there is no revision 'v9'"):
        revisions.resolve_base(root, "v9")
    with pytest.raises(
        VariantError, match="base has no trainer, which is compared; name what both revisions have"
    ):
        variants.variant("base", root, tmp_path / "links", under_test=("trainer",))


def test_two_gates_never_time_at_once(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    held = "import sys, time; from pathlib import Path\n"
    held += "from mfubench.pairs.machine_lock import machine_lock\n"
    held += "with machine_lock(path=Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", held, lock], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(BusyError, match=rf"process {other.pid}\b"), machine_lock(path=lock):
            pass
        other.kill()
        other.wait()
    with machine_lock(path=lock):  # a dead holder holds nothing
        pass


# --- what is shown -------------------------------------------------------------------------------


def shown(tmp_path: Path) -> GateVerdict:
    slow = CASES[1].id
    found = gate(tmp_path, lambda case, number: measured(0.06 if case.id == slow else 0.0))
    found["base"]["label"] = "<main> | 1"
    found |= {"preset": "nanogpt-cpu", "device": "cpu", "self_test": None}
    return msgspec.convert(found, GateVerdict)


def test_the_text_says_what_moved_and_how_sure_it_is(tmp_path: Path) -> None:
    text = " ".join(gate_text(shown(tmp_path)).split())
    assert "+6.0 %" in text
    assert "100 % of the growth in a profile is in attention (4.00 ms)" in text
    assert "REGRESSED: candidate against <main> | 1, 1 pass, 1 regressed" in text
    assert "mfubench gate --self-test --pairs 20 measures it, in about" in text


def test_markdown_escapes_what_it_is_given(tmp_path: Path) -> None:
    text = gate_markdown(shown(tmp_path))
    assert "&#60;main&#62; &#124; 1" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert all(row.count("|") == 6 for row in rows)


def test_junit_is_red_where_the_gate_is(tmp_path: Path) -> None:
    import xml.etree.ElementTree as ET

    suite = ET.fromstring(gate_junit(shown(tmp_path)).encode())
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    assert [len(case.findall("failure")) for case in suite] == [0, 1]


def test_a_gate_is_plain_json(tmp_path: Path) -> None:
    found = json.dumps(msgspec.to_builtins(shown(tmp_path)), allow_nan=False)
    assert json.loads(found)["verdict"] == REGRESSED
    assert MadeUpPairs(tmp_path, lambda c, n: {}).base.as_data()["label"] == BASE


# --- gates of a commit against itself ------------------------------------------------------------


def quiet(tmp_path: Path, slower: float = 0.0) -> QuietGate:
    found = gate(tmp_path, lambda case, number: measured(slower))
    found |= {"preset": "nanogpt-cpu", "device": "cpu", "self_test": None}
    verdict = msgspec.convert(found, GateVerdict)
    line = quiet_gate(verdict, created="2026-11-26T01:02:03+00:00", machine="m")
    assert line is not None
    return line


def test_gates_without_a_change_are_kept_and_counted(tmp_path: Path) -> None:
    results = tmp_path / "results"
    assert counted(read_ledger(results)) is None
    for _ in range(99):
        add_to_ledger(results, quiet(tmp_path))
    add_to_ledger(results, quiet(tmp_path, 0.06))
    with (results / NAME).open("a", encoding="utf-8") as file:
        file.write('{"created": "cut o')
    found = counted(read_ledger(results))
    assert found is not None
    assert (found.gates.count, found.gates.trials) == (1, 100)
    assert found.gates.high == pytest.approx(0.0545, abs=1e-4)  # Clopper and Pearson's
    assert (found.cases.count, found.cases.trials) == (0, 200)
    assert "1 false alarms in 100 gates" in ledger_text(found)
    assert counted(read_ledger(results), rule="two batches") is None


def test_a_gate_of_a_change_is_not_counted(tmp_path: Path) -> None:
    found = gate(tmp_path, lambda case, number: measured())
    found |= {"preset": "nanogpt-cpu", "device": "cpu", "self_test": None}
    found["candidate"] = found["candidate"] | {"settings": {"gelu": "tanh"}}
    verdict = msgspec.convert(found, GateVerdict)
    assert quiet_gate(verdict, created="", machine="m") is None
