"""What an engine is called, prints and counts is known in its own folder; everybody else asks its facts."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from drawn import names_of

from dplaunch.engines import facts, kinds
from dplaunch.render import templates_root

PRODUCT = Path(__file__).parents[2] / "dplaunch"
HOMES = (
    *("engines/fastdeploy/", "engines/vllm/", "engines/ascend/", "engines/mindie/", "engines/script/"),
    "node/rehearsal/",
    "importer/",  # reads what was written for engines, in their words
)
PLAIN = {"script", "rehearsal"}
"""Kinds that are words of the language too."""
SPOKEN = r"vllm|mooncake|nixl|EngineCore|mindie|load_balance_proxy"
"""Parts of names that facts hold within regular expressions."""
ALLOWED = {
    "engines/__init__.py": "one line makes an engine known",
    "engines/routers.py": "foreign routers are called after their projects",
    "plan/router.py": "their command lines",
}
FAMILIES = {"vllm": {"vllm"}, "vllm-ascend": {"vllm"}}
"""Folder of templates → engines it may name beside its own: vllm-ascend is a plugin of vllm."""


def names() -> set[str]:
    """From the facts of every engine: kinds, metrics, packages, connectors, scripts, variables."""
    found = set(kinds()) - PLAIN
    for engine in map(facts, kinds()):
        found |= {engine.key_env, engine.default_connector, engine.script}
        found |= {engine.api.running, engine.api.waiting, *(c.partition("{")[0] for c in engine.api.fetched)}
        found |= names_of(engine.metrics)
        found |= {package for packages in engine.packages.values() for package in packages}
    return found - {""}


def pattern() -> re.Pattern[str]:
    words = "|".join(map(re.escape, sorted(names(), key=len, reverse=True)))
    return re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])|{SPOKEN}", re.IGNORECASE)


def spoken(source: str) -> Iterator[tuple[int, str]]:
    """Texts and names of a module, without comments and docstrings: those may give examples."""
    tree = ast.parse(source)
    documented = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node not in documented:
            yield (
                node.lineno,
                node.value.decode("latin-1") if isinstance(node.value, bytes) else str(node.value),
            )
        for field in ("id", "attr", "name"):
            if isinstance(name := getattr(node, field, None), str):
                yield getattr(node, "lineno", 0), name


def leaks() -> dict[str, list[str]]:
    wanted, found = pattern(), {}
    for path in sorted(PRODUCT.rglob("*.py")):
        name = str(path.relative_to(PRODUCT))
        if not name.startswith(HOMES):
            said = [
                f"{name}:{line} {text!r}" for line, text in spoken(path.read_text()) if wanted.search(text)
            ]
            if said:
                found[name] = said
    return found


def test_nobody_names_an_engine_outside_its_folder():
    found = leaks()
    assert [line for name, lines in found.items() if name not in ALLOWED for line in lines] == []
    assert set(found) == set(ALLOWED)


@pytest.mark.parametrize(
    "source",
    [
        'KIND = "vllm"',
        "x = b'vllm:num_requests_running'",
        "import vllm",
        "def of_mooncake(): pass",
        "f'{x} torch-npu'",
    ],
)
def test_a_name_in_code_is_found(source):
    assert [text for _, text in spoken(source) if pattern().search(text)]


@pytest.mark.parametrize(
    "source", ['"""As vllm does."""', "x = 1  # vllm waits", "x = 'torchlight, /usr/local/Ascend'"]
)
def test_a_name_in_a_comment_or_a_docstring_is_not(source):
    assert not [text for _, text in spoken(source) if pattern().search(text)]


@pytest.mark.parametrize("folder", sorted(path.name for path in templates_root().iterdir()))
def test_templates_name_engines_in_their_folders_only(folder):
    allowed = FAMILIES.get(folder, set())
    wanted = re.compile(
        "|".join(map(re.escape, names() - {folder} - allowed)) + "|vllm serve" * (not allowed)
    )
    for path in (templates_root() / folder).iterdir():
        text = re.sub(r"{[#%].*?[#%]}", "", path.read_text())
        assert not wanted.search(text), path
