"""Hooks: shell commands of the cluster file that run on the operator's machine before or after a verb."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from typing import IO

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

    What it leaves running in the background is not waited for, and it reads nothing from the terminal.

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
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:  # a pipe would wait for daemons
        # A hook is a shell command by definition; it comes from the user's own cluster file.
        done = subprocess.run(  # noqa: S602
            command,
            shell=True,
            env={**environ, **facts},
            stdin=subprocess.DEVNULL,  # it could not be seen that it asks something
            stdout=out,
            stderr=err,
            check=False,
        )
        printed, complained = (_read_from_start(file) for file in (out, err))
    if done.returncode != 0:
        raise DplaunchError(
            f"the hook {name} exited with code {done.returncode}; {OUTCOMES[name]}",
            hint=f"run it by hand: {command}",
            detail=tuple((printed + complained).splitlines()[-10:]),
        )
    return printed


def _read_from_start(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")
