"""A file that names every request which reached an engine: tests count there who was asked, and when."""

from __future__ import annotations

import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .web import Request


class Record:
    """Appends to the file ``path``, which may lie in the node folder; does nothing when it is empty.

    A line is a JSON object: ``time`` (seconds since 1970), ``process`` (the name that dplaunch gave it),
    ``path``, ``id`` (X-Request-Id), ``pair`` (X-Dplaunch-Pair) and ``body``. Engines of one machine may share
    a file: a line is one write.
    """

    def __init__(self, path: str, env: dict[str, str]) -> None:
        self._path = os.path.join(env.get("DPLAUNCH_ROOT", ""), path) if path else ""
        self._process = env.get("DPLAUNCH_PROCESS", "")

    def add(self, request: Request) -> None:
        """Append one line about ``request``; a body that is not JSON is null."""
        if not self._path:
            return
        try:
            body = json.loads(request.body)
        except (ValueError, RecursionError):
            body = None
        line = {
            "time": time.time(),
            "process": self._process,
            "path": request.path,
            "id": request.headers.get("x-request-id", ""),
            "pair": request.headers.get("x-dplaunch-pair", ""),
            "body": body,
        }
        with open(self._path, "ab", buffering=0) as file:
            file.write(json.dumps(line).encode() + b"\n")
