"""Shell text of several hosts: a file for each, or one with a header line where the next host begins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from dplaunch.errors import UsageError
from dplaunch.importer.expand import Scope
from dplaunch.importer.shell import Shell
from dplaunch.importer.source import ReadFile, Source
from dplaunch.ranges import RangeError, expand

_HEADER = re.compile(
    r"#+[ \t]*(?:on[ \t]+)?(?:(?P<word>host|node)s?[ \t]*:?[ \t]+)?"
    r"(?P<host>[\w.:\[\],-]*\w[\]]?)[ \t]*:?[ \t]*",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"[\d.]+|(?=.*:)[\da-fA-F:]+|[\w-]+(?:\.[\w-]+)+")
LAUNCHER = ".py"


def read_scripts(host: str, path: str, read_file: ReadFile, source: Source) -> None:
    """Read one file for a host (or a range of hosts); without a host its headers name them."""
    text = read_text(path, read_file)
    for name in hosts_of(host) if host else ():
        shell = Shell(name, source, read_file)
        if path.endswith(LAUNCHER):
            shell.run_program(path, (), Scope())
        else:
            shell.read(text, path, Scope())
    if not host:
        for names, part in parts(text):
            for name in names or ("",):
                Shell(name, source, read_file).read(part, path, Scope())


def read_text(path: str, read_file: ReadFile) -> str:
    """The text of a file that the user named. Raises UsageError."""
    try:
        return read_file(path)
    except OSError as error:
        text = f"{path} cannot be read: {(error.strerror or 'unknown reason').lower()}"
        raise UsageError(text, hint="give files as FILE, or as HOST=FILE for one host") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start})") from error


def hosts_of(text: str) -> tuple[str, ...]:
    """``192.0.2.[1-2]`` as its hosts. Raises UsageError."""
    try:
        return expand(text)
    except RangeError as error:
        raise UsageError(f"cannot read the hosts '{text}': {error.text}") from error


def parts(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Hosts and the text below their header, empty lines in place of the other hosts' text.

    Lines keep their numbers. What stands above the first header is of no host.
    """
    lines = text.split("\n")
    heads = [(number, hosts) for number, line in enumerate(lines) if (hosts := _header(line))]
    bounds = [(0, ()), *heads, (len(lines), ())]
    for (start, hosts), (end, _) in pairwise(bounds):
        part = lines[start:end]
        if any(line.strip() and not line.lstrip().startswith("#") for line in part):
            yield hosts, "\n" * start + "\n".join(part)


def _header(line: str) -> tuple[str, ...]:
    match = _HEADER.fullmatch(line.strip())
    if not match:
        return ()
    try:
        hosts = expand(match["host"])
    except RangeError:
        return ()
    return hosts if match["word"] or all(_ADDRESS.fullmatch(host) for host in hosts) else ()
