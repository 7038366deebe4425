"""A case's id says all that it was made from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfubench.hardware import devices as devices_module
from mfubench.results.case_id import DEVICE_KINDS, CaseId, CaseIdError

names = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,20}", fullmatch=True)
devices = st.sampled_from(DEVICE_KINDS) | st.integers(1, 9999).map("cuda:{}".format)
dtypes = st.sampled_from(["float32", "tf32", "bfloat16", "float16"])
cases = (
    st.builds(
        CaseId,
        question=st.none() | st.sampled_from(["train-step", "train-loop", "harness", "breakdown"]),
        preset=names,
        device=devices,
        dtype=dtypes,
        batch_size=st.integers(1, 2**20),
        compile=st.booleans(),
    )
    | st.builds(
        CaseId,
        question=st.just("ceiling"),
        kernel=names,
        device=devices,
        dtype=st.none() | dtypes,
    )
    | st.builds(
        CaseId, question=st.just("knob"), preset=names, device=devices, dtype=dtypes, knob=names
    )
)


@given(cases)
def test_it_is_read_back_as_it_was_written(case: CaseId) -> None:
    assert CaseId.parse(str(case)) == case


def test_every_kind_of_device_has_ids() -> None:
    assert DEVICE_KINDS == devices_module.DEVICE_KINDS


@pytest.mark.parametrize("text", ["", "gpt2", "train-step/gpt2", "gpt2/tpu-float32-b1-eager"])
def test_what_names_no_case_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(CaseIdError, match="one looks like train-step/nanogpt-cpu/"):
        CaseId.parse(text)
