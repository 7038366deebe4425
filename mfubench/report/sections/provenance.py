"""The end of the page: what a stranger needs to repeat it, and what could not be read."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from mfubench import __version__
from mfubench.results.collection import Collection, SavedRun
from mfubench.results.record import CaseRecord
from mfubench.results.run import RunHeader, Sweep, Torch
from mfubench.show.blocks import Block, Cell, Commands, Fold, Prose, Section, Table, words
from mfubench.show.units import format_bytes

MOST_RUNS = 12


def provenance_section(collection: Collection) -> Section:
    """Machine, software and settings of the runs that are shown, newest first."""
    blocks: list[Block] = []
    runs = [run for run in reversed(collection.runs) if run.path in collection.headers]
    for run in runs[:MOST_RUNS]:
        header = collection.headers[run.path]
        records = [case.record for case in collection.cases if case.run is run]
        name = f"{collection.name(run.machine)}, {_minute(run)}"
        facts = Table(
            name=f"Facts of {run.path.name}",
            columns=("what", "value"),
            rows=_facts(run, header),
            is_facts=True,
        )
        inside: list[Block] = [Commands(lines=_commands(run, header.sweep, records))]
        if run.dirty:
            text = "The code had changes that are not committed, so no commit gives it back."
            inside.append(Prose(text=text, kind="note"))
        blocks.append(Fold(summary=name, blocks=[*inside, facts]))
    if len(runs) > MOST_RUNS:
        blocks.append(
            Prose(text=f"{len(runs) - MOST_RUNS} older runs are not listed.", kind="note")
        )
    blocks.append(Prose(text=f"Page written by mfubench {__version__}.", kind="note"))
    return Section(key="provenance", title="Repeat it", blocks=blocks)


def _minute(run: SavedRun) -> str:
    return run.datetime[:16].replace("T", " ") or "at an unknown time"


def _facts(run: SavedRun, header: RunHeader) -> list[list[Cell]]:
    software, settings, parts = header.software, header.settings, header.fingerprint.parts
    torch = software.torch or Torch()
    commit = run.commit + (" with changes that are not committed" if run.dirty else "")
    found: list[tuple[str, object]] = [
        ("file", run.path.name),
        ("machine's fingerprint", run.machine),
        ("measured", _minute(run)),
        ("commit", commit),
        ("complete", None if run.complete else "no: interrupted"),
        ("mfubench", header.mfubench_version),
        ("CPU", parts.get("cpu_model_name")),
        ("usable cores", _number(parts.get("usable_cores"))),
        ("instruction sets", _listed(parts.get("cpu_flags"))),
        ("memory", f"{parts['memory_gib']} GiB" if parts.get("memory_gib") else None),
        ("graphics, by PCI", _listed(parts.get("pci"))),
        ("operating system", software.os),
        ("kernel", software.kernel),
        ("Python", software.python),
        ("torch", torch.version),
        ("torch's commit", torch.git_version),
        ("BLAS", _listed([torch.blas, torch.mkl])),
        ("oneDNN", torch.mkldnn),
        ("CUDA", torch.cuda),
        ("ROCm", torch.hip),
        ("CPU kernels of torch", torch.cpu_capability),
        ("numpy", software.numpy),
        ("C++ compiler", software.cxx_compiler),
        ("threads", settings.torch_threads),
        ("affinity", _listed(settings.affinity)),
        ("allocator", settings.allocator),
        ("governor", settings.governor),
        ("virtual machine", {True: "yes", False: "no", None: None}[settings.virtualised]),
        ("environment", _listed(settings.environment)),
        ("load when it ended", _listed(settings.volatile.get("load_average"))),
        ("sweep", header.sweep.name),
        *((f"device {name}", _device(told)) for name, told in header.devices.items()),
        *(
            (f"corpus, {sizes}", f"{corpus.name}, SHA-256 {corpus.sha256}")
            for sizes, corpus in header.sweep.corpora.items()
        ),
    ]
    return [words(name, str(value)) for name, value in found if value not in (None, "")]


def _device(described: Mapping[str, Any]) -> str:
    told = str(described.get("name") or "")
    if isinstance(memory := described.get("total_memory_bytes"), int):
        told += f", {format_bytes(memory)}"
    if clock := described.get("clock_source"):
        told += f", clock {clock}"
    return told


def _number(value: object) -> str:
    """
    >>> _number(2.0), _number(1.5), _number(None)
    ('2', '1.5', '')
    """
    return f"{value:g}" if isinstance(value, int | float) else str(value or "")


def _listed(value: object) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name}={item}" for name, item in value.items())
    if isinstance(value, list):
        plain = [item for item in value if item not in (None, "")]
        return ", ".join(
            json.dumps(item) if isinstance(item, dict | list) else str(item) for item in plain
        )
    return str(value or "")


def _commands(run: SavedRun, sweep: Sweep, records: list[CaseRecord]) -> list[str]:
    """What to type for the same cases again: options that were asked for, and nothing else."""
    options = [_option("--sweep", sweep.name)]
    if sweep.presets != ["nanogpt-cpu"]:
        options.append(_option("--preset", ",".join(sweep.presets)))
    if sweep.dtypes is not None:
        options.append(_option("--dtypes", ",".join(sweep.dtypes)))
    if sweep.batch_sizes is not None:
        options.append(_option("--batch-sizes", ",".join(map(str, sweep.batch_sizes))))
    if modes := sweep.compile:
        options.append(f"--compile {'both' if len(modes) > 1 else 'yes' if modes[0] else 'no'}")
    if sweep.corpus:
        options.append(_option("--corpus", sweep.corpus))
    if sweep.threads:
        options.append(_option("--threads", sweep.threads))
    knobs_only = {record.question for record in records} <= {"knob"}
    where = "benchmarks/test_knobs.py" if knobs_only else "benchmarks/"
    is_known = run.commit and run.commit.isalnum() and not run.dirty
    checkout = [f"git checkout {run.commit}"] if is_known else []
    return [*checkout, f"pytest {where} {' '.join(options)}"]


def _option(name: str, value: object) -> str:
    """Quoted for a shell: the value comes from a file, and will be pasted."""
    return f"{name} {shlex.quote(str(value))}"


def skipped_section(collection: Collection) -> Section | None:
    """Files that could not be used, by name."""
    if not collection.skipped:
        return None
    count = len(collection.skipped)
    text = f"{count} file{'s' if count > 1 else ''} could not be used:"
    shown = collection.skipped[:MOST_SKIPPED]
    rows = [words(path.rpartition("/")[2], reason) for path, reason in shown]
    if count > MOST_SKIPPED:
        text = f"{count} files could not be used; the first {MOST_SKIPPED}:"
    table = Table(name="Skipped files", columns=("file", "why"), rows=rows, is_facts=True)
    return Section(key="skipped", title="Left out", blocks=[Prose(text=text), table])


MOST_SKIPPED = 50
