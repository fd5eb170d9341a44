"""The members file: which engines exist, how to ask them, which state each is in, and how requests flow.

``{"format": 2, "revision": "4f1c", "model": "deepseek_r1", "flow": "pull", "members": [{"name": "decode-3",
"role": "decode", "group": "decode/0", "url": "http://192.0.0.5:9003", "state": "serving", "api": {"health":
"/health", "metrics": "/metrics", "running": "NAME", "waiting": "NAME"}}]}``, renamed into place.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NoReturn
from urllib.parse import urlsplit

from .watched import WatchedFile

log = logging.getLogger("dprouter")

FORMAT = 2
ROLES = {"alone": ("serve",), "pull": ("prefill", "decode"), "push": ("prefill", "decode")}
"""The roles of each flow; the last one writes the answer."""
STATES = ("held", "proving", "serving", "draining")


class MembersError(ValueError):
    """The file cannot be used; the text is the reason, in one sentence."""


@dataclass(frozen=True)
class Api:
    """Where an engine answers what the router asks each second, and what its gauges are called."""

    health: str = "/health"
    metrics: str = "/metrics"
    running: str = ""
    """The gauge of requests in work; empty: not read."""
    waiting: str = ""
    """The gauge of requests in the engine's own queue; empty: not read."""


@dataclass(frozen=True)
class Entry:
    """One engine of the file."""

    name: str
    role: str
    group: str
    url: str
    state: str = "serving"
    api: Api = Api()


@dataclass(frozen=True)
class Membership:
    """The file's whole content."""

    entries: tuple[Entry, ...] = ()
    revision: str = ""
    model: str = ""
    flow: str = "alone"


def parse(text: str) -> Membership:
    """Return the file's text as a value. Raises ``MembersError``, which names the entry that is wrong."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise MembersError(f"it is not JSON ({error})") from None
    if not isinstance(data, dict) or not isinstance(data.get("members"), list):
        raise MembersError('it has no list called "members"')
    if data.get("format") != FORMAT:
        raise MembersError(f"its format is {data.get('format')!r}, this router reads format {FORMAT}")
    flow = data.get("flow")
    if flow not in ROLES:
        raise MembersError(f'flow "{flow}" is none of {", ".join(ROLES)}')
    entries = tuple(_entry(item, place, flow) for place, item in enumerate(data["members"]))
    names = [entry.name for entry in entries]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise MembersError(f'"{twice}" is listed twice')
    return Membership(entries, str(data.get("revision", "")), str(data.get("model", "")), flow)


def _entry(item: Any, place: int, flow: str) -> Entry:
    def wrong(what: str) -> NoReturn:
        raise MembersError(f"member {place + 1}: {what}")

    if not isinstance(item, dict):
        wrong("it is not an object")
    for key in ("name", "role", "group", "url"):
        if not isinstance(item.get(key), str) or not item[key]:
            wrong(f'"{key}" is missing')
    if item["role"] not in ROLES[flow]:
        wrong(f'role "{item["role"]}" is none of {", ".join(ROLES[flow])}, the roles of flow "{flow}"')
    if item.get("state") not in STATES:
        wrong(f'state "{item.get("state")}" is none of {", ".join(STATES)}')
    if not _usable(item["url"]):
        wrong(f'url "{item["url"]}" is not http://HOST:PORT')
    given = item.get("api", {})
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        wrong('"api" is not an object of texts')
    api = Api(**{field.name: given[field.name] for field in fields(Api) if field.name in given})
    return Entry(item["name"], item["role"], item["group"], item["url"].rstrip("/"), item["state"], api)


def _usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme == "http" and bool(parts.hostname) and parts.port != 0 and not parts.path.strip("/")
        )
    except ValueError:
        return False


class MembersFile(WatchedFile[Membership]):
    """Reads the file when it changed, and hands on what is in it or why it cannot be used."""

    def __init__(
        self, path: str, on_good: Callable[[Membership], None], on_bad: Callable[[str], None]
    ) -> None:
        def good(membership: Membership) -> None:
            log.info("members: revision %s, %d engines", membership.revision, len(membership.entries))
            on_good(membership)

        super().__init__("members file", path, parse, good, on_bad)
