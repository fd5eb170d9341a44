"""Hooks: shell commands of the cluster file that run on the operator's machine before or after a verb."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from dplaunch.errors import DplaunchError
from dplaunch.model.plan import Plan

OUTCOMES = {
    "before_up": "nothing was started",
    "after_up": "the cluster is up and keeps running",
    "after_down": "everything was stopped",
}
"""Hook → the state of the cluster when the hook fails."""


def run_hook(plan: Plan, name: str, environ: Mapping[str, str]) -> str | None:
    """Run a hook to its end. Returns its output, or None if the cluster file does not have the hook.

    The hook's environment has DPLAUNCH_HOOK_CLUSTER, DPLAUNCH_HOOK_ENDPOINT and DPLAUNCH_HOOK_MODEL. Raises
    DplaunchError if it fails.
    """
    command = plan.hooks.get(name)
    if command is None:
        return None
    facts = {
        "DPLAUNCH_HOOK_CLUSTER": plan.cluster,
        "DPLAUNCH_HOOK_ENDPOINT": plan.url,
        "DPLAUNCH_HOOK_MODEL": plan.served_model_name,
    }
    # A hook is a shell command by definition; it comes from the user's own cluster file.
    done = subprocess.run(  # noqa: S602
        command, shell=True, env={**environ, **facts}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise DplaunchError(
            f"the hook {name} exited with code {done.returncode}; {OUTCOMES[name]}",
            hint=f"run it by hand: {command}",
            detail=tuple((done.stdout + done.stderr).splitlines()[-10:]),
        )
    return done.stdout
