"""Mistakes in a user's own script that official documents of vllm-ascend have spread.

A script is only read, never run; anything uncertain is left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from msgspec.structs import replace

from dplaunch.engines.ascend.connectors import registered
from dplaunch.engines.ascend.facts import MOONCAKE_DIRECT
from dplaunch.engines.ascend.kv_rules import FORBIDDEN
from dplaunch.engines.ascend.lint import keys, warn_key
from dplaunch.engines.rules import warning
from dplaunch.engines.script.own import Own
from dplaunch.engines.script.reading import LITERAL_DOLLAR, Script, Word
from dplaunch.engines.script.reading import flags as flags_of
from dplaunch.engines.script.shellwords import Line, read
from dplaunch.engines.vllm import advice, env_names
from dplaunch.engines.vllm.lint import CONFIG, Engine, warn
from dplaunch.engines.vllm.switches import ENV, FLAG
from dplaunch.engines.vllm.switches import KEY as KEY_OF_CONFIG
from dplaunch.errors import Problem
from dplaunch.model.cluster import ClusterSpec
from dplaunch.placeholders import placeholder

KEY = "engine.path"

_COMMENT = re.compile(r"^[^\S\n]*#.*$", re.MULTILINE)
_NAME = re.compile(r"-{0,2}[A-Za-z_][\w-]*")
_VARIABLE = re.compile(r"(?:^|[\s;])([A-Za-z_][A-Za-z0-9_]*)=(\S*)")
_FLAG = re.compile(r"(?<![\w-])--([a-z0-9][a-z0-9-]*)")
_EXPANDED = re.compile(r"\$(?:\{[^}]*\}|\([^)]*\)|\w+)")
_STAND_INS = ("0", "", '"key"', '"key": 0')
"""What a variable within JSON may hold: a value, nothing, a key, an entry."""
_ALL_CARDS = re.compile(r"\{0\.\.15\}[^\n]*npu-smi\s+info\s+-t\s+spod-info")
_GUIDE = "vllm-ascend, large_scale_ep.md of v0.9.1 and v0.13.0"
_SIZES = 'vllm-ascend, mooncake_connector.py: assert "tp_size" in …'


def structure(own: Own) -> Iterator[Problem]:
    """Lines that the shell does not take together as they look: nothing else in the script can be judged."""
    text = _COMMENT.sub("", own.text.replace("\r", ""))
    found, opened = read(text)
    if "<<" not in text:  # the content of a here-document is not shell
        for above, line in pairwise(found):
            yield from _joined(above, line, own)
        yield from _end(found, opened, own)


def shape(own: Own) -> Iterator[Problem]:
    """What is wrong with a script in any version, however its lines belong together."""
    if "\r" in own.text:
        number = own.text.count("\n", 0, own.text.index("\r")) + 1
        yield Problem(
            f"{own.name} line {number}: it ends in a carriage return (Windows line ends), which the shell "
            "takes for a part of the last word",
            key=own.key,
            hint=f"sed -i 's/\\r$//' {own.path}",
        )
    if _ALL_CARDS.search(_COMMENT.sub("", own.text)):
        hint = "{0..7}: each card has two chips, -c 0 and -c 1"
        yield _warning(own, f"{own.name} asks npu-smi for cards 0 to 15, and an A3 has 0 to 7", hint, _GUIDE)


def broken_json(own: Own, script: Script) -> Iterator[Problem]:
    """Values that should be JSON and are not, whatever their variables hold."""
    _, opened = read(_COMMENT.sub("", own.text.replace("\r", "")))
    for number, flag, value in () if opened else _values(script):
        if not any(_parsed(_EXPANDED.sub(stand_in, value)) is not None for stand_in in _STAND_INS):
            bare = '"' not in value
            yield Problem(
                f"{own.name} line {number}: the value of --{flag} is not JSON, and vllm serve refuses it",
                key=own.key,
                hint="the shell takes the quotes within double quotes away: write '{\"key\": …}'"
                if bare
                else "look for a comma after the last entry, or a missing quote",
                source="vllm-ascend, large_scale_ep.md of v0.23.0",
            )


def unfilled(own: Own, script: Script) -> Iterator[Problem]:
    """Placeholders that a document wrote where the user's own values belong."""
    seen: set[str] = set()
    for word in (word for words in (*script.commands, *script.lists.values()) for word in words):
        name, equals, value = word.text.partition("=")
        text = value if equals and _NAME.fullmatch(name) else word.text
        found = placeholder(text, tokens=text.lstrip().startswith("{"))
        if found and f"{name} {found}" not in seen:
            seen.add(f"{name} {found}")
            within = f" in {name}" if text is value else ""
            yield Problem(
                f"{own.name} line {word.line}: the placeholder '{found}' is left{within}",
                key=own.key,
                hint="write the value of your own machines; $LOCAL_IP and $NIC_NAME are set on each node",
            )


def by_version(spec: ClusterSpec, own: Own, script: Script, engine: Engine) -> Iterator[Problem]:
    """What this version does not take, wherever the script gives it."""
    text = _COMMENT.sub("", own.text.replace("\r", ""))
    found = (*_switches(text, engine), *_misspelt(script, text, engine), *_configs(spec, script, engine))
    for problem in found:
        yield replace(problem, text=f"{own.name} {problem.text}", key=own.key)


def _warning(own: Own, text: str, hint: str, source: str) -> Problem:
    return warning(text, own.key, hint, source)


def _joined(above: Line, line: Line, own: Own) -> Iterator[Problem]:
    """Two lines that the shell takes together though they are two, or apart though they are one."""
    flag = _FLAG.match(line.text.strip())
    if flag and not above.continues and not line.inside:
        slip = "is followed by a blank" if above.text.rstrip().endswith("\\") else "is missing"
        yield _warning(
            own,
            f"{own.name} line {above.number}: the \\ at its end {slip}, so --{flag[1]} is run as a command "
            "of its own, and the engine starts without it",
            f"end line {above.number} with a \\ and nothing after it",
            _GUIDE,
        )
    if above.continues and not above.inside and re.search(r"[^\s\\]\\$", above.text) and line.text[:1] == "-":
        yield _warning(
            own,
            f"{own.name} line {above.number}: no blank before the \\ and none before {line.text.split()[0]}: "
            "the shell makes one word of both",
            "put a blank before the \\",
            "translations of vllm-ascend's large_scale_ep.md, which lost their indentation",
        )


def _end(found: tuple[Line, ...], opened: tuple[str, int] | None, own: Own) -> Iterator[Problem]:
    if opened:
        quote, number = opened
        source = "vllm-ascend v0.9.1, examples/external_online_dp/run_dp_template.sh"
        yield _warning(own, f"{own.name} line {number}: the {quote} is never closed", "close it", source)
    last = next((line for line in reversed(found) if line.text.strip()), None)
    if last is not None and last.continues:
        text = f"{own.name} line {last.number}: a \\ ends the last command, but no line follows"
        yield _warning(own, text, "remove it", _GUIDE)


def _values(script: Script) -> Iterator[tuple[int, str, str]]:
    """Line, flag and text of every value that should be JSON; variables of one value are put in."""
    for words in (*script.commands, *script.lists.values()):
        for name, value, line in flags_of([Word(script.expand(word.text), word.line) for word in words]):
            if value and value.lstrip().startswith("{"):
                yield line, name, value.replace(LITERAL_DOLLAR, "$")


def _parsed(value: str) -> dict[str, Any] | None:
    try:
        found = json.loads(value)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _switches(text: str, engine: Engine) -> Iterator[Problem]:
    variables, flags = engine.rows(ENV), engine.rows(FLAG)
    seen: set[str] = set()
    for number, line in enumerate(text.split("\n"), 1):
        words = [(name, variables) for name, _ in _VARIABLE.findall(line)]
        for name, rows in (*words, *((name, flags) for name in _FLAG.findall(line))):
            if name not in seen:
                seen.add(name)
                for row in rows.get(name, ()):
                    yield from _at(number, warn(row, engine, KEY))


def _misspelt(script: Script, text: str, engine: Engine) -> Iterator[Problem]:
    """Variables that the script sets and does not use itself: they are meant for the engine."""
    for name, given in script.environment().items():
        if not re.search(rf"\$\{{?{name}\b", text):
            yield from _at(given.line, env_names.judge(name, engine))


def _at(number: int, problems: Iterator[Problem]) -> Iterator[Problem]:
    for problem in problems:
        yield replace(problem, text=f"line {number}: {problem.text}")


def _configs(spec: ClusterSpec, script: Script, engine: Engine) -> Iterator[Problem]:
    for number, flag, value in _values(script):
        config = {} if "$" in value else _parsed(value) or {}
        if flag == CONFIG and engine.rows(KEY_OF_CONFIG):
            for name in keys(config):
                yield from _at(number, warn_key(name, engine, KEY))
        if flag == "speculative-config":
            yield from _at(number, advice.speculative(config.get("method"), KEY, engine))
        if flag == "kv-transfer-config" and engine.name == "vllm-ascend":
            yield from _at(number, _transfer(spec, config, engine))


def _transfer(spec: ClusterSpec, config: Mapping[str, Any], engine: Engine) -> Iterator[Problem]:
    name, port = str(config.get("kv_connector", "")), advice.number(config.get("kv_port"))
    known = registered(engine.version)
    if name and name not in known:
        hint, source = f"it has: {', '.join(known)}", "vllm-ascend, vllm_ascend/distributed at every release"
        yield warning(f"{engine} has no connector '{name}'", KEY, hint, source)
    for key in FORBIDDEN.keys() & config.keys():
        yield warning(f"'{key}' must not be given: {FORBIDDEN[key]}", KEY, f"remove {key}", _GUIDE)
    own = config.get("kv_connector_extra_config")
    sized = isinstance(own, Mapping) and {"prefill", "decode"} <= own.keys()
    if not name.startswith("Mooncake") or name not in known:
        return
    if "Store" not in name and not sized:
        text = f"{name} ends in an AssertionError without the sizes of prefill and decode"
        hint = "kv_connector_extra_config: prefill and decode, each with dp_size and tp_size of one group"
        yield warning(text, KEY, hint, _SIZES)
    drawn = MOONCAKE_DIRECT.on(spec.hardware.devices)
    if port is not None and port in drawn:
        text = f"kv_port {port} lies in {drawn.start}–{drawn.stop - 1}, where Mooncake binds random ports"
        yield warning(text, KEY, "use a port from 61000 on", MOONCAKE_DIRECT.source)
