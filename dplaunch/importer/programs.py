"""Launchers and proxies that are Python programs: what the known ones call, by their arguments and constants.

Source: vllm-ascend, examples/external_online_dp/launch_online_dp.py (v0.10.1rc1 and later), its
launch_dp_program.py (v0.9.1), and examples/disaggregate_prefill_v1/load_balance_proxy_server_example.py.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from dplaunch.importer.source import Proxy

TEMPLATE = "./run_dp_template.sh"
_DEFAULTS = {"tp-size": "1", "dp-size-local": "-1", "dp-rank-start": "0", "vllm-start-port": "9000"}
_RPC_PORT = "12345"
_PER_RANK = {"dp_rank_local": 0, "dp_rank": 1, "engine_port_": 2, "engine_port": 2}


class Calls(Struct, frozen=True):
    """How a launcher calls its template: rank and words of each call; and what to know about it."""

    calls: tuple[tuple[int, tuple[str, ...]], ...]
    notes: tuple[str, ...] = ()


def options(words: Sequence[str]) -> dict[str, list[str]]:
    """Option → its values, as argparse takes them."""
    found: dict[str, list[str]] = {}
    name = ""
    for word in words:
        if re.match(r"--?[A-Za-z]", word):
            name, equals, value = word.lstrip("-").partition("=")
            name = name.replace("_", "-")
            found[name] = [value] if equals else []
        elif name:
            found[name].append(word)
    return found


def calls(words: Sequence[str], text: str | None) -> Calls | None:
    """What a launcher does: the program, then its arguments; ``text``: its own, where it is known.

    None for any other program.
    """
    if not words:
        return None
    given = {name: values[0] for name, values in options(words[1:]).items() if values}
    if "dp-size" in given:
        return _by_arguments(given)
    return _by_constants(text) if text else None


def _by_arguments(given: Mapping[str, str]) -> Calls | None:
    known = {**_DEFAULTS, "dp-rpc-port": _RPC_PORT, "dp-address": "", **given}
    try:
        size, tp, local = (int(known[name]) for name in ("dp-size", "tp-size", "dp-size-local"))
        first, port = int(known["dp-rank-start"]), int(known["vllm-start-port"])
    except ValueError:
        return None
    local = size if local == -1 else local
    made: list[tuple[int, tuple[str, ...]]] = []
    for index in range(local):
        devices = ",".join(str(device) for device in range(index * tp, (index + 1) * tp))
        rank = (devices, str(port + index), str(size), str(first + index))
        made.append((first + index, (TEMPLATE, *rank, known["dp-address"], known["dp-rpc-port"], str(tp))))
    note = f"the launcher fails without --dp-rpc-port; {_RPC_PORT} was taken"
    return Calls(tuple(made), () if "dp-rpc-port" in given else (note,))


def _by_constants(text: str) -> Calls | None:
    """Of a program whose numbers are edited by hand; the order of the arguments is read from its command."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        tree = ast.parse("")
    constants = dict(_constants(tree))
    command = next(_commands(tree), None)
    if command is None:  # documents and translations lose the indentation
        constants = {name: _plain(value) for name, value in _ASSIGNED.findall(text)}
        command = next((_words(found) for found in _COMMAND.findall(text)), None)
    if command is None or not {"dp_size", "dp_size_local"} <= constants.keys():
        return None
    first = int(constants.get("dp_rank_start", "0"))
    port = int(constants.get("engine_port", constants.get("vllm_start_port", "9000")))
    made = []
    for index in range(int(constants["dp_size_local"])):
        per_rank = (str(index), str(first + index), str(port + index))
        values = {**constants, **{name: per_rank[which] for name, which in _PER_RANK.items()}}
        made.append((first + index, tuple(values.get(name, name) for name in command)))
    return Calls(tuple(made))


_ASSIGNED = re.compile(r"(?m)^\s*([a-z_]+)\s*=\s*(\d+|\"[^\"]*\"|'[^']*')\s*(?:#.*)?$")
_COMMAND = re.compile(r"f[\"']bash ([^\"']+)[\"']")


def _plain(value: str) -> str:
    return value.strip("\"'")


def _words(text: str) -> list[str]:
    return [re.sub(r"^\{(\w+)\}$", r"\1", word) for word in text.split()]


def _constants(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            yield from ((to.id, str(node.value.value)) for to in node.targets if isinstance(to, ast.Name))


def _commands(tree: ast.AST) -> Iterator[list[str]]:
    """Words after ``bash`` of every f-string that begins with it; names stand for what they hold."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = ast.unparse(node)[2:-1]
            if text.startswith("bash "):
                yield _words(text.removeprefix("bash "))


def read_proxy(words: Sequence[str], host: str, where: str) -> Proxy | None:
    """A proxy by its command line; None for any other program."""
    given = options(words)
    prefill = _endpoints(given, ("prefiller", "prefill"))
    decode = _endpoints(given, ("decoder", "decode", "dp"))
    if not prefill and not decode:
        return None
    port = (given.get("port") or ["8000"])[0]
    return Proxy(host, int(port) if port.isdecimal() else 8000, prefill, decode, where)


def _endpoints(given: Mapping[str, Sequence[str]], names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Hosts with ports; each repeated where ``--…-hosts-num`` and ``--…-ports-inc`` say so."""
    for name in names:
        hosts, ports = given.get(f"{name}-hosts", ()), given.get(f"{name}-ports", ())
        counts = given.get(f"{name}-hosts-num") or ["1"] * len(hosts)
        if hosts:
            each = zip(hosts, ports, counts, strict=False)
            return tuple(
                (host, int(port) + index) for host, port, count in each for index in range(int(count))
            )
    return ()
