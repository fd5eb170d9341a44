"""Literal values of a user's own script against the cluster file: both describe the same engines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from dplaunch.engines.rules import warning
from dplaunch.engines.script.own import Own
from dplaunch.engines.script.reading import LITERAL_DOLLAR, Given, Script, Word, flags, model
from dplaunch.engines.vllm import flag_rules
from dplaunch.engines.vllm.flagtable import flags as flags_of
from dplaunch.engines.vllm.lint import Engine
from dplaunch.engines.vllm.transfer import KV_ROLES
from dplaunch.errors import Problem
from dplaunch.model.cluster import ArgValue, ClusterSpec, RoleSpec

_IPV4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_ADDRESSES = ("HCCL_IF_IP", "VLLM_HOST_IP", "VLLM_NIXL_SIDE_CHANNEL_HOST", "LOCAL_IP")
_SIZES = {
    "pp": ("pipeline-parallel-size", "pp"),
    "pcp": ("prefill-context-parallel-size", "pcp"),
    "dcp": ("decode-context-parallel-size", "dcp"),
}
_ANYWHERE = ("0.0.0.0", "127.0.0.1")


def check(spec: ClusterSpec, own: Own, script: Script) -> Iterator[Problem]:
    """Every contradiction, at the key that names the script."""
    yield from (replace(problem, key=own.key) for problem in _addresses(spec, own, script))
    for words in script.serves():
        given = {flag.name: flag for flag in flags(words)}
        for problem in (
            *_names(spec, own, words, given),
            *_sizes(own, given),
            *_transfer(spec, own, given),
        ):
            yield replace(problem, key=own.key)


def check_flags(own: Own, script: Script, engine: Engine, vllm: str) -> Iterator[Problem]:
    """Flags that this engine does not have, and values that it does not take."""
    known = flags_of(vllm)
    for words in script.serves():
        for flag in flags(words):
            kind = known.find(flag.name.partition(".")[0]) if known else None
            bare = flag.value is None or (kind is not None and kind.kind in ("bool", "flag"))
            value: ArgValue = True if bare else flag.value
            if not bare and re.search(r"[$\x00]|^\s*\{", flag.value or ""):
                value = None  # what the node puts in is not known, and JSON has been looked at
            for problem in flag_rules.judge(known, engine, flag.name, value):
                text = f"{own.name} line {flag.line}: {problem.text}"
                yield replace(problem, text=text, key=own.key)


def _names(spec: ClusterSpec, own: Own, words: list[Word], given: Mapping[str, Given]) -> Iterator[Problem]:
    named = model(words)
    if named and "$" not in named.text and named.text.rstrip("/") != spec.model.rstrip("/"):
        yield warning(
            f"{own.name} line {named.line}: it serves {named.text}, and model in the file is {spec.model}",
            own.key,
            "make the two equal: dplaunch looks for the weights of the file's model",
            "the cluster file",
        )
    served = given.get("served-model-name")
    names = _several(words, served) if served else [named.text] if named else []
    known = names and not any("$" in name for name in names)
    if known and spec.served_model_name not in names:
        where = f"line {served.line}: --served-model-name is" if served else "gives no --served-model-name:"
        yield Problem(
            f"{own.name} {where} {' '.join(names)}, and the file asks for {spec.served_model_name}: "
            "every request would get 404",
            hint=f"write --served-model-name {spec.served_model_name}, or change served_model_name",
        )


def _several(words: list[Word], first: Given) -> list[str]:
    """The values of a flag that takes several."""
    texts = [word.text for word in words]
    at = texts.index(f"--{first.name}") if f"--{first.name}" in texts else -1
    if at < 0:
        return [first.value or ""]
    values = []
    for text in texts[at + 1 :]:
        if text.startswith("-"):
            break
        values.append(text)
    return values


def _sizes(own: Own, given: Mapping[str, Given]) -> Iterator[Problem]:
    for role in own.roles:
        for key, names in _SIZES.items():
            size = getattr(role, key)
            flag = next((given[name] for name in names if name in given), None)
            value = flag.value if flag else "1"
            if value and "$" not in value and value != str(size):
                where = f"line {flag.line}: --{flag.name} is {value}" if flag else f"gives no --{names[0]}"
                yield Problem(
                    f"{own.name} {where}, and {role.name} has {key} {size} in the file",
                    hint=f"write --{names[0]} {size}, or change {key} of {role.name}",
                )
        if role.expert_parallel and not {"enable-expert-parallel", "ep"} & given.keys():
            yield Problem(
                f"{own.name} gives no --enable-expert-parallel, and {role.name} has ep in the file",
                hint=f"write --enable-expert-parallel, or remove ep of {role.name}",
            )


def _transfer(spec: ClusterSpec, own: Own, given: Mapping[str, Given]) -> Iterator[Problem]:
    flag = given.get("kv-transfer-config")
    if flag is None or not flag.value:
        return
    try:
        config = json.loads(flag.value.replace(LITERAL_DOLLAR, "$"))
    except ValueError:
        return
    where = f"{own.name} line {flag.line}: --kv-transfer-config"
    yield from _kv_role(own, config.get("kv_role"), where)
    extra = config.get("kv_connector_extra_config")
    for role in spec.roles:
        sizes = extra.get(role.name) if isinstance(extra, Mapping) else None
        if isinstance(sizes, Mapping):
            yield from _kv_sizes(role, sizes, where)


def _kv_role(own: Own, given: Any, where: str) -> Iterator[Problem]:
    if not isinstance(given, str) or "$" in given or given == "kv_both":
        return
    wrong = [role for role in own.roles if KV_ROLES.get(role.name, given) != given]
    if wrong:
        started = " and ".join(role.name for role in own.roles)
        roles = " and ".join(f"{role.name} is {KV_ROLES[role.name]}" for role in wrong)
        yield Problem(
            f"{where} has kv_role {given}, and the script starts {started}: {roles}",
            hint="give each role a script of its own: path: SCRIPT in roles.prefill and roles.decode",
        )


def _kv_sizes(role: RoleSpec, sizes: Mapping[str, Any], where: str) -> Iterator[Problem]:
    for key in ("dp", "tp", "pp"):
        size, given = getattr(role, key), sizes.get(f"{key}_size")
        if given is not None and str(given).isdecimal() and int(given) != size:
            yield Problem(
                f"{where} gives {role.name} {key}_size {given}, and the file starts it with {key} {size}",
                hint=f"write {key}_size: {size} under {role.name}, the size of one group, or change {key}",
            )


def _addresses(spec: ClusterSpec, own: Own, script: Script) -> Iterator[Problem]:
    environment = script.environment()
    hosts = [flag for words in script.serves() for flag in flags(words) if flag.name == "host"]
    fixed = [environment[name] for name in _ADDRESSES if name in environment]
    nodes = {name for role in own.roles for name in role.nodes}
    addresses = {node.address for node in spec.nodes if node.name in nodes}
    seen: set[str] = set()
    for given in (*fixed, *hosts):
        value = given.value or ""
        if value in _ANYWHERE or not _IPV4.fullmatch(value) or value in seen or addresses == {value}:
            continue
        seen.add(value)
        runs = f"on all {len(addresses)} nodes" if len(addresses) > 1 else f"at {', '.join(addresses)}"
        yield Problem(
            f"{own.name} line {given.line}: the address {value} in {given.name} is fixed, "
            f"and the script runs {runs}",
            hint="use $LOCAL_IP, which dplaunch sets on each node (and $NIC_NAME for the interface)",
        )
