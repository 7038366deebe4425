"""`python -m tests.fuzz READER --minutes 30`: random and changed inputs for one reader.

Hypothesis makes the inputs and keeps those that failed in `.hypothesis/`, so that the next run
begins with them; `--seed` makes a run repeatable. A reader may answer or refuse by its own
exception, within its bounds; any other exception is a finding.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.campaign.documents import VALUES, as_bytes, changed, originals, places
from tests.campaign.inputs import HEADER, LOG_LINE, bytes_changed

EXAMPLES_PER_LOOK = 500
Reader = Callable[[Path, bytes], None]


def _results(folder: Path, content: bytes) -> None:
    from mfubench.report.bodies import BODIES
    from mfubench.report.build import build_report
    from mfubench.report.table import render
    from mfubench.results.collect import collect
    from mfubench.results.read import ResultError, read_json, read_result
    from mfubench.results.schema import problems
    from mfubench.show.markdown import as_markdown

    path = folder / "0001_x.json"
    path.write_bytes(content)
    with contextlib.suppress(ResultError):
        valid = not problems(read_json(path), BODIES)
        collection = collect([path], BODIES)
        if not collection.is_empty:
            text = as_markdown(build_report(collection))
            assert not valid or "This part cannot be shown" not in text, "valid, and not shown"
        if valid and collection.cases:
            render([record for record, _ in read_result(path).records])


def _logs(folder: Path, content: bytes) -> None:
    from mfubench.explain.account import explain_run
    from mfubench.explain.data import explain_as_json
    from mfubench.explain.device import named_device
    from mfubench.explain.log import LogError, read_log
    from mfubench.explain.sizes import given_sizes
    from mfubench.explain.text import explain_as_text

    path = folder / "log.txt"
    path.write_bytes(content)
    with contextlib.suppress(LogError):
        log, device = read_log(path), named_device("NVIDIA A100")
        sizes = given_sizes(None, {}, bias=None, ranks=None)
        runs = [explain_run(run, given=sizes, device=device, dtype=None) for run in log.runs]
        explain_as_text(log, runs, device)
        json.loads(explain_as_json(log, runs, device))


def _traces(folder: Path, content: bytes) -> None:
    from mfubench.trace.build import NoDeviceError, trace_account
    from mfubench.trace.read import TraceError
    from mfubench.trace.text import trace_text

    path = folder / "trace.json"
    path.write_bytes(content)
    with contextlib.suppress(TraceError, NoDeviceError):
        trace_text(trace_account([path], device=None), kernels=True)


def _corpora(folder: Path, content: bytes) -> None:
    from mfubench_model.corpus import CorpusError, open_corpus

    path = folder / "corpus"
    path.write_bytes(content)
    tokens = folder / "tokens"
    tokens.mkdir(exist_ok=True)
    (tokens / "train.bin").write_bytes(content)
    for source in (path, tokens):
        with contextlib.suppress(CorpusError):
            open_corpus(source, vocab_size=65, block_size=8, cache_dir=folder / "cache")


def _whole_results() -> list[bytes]:
    return [as_bytes(data) for data in originals().values()]


def _whole_logs() -> list[bytes]:
    return [HEADER + b"".join(LOG_LINE % i for i in range(30))]


def _whole_traces() -> list[bytes]:
    from tests.trace_builder import TraceBuilder

    trace = TraceBuilder()
    for step in range(3):
        at = step * 100
        trace.step(step, at, at + 90)
        trace.op("aten::mm", at + 1, at + 5)
        trace.launch("ampere_sgemm_128x64_nn", (at + 2, at + 3), (at + 5, at + 50))
    text = json.dumps({"traceEvents": trace.events}).encode()
    return [text, gzip.compress(text, mtime=0)]


READERS: dict[str, tuple[Reader, Callable[[], list[bytes]]]] = {
    "results": (_results, _whole_results),
    "logs": (_logs, _whole_logs),
    "traces": (_traces, _whole_traces),
    "corpora": (_corpora, lambda: [b"The quick brown fox jumps over the lazy dog.\n" * 40]),
}


def _inputs(wholes: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Whole inputs with fields or bytes changed, and anything at all."""

    def some_bytes_changed(number: int) -> bytes:
        rng = random.Random(number)
        return bytes_changed(rng.choice(wholes), rng)

    def field_changed(number: int) -> bytes:
        rng = random.Random(number)
        content = rng.choice(wholes)
        with contextlib.suppress(ValueError):
            data = json.loads(content)
            for _ in range(rng.randint(1, 4)):
                data = changed(data, rng.choice(list(places(data))), rng.choice(VALUES))
            return as_bytes(data)
        return some_bytes_changed(number)

    number = st.integers(0, 2**40)
    return st.one_of(
        number.map(field_changed), number.map(some_bytes_changed), st.binary(max_size=4000)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 with the input that failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("reader", choices=tuple(READERS))
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=17)
    given_ = parser.parse_args(arguments)
    reader, wholes = READERS[given_.reader]
    strategy = _inputs(wholes())
    end_s = time.monotonic() + given_.minutes * 60
    tried = 0
    with tempfile.TemporaryDirectory(prefix="mfubench-fuzz-") as name:
        folder = Path(name)
        look = given_.seed
        while time.monotonic() < end_s:

            @seed(look)
            @settings(
                max_examples=EXAMPLES_PER_LOOK,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
            )
            @given(strategy)
            def one(content: bytes) -> None:
                nonlocal tried
                tried += 1
                if time.monotonic() < end_s + 60:
                    reader(folder, content)

            one()
            look += 1
            print(f"{given_.reader}: {tried:,} inputs, no finding", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
