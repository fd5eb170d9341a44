"""The lock names exact versions of what is declared, and of no engine."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LINE = re.compile(r"^([A-Za-z0-9_.-]+)==([0-9][0-9a-z.+]*)( ; python_version (<|>=) \"3\.\d+\")?$")


def lines() -> list[str]:
    text = (ROOT / "requirements.lock").read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def names() -> set[str]:
    return {normal(line.split("==")[0]) for line in lines()}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*tables: str) -> set[str]:
    """Names that these lists of pyproject.toml ask for (read as text: tomllib is not in Python 3.10)."""
    text = (ROOT / "pyproject.toml").read_text()
    bodies = (re.search(rf"^{table} = \[(.*?)\]$", text, re.DOTALL | re.MULTILINE) for table in tables)
    wanted = (
        re.match(r"[\w-]+", each) for body in bodies if body for each in re.findall(r'"(.*?)"', body[1])
    )
    return {normal(match[0]) for match in wanted if match} - {"dplaunch"}


def test_every_line_is_one_exact_version():
    assert [line for line in lines() if not LINE.match(line)] == []


def test_all_that_is_declared_is_locked():
    wanted = declared("dependencies", "router", "test", "requires")
    assert {"typer", "aiohttp", "pytest", "hatchling"} <= wanted
    assert wanted <= names()


@pytest.mark.parametrize("name", ["vllm", "vllm-ascend", "torch", "torch-npu"])
def test_no_engine_is_locked(name):
    assert name not in names()
