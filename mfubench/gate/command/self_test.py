"""`mfubench gate --self-test`: how often the gate errs on this machine."""

from __future__ import annotations

import argparse
import sys

from mfubench.arguments import UserError

LEAST_PAIRS = 20
DEFAULT_PAIRS = 40
BUDGET_S = 3600.0


def run_self_test(arguments: argparse.Namespace) -> int:
    """Exit status 0 when it measured; its figures are a result, not a verdict."""
    import msgspec

    from mfubench.gate.command.setup import gate_cases_of, open_journal, pair_bench
    from mfubench.gate.measure.self_test import ONE_SIDE, PLANTS, self_test
    from mfubench.gate.measure.verdict_run import comparison_key
    from mfubench.gate.rules.document import Pair, SelfTest
    from mfubench.gate.rules.policy import PAIRS
    from mfubench.gate.rules.trials import summary
    from mfubench.gate.show.self_test import self_test_text
    from mfubench.results import document
    from mfubench.show.terminal import has_color

    pairs = DEFAULT_PAIRS if arguments.pairs is None else arguments.pairs
    if pairs < LEAST_PAIRS:
        raise UserError(
            f"--pairs {pairs}: a self-test stores at least {LEAST_PAIRS}, as gates look at {PAIRS} "
            "pairs and at more where a case is near"
        )
    cases = gate_cases_of(arguments)
    machine = document.machine_dir(arguments.results_dir)
    if refusal := document.refusal_to_write(machine / "self-test"):
        raise UserError(refusal)
    plants = () if arguments.load == ONE_SIDE else PLANTS
    with pair_bench(arguments, plants=plants) as bench:
        key = f"{comparison_key(bench, cases)}-{arguments.load}"
        journal = open_journal(machine / "self-test", key, resume=arguments.resume)
        body = self_test(bench, cases, journal, pairs=pairs, budget_s=BUDGET_S, load=arguments.load)
    measured = msgspec.convert(body["measured"], list[Pair])
    figures = {"measured": measured, "summary": summary(measured, min(PAIRS, len(measured)))}
    found = msgspec.convert(body | figures, SelfTest)
    where = document.save("self-test", found, arguments.results_dir)
    journal.finish()
    if arguments.json:
        print(document.body_text(found, without="measured"))
    else:
        print(self_test_text(found, color=has_color(sys.stdout)))
        print(f"\n{where}")
    return 0
