"""Group hosts to which the SSH configuration applies equally: one ``ssh -G`` serves a whole group.

``ssh -G`` takes 5 ms of a core, more than logging in does.
"""

from __future__ import annotations

import fnmatch
import glob
from collections.abc import Iterator
from pathlib import Path

from dplaunch.transport.sshconfig import Config

SYSTEM = Path("/etc/ssh/ssh_config")
_DECIDES = ("match", "canonicalizehostname")
"""Keywords by which hosts may differ in more than their names."""
_OWN = ("hostname", "host")


def patterns(config_file: str | None) -> tuple[str, ...] | None:
    """Every ``Host`` pattern of the files that ssh reads; None where hosts differ by more than those."""
    home = Path.home() / ".ssh"
    todo = [(Path(config_file), home)] if config_file else [(home / "config", home), (SYSTEM, SYSTEM.parent)]
    found: list[str] = []
    read: set[Path] = set()
    while todo:
        path, base = todo.pop()
        for keyword, words in _lines(path) if path not in read else ():
            if keyword in _DECIDES:
                return None
            if keyword == "host":
                found += words
            elif keyword == "include":
                if any("$" in word or "%" in word for word in words):
                    return None
                todo += [(Path(name), base) for word in words for name in _included(word, base)]
        read.add(path)
    return tuple(dict.fromkeys(found))


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Keyword in lower case and arguments; a file that cannot be read has none, as for ssh."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        words = line.replace("=", " ", 1).split()
        if words and not words[0].startswith("#"):
            yield words[0].lower(), [word.strip('"') for word in words[1:]]


def _included(word: str, base: Path) -> list[str]:
    return glob.glob(str(base / Path(word).expanduser()))  # noqa: PTH207 - absolute patterns too


def group(host: str, known: tuple[str, ...]) -> tuple[str, ...] | None:
    """The patterns that fit ``host``; hosts with the same ones are a group. None: it is in none."""
    if host != host.lower():
        return None  # ssh is of two minds about capitals
    return tuple(p for p in known if fnmatch.fnmatchcase(host, p.removeprefix("!").replace("[", "[[]")))


def answer_for(host: str, asked: str, answer: Config) -> Config | None:
    """Return what ``ssh -G`` would print for ``host``, given its output for ``asked`` of the same group.

    None where the answer names ``asked`` anywhere else than as the host's own name.
    """
    if answer.get("hostname") != (asked,):
        return None
    if any(asked in value for name, values in answer.items() if name not in _OWN for value in values):
        return None
    return {**answer, **{name: (host,) for name in _OWN if name in answer}}
