"""Which cases on many ranks a sweep has."""

from __future__ import annotations

from mfubench.hardware.affinity import usable_cpus
from mfubench.ranks.measure.case import BUDGETS
from mfubench.ranks.rules.config import RanksConfig
from mfubench.results.case_id import CaseId, Scaling, Strategy
from mfubench.suite.session import BenchSession

RANKS_PARAMETERS = ("ranks", "strategy", "scaling")


def ranks_cases(session: BenchSession) -> list[tuple[CaseId, tuple[int, Strategy, Scaling]]]:
    """Every combination, eager before compiled; one dtype per device unless more are asked for."""
    options, found = session.options, []
    for case in session.train_cases(options.plan.few_compile, sweep_batch=False):
        if not options.dtypes and case.dtype != session.dtypes_of(case.device)[0]:
            continue
        for ranks in options.ranks or auto_ranks(case.device):
            for strategy in options.strategies:
                found += [(case, (ranks, strategy, scaling)) for scaling in options.scalings]
    return found


def auto_ranks(device: str) -> tuple[int, ...]:
    """2 and its doubles up to the devices that are here; 2 alone where all share one."""
    if device == "cpu":
        return (2,) if len(usable_cpus()) > 1 else ()
    import torch

    here = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    return tuple(2**n for n in range(1, 17) if 2**n <= here)


def asked(session: BenchSession, case: CaseId, strategy: Strategy, scaling: Scaling) -> RanksConfig:
    """What the ranks of a case are told."""
    assert case.preset is not None
    assert case.dtype is not None
    assert case.batch_size is not None
    options = session.options
    return RanksConfig(
        preset=case.preset,
        device=case.device,
        dtype=case.dtype,
        batch_size=case.batch_size,
        compile=bool(case.compile),
        strategy=strategy,
        scaling=scaling,
        threads=options.threads,
        corpus=str(options.corpus) if options.corpus else None,
        budget_s=BUDGETS * options.plan.rounds_budget_s,
        timeout_s=COMPILING_S if case.compile else WAITING_S,
    )


WAITING_S, COMPILING_S = 60.0, 300.0
"""After which a rank that others wait for is taken to hang; one may compile longer than another."""
