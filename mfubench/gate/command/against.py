"""`mfubench gate --against FILE`: the newest stored run of this machine by a stored one."""

from __future__ import annotations

import argparse
import sys

from mfubench.arguments import UserError


def run_against(arguments: argparse.Namespace) -> int:
    """Exit status as `mfubench gate`; 0 whatever it says with `--advisory`."""
    from mfubench.gate.command.setup import gate_settings
    from mfubench.gate.measure.stored import StoredRuns, read_run, verdicts
    from mfubench.gate.rules.policy import exit_status, worst
    from mfubench.gate.show.stored import stored_text
    from mfubench.results import document
    from mfubench.results.read import ResultError

    try:
        reference = read_run(arguments.against)
    except ResultError as error:
        raise UserError(str(error)) from None
    folder = document.machine_dir(arguments.results_dir)
    stored = StoredRuns(folder, without=arguments.against)
    if not stored.runs:
        raise UserError(f"no run of this machine is stored in {folder}; type pytest benchmarks/")
    run = stored.runs[-1]
    here, there = run.machine, reference.machine
    if here != there and not arguments.advisory:
        raise UserError(
            f"{arguments.against} is of another machine ({there or 'unknown'}, here {here}); what "
            "differs between machines is no regression. --advisory compares all the same, and "
            "never fails"
        )
    found = verdicts(run, reference, stored, settings=gate_settings(arguments))
    print(stored_text(found, run=run.path.name, color=sys.stdout.isatty()))
    if arguments.advisory:
        print("\nadvisory: this never fails")
        return 0
    return exit_status(worst([one.verdict for one in found]))
