"""Which processors this process may use."""

from __future__ import annotations

import os
import threading

import pytest

from mfubench.hardware.affinity import cpus_of_all_threads, usable_cpus


def test_without_a_mask_all_processors_are_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert usable_cpus() == (0, 1, 2)
    assert cpus_of_all_threads() == {0, 1, 2}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs masks per thread")
def test_a_thread_that_is_tied_to_one_processor_hides_none_of_the_others() -> None:
    everything = usable_cpus()
    found: list[tuple[tuple[int, ...], frozenset[int]]] = []

    def tied() -> None:
        os.sched_setaffinity(0, {everything[0]})  # of this thread alone
        found.append((usable_cpus(), cpus_of_all_threads()))

    thread = threading.Thread(target=tied)
    thread.start()
    thread.join()
    assert found == [(everything[:1], frozenset(everything))]
