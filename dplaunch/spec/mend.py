"""A file with mistakes, with the mistakes cut out, so that rules can still judge the rest.

The user sees every problem at once, but none that only follows from another: ``broken`` holds
the paths that rules must not rely on.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from dplaunch.spec.finding import Finding, KeyPath
from dplaunch.spec.problems import validate
from dplaunch.spec.schema import File

_STAND_INS: dict[str, Any] = {
    "cluster": "unknown",
    "engine": {"kind": "rehearsal"},
    "model": "unknown",
    "nodes": [{"name": "unknown", "host": "192.0.2.1"}],
    "roles": {},
}
"""For required keys that are missing or beyond repair; always broken, so never judged."""


def broken_by(findings: Iterable[Finding]) -> frozenset[KeyPath]:
    """Paths that errors have made unreliable: where they are, and what the user probably meant."""
    wrong = [finding for finding in findings if not finding.warning]
    return frozenset(f.path for f in wrong) | {f.meant for f in wrong if f.meant}


def mend(data: dict[str, Any], findings: tuple[Finding, ...]) -> tuple[File, frozenset[KeyPath]]:
    """The file without what ``findings`` are about, and every path that is broken for it.

    A cut may leave its section incomplete, which is cut in the next round; stand-ins end it.
    """
    data = deepcopy(data)
    broken = broken_by(findings)
    file: File | None = None
    while file is None:
        broken |= {_cut(data, finding.path) for finding in findings}
        data = _STAND_INS | data
        file, findings = validate(data)
    return file, broken


def _cut(data: dict[str, Any], path: KeyPath) -> KeyPath:
    """Remove the key at ``path``, or the section in which it is missing; the path that is now gone.

    A list is cut whole: removing an entry would renumber those after it.
    """
    if not path:
        return path
    section: Any = data
    for part in path[:-1]:
        inside = isinstance(section, list) or (isinstance(section, dict) and part in section)
        section = section[part] if inside else None
    if isinstance(section, dict) and path[-1] in section:
        del section[path[-1]]
        return path
    return _cut(data, path[:-1]) if len(path) > 1 else path


def touches(broken: frozenset[KeyPath], reads: Iterable[str]) -> bool:
    """Whether anything a rule reads is broken.

    ``reads`` are dotted paths; ``*`` is any one part, a last ``**`` all that is below. Without it only
    the key itself counts, and the sections that it is in.
    """
    patterns = [tuple(read.split(".")) for read in reads]
    return any(_overlap(path, pattern) for path in broken for pattern in patterns)


def _overlap(path: KeyPath, pattern: tuple[str, ...]) -> bool:
    if pattern[-1] != "**" and len(path) > len(pattern):
        return False
    return all(want in ("*", "**", str(part)) for part, want in zip(path, pattern, strict=False))
