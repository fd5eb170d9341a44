"""What an engine takes and yet gets wrong: combinations and values that its documents or its users met.

Every rule is a warning with its source; rules by the name of a model keep quiet where the name does not tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from dplaunch.engines.lint import CONFIG, Engine, as_map
from dplaunch.engines.rules import arguments, environments
from dplaunch.engines.versions import at_least, is_contract_a
from dplaunch.errors import Problem
from dplaunch.model.cluster import DECODE, PREFILL, ArgValue, ClusterSpec, EnvValue, RoleSpec

DBO = "VLLM_ASCEND_ENABLE_DBO"
DBO_TOKENS = 256
"""Tokens of a step from which dual-batch overlap splits it; not to be configured."""

_OFF = ("", "0")
_SIZED = r"\d+(?:\.\d+)?b"
DENSE = re.compile(
    rf"(?:qwen2(?:\.5)?|qwen3)-{_SIZED}(?!-a\d)(?:$|[-_].*)|qwq-32b.*|deepseek-r1-distill-.*"
    rf"|(?:meta-)?llama-?(?:2|3(?:\.[123])?)-{_SIZED}.*|mistral-7b.*|gemma-[23]-{_SIZED}.*",
    re.IGNORECASE,
)
"""Models whose name alone says that they have no experts."""

RANGES = {
    "HCCL_CONNECT_TIMEOUT": (120, 7200),
    "HCCL_RDMA_TIMEOUT": (5, 20),
    "HCCL_IF_BASE_PORT": (1024, 65520),
}
"""What HCCL takes; anything else ends in EI0001."""

AIV_LONGEST = 1091
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
PER_NODE = ("HCCL_IF_IP", "VLLM_HOST_IP")

_HCCL = "CANN manual, environment variables of HCCL"
_TUTORIAL = "vllm-ascend, large_scale_ep.md and its FAQ"
_MOONCAKE = "vllm-ascend, mooncake_connector.py: a request's KV is freed when the time is over"


def check(spec: ClusterSpec, engine: Engine) -> Iterator[Problem]:
    """What holds for every vLLM."""
    yield from _speculative(spec, engine)
    for role in spec.roles:
        yield from _dense(spec, role, engine)
        if role.name == DECODE:
            yield from _step_too_small(role)
    yield from _proxies(spec)


def ascend(spec: ClusterSpec, engine: Engine) -> Iterator[Problem]:
    """What holds for vllm-ascend alone."""
    for role in spec.roles:
        yield from _overlap(role, engine)
        yield from _recompute(role, engine)
        yield from _timeouts(spec, role, engine)
        yield from _expansion(spec, role)
        yield from _addresses(role)
    for place, env in environments(spec):
        yield from _ranges(place, env)
        yield from _family(spec, place, env)
        yield from _spawn(place, env, engine)


def _warning(text: str, key: str, hint: str, source: str) -> Problem:
    return Problem(text, key=key, hint=hint, source=source, warning=True)


def number(value: ArgValue | EnvValue) -> int | None:
    """A whole number, given as such or as text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) else None


def _drafted(role: RoleSpec) -> int:
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
    if method == "deepseek_mtp" and at_least(engine.version, "0.12.0rc1"):
        text = f"deepseek_mtp is the spelling of 0.9.1 to 0.11; {engine} only translates it, with a warning"
        yield _warning(text, key, "method: mtp", source)
    if method == "mtp" and not at_least(engine.version, "0.10.0rc1"):
        text = f"the documents of {engine} know the method as deepseek_mtp, not mtp"
        yield _warning(text, key, "method: deepseek_mtp", source)


def _dense(spec: ClusterSpec, role: RoleSpec, engine: Engine) -> Iterator[Problem]:
    name = spec.model.rstrip("/").rpartition("/")[2]
    if role.dp == 1 or not DENSE.fullmatch(name):
        return
    effect = "its ranks would be copies that know nothing of each other"
    if at_least(engine.version, "0.23.0rc1"):
        effect = f"{engine} refuses data parallelism by rank for it"
    elif at_least(engine.version, "0.13.0rc1") and not at_least(engine.version, "0.14.0rc1"):
        effect = f"{engine} ends in an AssertionError"
    yield _warning(
        f"{name} has no experts, going by its name, and dp of {role.name} is {role.dp}: {effect}",
        f"roles.{role.name}.dp",
        f"dp: 1 and groups: {role.dp * role.groups}; the router balances over groups",
        "vLLM, vllm/config/parallel.py of 0.13.0 and 0.23.0; vLLM issue #32252",
    )


def _step_too_small(role: RoleSpec) -> Iterator[Problem]:
    tokens, sequences = (number(role.args.get(f"max-num-{what}")) for what in ("batched-tokens", "seqs"))
    drafted = _drafted(role)
    needed = (sequences or 0) * (1 + drafted)
    if tokens and tokens < needed:
        yield _warning(
            f"decode cannot serve all its sequences in one step: max-num-batched-tokens is {tokens}, and "
            f"max-num-seqs {sequences} × (1 + {drafted} speculative) = {needed}",
            f"roles.{role.name}.args.max-num-batched-tokens",
            f"max-num-batched-tokens: {needed}, or fewer max-num-seqs",
            "vllm-ascend, tests/e2e/nightly and weekly: 82 of 88 decode configurations keep to it",
        )


def _proxies(spec: ClusterSpec) -> Iterator[Problem]:
    for place, env in environments(spec):
        for name in env:
            if name.lower() in PROXIES:
                yield _warning(
                    f"{name} sends traffic between engines through the proxy, where it is lost",
                    f"{place}.{name}",
                    "remove it; what must be fetched through a proxy is fetched before the start",
                    _TUTORIAL,
                )


def _overlap(role: RoleSpec, engine: Engine) -> Iterator[Problem]:
    """Dual-batch overlap as vllm-ascend had it until 0.11: never for decode, not with MTP in 0.9.1."""
    given = role.env.get(DBO, "")
    if given in _OFF or at_least(engine.version, "0.12.0rc1"):
        return
    tokens = number(role.args.get("max-num-batched-tokens"))
    runner = f"vllm-ascend v{engine.version}, vllm_ascend/worker/model_runner_v1.py"
    key = f"roles.{role.name}.env.{DBO}"
    if is_contract_a(engine.version) and role.args.get("speculative-config"):
        text = f"{engine} does not start with {DBO} and a speculative-config: it takes DeepSeek without MTP"
        source = "vllm-ascend v0.9.1, vllm_ascend/platform.py; PR #2093"
        yield _warning(text, key, f"remove {DBO}, or speculative-config", source)
    elif role.name == DECODE:
        yield _warning(f"{DBO} never splits a batch of decode", key, "set it for prefill only", runner)
    elif tokens and tokens < DBO_TOKENS:
        text = f"{DBO} splits steps of {DBO_TOKENS} tokens or more, and {role.name} has at most {tokens}"
        yield _warning(text, key, "raise max-num-batched-tokens, or remove it", runner)


def _recompute(role: RoleSpec, engine: Engine) -> Iterator[Problem]:
    config = as_map(role.args.get(CONFIG))
    apart = role.name in (PREFILL, DECODE)
    if config.get("recompute_scheduler_enable") and not apart and at_least(engine.version, "0.18.0"):
        yield _warning(
            f"recompute_scheduler_enable is for decode only: {engine} does not start {role.name} with it",
            f"roles.{role.name}.args.{CONFIG}.recompute_scheduler_enable",
            "remove it",
            "vllm-ascend, vllm_ascend/platform.py of 0.18.0 to 0.23.0",
        )


def _timeouts(spec: ClusterSpec, role: RoleSpec, engine: Engine) -> Iterator[Problem]:
    """Mooncake must give up before the other side has freed the KV."""
    if spec.kv_transfer is None or not at_least(engine.version, "0.11.0rc0"):
        return
    renamed = at_least(engine.version, "0.18.0")
    name = "VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT" if renamed else "VLLM_NIXL_ABORT_REQUEST_TIMEOUT"
    usual = 480 if at_least(engine.version, "0.13.0rc1") else 120
    abort = number(role.env.get(name, "")) or usual
    for waiting in ("ASCEND_CONNECT_TIMEOUT", "ASCEND_TRANSFER_TIMEOUT"):
        given = number(role.env.get(waiting, ""))
        if given and given > abort * 1000:
            yield _warning(
                f"{waiting} is {given} ms, and KV is freed after {abort} s ({name})",
                f"roles.{role.name}.env.{waiting}",
                f"{waiting}: at most {abort * 1000}, or a longer {name} for prefill and decode",
                _MOONCAKE,
            )


def _expansion(spec: ClusterSpec, role: RoleSpec) -> Iterator[Problem]:
    env, place = role.env, f"roles.{role.name}.env"
    if env.get("HCCL_OP_EXPANSION_MODE") != "AIV":
        return
    if (number(env.get("HCCL_EXEC_TIMEOUT", "")) or 0) > AIV_LONGEST:
        text = f"HCCL_EXEC_TIMEOUT is at most {AIV_LONGEST} with HCCL_OP_EXPANSION_MODE AIV"
        yield _warning(text, f"{place}.HCCL_EXEC_TIMEOUT", f"HCCL_EXEC_TIMEOUT: {AIV_LONGEST}", _HCCL)
    if spec.hardware.family == "a2" and str(env.get("HCCL_DETERMINISTIC", "")).lower() == "true":
        text = "HCCL_DETERMINISTIC wins over HCCL_OP_EXPANSION_MODE AIV on Atlas A2, and costs speed"
        yield _warning(text, f"{place}.HCCL_DETERMINISTIC", "keep one of the two", _HCCL)


def _addresses(role: RoleSpec) -> Iterator[Problem]:
    for name in PER_NODE:
        value = role.env.get(name, "${}")
        if len(role.nodes) > 1 and isinstance(value, str) and "${" not in value:
            yield _warning(
                f"{name} is {value} on every node of {role.name}, and each has its own address",
                f"roles.{role.name}.env.{name}",
                "remove it: dplaunch gives every node its own",
                _TUTORIAL,
            )


def _ranges(place: str, env: Mapping[str, EnvValue]) -> Iterator[Problem]:
    for name, (lowest, highest) in RANGES.items():
        given = number(env.get(name, ""))
        if given is not None and not lowest <= given <= highest:
            text = f"{name} is {given}, and HCCL takes {lowest} to {highest}"
            yield _warning(text, f"{place}.{name}", f"give {lowest} to {highest}, or remove it", _HCCL)


def _family(spec: ClusterSpec, place: str, env: Mapping[str, EnvValue]) -> Iterator[Problem]:
    if spec.hardware.family == "a2" and env.get("ASCEND_A3_ENABLE", "0") not in _OFF:
        text = "ASCEND_A3_ENABLE moves KV over a link that Atlas A2 has only inside a node"
        source = "vllm-ascend, pd_disaggregation_mooncake_multi_node.md"
        yield _warning(text, f"{place}.ASCEND_A3_ENABLE", "remove it", source)
    path = env.get("LD_LIBRARY_PATH", "${LD_LIBRARY_PATH}")
    if spec.hardware.family in {"a2", "a3"} and isinstance(path, str) and "${LD_LIBRARY_PATH}" not in path:
        text = "LD_LIBRARY_PATH replaces the path that runtime.setup made, and CANN's libraries are in that"
        hint = f"LD_LIBRARY_PATH: {path}:${{LD_LIBRARY_PATH}}"
        source = "vllm-ascend, pd_disaggregation_mooncake_multi_node.md: it adds to the old value"
        yield _warning(text, f"{place}.LD_LIBRARY_PATH", hint, source)


def _spawn(place: str, env: Mapping[str, EnvValue], engine: Engine) -> Iterator[Problem]:
    name = "VLLM_WORKER_MULTIPROC_METHOD"
    if is_contract_a(engine.version) and env.get(name) == "spawn":
        text = f"{engine} may meet a circular import with {name} spawn"
        source = "vllm-ascend v0.9.1, examples/external_online_dp/run_dp_template.sh"
        yield _warning(text, f"{place}.{name}", "remove it: dplaunch sets fork", source)
