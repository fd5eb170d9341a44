"""The members file: which engines exist, and which are serving or draining.

``{"revision": "4f1c", "model": "deepseek_r1", "members": [{"name": "decode-3", "role": "decode",
"group": "decode/0", "url": "http://192.0.0.5:9003", "state": "serving"}]}``, renamed into place.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlsplit

log = logging.getLogger("dprouter")

ROLES = ("prefill", "decode", "serve")
STATES = ("serving", "draining")


class MembersError(Exception):
    """The file cannot be used; the text says why in one sentence."""


@dataclass(frozen=True)
class Entry:
    """One engine of the file."""

    name: str
    role: str
    group: str
    url: str
    draining: bool = False


@dataclass(frozen=True)
class Membership:
    """The file's whole content."""

    entries: tuple[Entry, ...] = ()
    revision: str = ""
    model: str = ""


def parse(text: str) -> Membership:
    """The file's text as a value; raises ``MembersError`` naming the entry that is wrong."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise MembersError(f"it is not JSON ({error})") from None
    if not isinstance(data, dict) or not isinstance(data.get("members"), list):
        raise MembersError('it has no list called "members"')
    entries = tuple(_entry(item, place) for place, item in enumerate(data["members"]))
    names = [entry.name for entry in entries]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise MembersError(f'"{twice}" is listed twice')
    return Membership(entries, str(data.get("revision", "")), str(data.get("model", "")))


def _entry(item: Any, place: int) -> Entry:
    def wrong(what: str) -> NoReturn:
        raise MembersError(f"member {place + 1}: {what}")

    if not isinstance(item, dict):
        wrong("it is not an object")
    for key in ("name", "role", "group", "url"):
        if not isinstance(item.get(key), str) or not item[key]:
            wrong(f'"{key}" is missing')
    if item["role"] not in ROLES:
        wrong(f'role "{item["role"]}" is none of {", ".join(ROLES)}')
    if item.get("state", "serving") not in STATES:
        wrong(f'state "{item["state"]}" is none of {", ".join(STATES)}')
    if not _usable(item["url"]):
        wrong(f'url "{item["url"]}" is not http://HOST:PORT')
    url = item["url"].rstrip("/")
    return Entry(item["name"], item["role"], item["group"], url, item.get("state") == "draining")


def _usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme == "http" and bool(parts.hostname) and parts.port != 0 and not parts.path.strip("/")
        )
    except ValueError:
        return False


class MembersFile:
    """Reads the file when it changed, and hands on what is in it or why it cannot be used."""

    def __init__(
        self, path: str, on_good: Callable[[Membership], None], on_bad: Callable[[str], None]
    ) -> None:
        self._path = path
        self._on_good = on_good
        self._on_bad = on_bad
        self._seen: object = None

    def look(self) -> None:
        """One look: does nothing while inode, size and time of the file stay the same."""
        try:
            status = os.stat(self._path)  # noqa: PTH116 - one syscall each half second
            stamp: object = (status.st_ino, status.st_size, status.st_mtime_ns)
        except OSError as error:
            stamp = error.strerror
        if stamp != self._seen:
            self._seen = stamp
            self._read()

    def _read(self) -> None:
        try:
            with open(self._path, encoding="utf-8") as file:  # noqa: PTH123 - as above
                membership = parse(file.read())
        except (OSError, UnicodeDecodeError, MembersError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            text = f"members file {self._path} cannot be used: {reason}"
            log.warning("%s; the last good one stays in force, write it again", text)
            self._on_bad(text)
        else:
            log.info("members: revision %s, %d engines", membership.revision, len(membership.entries))
            self._on_good(membership)

    async def watch(self, interval: float = 0.5) -> None:
        """Look for ever, each ``interval`` seconds."""
        while True:
            self.look()
            await asyncio.sleep(interval)
