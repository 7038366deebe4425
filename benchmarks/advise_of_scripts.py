"""Does `mfubench advise SCRIPT` find what the suite's own search finds, for the same loop?

    python benchmarks/advise_of_scripts.py --budget 5m --times 2

Searches of the suite and of `trial_scripts/seed_loop.py` take turns. It prints what each one
recommends, the verified speed-up, and the script's over the suite's; nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def search(*words: str, budget: str) -> dict[str, Any]:
    """What `mfubench advise` answers; a line of it is printed."""
    with tempfile.TemporaryDirectory(prefix="mfubench-advise-") as folder:
        typed = [sys.executable, "-m", "mfubench", "advise", *words, "--json", "--budget", budget]
        typed += ["--results-dir", folder]
        done = subprocess.run(typed, cwd=HERE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    found: dict[str, Any] = json.loads(done.stdout)
    verified = _recommended(found)
    line = {
        "search": " ".join(words) or "the suite's own",
        "knobs": found["knobs"],
        "verified": verified and [round(verified[k], 3) for k in ("low", "ratio", "high")],
        "predicted": found["predicted_ratio"],
        "refusal": found["refusal"],
        "spent_s": round(found["spent_s"]),
    }
    print(json.dumps(line), flush=True)
    return found


def _recommended(found: dict[str, Any]) -> dict[str, float] | None:
    """The verified effect of what is recommended, if anything is."""
    return found["verified"] if found["knobs"] else None


def speed_up(found: dict[str, Any]) -> float:
    """The verified one; 1 where nothing is recommended."""
    verified = _recommended(found)
    return verified["ratio"] if verified else 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--budget", default="5m", help="of each search")
    parser.add_argument("--times", type=int, default=1, help="searches of each kind")
    asked = parser.parse_args()
    suite, script = [], []
    for _ in range(asked.times):
        suite.append(speed_up(search(budget=asked.budget)))
        script.append(speed_up(search("trial_scripts/seed_loop.py", budget=asked.budget)))
    of_suite = statistics.median(script) / statistics.median(suite)
    print(
        f"medians: suite x{statistics.median(suite):.3f}, script x{statistics.median(script):.3f}"
    )
    print(f"the script's search finds {of_suite:.1%} of the suite's speed (aim: 95 %)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
