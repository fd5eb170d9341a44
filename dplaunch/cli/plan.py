"""``dplaunch plan``: what would run, as tables or JSON; saved, or compared with a saved one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from msgspec import to_builtins

from dplaunch.cli.verb import Invocation, option
from dplaunch.errors import ExitCode

Save = Annotated[Path | None, option("--save", help="Also write the plan as JSON to this file.")]
Diff = Annotated[Path | None, option("--diff", help="Print the differences to this saved plan.")]


def plan(call: Invocation, save: Save = None, diff: Diff = None) -> ExitCode:
    """Show what would run where: ranks, devices, ports. Reach no node."""
    from dplaunch import plan as plans
    from dplaunch.cli.cluster import load, open_cluster, say_without_container
    from dplaunch.view import plan as drawing
    from dplaunch.workspace import read_plan, write_by_rename

    cluster = open_cluster(call) if call.screen.json or diff else load(call)
    say_without_container(call, cluster)
    if save is not None:
        write_by_rename(save, plans.dump(cluster.plan))
        call.screen.say(f"saved as {save}")
    if diff is not None:
        changes = plans.compare(read_plan(diff), cluster.plan)
        call.screen.present("\n".join(changes) or "no difference", {"changes": list(changes)})
        return ExitCode.DONE
    overlaps = plans.overlaps(cluster.spec)
    machine: dict[str, Any] = {}
    if call.screen.json:  # large, so made only when it is printed
        found = {name: to_builtins(one) for name, one in plans.commands(cluster.spec).items()}
        machine = {**plans.to_json(cluster.plan), "commands": found, "overlap": to_builtins(overlaps)}
    warnings = () if call.screen.quiet else cluster.warnings
    human = drawing.render(cluster.plan, warnings, overlaps, verbose=call.screen.verbose)
    call.screen.present(human, machine)
    return ExitCode.DONE
