"""The end of the page: what a stranger needs to repeat it, and what could not be read."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from mfubench import __version__
from mfubench.report.sections.common import Info
from mfubench.results.collection import Collection, Run, mapping
from mfubench.show.blocks import Block, Cell, Commands, Heading, Prose, Section, Table, words
from mfubench.show.units import format_bytes

MOST_RUNS = 12


def provenance_section(collection: Collection) -> Section:
    """Machine, software and settings of the runs that are shown, newest first."""
    blocks: list[Block] = []
    runs = [run for run in reversed(collection.runs) if run.path in collection.provenance]
    for run in runs[:MOST_RUNS]:
        ours = collection.provenance[run.path]
        infos = [case.info for case in collection.cases if case.run is run]
        blocks.append(Heading(text=f"{run.machine}, run {run.path.name}"))
        blocks.append(Table(name=run.path.name, columns=("what", "value"), rows=_facts(run, ours)))
        blocks.append(Commands(lines=_commands(run, ours, infos)))
    if len(runs) > MOST_RUNS:
        blocks.append(
            Prose(text=f"{len(runs) - MOST_RUNS} older runs are not listed.", kind="note")
        )
    blocks.append(Prose(text=f"Page written by mfubench {__version__}.", kind="note"))
    return Section(key="provenance", title="To repeat this", blocks=blocks)


def _facts(run: Run, ours: Mapping[str, Any]) -> list[list[Cell]]:
    software, settings = mapping(ours.get("software")), mapping(ours.get("settings"))
    torch, parts = (
        mapping(software.get("torch")),
        mapping(mapping(ours.get("fingerprint")).get("parts")),
    )
    commit = run.commit + (" with changes that are not committed" if run.dirty else "")
    found: list[tuple[str, object]] = [
        ("measured", run.datetime.replace("T", " ")),
        ("commit", commit),
        ("complete", None if run.complete else "no: interrupted"),
        ("mfubench", ours.get("mfubench_version")),
        ("CPU", parts.get("cpu_model_name")),
        ("usable cores", parts.get("usable_cores")),
        ("instruction sets", _listed(parts.get("cpu_flags"))),
        ("memory", f"{parts['memory_gib']} GiB" if parts.get("memory_gib") else None),
        ("graphics, by PCI", _listed(parts.get("pci"))),
        ("operating system", software.get("os")),
        ("kernel", software.get("kernel")),
        ("Python", software.get("python")),
        ("torch", torch.get("version")),
        ("torch's commit", torch.get("git_version")),
        ("BLAS", _listed([torch.get("blas"), torch.get("mkl")])),
        ("oneDNN", torch.get("mkldnn")),
        ("CUDA", torch.get("cuda")),
        ("ROCm", torch.get("hip")),
        ("CPU kernels of torch", torch.get("cpu_capability")),
        ("numpy", software.get("numpy")),
        ("C++ compiler", software.get("cxx_compiler")),
        ("threads", settings.get("torch_threads")),
        ("affinity", _listed(settings.get("affinity"))),
        ("allocator", settings.get("allocator")),
        ("governor", settings.get("governor")),
        ("virtual machine", _yes_or_no(settings.get("virtualised"))),
        ("environment", _listed(mapping(settings.get("environment")))),
        ("load when it ended", _listed(mapping(settings.get("volatile")).get("load_average"))),
        ("sweep", mapping(ours.get("sweep")).get("name")),
    ]
    found += _devices(ours) + _corpora(ours)
    return [words(name, str(value)) for name, value in found if value not in (None, "")]


def _yes_or_no(value: object) -> str | None:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else None


def _devices(ours: Mapping[str, Any]) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = []
    for name, described in mapping(ours.get("devices")).items():
        device = mapping(described)
        told = str(device.get("name") or "")
        if isinstance(memory := device.get("total_memory_bytes"), int):
            told += f", {format_bytes(memory)}"
        if clock := device.get("clock_source"):
            told += f", clock {clock}"
        facts.append((f"device {name}", told))
    return facts


def _corpora(ours: Mapping[str, Any]) -> list[tuple[str, object]]:
    corpora = mapping(mapping(ours.get("sweep")).get("corpora"))
    return [
        (f"corpus, {sizes}", f"{mapping(c).get('name')}, SHA-256 {mapping(c).get('sha256')}")
        for sizes, c in corpora.items()
    ]


def _listed(value: object) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name}={item}" for name, item in value.items())
    if isinstance(value, list):
        plain = [item for item in value if item not in (None, "")]
        return ", ".join(
            json.dumps(item) if isinstance(item, dict | list) else str(item) for item in plain
        )
    return str(value or "")


def _commands(run: Run, ours: Mapping[str, Any], infos: list[Info]) -> list[str]:
    """What to type for the same cases again: options that were asked for, and nothing else."""
    sweep = mapping(ours.get("sweep"))
    options = [_option("--sweep", sweep.get("name"))]
    presets = sweep.get("presets")
    if isinstance(presets, list) and presets != ["nanogpt-cpu"]:
        options.append(_option("--preset", ",".join(map(str, presets))))
    for name, option in (("dtypes", "--dtypes"), ("batch_sizes", "--batch-sizes")):
        if isinstance(values := sweep.get(name), list):
            options.append(_option(option, ",".join(map(str, values))))
    if isinstance(modes := sweep.get("compile"), list):
        options.append(f"--compile {'both' if len(modes) > 1 else 'yes' if modes[0] else 'no'}")
    if sweep.get("corpus"):
        options.append(_option("--corpus", sweep["corpus"]))
    if threads := sweep.get("threads"):
        options.append(_option("--threads", threads))
    knobs_only = {info["question"] for info in infos} <= {"knob"}
    where = "benchmarks/test_knobs.py" if knobs_only else "benchmarks/"
    checkout = [f"git checkout {run.commit}"] if run.commit and run.commit.isalnum() else []
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
    table = Table(name="Skipped files", columns=("file", "why"), rows=rows)
    return Section(key="skipped", title="Left out", blocks=[Prose(text=text), table])


MOST_SKIPPED = 50
