"""Documents: every field of every kind of file deleted, retyped, made hostile; through each reader.

`mfubench validate` and the readers must agree: what it calls valid can be shown, what it refuses is
refused elsewhere too.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.campaign.engine import ROOT, Said, Trial

Place = tuple[str | int, ...]
DELETED = object()
DEEP: Any = None
for _ in range(1500):
    DEEP = [DEEP]
MARKUP = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>",
    '=HYPERLINK("http://x","y")',
    "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\u2066",
    "| a | b |\n\n# h\n[x](javascript:alert(1)) ![i](http://x/i) @everyone #1 `c` <b>",
    ']]></system-out><failure message="x"/>&lt;&#0;\ufffe',
)
VALUES: tuple[Any, ...] = (
    DELETED, None, True, False, 0, -1, 1e308, -1e-320, 10**20, 10**400, "NAN", "INF", "",
    "x", "9" * 5000, "\ud800", [], {}, [[]], {"a": {"b": [1]}}, [None, None], "DEEP", *MARKUP,
)  # fmt: skip
"""What a field may be replaced by. Texts in capitals are written as what they name."""


def originals() -> dict[str, Any]:
    """A small file of every kind: the stored ones, cut to a case per question, and made-up ones."""
    import sys

    sys.path.insert(0, str(ROOT / "tests/unit/report"))
    import example_results as made

    run = made.reference()
    run["benchmarks"] = _one_each(run["benchmarks"])
    run["mfubench"]["other_outcomes"] = [made.without_number("out_of_memory", 96, "too little")]
    run["benchmarks"] += [
        made.knob("compile", 1.2, 1.1, 1.3, "helps"),
        made.claim(1, "holds", "a claim", "because"),
    ]
    for benchmark in run["benchmarks"]:
        benchmark["stats"]["data"] = benchmark["stats"]["data"][:3]
        info = benchmark["extra_info"]
        for name in ("breakdown_operators", "search", "breakdown"):
            if info.get(name):
                info[name] = info[name][:3]
    found = {
        "run": run,
        "advice": made.advice(),
        "gate": made.gate(),
        "self-test": made.self_test(),
    }
    for kind in ("trace",):
        paths = sorted((ROOT / "results").glob(f"*/{kind}/0001_*.json"))
        found[kind] = _shorter(json.loads(paths[0].read_text(encoding="utf-8")))
    return found


def _one_each(benchmarks: list[Any]) -> list[Any]:
    seen: dict[str, Any] = {}
    for benchmark in benchmarks:
        seen.setdefault(benchmark["extra_info"].get("question", ""), benchmark)
    return list(seen.values())


def _shorter(data: Any, most: int = 3) -> Any:
    if isinstance(data, list):
        return [_shorter(item, most) for item in data[:most]]
    if isinstance(data, dict):
        return {key: _shorter(value, most) for key, value in data.items()}
    return data


def places(data: Any, at: Place = ()) -> Iterator[Place]:
    """Where each value stands; of a list its first and its last item."""
    yield at
    if isinstance(data, dict):
        for key, value in data.items():
            yield from places(value, (*at, key))
    elif isinstance(data, list):
        for index in dict.fromkeys((0, len(data) - 1) if data else ()):
            yield from places(data[index], (*at, index))


def changed(data: Any, place: Place, value: Any) -> Any:
    """A copy with another value at a place."""
    if not place:
        return None if value is DELETED else value
    out = copy.deepcopy(data)
    inside = out
    for key in place[:-1]:
        inside = inside[key]
    if value is DELETED:
        del inside[place[-1]]
    else:
        inside[place[-1]] = value
    return out


def as_bytes(data: Any) -> bytes:
    """JSON, with what JSON cannot say written all the same."""
    text = json.dumps(data)
    for name, written in (("NAN", "NaN"), ("INF", "-Infinity"), ("DEEP", "[" * 1500 + "]" * 1500)):
        text = text.replace(f'"{name}"', written)
    return text.encode()


READERS: tuple[Sequence[str], ...] = (
    ("validate", "0001_x.json"),
    ("show", "0001_x.json"),
    ("report", "0001_x.json", "-o", "page.html", "--csv", "frame.csv", "--markdown"),
    ("gate", "--against", "0001_x.json", "--advisory", "--results-dir", "r"),
)


def agreement(_: Path, said: list[Said]) -> list[str]:
    """validate and the readers must agree."""
    valid, others = said[0].outcome == "ok", said[1:]
    broken = []
    for (name, *_words), one in zip(READERS[1:], others, strict=True):
        reason = one.err
        if valid and "not a valid result" in reason + one.out:
            broken.append(f"{name} refuses what validate calls valid: {reason.strip()[-200:]}")
        if not valid and one.outcome == "ok" and name != "report":
            broken.append(f"{name} takes what validate refuses: {said[0].err.strip()[:200]}")
    if "This part cannot be shown" in said[2].out:
        at = said[2].out.index("This part cannot be shown")
        broken.append(f"report: {said[2].out[at : at + 250]}")
    return broken


def mutations(rng: random.Random, count: int) -> Iterator[Trial]:
    """Each place of each kind of file, with some of the values; then files with several changes."""
    kept = {kind: as_bytes(data) for kind, data in originals().items()}
    everything: list[tuple[str, Place]] = []
    for kind, content in kept.items():
        everything += [(kind, place) for place in places(json.loads(content))]
    per_place, rest = divmod(count, len(everything))
    chosen: list[tuple[str, Place, Any]] = []
    for kind, place in everything:
        chosen += [(kind, place, v) for v in rng.sample(VALUES, min(per_place, len(VALUES)))]
    chosen += [(*rng.choice(everything), rng.choice(VALUES)) for _ in range(rest)]
    for number, (kind, place, value) in enumerate(chosen):
        data = changed(json.loads(kept[kind]), place, value)
        content = as_bytes(data)
        if number % 9 == 0:  # several at once
            for _ in range(rng.randint(1, 4)):
                inside = json.loads(content) if _is_small(content) else None
                if inside is None:
                    break
                where = rng.choice(list(places(inside)))
                if where:
                    content = as_bytes(changed(inside, where, rng.choice(VALUES[:20])))
        yield document_trial(f"{kind}: {'/'.join(map(str, place))} = {_shown(value)}", content)


def _is_small(content: bytes) -> bool:
    return b"NaN" not in content and b"Infinity" not in content and b"[[[[[" not in content


def _shown(value: Any) -> str:
    return "deleted" if value is DELETED else f"{value!a}"[:40]


def document_trial(name: str, content: bytes) -> Trial:
    """One file through each reader."""

    def prepare(folder: Path) -> None:
        from mfubench.hardware.fingerprint import fingerprint

        (folder / "0001_x.json").write_bytes(content)
        stored = folder / "r" / fingerprint().id / "runs"
        stored.mkdir(parents=True)
        (stored / "0001_good.json").write_bytes(_good_run())

    return Trial(
        name=name,
        area="documents",
        commands=READERS,
        expect=frozenset({"ok", "refused", "failed"}),
        prepare=prepare,
        check=agreement,
    )


_GOOD: list[bytes] = []


def _good_run() -> bytes:
    if not _GOOD:
        _GOOD.append(as_bytes(originals()["run"]))
    return _GOOD[0]


def broken_files(rng: random.Random, count: int) -> Iterator[Trial]:
    """Whole files cut, in other encodings, with bytes changed."""
    from tests.campaign.inputs import bytes_changed

    kept = {kind: as_bytes(data) for kind, data in originals().items()}
    makers: tuple[Callable[[bytes], bytes], ...] = (
        lambda b: b[: rng.randrange(len(b))],
        lambda b: b.decode().encode("utf-16"),
        lambda b: b"\xef\xbb\xbf" + b,
        lambda b: b + b,
        lambda b: bytes_changed(b, rng),
        lambda b: b[:200] + bytes(rng.randrange(256) for _ in range(300)) + b[200:],
        lambda b: b.replace(b"1", b"1e999", 40),
        lambda b: b.replace(b": ", b": [[[[[[[[[[[[", 30),
    )
    for number in range(count):
        kind = rng.choice(list(kept))
        yield document_trial(f"{kind}: broken {number}", makers[number % len(makers)](kept[kind]))
