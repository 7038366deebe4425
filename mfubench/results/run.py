"""What a saved run says: its header, its cases and their rounds, and the software it ran on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from mfubench.results.outcomes import Positive

Id = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9._-]*$")]


class Fingerprint(Struct, kw_only=True):
    """The stable parts of a machine, and the id that they give."""

    id: Id
    parts: dict[str, Any]


class Torch(Struct, kw_only=True):
    """The torch that ran, as it describes itself."""

    version: str | None = None
    git_version: str | None = None
    cuda: str | None = None
    hip: str | None = None
    blas: str | None = None
    mkl: str | None = None
    mkldnn: str | None = None
    openmp: str | None = None
    compiler: str | None = None
    cpu_capability: str | None = None


class Software(Struct, kw_only=True):
    """Versions of what ran."""

    python: str | None = None
    python_implementation: str | None = None
    torch: Torch | None = None
    numpy: str | None = None
    os: str | None = None
    kernel: str | None = None
    libc: str | None = None
    cxx_compiler: str | None = None


class Settings(Struct, kw_only=True):
    """How it ran. `volatile` holds what may differ between two runs with equal settings."""

    torch_threads: int | None = None
    torch_interop_threads: int | None = None
    environment: dict[str, str] = {}
    allocator: str | None = None
    affinity: list[int] | None = None
    governor: str | None = None
    virtualised: bool | None = None
    volatile: dict[str, Any] = {}


class Corpus(Struct, kw_only=True):
    """Which text was trained on, by name and content."""

    name: str
    sha256: str


class Sweep(Struct, kw_only=True):
    """The options that a run was started with; None where an option was not given."""

    name: str
    presets: list[str]
    devices: list[str]
    dtypes: list[str] | None = None
    batch_sizes: list[int] | None = None
    compile: list[bool] | None = None
    corpus: str | None
    corpora: dict[str, Corpus] = {}
    threads: int | None


class Commit(Struct, kw_only=True):
    """The revision of the working folder's repository."""

    id: str | None = None
    dirty: bool | None = None


class Header(Struct, kw_only=True):
    """What every file of this suite says of itself, in its object `mfubench`."""

    schema_version: int
    mfubench_version: str
    fingerprint: Fingerprint
    software: Software
    settings: Settings


class DocumentHeader(Header, kw_only=True):
    """The header of what a command found, beside the runs."""

    kind: str
    created: str
    commit: Commit


class RunHeader(Header, kw_only=True):
    """The header of a run of the suite."""

    sweep: Sweep
    devices: dict[str, dict[str, Any]]
    started_at_s: float
    finished_at_s: float
    complete: bool
    other_outcomes: list[dict[str, Any]]
    """Records of the cases that did not end `ok`."""


class Stats(Struct, kw_only=True):
    """pytest-benchmark's statistics of the rounds of a case, in seconds."""

    min: float
    max: float
    mean: float
    median: float
    rounds: int
    q1: float | None = None
    q3: float | None = None
    stddev: float | None = None
    iqr: float | None = None
    data: Annotated[list[Positive], Meta(min_length=1)] | None = None


class Benchmark(Struct, kw_only=True):
    """One timing of a pytest-benchmark file, this suite's or another's."""

    name: str
    fullname: str
    stats: Stats
    extra_info: dict[str, Any] = {}

    @property
    def is_case(self) -> bool:
        """Whether it is a case of this suite."""
        return "case_id" in self.extra_info


class Run(Struct, kw_only=True):
    """A saved run. `header` is None in another suite's pytest-benchmark file."""

    benchmarks: list[Benchmark]
    header: RunHeader | None = field(name="mfubench", default=None)
    datetime: str = ""
    version: str | None = None
    commit_info: Commit = field(default_factory=Commit)
    machine_info: dict[str, Any] = {}

    @property
    def machine(self) -> str | None:
        """The id of the machine's fingerprint; None in another suite's file."""
        return self.header.fingerprint.id if self.header else None

    def cases(self) -> Iterator[tuple[str, dict[str, Any], Stats | None]]:
        """Where each case of this suite stands, its `extra_info`, and the statistics of its rounds;
        cases that were not measured come last and have none."""
        for number, benchmark in enumerate(self.benchmarks):
            if benchmark.is_case:
                yield f"benchmarks/{number}/extra_info", benchmark.extra_info, benchmark.stats
        for number, info in enumerate(self.header.other_outcomes if self.header else ()):
            yield f"mfubench/other_outcomes/{number}", info, None
