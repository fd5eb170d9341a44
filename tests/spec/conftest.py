"""A minimal cluster file to vary, and problems as lines that are easy to compare."""

import pytest

from dplaunch import spec
from dplaunch.errors import SpecError

SMALL = {
    "cluster": "cluster: c",
    "engine": "engine: {kind: rehearsal}",
    "model": "model: m",
    "nodes": "nodes: [{name: n1, host: 192.0.2.1}, {name: n2, host: 192.0.2.2}]",
    "roles": 'roles: {serve: {nodes: "n[1-2]", dp: 2}}',
}


def unread(path: str) -> str:
    raise AssertionError(f"nothing asked for {path}")


def line_of(problem) -> str:
    """``4:8 roles.serve.dp: text (hint)``; a warning is marked."""
    mark = "warning: " if problem.warning else ""
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"{problem.line}:{problem.column} {problem.key}: {mark}{problem.text}{hint}"


@pytest.fixture
def load():
    """``load(text)`` → Loaded, of a file ``c.yaml`` that reads no other file."""
    return lambda text, read_file=unread: spec.load(text, "c.yaml", read_file=read_file)


@pytest.fixture
def small():
    """``small(roles="…", router="…")``: five lines of a good file, each replaced or added by its section."""
    return lambda **sections: "\n".join({**SMALL, **sections}.values()) + "\n"


@pytest.fixture
def told(load):
    """``told(text)``: every problem or warning as a line, in order."""

    def lines(text, read_file=unread):
        try:
            found = load(text, read_file).warnings
        except SpecError as error:
            found = error.problems
        return [line_of(problem) for problem in found]

    return lines
