"""The kinds of document that commands save beside the runs, and the type of what each holds."""

from __future__ import annotations

from collections.abc import Mapping

from mfubench.advise.advice import Advice
from mfubench.compare.document import Comparison
from mfubench.gate.rules.document import GateVerdict, SelfTest
from mfubench.predict.counted import COUNT, CountedStep
from mfubench.predict.document import FrozenPredictions, PredictionTest, Probe
from mfubench.trace.document import TraceAccount

BODIES: Mapping[str, type] = {
    "advice": Advice,
    "comparison": Comparison,
    COUNT: CountedStep,
    "gate": GateVerdict,
    "prediction": FrozenPredictions,
    "prediction-test": PredictionTest,
    "probe": Probe,
    "self-test": SelfTest,
    "trace": TraceAccount,
}
