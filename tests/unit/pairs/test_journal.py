"""What an interrupted comparison kept is read again, and what was cut off spoils nothing."""

from __future__ import annotations

from pathlib import Path

from mfubench.pairs.journal import PairJournal


def test_a_last_line_that_was_cut_off_is_left_out_and_written_over(tmp_path: Path) -> None:
    path = tmp_path / "results/.pairs.jsonl"  # whose folder is not there yet
    first = PairJournal(path)
    for number in range(2):
        first.add({"number": number, "label": "é"})
    with path.open("ab") as file:
        file.write('{"number": 2, "label": "é'.encode()[:-1])
    resumed = PairJournal(path)
    resumed.load()
    assert [pair["number"] for pair in resumed.pairs] == [0, 1]
    resumed.add({"number": 2})
    again = PairJournal(path)
    again.load()
    assert again.pairs == [*first.pairs, {"number": 2}]
    again.finish()
    assert not path.exists()


def test_a_line_that_is_no_json_loses_that_pair_alone(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"number": 0}\nnonsense\n{"number": 1}\n', encoding="utf-8")
    journal = PairJournal(path)
    journal.load()
    assert [pair["number"] for pair in journal.pairs] == [0, 1]


def test_without_a_path_pairs_are_kept_in_memory_alone() -> None:
    journal = PairJournal(None)
    journal.load()
    journal.add({"number": 0})
    journal.finish()
    assert journal.pairs == [{"number": 0}]
