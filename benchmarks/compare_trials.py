"""How often `mfubench compare` errs: small scripts against themselves and against a planted cost.

    python benchmarks/compare_trials.py --hours 2
    python benchmarks/compare_trials.py --show

Each trial is one `mfubench compare` of a script with itself: without a change, or with matrix
products in its forward pass that take 3 % or 5 % of a step. Trials of all scripts and plants take
turns, the one with the fewest trials first. Each is one line of the ledger
`results/compare-trials.jsonl`, of any day and machine, written as it ends: stop it at any time and
type the same again. The extra work is calibrated once per script and machine, in turns with the
step itself.

With `--hyperfine`, and where hyperfine is installed, the same two commands are given to it in the
same minutes, bounded by `--steps`, as many runs as fit into the time that the comparison took.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from scipy import stats

from mfubench.hardware.fingerprint import fingerprint

SCRIPTS = Path(__file__).parent / "trial_scripts"
LEDGER = Path(__file__).parents[1] / "results" / "compare-trials.jsonl"
NAMES = ("gpt.py", "convnet.py", "recurrent.py")
PLANTS = (0.0, 0.03, 0.05)
CALIBRATION_PRODUCTS = 2000
"""In the calibration: enough to be seen; one product is the difference divided by this."""
RUN_S = 3.0
"""Of training in each run of hyperfine, its start apart."""
LEAST_RUNS, ALPHA = 3, 0.05


def main() -> int:
    """Exit status 0; 1 where a comparison could not run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ledger", type=Path, default=LEDGER, help="JSON lines")
    parser.add_argument("--hours", type=float, default=1.0, help="how long, about")
    parser.add_argument("--budget", default="2m", help="of each comparison")
    parser.add_argument("--scripts", default=",".join(NAMES))
    parser.add_argument(
        "--plants",
        type=lambda text: [float(part) / 100 for part in text.split(",")],
        default=PLANTS,
        metavar="PERCENTS",
        help="what is planted, in per cent of a step (default: 0,3,5)",
    )
    parser.add_argument("--hyperfine", action="store_true", help="beside it, where it is installed")
    parser.add_argument("--show", action="store_true", help="only what the ledger has")
    asked = parser.parse_args()
    if not asked.show:
        measure(asked)
    print(table(read(asked.ledger)))
    return 0


def read(ledger: Path) -> list[dict[str, Any]]:
    """The whole lines of a ledger."""
    found = []
    for line in ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:  # cut off
            continue
    return found


def measure(asked: argparse.Namespace) -> None:
    """Trials until the time is over."""
    end_s = time.monotonic() + 3600 * asked.hours
    names = asked.scripts.split(",")
    machine = fingerprint().id
    kept = [line for line in read(asked.ledger) if line["kind"] == "calibration"]
    calibrated = {line["script"]: line for line in kept if line["machine"] == machine}
    while time.monotonic() < end_s:
        done = Counter(
            (t["script"], t["plant"]) for t in read(asked.ledger) if t["kind"] == "trial"
        )
        cells = [(script, plant) for script in names for plant in asked.plants]
        script, plant = min(cells, key=lambda cell: done[cell])
        if script not in calibrated and (plant or asked.hyperfine):
            calibrated[script] = {"machine": machine, **calibration(script)}
            add(asked.ledger, calibrated[script])
        one = trial(script, plant, calibrated.get(script, {}), asked)
        add(asked.ledger, {"machine": machine, **one})


def add(ledger: Path, line: dict[str, Any]) -> None:
    """One more line, whole."""
    with ledger.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def compare(*commands: str, budget: str, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """What `mfubench compare --json` answers. Raises RuntimeError where it could not run."""
    with tempfile.TemporaryDirectory(prefix="mfubench-trials-") as folder:
        words = [sys.executable, "-m", "mfubench", "compare", "--json", "--budget", budget, *more]
        words += ["--wait", "1h", "--results-dir", folder, *commands]
        done = subprocess.run(words, cwd=SCRIPTS, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 2):
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def calibration(script: str) -> dict[str, Any]:
    """How long a step and a planted product take, from a comparison of its own."""
    found = compare(
        script,
        f"{script} --planted {CALIBRATION_PRODUCTS}",
        budget="90s",
        more=("--precision", "2%"),
    )
    plain, planted = found["sides"]
    product_s = plain["step_s"] * (1 / planted["ratio"] - 1) / CALIBRATION_PRODUCTS
    return {
        "kind": "calibration",
        "script": script,
        "step_s": plain["step_s"],
        "product_s": product_s,
        "start_up_s": plain["start_up_s"],
    }


def trial(
    script: str, plant: float, calibrated: dict[str, Any], asked: argparse.Namespace
) -> dict[str, Any]:
    """One comparison; the planted side is the second. `calibrated` is needed where something is
    planted, and for hyperfine."""
    products = round(plant * calibrated["step_s"] / calibrated["product_s"]) if plant else 0
    commands = (script, f"{script} --planted {products}")
    since_s = time.monotonic()
    found = compare(*commands, budget=asked.budget)
    side = found["sides"][1]
    line = {
        "kind": "trial",
        "at_s": time.time(),
        "script": script,
        "plant": plant,
        "products": products,
        "pairs": found["pairs"],
        "spent_s": found["spent_s"],
        **{name: side[name] for name in ("verdict", "ratio", "low", "high", "loss_verdict")},
        "reference_losses": found["sides"][0]["loss_verdict"],
    }
    if asked.hyperfine and shutil.which("hyperfine"):
        line["hyperfine"] = hyperfine(commands, calibrated, time.monotonic() - since_s)
    print(json.dumps(line), file=sys.stderr, flush=True)
    return line


def hyperfine(
    commands: tuple[str, str], calibrated: dict[str, Any], budget_s: float
) -> dict[str, Any]:
    """What hyperfine says of the two commands: its means with their standard errors, and Welch's
    test of its runs at 5 %, as its own example scripts do it."""
    steps = max(10, round(RUN_S / calibrated["step_s"]))
    runs = max(LEAST_RUNS, round(budget_s / (2 * (RUN_S + calibrated["start_up_s"]))))
    with tempfile.TemporaryDirectory(prefix="mfubench-trials-") as folder:
        path = Path(folder) / "times.json"
        words = ["hyperfine", "--warmup", "1", "--runs", str(runs), "--export-json", str(path)]
        words += [f"{sys.executable} {command} --steps {steps}" for command in commands]
        subprocess.run(words, cwd=SCRIPTS, capture_output=True, check=True)
        plain, planted = (one["times"] for one in json.loads(path.read_text())["results"])
    p = float(stats.ttest_ind(planted, plain, equal_var=False).pvalue)
    ratio = statistics.mean(plain) / statistics.mean(planted)
    verdict = "no difference" if p >= ALPHA else "slower" if ratio < 1 else "faster"
    return {"runs": runs, "steps": steps, "ratio": ratio, "p": p, "verdict": verdict}


def table(lines: list[dict[str, Any]]) -> str:
    """Verdicts by what was planted, with exact 95 % bounds."""
    trials = [line for line in lines if line["kind"] == "trial"]
    rows = [
        "planted  rule       trials  faster  slower  no difference  unclear  said slower (95 %)"
    ]
    for plant in sorted({t["plant"] for t in trials}):
        some = [t for t in trials if t["plant"] == plant]
        beside = [t["hyperfine"] for t in some if "hyperfine" in t]
        for rule, answers in (("compare", some), ("hyperfine", beside)):
            if answers:
                rows.append(_row(plant, rule, Counter(a["verdict"] for a in answers)))
    alarms = [t for t in trials if t["loss_verdict"] == "different"]
    spent = [t["spent_s"] for t in trials] or [math.nan]
    rows.append(
        f"{len(trials)} comparisons on {len({t['machine'] for t in trials})} machines, "
        f"{statistics.median(spent):.0f} s each (median); losses called different: {len(alarms)}"
    )
    return "\n".join(rows)


def _row(plant: float, rule: str, counts: Counter[str]) -> str:
    total = sum(counts.values())
    said = counts["slower"] if plant else counts["slower"] + counts["faster"]
    bounds = stats.binomtest(said, total).proportion_ci(0.95, method="exact")
    words = "either way" if not plant else ""
    return (
        f"{plant:+7.0%}  {rule:9}  {total:6}  {counts['faster']:6}  {counts['slower']:6}  "
        f"{counts['no difference']:13}  {counts['unclear']:7}  "
        f"{said} ({bounds.low:.1%} to {bounds.high:.1%}) {words}"
    )


if __name__ == "__main__":
    sys.exit(main())
