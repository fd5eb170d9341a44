"""A minimal cluster file to vary, and the problems of a text."""

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


@pytest.fixture(scope="session")
def load():
    """``load(text)`` → Loaded, of a file ``c.yaml`` that reads no other file."""
    return lambda text, read_file=unread, **more: spec.load(text, "c.yaml", read_file=read_file, **more)


@pytest.fixture(scope="session")
def small():
    """``small(roles="…", router="…")``: five lines of a good file, each replaced or added by its section."""
    return lambda **sections: "\n".join({**SMALL, **sections}.values()) + "\n"


@pytest.fixture(scope="session")
def problems():
    """``problems(text)``: every error and warning of a file ``name``, in order."""

    def found(text, read_file=unread, name="c.yaml", **more):
        try:
            return spec.load(text, name, read_file=read_file, **more).warnings
        except SpecError as error:
            return error.problems

    return found
