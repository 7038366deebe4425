"""docs/claims.md has every claim with the words, the test and the rule of the code."""

from __future__ import annotations

import re

import pytest

from mfubench.analysis.effect import WORTH_RATIO
from mfubench.claims.measure import bench as claim_bench
from mfubench.claims.measure.ask import CLAIMS, Claim
from mfubench.claims.rules import machines as claims_of_machines
from mfubench.claims.rules import verdicts as claims
from mfubench.claims.rules.verdicts import VERDICTS
from mfubench.results.answers import ClaimResult
from tests.unit.docs.pages import first_codes, page, rows, section

CLAIMS_PAGE = page("docs/claims.md")
RESULTS = page("docs/results.md")
RULES = rows(section(CLAIMS_PAGE, "## The claims and their rules"))
MEASURED = rows(section(CLAIMS_PAGE, "## Measured on one machine"))


def test_every_claim_is_a_row_in_its_order_and_no_other() -> None:
    ids = [claim.id for claim in CLAIMS]
    assert [cells[0] for cells in RULES] == ids
    assert [cells[0] for cells in MEASURED] == ids


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_row_says_what_the_code_says(claim: Claim) -> None:
    (cells,) = (cells for cells in RULES if cells[0] == claim.id)
    assert cells[1:] == [claim.words, claim.test, claim.rule]


def test_what_was_measured_ends_in_a_verdict() -> None:
    assert [cells[1] for cells in MEASURED if cells[1] not in VERDICTS] == []
    assert re.search(r"\b20\d\d-\d\d-\d\d\b", section(CLAIMS_PAGE, "## Measured on one machine"))


@pytest.mark.parametrize(
    ("claim_id", "said"),
    [
        ("C1", f"within a factor of {claims.PRINTED_FACTOR:.0f} of"),
        ("C1", f"below {claims.CPU_SHARE_OF_A100:.0%} of the A100's"),
        ("C2", f"from {claims.CPU_PEAK_TFLOPS[0]} to {claims.CPU_PEAK_TFLOPS[1]} TFLOP/s"),
        ("C3", f"within {claims.CARD_TOLERANCE:.0%} of {claims.CARD_TFLOPS:.0f} TFLOP/s"),
        ("C4", f"at least {claims.MOST_OF_THE_TIME:.0%} of the iteration"),
        ("C5", f"at least {claims.EXTRA_SHARE:.0%} to a plain"),
        ("C6", f"{claims_of_machines.GPU_MFU[0] * 100:.0f} to {claims_of_machines.GPU_MFU[1]:.0%}"),
        ("C6", f"reaches {claims_of_machines.GPU_BETTER_MFU:.0%}"),
        ("C7", f"gain of {WORTH_RATIO:.0%} or more"),
        ("C8", f"at or above {claims.COMPILE_GAIN - 1:.0%}"),
        ("C9", f"gain of {WORTH_RATIO:.0%} or more"),
        ("C11", f"both {claims_of_machines.CPU_TRAINING_S / 60:.0f} minutes or more"),
        ("C12", "from {:.0f} to {:.0f}".format(*claims_of_machines.GPU_SPEED_UP)),
        ("C13", f"an MFU of {claims_of_machines.OTHER_MFU:.0%} of its own"),
    ],
)
def test_a_rule_has_the_threshold_of_its_judge(claim_id: str, said: str) -> None:
    (claim,) = (claim for claim in CLAIMS if claim.id == claim_id)
    assert said.replace("%", " %") in claim.rule


def test_the_numbers_of_the_method_are_those_of_the_code() -> None:
    text = " ".join(section(CLAIMS_PAGE, "## How they are measured").split())
    assert f"{claim_bench.BUILDS} times, for {claim_bench.TURNS_PER_BUILD} turns each" in text
    assert f"one iteration in {claim_bench.TRAINED_ONE_IN}" in text


def test_every_key_of_a_claim_is_documented_and_no_other() -> None:
    documented = first_codes(section(RESULTS, "## A claim"))
    assert documented == list(ClaimResult.__struct_fields__)
