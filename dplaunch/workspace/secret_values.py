"""The values of secrets, read on the operator's machine at the moment they are sent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dplaunch.errors import UsageError
from dplaunch.model.cluster import SecretRef
from dplaunch.model.plan import Plan


def read_secrets(plan: Plan, environ: Mapping[str, str], base: Path) -> dict[SecretRef, str]:
    """Every secret the plan names → its value. Raises UsageError naming the first that is missing."""
    wanted = {v for process in plan.processes for v in process.env.values() if isinstance(v, SecretRef)}
    if plan.api_key is not None:
        wanted.add(plan.api_key)
    return {ref: read_secret(ref, environ, base) for ref in sorted(wanted, key=str)}


def read_secret(ref: SecretRef, environ: Mapping[str, str], base: Path) -> str:
    """One secret; a file's trailing newline is not part of it."""
    if ref.source == "env":
        if not environ.get(ref.name):
            raise UsageError(
                f"the secret {ref.name} is not set in the environment", hint=f"export {ref.name}=…"
            )
        return environ[ref.name]
    try:
        return (base / ref.name).expanduser().read_text(encoding="utf-8").rstrip("\n")
    except OSError as error:
        raise UsageError(
            f"the secret file {ref.name} cannot be read: {error.strerror}",
            hint="check `from_file` in the cluster file",
        ) from error
