"""The values of secrets, read on the operator's machine just before they are sent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dplaunch.errors import UsageError
from dplaunch.model.cluster import SecretRef
from dplaunch.model.plan import Plan


def read_secrets(plan: Plan, environ: Mapping[str, str], base: Path) -> dict[SecretRef, str]:
    """Return each secret of the plan → its value. Raises UsageError for the first that cannot be used."""
    wanted = {v for process in plan.processes for v in process.env.values() if isinstance(v, SecretRef)}
    if plan.api_key is not None:
        wanted.add(plan.api_key)
    wanted.update(plan.api_keys.values())
    secrets = {ref: _read_secret(ref, environ, base) for ref in sorted(wanted, key=str)}
    for ref in filter(None, (plan.api_key, *plan.api_keys.values())):
        _check_key(ref, secrets[ref])
    return secrets


def _check_key(ref: SecretRef, key: str) -> None:
    """A key travels in a header: a line break would begin another one, a blank would end it.

    Raises UsageError, without the value.
    """
    place = "file" if ref.source == "file" else "variable"
    wrong = sorted({f"U+{ord(c):04X}" for c in key if not "!" <= c <= "~"})
    if wrong or not key:
        what = f"has characters that a key cannot have: {', '.join(wrong[:5])}" if wrong else "is empty"
        raise UsageError(
            f"the API key in the {place} {ref.name} {what}",
            hint="use printable ASCII without blanks, as `openssl rand -hex 32` writes it",
        )


def _read_secret(ref: SecretRef, environ: Mapping[str, str], base: Path) -> str:
    """Return one secret. The line break at the end of a file does not belong to it."""
    if ref.source == "env":
        if not environ.get(ref.name):
            raise UsageError(
                f"the secret {ref.name} is not set in the environment", hint=f"export {ref.name}=…"
            )
        return environ[ref.name]
    try:
        return (base / ref.name).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the secret file {ref.name} is not UTF-8 text (byte {error.start})",
            hint="write it again as plain text, without a byte order mark",
        ) from error
    except OSError as error:
        raise UsageError(
            f"the secret file {ref.name} cannot be read: {error.strerror}",
            hint="check `from_file` in the cluster file",
        ) from error
