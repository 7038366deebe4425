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
    from mfubench.results.read import ResultError, shown
    from mfubench.show.terminal import has_color

    try:
        reference = read_run(arguments.against)
    except ResultError as error:
        raise UserError(str(error)) from None
    folder = document.machine_dir(arguments.results_dir)
    stored = StoredRuns(folder, without=arguments.against)
    if not stored.runs:
        raise UserError(f"no run of this machine is stored in {folder}; type pytest benchmarks/")
    run = stored.newest_with(reference.rounds)
    if run is None:
        raise UserError(
            f"no other stored run of this machine has a case of {arguments.against} "
            f"({', '.join(reference.rounds) or 'it has none with rounds'}); measure it once more"
        )
    here, there = run.machine, reference.machine
    if here != there and not arguments.advisory:
        raise UserError(
            f"{arguments.against} is of another machine ({there or 'unknown'}, here {here}); what "
            "differs between machines is no regression. --advisory compares all the same, and "
            "never fails"
        )
    settings = gate_settings(arguments)
    try:
        with shown(arguments.against):
            found = verdicts(run, reference, stored, settings=settings)
    except ResultError as error:
        raise UserError(str(error)) from None
    print(stored_text(found, run=run.path.name, color=has_color(sys.stdout)))
    if arguments.advisory:
        print("\nadvisory: this never fails")
        return 0
    return exit_status(worst([one.verdict for one in found]))
