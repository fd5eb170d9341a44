"""Who a client is: the cluster's own key, and keys of clients by name.

The file of clients' keys holds no key, only what it can be recognised by, and is read again when it
changed: ``{"format": 1, "keys": [{"name": "team-a", "sha256": "9f86…"}]}``. Two of one name are for the time
in which a client changes its key.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from hashlib import sha256

FORMAT = 1
OWN = "own"
"""The name of the cluster's own key, which engines have too."""
_DIGEST = re.compile("[0-9a-f]{64}")
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Keys:
    """Keys that are asked for. ``guarded`` from the start where ``own`` is set or a file will come."""

    def __init__(self, own: str, *, guarded: bool) -> None:
        self._own = {_digest(own): OWN} if own else {}
        self._clients: Mapping[str, str] = {}
        self.guarded = guarded or bool(own)

    def replace(self, clients: Mapping[str, str]) -> None:
        """Take over what ``parse`` read."""
        self._clients = clients

    def name_of(self, headers: Mapping[str, str]) -> str:
        """Return whose key ``headers`` show, as OpenAI's or Anthropic's clients do; empty: no known one."""
        scheme, _, bearer = headers.get("Authorization", "").partition(" ")
        shown = [bearer.strip()] if scheme.lower() == "bearer" else []
        shown += [headers["x-api-key"]] if "x-api-key" in headers else []
        return next(filter(None, map(self._find, shown)), "")

    def _find(self, key: str) -> str:
        given, found = _digest(key), ""
        for known, name in (*self._clients.items(), *self._own.items()):
            if hmac.compare_digest(given, known):
                found = name
        return found


def parse(text: str) -> dict[str, str]:
    """Return digest → name. Raises ``ValueError``, which says what is wrong and holds no key."""
    data = json.loads(text)
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("keys"), list):
        raise ValueError(f'it is not an object with "format": {FORMAT} and a list called "keys"')
    found = {}
    for place, item in enumerate(data["keys"], 1):
        name, digest = (item.get(key) for key in ("name", "sha256")) if isinstance(item, dict) else ("", "")
        if not (isinstance(name, str) and _NAME.fullmatch(name) and name != OWN):
            raise ValueError(f"key {place} has no usable name")
        if not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
            raise ValueError(f'key {place} ({name}): "sha256" is not 64 hexadecimal digits')
        found[digest] = name
    return found


def _digest(key: str) -> str:
    return sha256(key.encode(errors="surrogateescape")).hexdigest()
