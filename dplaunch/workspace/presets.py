"""The shipped examples as starting files."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from dplaunch.errors import UsageError
from dplaunch.ranges import expand
from dplaunch.render import clusters_root

_NODES = re.compile(r"^nodes:\n(?:[ #].*\n|\n)+", re.MULTILINE)
_HOST = re.compile(r"""(\bhost:\s*)("[^"]*"|[^\s,}]+)""")


def presets() -> dict[str, str]:
    """Name → the first comment line of the example, which says what it is."""
    return {path.stem: _about(path) for path in sorted(clusters_root().glob("*.yaml"))}


def written_for(preset: str, hosts: str | None) -> str:
    """The example's text with its hosts replaced. Raises UsageError when name or number do not fit."""
    known = presets()
    if preset not in known:
        near = difflib.get_close_matches(preset, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"examples: {', '.join(known)}"
        raise UsageError(f"there is no example called {preset}", hint=hint)
    text = (clusters_root() / f"{preset}.yaml").read_text(encoding="utf-8")
    return text if hosts is None else with_hosts(text, hosts, preset)


def with_hosts(text: str, hosts: str, preset: str) -> str:
    """Hosts dealt out over the entries of ``nodes:`` in order; each entry keeps its count."""
    section = _NODES.search(text)
    entries = _HOST.findall(section.group()) if section else []
    needed = [len(expand(value.strip('"'))) for _, value in entries]
    given = list(expand(hosts))
    if sum(needed) != len(given):
        raise UsageError(
            f"{preset} is for {sum(needed)} nodes, {hosts} names {len(given)}",
            hint="give as many hosts, or edit `nodes` and `roles` in the file",
        )
    if section is None:
        return text
    words = [hosts] if len(needed) == 1 else [",".join(_take(given, count)) for count in needed]
    new = iter(words)
    replaced = _HOST.sub(lambda match: f'{match.group(1)}"{next(new)}"', section.group())
    before = [name for _, value in entries for name in expand(value.strip('"'))]
    moved = dict(zip(before, expand(hosts), strict=True))
    return _moved(text[: section.start()], moved) + replaced + _moved(text[section.end() :], moved)


def _moved(text: str, moved: dict[str, str]) -> str:
    """The text with each old host, as a word of its own (a master, say), replaced by the new one."""
    return re.sub(r"(?<![\w.-])[\w.-]+(?![\w.-])", lambda word: moved.get(word.group(), word.group()), text)


def _take(given: list[str], count: int) -> list[str]:
    taken, given[:count] = given[:count], []
    return taken


def _about(path: Path) -> str:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    return first.lstrip("# ").strip()
