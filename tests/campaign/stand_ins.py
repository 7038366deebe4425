"""What stands in for measuring, where only the way to it is tried."""

from __future__ import annotations

import sys
from typing import NoReturn


def accepted(*_: object, **__: object) -> NoReturn:
    """The input was taken: from here on it would be measured."""
    print("would measure")
    sys.exit(0)


def without_measuring() -> None:
    """In a trial's own process: commands end where their measuring would begin."""
    import mfubench.advise.search
    import mfubench.compare.comparison
    import mfubench.gate.command.setup
    import mfubench.gate.measure.self_test
    import mfubench.gate.measure.verdict_run
    import mfubench.predict.measure
    import mfubench.ranks.measure.agent
    import mfubench.script.ceiling
    import mfubench.suite.runner

    mfubench.advise.search.Search.run = accepted  # type: ignore[method-assign]
    mfubench.compare.comparison.Comparing.run = accepted  # type: ignore[method-assign]
    mfubench.gate.measure.verdict_run.Gate.run = accepted  # type: ignore[method-assign]
    mfubench.gate.measure.self_test.self_test = accepted
    mfubench.predict.measure.probed = accepted
    mfubench.ranks.measure.agent.launch = accepted
    mfubench.suite.runner.CaseRunner.breakdown = accepted
    mfubench.script.ceiling.measure_apart = lambda *_, **__: None
