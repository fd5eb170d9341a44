"""The rules of the house, as functions from one module to what is wrong with it.

Rooms and floors are those of docs/architecture.md. A floor may import lower floors and its own room.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

FLOORS = {
    "dplaunch": 0,  # the version
    "errors": -1,
    "ranges": 0,
    "durations": 0,
    "words": 0,
    "stamp": 0,
    "model": 1,
    "engines": 2,
    "render": 2,
    "spec": 3,
    "probes": 3,
    "progress": 3,
    "timeline": 3,
    "diagnose": 3,
    "plan": 4,
    "transport": 5,
    "wire": 5,
    "fleet": 6,
    "logs": 6,
    "preflight": 7,
    "bench": 7,
    "workspace": 7,
    "view": 8,
    "cli": 9,
    "__main__": 9,
}
APART = {"node", "router"}  # they run on nodes, without the rest of dplaunch

SIDEWAYS: dict[tuple[str, str], str] = {}
NEVER = {  # beyond what the floors say
    "view": (
        {room for room, floor in FLOORS.items() if 2 <= floor <= 7},
        "it shows values and knows no rules",
    ),
    "fleet": ({"spec", "engines", "render"}, "a plan is all it needs"),
}

PURE = {
    "errors",
    "ranges",
    "durations",
    "words",
    "stamp",
    "model",
    "spec",
    "engines",
    "render",
    "plan",
    "probes",
    "progress",
    "timeline",
    "diagnose",
}
IMPURE = {
    "socket",
    "subprocess",
    "time",
    "random",
    "threading",
    "asyncio",
    "select",
    "signal",
    "multiprocessing",
    "http",
    "urllib.request",
}
ONLY_IN = {  # what only some modules may import, at any depth
    "paramiko": ("dplaunch.transport.ssh",),
    "rich": ("dplaunch.view",),
    "typer": ("dplaunch.cli",),
    "pydantic": ("dplaunch.spec",),
    "jinja2": ("dplaunch.render",),
    "aiohttp": ("dplaunch.router", "dplaunch.bench"),
    "asyncio": ("dplaunch.router", "dplaunch.bench"),
}
BAD_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}
# Of the library: what Python 3.8 lacks, and modules that 3.8 lacks or 3.13 lost. The parser knows the grammar.
YOUNG_NAMES = {
    "removeprefix",
    "removesuffix",
    "bit_count",
    "is_relative_to",
    "with_stem",
    "to_thread",
    "TaskGroup",
    "randbytes",
    "pairwise",
    "waitstatus_to_exitcode",
    "pidfd_open",
    "pidfd_send_signal",
    "BooleanOptionalAction",
    "batched",
    "getLevelNamesMapping",
}
YOUNG_KEYWORDS = {"slots", "kw_only", "strict", "exit_on_error", "process_group", "pipesize"}
NOT_EVERYWHERE = {
    "tomllib",
    "zoneinfo",
    "graphlib",
    "distutils",
    "imp",
    "asyncore",
    "asynchat",
    "smtpd",
    "cgi",
    "cgitb",
    "crypt",
    "pipes",
    "telnetlib",
    "nntplib",
    "spwd",
    "nis",
    "msilib",
    "sndhdr",
    "imghdr",
    "audioop",
    "aifc",
    "chunk",
    "sunau",
    "uu",
    "xdrlib",
}

FUNCTION_MEDIAN, FUNCTION_95, FUNCTION_MAX = 8, 30, 50
FILE_MEDIAN, FILE_MAX = 120, 400
PARAMETERS = 6


@dataclass(frozen=True)
class Module:
    """One Python file: ``name`` is dotted, ``package`` says whether it is an ``__init__``."""

    name: str
    source: str
    package: bool = False

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All of the tree: walked once, however many rules look."""
        return tuple(ast.walk(self.tree))

    @cached_property
    def imports(self) -> tuple[tuple[int, str], ...]:
        """Each import, wherever it stands: line, absolute dotted name (with the imported name at its end)."""
        return tuple(_imports(self))

    @property
    def room(self) -> str:
        return _room(self.name)


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the package."""
    return tuple(_read(path) for path in sorted((ROOT / "dplaunch").rglob("*.py")))


def _read(path: Path) -> Module:
    parts = path.relative_to(ROOT).with_suffix("").parts
    package = parts[-1] == "__init__"
    return Module(".".join(parts[:-1] if package else parts), path.read_text(), package)


def _room(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def _imports(module: Module) -> Iterator[tuple[int, str]]:
    for node in module.nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(module, node)
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)


def _origin(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    here = module.name.split(".")
    above = here[: len(here) - node.level + module.package]
    return ".".join([*above, *filter(None, [node.module])])


def import_faults(module: Module) -> list[str]:
    """Imports of a higher floor, of a neighbour, or of what a room must never know."""
    if module.room in APART:
        return []
    if module.room not in FLOORS:
        return [f"{module.name}: {module.room} is no room of the house"]
    targets = {(line, _target(name)) for line, name in module.imports if _within(name, "dplaunch")}
    return [
        f"{module.name}:{line} imports {to}: {why}"
        for line, to in sorted(targets)
        if (why := _why_not(module.room, to))
    ]


def _target(name: str) -> str:
    room = _room(name)
    return room if room in FLOORS.keys() | APART else "dplaunch"  # `from dplaunch import __version__`


def _why_not(room: str, to: str) -> str:
    if room == to or (room, to) in SIDEWAYS:
        return ""
    if to in APART:
        return "it runs on nodes, on its own"
    rooms, why = NEVER.get(room, (set(), ""))
    if to in rooms:
        return why
    return "" if FLOORS[to] < FLOORS[room] else f"floor {FLOORS[to]} from floor {FLOORS[room]}"


def sideways_used() -> set[tuple[str, str]]:
    """The exceptions that the code makes use of."""
    return {
        (module.room, _target(name)) for module in modules() for _, name in module.imports
    } & SIDEWAYS.keys()


def library_faults(module: Module) -> list[str]:
    """Libraries outside the rooms they belong to, and the world outside in rooms that are pure."""
    faults = []
    for line, name in module.imports:
        keepers = next((keepers for lib, keepers in ONLY_IN.items() if _within(name, lib)), None)
        if (
            keepers is not None
            and module.room != "node"
            and not any(_within(module.name, keeper) for keeper in keepers)
        ):
            faults.append(f"{module.name}:{line} imports {name}: only {' and '.join(keepers)} may")
        if module.room in PURE and any(_within(name, lib) for lib in IMPURE):
            faults.append(f"{module.name}:{line} imports {name}: {module.room} is pure")
    if module.room in PURE:
        faults += [
            f"{module.name}:{n.lineno} reads the environment"
            for n in _attributes(module)
            if n.attr in {"environ", "getenv"}
        ]
    return faults


def _within(name: str, package: str) -> bool:
    return f"{name}.".startswith(f"{package}.")


def _attributes(module: Module) -> Iterator[ast.Attribute]:
    return (node for node in module.nodes if isinstance(node, ast.Attribute))


def apart_faults(module: Module) -> list[str]:
    """What runs on nodes: relative imports only, never leaving its own package; node/ with the 3.8 library alone."""
    if module.room not in APART:
        return []
    own = ".".join(module.name.split(".")[: 3 if module.room == "node" else 2])
    faults = [
        f"{module.name}:{line} imports {name}: not in its package" for line, name in _foreign(module, own)
    ]
    return faults + (_old_python_faults(module) if module.room == "node" else [])


def _foreign(module: Module, own: str) -> Iterator[tuple[int, str]]:
    relative = {node.lineno for node in module.nodes if isinstance(node, ast.ImportFrom) and node.level}
    top = (
        {"guard", "rehearsal"} if module.name == "dplaunch.node.main" else set()
    )  # the bundle's own entry point
    for line, name in module.imports:
        root = name.split(".")[0]
        allowed = root in sys.stdlib_module_names - NOT_EVERYWHERE or root in top or module.room == "router"
        if line in relative and _within(name, own):
            continue
        if line in relative or root == "dplaunch" or not allowed:
            yield line, name


def _old_python_faults(module: Module) -> list[str]:
    try:
        ast.parse(module.source, feature_version=(3, 8))
    except SyntaxError as error:
        return [f"{module.name}:{error.lineno} is not Python 3.8: {error.msg}"]
    young = [(node.lineno, node.attr) for node in _attributes(module) if node.attr in YOUNG_NAMES]
    keywords = (node for node in module.nodes if isinstance(node, ast.keyword))
    young += [(node.value.lineno, node.arg) for node in keywords if node.arg in YOUNG_KEYWORDS]
    faults = [f"{module.name}:{line} {name} is younger than Python 3.8" for line, name in young]
    if _annotates(module) and "from __future__ import annotations" not in module.source:
        faults.append(
            f"{module.name}:1 annotates without `from __future__ import annotations`: evaluated by 3.8"
        )
    return faults


def _annotates(module: Module) -> bool:
    """Whether an annotation would fail when Python 3.8 evaluated it: ``list[int]``, ``int | None``."""
    notes = [getattr(node, field, None) for node in module.nodes for field in ("annotation", "returns")]
    return any(
        isinstance(part, (ast.Subscript, ast.BinOp)) for note in notes if note for part in ast.walk(note)
    )


def talk_faults(module: Module) -> list[str]:
    """Output outside view/ (node packages own their streams), and what is only promised."""
    faults = []
    for node in module.nodes:
        if isinstance(node, ast.Call) and module.room not in {"view", "node"} and _prints(node.func):
            faults.append(f"{module.name}:{node.lineno} prints: only view does")
        if isinstance(node, ast.Name) and node.id == "NotImplementedError":
            faults.append(f"{module.name}:{node.lineno} NotImplementedError: what is not due is left out")
    return faults


PRINTERS = {
    "print",
    "sys.stdout.write",
    "sys.stderr.write",
    "sys.stdout.buffer.write",
    "typer.echo",
    "typer.secho",
    "click.echo",
}
LAST_WORDS = {name.rpartition(".")[2] for name in PRINTERS}


def _prints(function: ast.expr) -> bool:
    last = getattr(function, "attr", getattr(function, "id", ""))  # unparsing every call takes long
    return last in LAST_WORDS and ast.unparse(function) in PRINTERS


def name_faults(module: Module) -> list[str]:
    """Rooms and modules are called after what they hold."""
    return [f"{module.name}: {part} says nothing" for part in module.name.split(".") if part in BAD_NAMES]


def functions(module: Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions, methods and nested functions."""
    return [node for node in module.nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the last one, docstring included: the strictest way to count."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def size_faults(module: Module) -> list[str]:
    """Files, functions and signatures that are too long, each on its own."""
    lines = len(module.source.splitlines())
    faults = [f"{module.name} has {lines} lines, at most {FILE_MAX}"] if lines > FILE_MAX else []
    for function in functions(module):
        place = f"{module.name}:{function.lineno} {function.name}"
        if length(function) > FUNCTION_MAX:
            faults.append(f"{place} has {length(function)} lines, at most {FUNCTION_MAX}")
        if parameters(function) > PARAMETERS and not _is_verb(module, function):
            faults.append(f"{place} has {parameters(function)} parameters, at most {PARAMETERS}")
    return faults


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many a caller has to know of."""
    args = function.args
    names = [
        arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg) if arg
    ]
    return len([name for name in names if name not in {"self", "cls"}])


def _is_verb(module: Module, function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A verb's parameters are the user's flags: as many as cluster operators need, one line each."""
    return module.room == "cli" and not function.name.startswith("_") and function in module.tree.body


FORBIDDEN_TEXT = {
    r"(?<![\w.}\])~$*+-])/(?:work|root|home)(?![\w-])": "a path of somebody's machine",
    r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b": "what is not due is left out",
    r"index-" + r"url|pypi\." + r"org|python" + r"hosted|file:" + r"///": "a package registry",
}
TEXT = {
    ".py",
    ".md",
    ".problems",
    ".yaml",
    ".yml",
    ".toml",
    ".j2",
    ".sh",
    ".lock",
    ".json",
    ".txt",
    ".cfg",
    "",
}
PLACES = ("dplaunch", "tests", "templates", "clusters", "docs", "benchmarks", "scripts", ".ci")


def text_faults(name: str, text: str) -> list[str]:
    """Lines that name what nobody else has, or only promise something."""
    return [
        f"{name}:{number} {line.strip()!r}: {why}"
        for pattern, why in FORBIDDEN_TEXT.items()
        if re.search(pattern, text)
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line)
    ]


def texts() -> Iterator[tuple[str, str]]:
    """Every text of the project: name, content."""
    below = (path for place in PLACES for path in (ROOT / place).rglob("*"))
    for path in (*ROOT.iterdir(), *below):
        if path.is_file() and path.suffix in TEXT and not {"__pycache__", ".git"} & {*path.parts}:
            yield str(path.relative_to(ROOT)), path.read_text(errors="replace")
