"""The verbs of kubectl that deployments need, on a folder."""

from __future__ import annotations

import json
import os
import re
import sys

from ..knobs import Knobs
from .store import Store, singular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .store import Item

LONE = ("-f", "-A", "--all", "--overwrite", "--ignore-not-found")
"""Options that stand alone; of all others the next word is the value, unless they hold it themselves."""


def run(words: list[str]) -> int:
    """One call; its exit code."""
    store, verb, options, rest = _parse(words)
    verbs: dict[str, Callable[[], int]] = {
        "get": lambda: _get(store, options, rest),
        "create": lambda: _create(store, options, rest),
        "apply": lambda: _apply(store, options),
        "label": lambda: _label(store, rest),
        "patch": lambda: 0,
        "annotate": lambda: 0,
        "delete": lambda: _delete(store, options, rest),
        "logs": lambda: _logs(store, rest),
    }
    if verb not in verbs:
        return _fail(f'error: unknown command "{verb}" for "kubectl"')
    return verbs[verb]()


def _parse(words: list[str]) -> tuple[Store, str, dict[str, list[str]], list[str]]:
    store = Store(words[0], Knobs(dict(os.environ), 0, ()))
    options: dict[str, list[str]] = {}
    plain: list[str] = []
    waiting = ""
    for word in words[1:]:
        if waiting:
            options.setdefault(waiting, []).append(word)
            waiting = ""
        elif word.startswith("-"):
            name, given, value = word.partition("=")
            alone = given or (word in LONE and not (word == "-f" and plain[:1] != ["logs"]))
            options.setdefault(name, []).append(value)
            waiting = "" if alone else name
            if waiting:
                options[name].pop()
        else:
            plain.append(word)
    return store, plain[0] if plain else "", options, plain[1:]


def _print(value: object) -> int:
    sys.stdout.write(value if isinstance(value, str) else json.dumps(value))
    sys.stdout.write("\n")
    return 0


def _fail(text: str) -> int:
    sys.stderr.write(f"{text}\n")
    return 1


def _get(store: Store, options: dict[str, list[str]], rest: list[str]) -> int:
    form, rest = options.get("-o", [""])[0], rest[0].split("/") if "/" in rest[0] else rest
    if len(rest) == 1:
        items = store.find(rest[0], options.get("-l", [""])[0])
        names = [f"{singular(item['kind'])}/{item['metadata']['name']}" for item in items]
        return _print("\n".join(names) if form == "name" else {"kind": "List", "items": items})
    found = store.find(rest[0], name=rest[1])
    if not found and "--ignore-not-found" in options:
        return 0
    if not found:
        return _fail(f'Error from server (NotFound): {rest[0]} "{rest[1]}" not found')
    text: object = found[0]
    if form == "name":
        text = f"{singular(rest[0])}/{rest[1]}"
    elif form.startswith("jsonpath="):
        text = re.sub(r"{([^}]*)}", lambda match: _at(found[0], match.group(1)), form[len("jsonpath=") :])
    return _print(text)


def _at(item: Item, path: str) -> str:
    """``.spec.ports[0].nodePort`` of an object; empty where it is not there."""
    value: Any = item
    try:
        for name, number in re.findall(r"\.(\w+)|\[(\d+)\]", path):
            value = value[name] if name else value[int(number)]
    except (KeyError, IndexError, TypeError):
        return ""
    return str(value)


def _create(store: Store, options: dict[str, list[str]], rest: list[str]) -> int:
    kind, name = rest
    if store.find(kind, name=name):
        return _fail(f'error: failed to create {kind}: {kind}s "{name}" already exists')
    if _is_refused(name):
        return _fail(f'Error from server (Forbidden): {kind}s "{name}" is forbidden: exceeded quota')
    data = dict(one.split("=", 1) for one in options.get("--from-literal", ()))
    store.write({"kind": "ConfigMap", "metadata": {"name": name}, "data": data})
    return _print(f"{kind}/{name} created")


def _is_refused(name: str) -> bool:
    return name == Knobs(dict(os.environ), 0, ()).setting("REFUSE")


def _apply(store: Store, options: dict[str, list[str]]) -> int:
    """A file with a list of objects in JSON."""
    code = 0
    with open(options["-f"][0], encoding="utf-8") as file:
        items = json.load(file)["items"]
    for item in items:
        kind, name = item["kind"].lower(), item["metadata"]["name"]
        if _is_refused(name):
            code = _fail(f'Error from server (Forbidden): {kind}s "{name}" is forbidden: exceeded quota')
            continue
        store.write(item)
        _print(f"{kind}/{name} created")
    return code


def _label(store: Store, rest: list[str]) -> int:
    for item in store.find(rest[0], name=rest[1]):
        item["metadata"].setdefault("labels", {}).update(one.split("=", 1) for one in rest[2:])
        store.write(item)
    return 0


def _delete(store: Store, options: dict[str, list[str]], rest: list[str]) -> int:
    named = [word.split("/", 1) for word in rest if "/" in word]
    named = named or [[rest[0], name] for name in rest[1:]]
    missing = [name for kind, name in named if not store.delete(kind, name)]
    if missing and "--ignore-not-found" not in options:
        return _fail(f'Error from server (NotFound): "{missing[0]}" not found')
    return 0


def _logs(store: Store, rest: list[str]) -> int:
    """Run the pod's container here, and print what it prints."""
    found = store.find("pods", name=rest[0])
    if not found:
        return _fail(f'Error from server (NotFound): pods "{rest[0]}" not found')
    from ..mindie import motor  # noqa: PLC0415 - what it imports is needed only here

    return motor.play(found[0]["spec"]["containers"][0], store.find)
