"""The house is kept: imports, budgets, names, texts. Each rule is seen to bite on a bad sample."""

import re
from statistics import median, quantiles

import house
import pytest
from house import Module, modules

RULES = {
    "imports": house.import_faults,
    "libraries": house.library_faults,
    "apart": house.apart_faults,
    "talk": house.talk_faults,
    "names": house.name_faults,
    "sizes": house.size_faults,
}


def test_all_modules_keep_every_rule_and_need_every_exception_and_functions_are_short():
    # One test, not one for each rule: a single worker parses the house.
    faults = [fault for module in modules() for rule in RULES.values() for fault in rule(module)]
    assert not faults, "\n" + "\n".join(faults)
    assert house.sideways_used() == set(house.SIDEWAYS)
    lengths = [house.length(function) for module in modules() for function in house.functions(module)]
    assert median(lengths) <= house.FUNCTION_MEDIAN
    assert quantiles(lengths, n=100)[94] < house.FUNCTION_95


def test_files_are_short():
    assert median(len(module.source.splitlines()) for module in modules()) <= house.FILE_MEDIAN


def test_no_text_names_one_machine_or_promises():
    faults = [fault for name, text in house.texts() for fault in house.text_faults(name, text)]
    assert not faults, "\n" + "\n".join(faults)


def test_every_text_is_looked_at():
    names = {name for name, _ in house.texts()}
    assert {
        "pyproject.toml",
        "dplaunch/errors.py",
        "tests/test_house.py",
        "docs/architecture.md",
        ".ci/run",
    } <= names


LONG = "def f():\n" + "    x = 1\n" * 50
BAD = [
    ("imports", "dplaunch.model.plan", "import dplaunch.spec", "floor 3 from floor 1"),
    ("imports", "dplaunch.model.plan", "def f():\n    from dplaunch import spec", "floor 3 from floor 1"),
    ("imports", "dplaunch.spec.load", "from dplaunch.plan.build import build", "floor 4 from floor 3"),
    ("imports", "dplaunch.spec.load", "from ..view import table", "floor 8 from floor 3"),
    ("imports", "dplaunch.fleet.up", "from dplaunch import render", "a plan is all it needs"),
    ("imports", "dplaunch.view.table", "from dplaunch.progress import Progress", "knows no rules"),
    ("imports", "dplaunch.cli.up", "from dplaunch.router import pick", "runs on nodes"),
    ("imports", "dplaunch.cellar", "import os", "no room of the house"),
    ("libraries", "dplaunch.transport.local", "import paramiko.client", "only dplaunch.transport.ssh may"),
    ("libraries", "dplaunch.fleet.up", "from rich.table import Table", "only dplaunch.view may"),
    ("libraries", "dplaunch.fleet.up", "import asyncio", "only dplaunch.router"),
    ("libraries", "dplaunch.plan.ports", "import socket", "plan is pure"),
    ("libraries", "dplaunch.plan.ports", "from urllib.request import urlopen", "plan is pure"),
    ("libraries", "dplaunch.spec.load", "import os\nos.environ['X']", "reads the environment"),
    ("apart", "dplaunch.router.pick", "from dplaunch.errors import worst", "not in its package"),
    ("apart", "dplaunch.router.pick", "from ..errors import worst", "not in its package"),
    ("apart", "dplaunch.node.guard.log", "from ..rehearsal import api", "not in its package"),
    ("apart", "dplaunch.node.guard.log", "import yaml", "not in its package"),
    ("apart", "dplaunch.node.guard.log", "import tomllib", "not in its package"),
    ("apart", "dplaunch.node.guard.log", "match 1:\n    case 1: pass", "is not Python 3.8"),
    ("apart", "dplaunch.node.guard.log", "'x'.removeprefix('x')", "younger than Python 3.8"),
    ("apart", "dplaunch.node.guard.log", "zip(a, b, strict=True)", "younger than Python 3.8"),
    ("apart", "dplaunch.node.guard.log", "def f(x: list[int]): pass", "evaluated by 3.8"),
    ("apart", "dplaunch.node.guard.log", "def f() -> int | None: pass", "evaluated by 3.8"),
    ("talk", "dplaunch.fleet.up", "print('x')", "only view does"),
    ("talk", "dplaunch.cli.up", "import sys\nsys.stdout.write('x')", "only view does"),
    ("talk", "dplaunch.cli.up", "raise NotImplementedError", "left out"),
    ("names", "dplaunch.spec.utils", "", "says nothing"),
    ("sizes", "dplaunch.spec.load", "x = 1\n" * 401, "401 lines"),
    ("sizes", "dplaunch.spec.load", LONG, "51 lines"),
    ("sizes", "dplaunch.spec.load", "def f(a, /, b, c, *d, e, f, **g): pass", "7 parameters"),
    ("sizes", "dplaunch.cli.up", "def _f(a, b, c, d, e, f, g): pass", "7 parameters"),
]


@pytest.mark.parametrize(("rule", "name", "source", "why"), BAD)
def test_a_rule_bites(rule, name, source, why):
    assert [fault for fault in RULES[rule](Module(name, source)) if why in fault], RULES[rule](
        Module(name, source)
    )


GOOD = [
    (
        "imports",
        "dplaunch.spec.load",
        "from .syntax import parse\nfrom dplaunch import __version__, errors, model",
    ),
    ("imports", "dplaunch.plan.build", "from dplaunch import engines, render"),
    ("imports", "dplaunch.cli.up", "from dplaunch.view import show\nfrom dplaunch.fleet.up import up"),
    ("libraries", "dplaunch.transport.ssh", "import paramiko"),
    ("libraries", "dplaunch.transport.local", "import subprocess"),
    ("apart", "dplaunch.router.pick", "import aiohttp\nfrom .state import State\nfrom . import flow"),
    (
        "apart",
        "dplaunch.node.guard.log",
        "from __future__ import annotations\nimport os\ndef f(x: int | None): pass",
    ),
    ("talk", "dplaunch.view.table", "print('x')"),
    ("sizes", "dplaunch.cli.up", "def up(a, b, c, d, e, f, g): pass"),
    ("sizes", "dplaunch.spec.load", "class A:\n    def f(self, a, b, c, d, e, f): pass"),
]


@pytest.mark.parametrize(("rule", "name", "source"), GOOD)
def test_a_rule_lets_the_right_thing_pass(rule, name, source):
    assert RULES[rule](Module(name, source)) == []


@pytest.mark.parametrize(
    "line",
    [
        "cd /wo" + "rk/main",
        "'/ro" + "ot'",
        "open('/ho" + "me/me/.ssh')",
        "# TO" + "DO later",
        "pip --index" + "-url x",
    ],
)
def test_a_bad_text_is_found(line):
    assert re.match(r"x.md:2 ", house.text_faults("x.md", f"first\n{line}\n")[0])


@pytest.mark.parametrize(
    "line", ["/proc/1/root/etc", "/srv/home", "a framework/home-made thing", "/rooted", "~/work"]
)
def test_a_good_text_passes(line):
    assert house.text_faults("x.md", line) == []


def test_short_and_long_are_counted_as_meant():
    [function] = house.functions(Module("m", '@deco\ndef f(\n    a,\n):\n    """Doc."""\n    return a\n'))
    assert house.length(function) == 5
