"""The program of one rank, started by torchrun or by its agent.

Its only argument is the case (`RanksConfig` as JSON); with MFUBENCH_RANKS_FOLDER what it measures
is also kept in files there, which is how a parent on the same machine reads it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import msgspec

from mfubench.interrupts import terminated_as_interrupted
from mfubench.ranks.rules.config import RanksConfig
from mfubench.ranks.rules.turns import RankReport, RanksError

FOLDER = "MFUBENCH_RANKS_FOLDER"
FAILED = 3


class Failure(msgspec.Struct, kw_only=True):
    """Why a rank ended early, in a sentence, and when."""

    sentence: str
    outcome: str
    at_s: float
    saves: bool = True
    """Whether this rank is the first of those that ended, which saves what all have measured."""
    is_another_ranks: bool = False
    """Whether this rank only lost another."""
    is_a_hang: bool = False
    """Whether the other one still runs, and does not come."""


def measure(config: RanksConfig) -> tuple[list[RankReport], Failure | None]:
    """Measure a case on this rank, and what all ranks have handed in by then."""
    from mfubench.ranks.measure.rank import placed

    local, on_this_host = (
        int(os.environ.get(name, default))
        for name, default in (("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "1"))
    )
    if config.pins and config.device == "cpu" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, placed(local, on_this_host))
    import torch

    from mfubench.hardware.affinity import usable_cpus
    from mfubench.hardware.cpu import usable_cores
    from mfubench.ranks.measure.group import Ranks
    from mfubench.ranks.measure.rank import RankCase, device_of

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    elif config.pins:  # else torchrun's user has said how many, or torchrun has
        torch.set_num_threads(max(1, min(len(usable_cpus()), int(usable_cores().count))))
    ranks = None
    reports: list[RankReport] = []
    try:
        device = device_of(config, local)
        if device.kind != "cpu":
            torch.accelerator.set_device_index(local)
        ranks = Ranks(device.kind, timeout_s=config.timeout_s)
        case = RankCase(config, ranks, device)
        case.run(lambda: _keep(case.report), os.environ.get(FOLDER))
        reports = ranks.handed_in()
        ranks.wait()
        ranks.close()
        return reports, None
    except KeyboardInterrupt:
        failure = Failure(sentence="interrupted", outcome="interrupted", at_s=time.time())
    except RanksError as error:
        failure = Failure(sentence=str(error), outcome="error", at_s=time.time())
    except ConnectionError as error:
        failure = Failure(sentence=str(error), outcome="error", at_s=time.time())
    except Exception as error:
        failure = _failure(error, ranks, config)
    reports = []
    if ranks is not None:
        failure.saves = ranks.is_first()
        ranks.report.ended = failure.sentence
        with contextlib.suppress(RuntimeError):
            ranks.hand_in()
            reports = ranks.handed_in()
        _keep(ranks.report)
    return reports, failure


def _failure(error: Exception, ranks: object, config: RanksConfig) -> Failure:
    from mfubench.measure.failures import classify
    from mfubench.ranks.measure.group import HANGS, Ranks, is_of_communication

    at_s = time.time()
    outcome, sentence = classify(error, compiled=config.compile)
    if isinstance(ranks, Ranks):
        sentence = ranks.why(error)
    return Failure(
        sentence=sentence,
        outcome=outcome.value,
        at_s=at_s,
        is_another_ranks=is_of_communication(error),
        is_a_hang=HANGS in sentence,
    )


def _keep(report: RankReport) -> None:
    """Write what this rank has measured, whole, where a parent asked for it."""
    _write(f"rank-{report.rank}.json", msgspec.json.encode(report))


def _write(name: str, data: bytes) -> None:
    folder = os.environ.get(FOLDER)
    if folder is None:
        return
    path = Path(folder) / name
    with contextlib.suppress(OSError):
        partial = path.with_suffix(".partial")
        partial.write_bytes(data)
        partial.replace(path)


def main() -> int:
    """Run the rank; exit status 0 when all of it was measured."""
    from mfubench.ranks.measure.group import ends_with_its_parent

    config = msgspec.json.decode(sys.argv[1], type=RanksConfig)
    with ends_with_its_parent(), terminated_as_interrupted():
        _, failure = measure(config)
        if failure is not None:
            _write(f"failure-{os.environ['RANK']}.json", msgspec.json.encode(failure))
            print(failure.sentence, file=sys.stderr, flush=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if failure is None else FAILED)  # a thread of gloo may wait for a rank that is gone


if __name__ == "__main__":
    main()
