"""Times, FLOPs and sizes of a logged run: what the log says, and what it contradicts."""

from __future__ import annotations

import io

import pytest
from mfubench_model.config import ConfigError, GPTConfig
from mfubench_model.conventions import CONVENTIONS
from mfubench_model.flops import model_flops_per_step
from mfubench_model.presets import PRESETS

from mfubench.explain.account import RunAccount, explain_run
from mfubench.explain.advice import caveats, stall_period, worth_measuring
from mfubench.explain.log import TrainingLog, read_stream
from mfubench.explain.mfu import flops_from_mfu
from mfubench.explain.sizes import GivenSizes, given_sizes
from mfubench.explain.times import step_times
from tests.unit.explain.printed_by_train_py import (
    CPU_FLOPS,
    CPU_OVERRIDES,
    as_bytes,
    cpu_log,
    cpu_times_ms,
    header,
    iterations,
)

CPU = PRESETS["nanogpt-cpu"]


def read(lines: list[str]) -> TrainingLog:
    return read_stream(io.BytesIO(as_bytes(lines)), "log")


def account(lines: list[str], given: GivenSizes | None = None) -> RunAccount:
    log = read(lines)
    assert len(log.runs) == 1
    return explain_run(log.runs[0], given=given or GivenSizes())


# ------------------------------------------------------------------------------- times


def test_plain_first_and_evaluating_iterations_are_kept_apart() -> None:
    times = step_times(read(cpu_log(600)).runs[0])
    assert times.plain_iterations == 597
    assert times.median_s == pytest.approx(0.0370, abs=2e-4)
    assert times.evaluation_s == pytest.approx(0.800, abs=3e-3)
    assert times.first_s == pytest.approx(1.137, abs=3e-3)
    assert times.first_includes_evaluation
    assert times.first_extra_s == pytest.approx(0.300, abs=5e-3)
    assert times.evaluation_share == pytest.approx(1.6 / (1.6 + 599 * 0.037), rel=0.01)
    assert times.stalls == 0
    assert times.drift is not None
    assert not times.drift.notable


def test_stalls_are_plain_iterations_above_three_medians() -> None:
    times_ms = [37.0] * 100
    times_ms[40], times_ms[41] = 112.0, 110.0  # 3.03 and 2.97 medians
    times = step_times(read(iterations(times_ms)).runs[0])
    assert times.stall_iters == (40,)
    assert times.stall_excess_s == pytest.approx(0.075)


def test_a_drift_is_found_and_a_single_bad_minute_is_none() -> None:
    slower = [37.0 * (1 + 0.2 * i / 999) + (i % 7) * 0.1 for i in range(1000)]
    drift = step_times(read(iterations(slower)).runs[0]).drift
    assert drift is not None
    assert drift.notable
    assert drift.low < 0.18 < drift.high
    bad_minute = [37.0 + (i % 7) * 0.1 + (60.0 if 300 <= i < 340 else 0.0) for i in range(1000)]
    drift = step_times(read(iterations(bad_minute)).runs[0]).drift
    assert drift is not None
    assert not drift.notable


def test_an_evaluation_between_two_printed_iterations_is_in_neither() -> None:
    lines = iterations([37.0] * 20, log_interval=10, eval_interval=None)
    at = next(i for i, line in enumerate(lines) if line.startswith("iter 30:"))
    lines.insert(at, "step 25: train loss 2.1, val loss 2.2")
    (run,) = read(lines).runs
    assert not run.evaluated.any()
    assert (run.evaluations, run.log_interval) == (1, 10)


def test_without_step_lines_the_eval_interval_tells_which_iterations_evaluated() -> None:
    overrides = {**CPU_OVERRIDES, "eval_interval": 250}
    lines = [line for line in header(overrides) + cpu_log()[17:] if not line.startswith("step")]
    times = step_times(read(lines).runs[0])
    assert (times.evaluations, times.stalls) == (3, 0)


def test_regular_stalls_without_step_lines_look_like_evaluations() -> None:
    lines = [line for line in iterations(cpu_times_ms(1200)) if line.startswith("iter")]
    result = account(lines)
    assert stall_period(result) == 250
    assert any("250" in text for text in worth_measuring(result))


# ------------------------------------------------------------------------------- mfu


@pytest.mark.parametrize("log_interval", [1, 2, 10])
@pytest.mark.parametrize("flops", [CPU_FLOPS, 1e8, 5e13])
def test_the_printed_mfu_bound_the_count_that_made_them(flops: float, log_interval: int) -> None:
    lines = iterations(cpu_times_ms(), flops=flops, log_interval=log_interval)
    found = flops_from_mfu(read(lines).runs[0])
    assert found is not None
    assert found.allows(flops)
    assert not found.allows(1.01 * found.high_flops)


def test_many_values_bound_the_count_better_than_one() -> None:
    one = flops_from_mfu(read(iterations([37.0] * 6)).runs[0])
    many = flops_from_mfu(read(iterations(cpu_times_ms())).runs[0])
    assert one is not None
    assert many is not None
    assert one.lines == 1
    assert one.high_flops / one.low_flops == pytest.approx(0.035 / 0.025, rel=0.01)
    assert many.high_flops / many.low_flops < 1.01


def test_a_missing_line_and_a_cut_beginning_do_not_break_the_bounds() -> None:
    lines = iterations(cpu_times_ms(), eval_interval=None)
    del lines[300]
    found = flops_from_mfu(read(lines[50:]).runs[0])
    assert found is not None
    assert found.allows(CPU_FLOPS)
    assert found.high_flops / found.low_flops < 0.035 / 0.025


def test_mfu_of_zero_bounds_from_above_alone() -> None:
    found = flops_from_mfu(read(iterations([3000.0] * 20)).runs[0])
    assert found is not None
    assert found.low_flops == 0
    assert found.allows(CPU_FLOPS)


def test_an_edited_mfu_fits_no_count() -> None:
    lines = iterations([37.0] * 100)
    lines[80] = lines[80].replace("mfu 0.03%", "mfu 12.00%")
    result = account(lines)
    assert result.printed is not None
    assert not result.printed.consistent
    assert result.achieved_flops_per_s is None
    assert any("No single count" in text for text in caveats(result))


# ------------------------------------------------------------------------------- sizes


def test_the_log_s_overrides_are_enough() -> None:
    result = account(cpu_log())
    assert result.sizes.config == CPU.config
    assert result.sizes.problems == ()
    assert result.counted_from == "sizes"
    exact = model_flops_per_step(CPU.config, 12)
    assert result.model_flops_per_iter == exact
    assert result.achieved_flops_per_s is not None
    assert result.times.median_s is not None
    assert result.achieved_flops_per_s.low == exact / result.times.median_s
    assert result.tokens_per_s == 768 / result.times.median_s


def test_a_configuration_file_s_assignments_count_and_its_comments_do_not() -> None:
    lines = [
        "Overriding config with config/train_shakespeare_char.py:",
        "# train a miniature character-level shakespeare model",
        "out_dir = 'out-shakespeare-char'",
        "gradient_accumulation_steps = 1",
        "batch_size = 64",
        "block_size = 256 # context of up to 256 previous characters",
        "# baby GPT model :)",
        "n_layer = 6",
        "n_head = 6",
        "n_embd = 384",
        "# n_embd = 999",
        "",
        "Overriding: device = cpu",
    ]
    lines += header({}, tokens=64 * 256, parameters="10.65M", decayed="10,740,096")
    preset = PRESETS["shakespeare-char"]
    count = CONVENTIONS["nanogpt"].flops_per_step(preset.config, 64)
    result = account(lines + iterations([5000.0] * 30, flops=count))
    assert result.sizes.problems == ()
    assert result.model_flops_per_iter == model_flops_per_step(preset.config, 64)


def test_what_was_not_overridden_is_train_py_s_default_where_the_log_confirms_it() -> None:
    config = GPTConfig(bias=False)
    count = CONVENTIONS["nanogpt"].flops_per_step(config, 5 * 12)
    lines = [
        f"tokens per iteration will be: {40 * 12 * 1024:,}",
        "defaulting to vocab_size of GPT-2 to 50304 (50257 rounded up for efficiency)",
    ] * 8
    lines += ["number of parameters: 123.59M", "using fused AdamW: True"]
    result = account(lines + iterations([250.0] * 30, flops=count, log_interval=10))
    assert (result.sizes.config, result.sizes.ranks) == (config, 8)
    assert result.sizes.sequences_per_iter == 60
    assert result.sizes.sources["n_layer"] == "train.py's default"
    other = account([line.replace("123.59M", "99.99M") for line in lines] + iterations([250.0] * 9))
    assert other.sizes.config is None
    assert "n_layer" in other.sizes.missing


def test_openai_s_weights_bring_their_sizes() -> None:
    lines = [
        "Overriding: block_size = 512",
        f"tokens per iteration will be: {8 * 512:,}",
        "Initializing from OpenAI GPT-2 weights: gpt2-medium",
        "loading weights from pretrained gpt: gpt2-medium",
        "forcing vocab_size=50257, block_size=1024, bias=True",
    ]
    config = account(lines + iterations([900.0] * 9, flops=1e13)).sizes.config
    assert config is not None
    assert (config.n_layer, config.block_size, config.vocab_size) == (24, 512, 50257)
    assert config.bias


def test_options_fill_what_the_log_lacks_and_do_not_overrule_it() -> None:
    cut = [line for line in cpu_log() if "n_layer" not in line and "parameter" not in line]
    assert "n_layer" in account(cut).sizes.missing
    filled = account(cut, GivenSizes(sizes={"n_layer": 4, "batch_size": 24}))
    assert filled.sizes.usable
    assert filled.sizes.sources["n_layer"] == "option"
    (note,) = filled.sizes.notes
    assert "batch_size = 12" in note
    assert "--batch-size 24" in note


def test_a_preset_fills_a_log_of_iterations_alone() -> None:
    lines = iterations(cpu_times_ms())
    assert account(lines, GivenSizes(preset="nanogpt-cpu")).counted_from == "sizes"
    assert account(lines).counted_from == "printed mfu"


def test_sizes_that_the_printed_mfu_contradict_make_no_figure() -> None:
    wrong = account(iterations(cpu_times_ms()), GivenSizes(preset="gpt2"))
    (problem,) = wrong.sizes.problems
    assert "printed mfu" in problem
    assert "times as many" in problem
    assert wrong.model_flops_per_iter is None
    assert wrong.counted_from == "printed mfu"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("num decayed parameter tensors: 18, with 802,945 parameters", "802,945 decayed"),
        ("number of parameters: 0.81M", "0.81M parameters"),
        ("tokens per iteration will be: 769", "no whole number of sequences"),
        ("tokens per iteration will be: 7,680", "0.1 times as many"),
    ],
)
def test_sizes_that_the_header_contradicts_are_named(line: str, words: str) -> None:
    kind = line.partition(":")[0]
    lines = [line if old.startswith(kind) else old for old in cpu_log()]
    problems = " ".join(account(lines).sizes.problems)
    assert words in problems or "10 times as many" in problems


def test_a_log_without_sizes_names_the_preset_with_its_parameters() -> None:
    lines = [line for line in cpu_log() if "Overriding" not in line]
    assert account(lines).sizes.like_preset == "nanogpt-cpu"


@pytest.mark.parametrize(
    ("preset", "sizes"),
    [(None, {"n_layer": 0}), ("gpt2", {"n_head": 7}), (None, {"n_head": 3, "n_embd": 128})],
)
def test_sizes_that_cannot_be_are_refused(preset: str | None, sizes: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        given_sizes(preset, sizes, bias=None, ranks=None)
