"""What no linter checks: lengths, names that say nothing, and texts that name one machine or only promise."""

import ast
import re
from pathlib import Path
from statistics import median, quantiles

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "dplaunch").rglob("*.py"))
PLACES = ("dplaunch", "tests", "templates", "clusters", "docs", "benchmarks", "scripts", ".ci")
SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}
FORBIDDEN = [  # in which files, what, why
    ("", r"(?<![\w.}\])~$*+-])/(?:work|root|home)(?![\w-])", "a path of somebody's machine"),
    ("", r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b", "what is not due is left out"),
    ("", r"index-" + r"url|pypi\." + r"org|python" + r"hosted|file:" + r"///", "a package registry"),
    (r"dplaunch/.*\.py", r"\bNotImplementedError\b", "what is not due is left out"),
    (
        "dplaunch/(?!view/|node/)",
        r"\bsys\.std(out|err)(\.buffer)?\.write\(|\becho\(|\bsecho\(",
        "only view prints",
    ),
    ("dplaunch/(node|router)/", r"^\s*(from|import) dplaunch\b", "it is sent to nodes without the rest"),
]


def faults(name: str, text: str) -> list[str]:
    """Lines with what is forbidden in a file of that name."""
    rules = [(pattern, why) for place, pattern, why in FORBIDDEN if re.match(place, name)]
    suspect = [(pattern, why) for pattern, why in rules if re.search(pattern, text, re.MULTILINE)]
    lines = enumerate(text.splitlines(), 1)
    return [
        f"{name}:{n} {line.strip()!r}: {why}"
        for n, line in lines
        for pattern, why in suspect
        if re.search(pattern, line)
    ]


def texts() -> dict[str, str]:
    """Every text of the project by its name."""
    paths = (*ROOT.iterdir(), *(path for place in PLACES for path in (ROOT / place).rglob("*")))
    files = (p for p in paths if p.is_file() and p.parent.name != "__pycache__" and p.name != ".git")
    return {str(path.relative_to(ROOT)): path.read_text(errors="replace") for path in files}


def test_no_text_names_one_machine_or_promises():
    found = texts()
    assert {"pyproject.toml", "dplaunch/errors.py", "docs/architecture.md", ".ci/run"} <= found.keys()
    wrong = [fault for name, text in found.items() for fault in faults(name, text)]
    assert not wrong, "\n".join(wrong)


def test_functions_and_files_are_short():
    sources = {path: path.read_text() for path in MODULES}
    functions = [
        (node.end_lineno - node.lineno + 1, f"{path}:{node.lineno} {node.name}")
        for path, source in sources.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths = [length for length, _ in functions]
    assert median(lengths) <= 8
    assert quantiles(lengths, n=100)[94] < 30
    assert max(functions)[0] <= 50, max(functions)
    files = [(len(source.splitlines()), str(path)) for path, source in sources.items()]
    assert median(length for length, _ in files) <= 120
    assert max(files)[0] <= 400, max(files)


def test_modules_are_called_after_what_they_hold():
    assert [path for path in MODULES if SAY_NOTHING & {path.stem, *path.relative_to(ROOT).parts}] == []


BAD = [
    ("x.md", "cd /wo" + "rk/main"),
    ("x.md", "'/ro" + "ot'"),
    ("x.py", "open('/ho" + "me/me/.ssh')"),
    ("x.py", "# TO" + "DO later"),
    ("x.sh", "pip --index" + "-url x"),
    ("dplaunch/fleet/up.py", "raise NotImplementedError"),
    ("dplaunch/cli/up.py", "sys.stdout.write('x')"),
    ("dplaunch/cli/up.py", "typer.echo('x')"),
    ("dplaunch/node/boot.py", "    from dplaunch.words import plural"),
]


@pytest.mark.parametrize(("name", "line"), BAD)
def test_a_bad_line_is_found(name, line):
    assert [fault.split()[0] for fault in faults(name, f"first\n{line}\n")] == [f"{name}:2"]


@pytest.mark.parametrize(
    "line", ["/proc/1/root/etc", "/srv/home", "a framework/home-made thing", "/rooted", "~/work"]
)
def test_a_good_line_passes(line):
    assert faults("x.md", line) == []
