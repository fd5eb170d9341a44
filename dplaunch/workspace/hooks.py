"""Hooks: shell commands of the cluster file, run on the operator's machine around a verb."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from dplaunch.errors import DplaunchError
from dplaunch.model.plan import Plan

STANDS = {
    "before_up": "nothing was started",
    "after_up": "the cluster is up and goes on",
    "after_down": "everything was stopped",
}
"""How the cluster stands when a hook fails."""


def run_hook(plan: Plan, name: str, environ: Mapping[str, str]) -> str | None:
    """Run one hook to its end; its output, None when the file has no such hook.

    It finds the cluster in DPLAUNCH_HOOK_CLUSTER, _ENDPOINT, _MODEL. Raises DplaunchError when it fails.
    """
    command = plan.hooks.get(name)
    if command is None:
        return None
    facts = {
        "DPLAUNCH_HOOK_CLUSTER": plan.cluster,
        "DPLAUNCH_HOOK_ENDPOINT": plan.url,
        "DPLAUNCH_HOOK_MODEL": plan.served_model_name,
    }
    # The user wrote a shell command into the cluster file: it is run as one.
    done = subprocess.run(  # noqa: S602
        command, shell=True, env={**environ, **facts}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise DplaunchError(
            f"the hook {name} exited with code {done.returncode}; {STANDS[name]}",
            hint=f"run it by hand: {command}",
            detail=tuple((done.stdout + done.stderr).splitlines()[-10:]),
        )
    return done.stdout
