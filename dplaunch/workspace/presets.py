"""The shipped examples, which ``init`` turns into a first cluster file."""

from __future__ import annotations

import difflib
import re
from itertools import islice

from dplaunch.errors import UsageError
from dplaunch.ranges import expand
from dplaunch.render import clusters_root

_NODES = re.compile(r"^nodes:\n(?:[ #].*\n|\n)+", re.MULTILINE)
_HOST = re.compile(r"""(\bhost:\s*)("[^"]*"|[^\s,}]+)""")


def list_presets() -> dict[str, str]:
    """Return the name of each example → its first comment line, which describes it."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(clusters_root().glob("*.yaml"))}
    return {name: text.partition("\n")[0].lstrip("# ").strip() for name, text in texts.items()}


def fill_preset(preset: str, hosts: str | None) -> str:
    """Return the text of an example, with these hosts (a range) in place of its own.

    Raises UsageError for an unknown example or the wrong number of hosts.
    """
    known = list_presets()
    if preset not in known:
        near = difflib.get_close_matches(preset, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}"
        raise UsageError(f"{preset} is not the name of an example", hint=hint)
    text = (clusters_root() / f"{preset}.yaml").read_text(encoding="utf-8")
    return text if hosts is None else replace_hosts(text, hosts, preset)


def replace_hosts(text: str, hosts: str, preset: str) -> str:
    """Deal the hosts out over the entries of ``nodes`` in order; each entry keeps its number of hosts."""
    section = _NODES.search(text)
    entries = _HOST.findall(section.group()) if section else []
    needed = [len(expand(value.strip('"'))) for _, value in entries]
    given = list(expand(hosts))
    if sum(needed) != len(given):
        raise UsageError(
            f"{preset} is for {sum(needed)} nodes, but {hosts} names {len(given)}",
            hint=f"give {sum(needed)} hosts, or leave --hosts out and edit `nodes` and `roles` in the file",
        )
    if section is None:
        return text
    left = iter(given)
    ranges = iter([hosts] if len(needed) == 1 else [",".join(islice(left, count)) for count in needed])
    filled = _HOST.sub(lambda match: f'{match.group(1)}"{next(ranges)}"', section.group())
    before = [name for _, value in entries for name in expand(value.strip('"'))]
    new = dict(zip(before, given, strict=True))
    return _rename(text[: section.start()], new) + filled + _rename(text[section.end() :], new)


def _rename(text: str, new: dict[str, str]) -> str:
    """Replace each old host that is a word of its own, as in ``master``, by the new one."""
    return re.sub(r"(?<![\w.-])[\w.-]+(?![\w.-])", lambda word: new.get(word.group(), word.group()), text)
