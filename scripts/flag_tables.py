"""Write the tables of vLLM's flags from its source packages on PyPI: ``flag_tables.py 0.23.0 0.33.0``.

Nothing of vLLM is run: its parser is made of ``add_argument`` calls and of the fields of its configuration
classes, and both are read with ``ast`` as ``vllm/engine/arg_utils.py`` (``get_kwargs``) reads them. A table,
``dplaunch/engines/vllm/flags/VERSION.json``, has each flag with its kind, its choices and its bounds.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parent.parent / "dplaunch" / "engines" / "vllm" / "flags"
PARSERS = ("vllm/engine/arg_utils.py", "vllm/entrypoints/cli/serve.py")
BACKEND = """
import email, pathlib, shutil
def get_requires_for_build_wheel(config_settings=None):
    return []
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    known = email.message_from_string(pathlib.Path("PKG-INFO").read_text(encoding="utf-8"))
    name = known["Name"].replace("-", "_") + "-" + known["Version"] + ".dist-info"
    (pathlib.Path(folder) / name).mkdir()
    shutil.copy("PKG-INFO", pathlib.Path(folder) / name / "METADATA")
    return name
"""
"""Takes setuptools' place while pip asks for a package's metadata: nothing is built to read its source."""

SIZES = {
    "max_model_len",
    "max_num_batched_tokens",
    "max_num_scheduled_tokens",
    "kv_cache_memory_bytes",
    "safetensors_prefetch_block_size",
    "max_num_queued_tokens",
}
"""Integers that may be written as 1K or 2M."""

CHECKED_LATER = {"gpu-memory-utilization": {"gt": 0, "le": 1}}
"""Bounds that older versions check in code (vllm/config.py, ``_verify_cache_config``)."""

BOUNDS = ("ge", "gt", "le", "lt")
COLLECTIONS = {"list", "tuple", "set", "Sequence", "List", "Tuple", "Set"}
MAPS = {"dict", "Dict", "Mapping"}
Entry = dict[str, Any]


def main() -> int:
    """Write one table for each version that was named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("versions", nargs="+", metavar="VERSION", help="a release of vLLM: 0.23.0")
    TABLES.mkdir(exist_ok=True)
    for version in parser.parse_args().versions:
        with tempfile.TemporaryDirectory(prefix="flag-tables-") as folder:
            flags = read_flags(read_sources(download(version, Path(folder))))
        rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(flags.items()))
        (TABLES / f"{version}.json").write_text("{\n" + rows + "\n}\n", encoding="utf-8")
        sys.stdout.write(f"{version}: {len(flags)} flags\n")
    return 0


def download(version: str, folder: Path, package: str = "vllm") -> Path:
    """Fetch the source package of a version into ``folder``."""
    backend = folder / "backend" / "setuptools"
    backend.mkdir(parents=True)
    (backend / "__init__.py").touch()
    (backend / "build_meta.py").write_text(BACKEND, encoding="utf-8")
    options = ("--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--quiet")
    subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), f"{package}=={version}"],
        env={**os.environ, "PYTHONPATH": str(backend.parent)},
        check=True,
    )
    return next(folder.glob(f"{package.replace('-', '_')}-*.tar.gz"))


def read_sources(package: Path) -> dict[str, ast.Module]:
    """Return the modules that may define a flag, a configuration class or a list of choices."""
    modules: dict[str, ast.Module] = {}
    with tarfile.open(package) as archive:
        for member in archive:
            path = member.name.partition("/")[2]
            if path.startswith("vllm/") and path.endswith(".py") and (file := archive.extractfile(member)):
                text = file.read().decode()
                if "Literal[" in text or "config" in path or path in PARSERS or path.endswith("cli_args.py"):
                    modules[path] = ast.parse(text)
    return modules


@dataclass
class Names:
    """What annotations refer to: classes with their fields, and names of unions and choices."""

    fields: dict[str, dict[str, ast.AnnAssign]] = field(default_factory=dict)
    bases: dict[str, list[str]] = field(default_factory=dict)
    aliases: dict[str, ast.expr] = field(default_factory=dict)
    enums: set[str] = field(default_factory=set)

    def all_fields(self, name: str) -> dict[str, ast.AnnAssign]:
        """Return a class's fields, inherited ones first."""
        inherited = [self.all_fields(base) for base in self.bases.get(name, ())]
        merged: dict[str, ast.AnnAssign] = {}
        for fields in (*inherited, self.fields.get(name, {})):
            merged |= fields
        return merged


def read_flags(modules: Mapping[str, ast.Module]) -> dict[str, Entry]:
    """Return every flag of ``vllm serve``, without its dashes."""
    names = collect(modules)
    flags: dict[str, Entry] = {}
    for path, module in modules.items():
        if path in PARSERS or path.endswith("/cli_args.py"):
            for flag, entry in added(module, names):
                flags.setdefault(flag, entry)
    for flag, bounds in CHECKED_LATER.items():
        flags[flag] = {**bounds, **flags[flag]}
    return flags


def collect(modules: Mapping[str, ast.Module]) -> Names:
    """Collect the names of all modules."""
    names = Names()
    for module in modules.values():
        for node in module.body:
            if isinstance(node, ast.ClassDef):
                bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                fields = {
                    item.target.id: item
                    for item in node.body
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
                }
                names.bases.setdefault(node.name, bases)
                names.fields.setdefault(node.name, fields)
                if any("Enum" in base for base in bases):
                    names.enums.add(node.name)
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                names.aliases.setdefault(node.targets[0].id, node.value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                names.aliases.setdefault(node.target.id, node.value)
    return names


def added(module: ast.Module, names: Names) -> Iterator[tuple[str, Entry]]:
    """Yield the flags that a module adds to the parser."""
    sources = {
        node.targets[0].id: node.value
        for node in ast.walk(module)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for owner in (node for node in module.body if isinstance(node, ast.ClassDef)):
        if any(isinstance(node, ast.JoinedStr) for call in argument_calls(owner) for node in call.args):
            for subclass in (
                owner.name,
                *(name for name, bases in names.bases.items() if owner.name in bases),
            ):
                for name, item in names.all_fields(subclass).items():
                    yield name.replace("_", "-"), of_field(name, item, names)
    for call in argument_calls(module):
        options = [node.value for node in call.args if isinstance(node, ast.Constant)]
        entry = of_call(call, sources, names)
        for option in options:
            if isinstance(option, str) and option.startswith("-"):
                yield option.lstrip("-"), entry


def argument_calls(node: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of ``add_argument`` below a node."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "add_argument":
            yield call


def of_call(call: ast.Call, sources: Mapping[str, ast.expr], names: Names) -> Entry:
    """Return what one ``add_argument`` takes."""
    entry: Entry = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            entry = of_settings(keyword.value, sources, names)
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    if "action" in given:
        action = ast.unparse(given["action"])
        kind = "bool" if "BooleanOptional" in action else "flag" if "store_" in action else "any"
        entry = {"kind": kind}
    elif "choices" in given:
        found = choices(given["choices"], names)
        entry = {"kind": "choice", "choices": found} if found else {"kind": "any"}
    elif "nargs" in given:
        entry = {"kind": "list"}
    elif "type" in given:
        written = ast.unparse(given["type"])
        kinds = {"int": "int", "float": "float", "str": "text", "json.loads": "json"}
        entry = {"kind": kinds.get(written.removeprefix("optional_type(").removesuffix(")"), "any")}
    return entry or {"kind": "any"}


def of_settings(node: ast.expr, sources: Mapping[str, ast.expr], names: Names) -> Entry:
    """Return what ``**model_kwargs["dtype"]`` stands for: a field of the class that it was made from."""
    if isinstance(node, ast.Name) and node.id in sources:
        return of_settings(sources[node.id], sources, names)
    if isinstance(node, ast.Dict):
        spread = (value for key, value in zip(node.keys, node.values, strict=True) if key is None)
        return next((of_settings(value, sources, names) for value in spread), {})
    if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Constant):
        return {}
    made = sources.get(getattr(node.value, "id", ""))
    if not isinstance(made, ast.Call) or not made.args:
        return {}
    name = str(node.slice.value)
    item = names.all_fields(ast.unparse(made.args[0])).get(name)
    return of_field(name, item, names) if item else {}


def of_field(name: str, item: ast.AnnAssign, names: Names) -> Entry:
    """Return what a field of a configuration class takes on the command line."""
    found = dict(kinds(item.annotation, names))
    return {"kind": "any", **judged(name, found), **bounds(item)}


def judged(name: str, found: Mapping[str, list[str]]) -> Entry:
    """Return the kind of argument that a set of types makes, in the order of ``get_kwargs``."""
    text, other = "str" in found, "other" in found
    entries: dict[str, Entry] = {
        "json": {"kind": "json"},
        "bool": {"kind": "any" if text else "bool"},
        "choice": {"kind": "text"}
        if text
        else {"kind": "choice", "choices": sorted(found.get("choice", ()))},
        "list": {"kind": "list"},
        "int": {"kind": "size" if name in SIZES else "int"},
        "float": {"kind": "float"},
        "dict": {"kind": "any" if text or other else "json"},
        "str": {"kind": "text"},
    }
    return next((entry for kind, entry in entries.items() if kind in found), {})


def kinds(node: ast.expr | None, names: Names) -> Iterator[tuple[str, list[str]]]:
    """Yield the types that an annotation is a union of; choices with their values."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from kinds(ast.parse(node.value, mode="eval").body, names)
    elif isinstance(node, ast.BinOp):
        yield from merged((*kinds(node.left, names), *kinds(node.right, names)))
    elif isinstance(node, ast.Subscript):
        yield from of_generic(node, names)
    elif isinstance(node, ast.Name | ast.Attribute):
        yield from of_name(ast.unparse(node).rpartition(".")[2], names)


def merged(found: tuple[tuple[str, list[str]], ...]) -> Iterator[tuple[str, list[str]]]:
    """Yield each type once, with the values of all."""
    for kind in dict(found):
        yield kind, [value for name, values in found if name == kind for value in values]


def of_generic(node: ast.Subscript, names: Names) -> Iterator[tuple[str, list[str]]]:
    """Yield the types of ``Optional[int]``, ``Literal["a"]``, ``list[str]``."""
    outer = ast.unparse(node.value).rpartition(".")[2]
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if outer == "Literal":
        named = (dict(kinds(value, names)).get("choice") for value in inner if isinstance(value, ast.Name))
        written = [str(value.value) for value in inner if isinstance(value, ast.Constant)]
        yield "choice", [*written, *(value for values in named for value in values or ())]
    elif outer in COLLECTIONS:
        yield "list", []
    elif outer in MAPS:
        yield "dict", []
    elif outer in {"Annotated", "SkipValidation", "InitVar"}:
        yield from kinds(inner[0], names)
    elif outer in {"Optional", "Union"}:
        yield from merged(tuple(kind for one in inner for kind in kinds(one, names)))
    else:
        yield "other", []


def of_name(name: str, names: Names) -> Iterator[tuple[str, list[str]]]:
    """Yield the types that one name stands for."""
    if name in {"bool", "int", "float", "str"}:
        yield name, []
    elif name in COLLECTIONS:
        yield "list", []
    elif name in MAPS:
        yield "dict", []
    elif name in names.aliases and name not in names.fields:
        yield from kinds(names.aliases[name], names)
    elif names.fields.get(name) and name not in names.enums:
        yield "json", []
    else:
        yield "other", []


def bounds(item: ast.AnnAssign) -> Entry:
    """Return the bounds that ``Field(default=…, ge=1)`` gives."""
    call = item.value
    if not isinstance(call, ast.Call) or ast.unparse(call.func).rpartition(".")[2] != "Field":
        return {}
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    return {
        bound: node.value
        for bound in BOUNDS
        if isinstance(node := given.get(bound), ast.Constant) and isinstance(node.value, int | float)
    }


def choices(node: ast.expr, names: Names) -> list[str]:
    """Return the values of ``choices=``, where they are written out or named."""
    if isinstance(node, ast.List | ast.Tuple):
        values = [item.value for item in node.elts if isinstance(item, ast.Constant)]
        return sorted(map(str, values)) if len(values) == len(node.elts) else []
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "get_args":
        return sorted(dict(kinds(node.args[0], names)).get("choice", []))
    return []


if __name__ == "__main__":
    sys.exit(main())
