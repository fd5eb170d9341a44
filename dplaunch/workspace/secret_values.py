"""The values of secrets, read on the operator's machine just before they are sent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dplaunch.errors import UsageError
from dplaunch.model.cluster import SecretRef
from dplaunch.model.plan import Plan


def read_secrets(plan: Plan, environ: Mapping[str, str], base: Path) -> dict[SecretRef, str]:
    """Return each secret of the plan → its value. Raises UsageError for the first that is missing."""
    wanted = {v for process in plan.processes for v in process.env.values() if isinstance(v, SecretRef)}
    if plan.api_key is not None:
        wanted.add(plan.api_key)
    return {ref: _read_secret(ref, environ, base) for ref in sorted(wanted, key=str)}


def _read_secret(ref: SecretRef, environ: Mapping[str, str], base: Path) -> str:
    """Return one secret. The newline at the end of a file does not belong to it."""
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
