"""What an engine takes and yet gets wrong: combinations and values that its documents or its users met.

Every rule is a warning with its source; rules that go by a model's name skip unknown names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dplaunch.engines.rules import arguments, environments, warning
from dplaunch.engines.versions import at_least
from dplaunch.engines.vllm.lint import Engine, as_map
from dplaunch.engines.vllm.releases import dense
from dplaunch.errors import Problem
from dplaunch.model.cluster import DECODE, ArgValue, ClusterSpec, EnvValue, RoleSpec

_SIZED = r"\d+(?:\.\d+)?b"
DENSE = re.compile(
    rf"(?:qwen2(?:\.5)?|qwen3)-{_SIZED}(?!-a\d)(?:$|[-_].*)|qwq-32b.*|deepseek-r1-distill-.*"
    rf"|(?:meta-)?llama-?(?:2|3(?:\.[123])?)-{_SIZED}.*|mistral-7b.*|gemma-[23]-{_SIZED}.*",
    re.IGNORECASE,
)
"""Models without experts, recognised by their names alone."""

MODELS_MTP = {
    "deepseek_mtp": "the spelling of 0.9.1 to 0.11",
    "qwen3_5_mtp": "the spelling of one model",
}
"""Other spellings of multi-token prediction."""

_RESET = (
    "vLLM runs such a model with a data parallel size of 1, and the sizes and ports of the KV transfer no "
    "longer fit: it does not start, or one rank never serves"
)
_BACKEND = "distributed-executor-backend"

PROXIES = ("http_proxy", "https_proxy", "all_proxy")

TUTORIAL = "vllm-ascend, large_scale_ep.md and its FAQ"


def check(spec: ClusterSpec, engine: Engine, version: str) -> Iterator[Problem]:
    """What holds for every vLLM; ``version`` is that of the vLLM in the engine."""
    yield from _speculative(spec, engine)
    for role in spec.roles:
        yield from _dense(spec, role, version)
        yield from _ray(role)
        if role.name == DECODE:
            yield from _step_too_small(role)
    yield from _proxies(spec)
    yield from _free_ports(spec)


def number(value: ArgValue | EnvValue) -> int | None:
    """A whole number, given as such or as text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) else None


def drafted(role: RoleSpec) -> int:
    """How many tokens are drafted for each sequence and step."""
    config = as_map(role.args.get("speculative-config"))
    return number(config.get("num_speculative_tokens")) or 0


def _speculative(spec: ClusterSpec, engine: Engine) -> Iterator[Problem]:
    for place, args in arguments(spec):
        for flag in ("speculative-config", "speculative-config.method"):
            value = args.get(flag)
            method = value if flag.endswith("method") else as_map(value).get("method")
            nested = "" if isinstance(value, str) else ".method"
            yield from speculative(method, f"{place}.{flag}{nested}", engine)


def speculative(method: ArgValue, key: str, engine: Engine) -> Iterator[Problem]:
    """How multi-token prediction is spelt."""
    source = "vllm-ascend, examples/external_online_dp/run_dp_template.sh of v0.9.1 and v0.12.0rc1"
    if isinstance(method, str) and method in MODELS_MTP and at_least(engine.version, "0.12.0rc1"):
        text = f"{method} is {MODELS_MTP[method]}; {engine} only translates it, with a warning"
        yield warning(text, key, "method: mtp", source)
    if method == "mtp" and not at_least(engine.version, "0.10.0rc1"):
        text = f"the documents of {engine} know the method as deepseek_mtp, not mtp"
        yield warning(text, key, "method: deepseek_mtp", source)


def _dense(spec: ClusterSpec, role: RoleSpec, version: str) -> Iterator[Problem]:
    name = spec.model.rstrip("/").rpartition("/")[2]
    if role.dp == 1 or not DENSE.fullmatch(name):
        return
    found = dense(version)
    effect = _RESET if spec.kv_transfer else found.effect
    yield Problem(
        f"{name} has no experts, going by its name, and dp of {role.name} is {role.dp}: {effect}",
        key=f"roles.{role.name}.dp",
        hint=f"dp: 1 and groups: {role.dp * role.groups}; the router balances over groups",
        warning=not (spec.kv_transfer or found.refused),
        source=found.source,
    )


def _ray(role: RoleSpec) -> Iterator[Problem]:
    if role.args.get(_BACKEND) == "ray" and role.dp > 1:
        yield Problem(
            f"{_BACKEND} is ray and dp of {role.name} is {role.dp}: its ranks wait for each other for ever",
            key=f"roles.{role.name}.args.{_BACKEND}",
            hint="mp, or remove it: each rank is a process of its own here",
            source="vLLM issue #44878",
        )


def _step_too_small(role: RoleSpec) -> Iterator[Problem]:
    tokens, sequences = (number(role.args.get(f"max-num-{what}")) for what in ("batched-tokens", "seqs"))
    ahead = drafted(role)
    needed = (sequences or 0) * (1 + ahead)
    if tokens and tokens < needed:
        yield warning(
            f"decode cannot serve all its sequences in one step: max-num-batched-tokens is {tokens}, and "
            f"max-num-seqs {sequences} × (1 + {ahead} speculative) = {needed}",
            f"roles.{role.name}.args.max-num-batched-tokens",
            f"max-num-batched-tokens: {needed}, or fewer max-num-seqs",
            "vllm-ascend, tests/e2e/nightly and weekly: 82 of 88 decode configurations keep to it",
        )


def _free_ports(spec: ClusterSpec) -> Iterator[Problem]:
    """Looking from a fixed port on, most releases find the same free one again, and want five."""
    several = any(role.dp > 1 for role in spec.roles)
    for place, env in environments(spec) if several else ():
        if "VLLM_PORT" in env:
            yield warning(
                "VLLM_PORT lets ranks of a group look for free ports without end, all from one port on",
                f"{place}.VLLM_PORT",
                "remove it: every rank finds free ports itself",
                "vLLM, get_open_ports_list in vllm/utils: a set that must reach five ports",
            )


def _proxies(spec: ClusterSpec) -> Iterator[Problem]:
    for place, env in environments(spec):
        for name in env:
            if name.lower() in PROXIES:
                yield warning(
                    f"{name} sends traffic between engines through the proxy, where it is lost",
                    f"{place}.{name}",
                    "remove it; what must be fetched through a proxy is fetched before the start",
                    TUTORIAL,
                )
