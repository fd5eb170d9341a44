"""known_hosts: is this host's key the one we know? Pure, except for reading and appending the files."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import fnmatch
import hmac
import os
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from msgspec import Struct

SSH_PORT = 22


class Verdict(Enum):
    """What the files say of a key."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    """Another key is known for this host."""
    REVOKED = "revoked"
    AUTHORITY = "authority"
    """A @cert-authority line speaks for this host: certificates are not checked here."""


class Line(Struct, frozen=True):
    """One line: ``place`` is file:number, ``key`` the base64 text."""

    place: str
    marker: str
    patterns: tuple[str, ...]
    kind: str
    key: str

    def speaks_for(self, name: str) -> bool:
        """OpenSSH's rules: hashed names, ``*`` and ``?``, and a ``!`` pattern that forbids."""
        hits = [p for p in self.patterns if _matches(p.removeprefix("!"), name)]
        return bool(hits) and not any(p.startswith("!") for p in hits)


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("|1|"):
        salt, _, digest = pattern.removeprefix("|1|").partition("|")
        try:
            return hmac.compare_digest(_hash(name, base64.b64decode(salt)), base64.b64decode(digest))
        except ValueError:  # cut off, or no base64: OpenSSH leaves such a line out too
            return False
    if "*" not in pattern and "?" not in pattern:  # nearly every line of a file with a line for every host
        return name.lower() == pattern.lower()
    # In known_hosts brackets are letters: [host]:port.
    return fnmatch.fnmatchcase(name.lower(), pattern.lower().replace("[", "[[]"))


def _hash(name: str, salt: bytes) -> bytes:
    return hmac.digest(salt, name.encode(), "sha1")


def parse(text: str, file: str) -> tuple[Line, ...]:
    """All lines but comments; half a line fits no key, and so counts as another key, not as none."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if words and not words[0].startswith("#"):
            hosts, kind, key, *_ = (*words, "", "")
            found.append(Line(f"{file}:{number}", marker, tuple(hosts.split(",")), kind, key))
    return tuple(found)


def read(files: Iterable[str]) -> tuple[Line, ...]:
    """All lines of the files that can be read."""
    lines: list[Line] = []
    for file in files:
        with contextlib.suppress(OSError):
            lines += parse(Path(file).read_text(errors="replace"), file)
    return tuple(lines)


def stamps(files: Iterable[str]) -> tuple[tuple[str, int, int], ...]:
    """Name, time and size of each file: they change whenever ``read`` would return something else."""
    found = []
    for file in files:
        with contextlib.suppress(OSError):
            status = Path(file).stat()
            found.append((file, status.st_mtime_ns, status.st_size))
    return tuple(found)


def names(hostname: str, port: int, alias: str = "") -> tuple[str, ...]:
    """What the host may be called in the files. With a port, the plain name counts too if its key fits."""
    if alias:
        return (alias,)
    return (hostname,) if port == SSH_PORT else (f"[{hostname}]:{port}", hostname)


def about(lines: Iterable[Line], called: tuple[str, ...]) -> tuple[Line, ...]:
    """The lines that speak for the host, whatever it is called."""
    return tuple(line for line in lines if any(line.speaks_for(name) for name in called))


def kinds(lines: Iterable[Line], called: tuple[str, ...]) -> tuple[str, ...]:
    """Key types known for the host: to be asked for first, or a good host looks changed."""
    return tuple(dict.fromkeys(line.kind for line in about(lines, called) if not line.marker))


def check(lines: Iterable[Line], called: tuple[str, ...], key: str) -> tuple[Verdict, str]:
    """The verdict on base64 ``key`` and the place (file:line) it rests on."""
    found = about(lines, called)
    for line in found:
        if line.marker == "@revoked" and line.key == key:
            return Verdict.REVOKED, line.place
        if line.marker not in ("", "@revoked"):
            return Verdict.AUTHORITY, line.place
    plain = [line for line in found if not line.marker]
    for line in plain:
        if line.key == key:
            return Verdict.KNOWN, line.place
    exact = [line for line in plain if line.speaks_for(called[0])]
    return (Verdict.CHANGED, exact[0].place) if exact else (Verdict.UNKNOWN, "")


def append(file: str, name: str, kind: str, key: str, *, hashed: bool = False) -> None:
    """Adds a line unless it is there; whole, even if others append at the same time."""
    path = Path(file)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a+b") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        text = handle.read().decode("utf-8", "replace")
        if check(parse(text, file), (name,), key)[0] is Verdict.KNOWN:
            return
        start = "" if not text or text.endswith("\n") else "\n"
        handle.write(f"{start}{hashed_name(name) if hashed else name} {kind} {key}\n".encode())


def hashed_name(name: str) -> str:
    """``|1|salt|digest``, as HashKnownHosts writes it."""
    salt = os.urandom(20)
    return "|1|" + "|".join(base64.b64encode(part).decode() for part in (salt, _hash(name, salt)))
