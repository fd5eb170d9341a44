"""What vllm-ascend takes and yet gets wrong: combinations and values that its documents or its users met.

Every rule has its source, and is a warning unless the engine does not start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dplaunch.engines.ascend.releases import is_contract_a
from dplaunch.engines.rules import environments, warning
from dplaunch.engines.versions import at_least
from dplaunch.engines.vllm.advice import TUTORIAL, number
from dplaunch.engines.vllm.lint import CONFIG, Engine, as_map
from dplaunch.errors import Problem
from dplaunch.model.cluster import DECODE, NPUS, PREFILL, ClusterSpec, EnvValue, RoleSpec

_OFF = ("", "0")

RANGES = {
    "HCCL_CONNECT_TIMEOUT": (120, 7200),
    "HCCL_RDMA_TIMEOUT": (5, 20),
    "HCCL_IF_BASE_PORT": (1024, 65520),
}
"""What HCCL takes; anything else ends in EI0001."""

EPLB_ENV = ("DYNAMIC_EPLB", "EXPERT_MAP_RECORD")
AIV_LONGEST = 1091
PER_NODE = ("HCCL_IF_IP", "VLLM_HOST_IP")

_HCCL = "CANN manual, environment variables of HCCL"
_MOONCAKE = "vllm-ascend, mooncake_connector.py: a request's KV is freed when the time is over"


def check(spec: ClusterSpec, engine: Engine) -> Iterator[Problem]:
    """What holds for vllm-ascend alone."""
    for role in spec.roles:
        yield from _recompute(role, engine)
        yield from _shared_expert(role, engine)
        yield from _eplb(spec, role, engine)
        yield from _timeouts(spec, role, engine)
        yield from _expansion(spec, role)
        yield from _addresses(role)
    yield from _container(spec)
    for place, env in environments(spec):
        yield from _ranges(place, env)
        yield from _family(spec, place, env)
        yield from _spawn(place, env, engine)


def _container(spec: ClusterSpec) -> Iterator[Problem]:
    if spec.container and not spec.runtime.setup:
        which = (
            f"a container of {spec.container.image.reference}"
            if spec.container.image
            else spec.container.name
        )
        yield warning(
            f"nothing sets CANN up in {which}: a command in it reads no .bashrc",
            "runtime.image" if spec.container.image else "runtime.container",
            'add runtime.setup: ["source /usr/local/Ascend/ascend-toolkit/set_env.sh"]',
            "vllm-ascend, Dockerfile: it sources CANN's set_env.sh in .bashrc",
        )


def _recompute(role: RoleSpec, engine: Engine) -> Iterator[Problem]:
    config = as_map(role.args.get(CONFIG))
    apart = role.name in (PREFILL, DECODE)
    if config.get("recompute_scheduler_enable") and not apart and at_least(engine.version, "0.18.0"):
        yield warning(
            f"recompute_scheduler_enable is for decode only: {engine} does not start {role.name} with it",
            f"roles.{role.name}.args.{CONFIG}.recompute_scheduler_enable",
            "remove it",
            "vllm-ascend, vllm_ascend/platform.py of 0.18.0 to 0.23.0",
        )


def _shared_expert(role: RoleSpec, engine: Engine) -> Iterator[Problem]:
    """The fused operator runs the shared expert itself."""
    config = as_map(role.args.get(CONFIG))
    by_env = role.env.get("VLLM_ASCEND_ENABLE_FUSED_MC2", "0") not in _OFF
    fused = by_env or bool(config.get("enable_fused_mc2"))
    if fused and config.get("multistream_overlap_shared_expert") and at_least(engine.version, "0.23.0rc1"):
        which = "VLLM_ASCEND_ENABLE_FUSED_MC2" if by_env else "enable_fused_mc2"
        yield warning(
            f"{engine} switches multistream_overlap_shared_expert off where {which} is on",
            f"roles.{role.name}.args.{CONFIG}.multistream_overlap_shared_expert",
            f"remove it, or {which}",
            "vllm-ascend v0.23.0, vllm_ascend/ascend_config.py",
        )


def _eplb(spec: ClusterSpec, role: RoleSpec, engine: Engine) -> Iterator[Problem]:
    """Experts are moved while serving only if an environment variable allows it too."""
    wanted = as_map(as_map(role.args.get(CONFIG)).get("eplb_config")).get("dynamic_eplb")
    given = {name for _, env in environments(spec) for name in env}
    if wanted and not given.intersection(EPLB_ENV) and at_least(engine.version, "0.23.0rc1"):
        yield Problem(
            f"{engine} does not start {role.name} with dynamic_eplb and without {' or '.join(EPLB_ENV)}",
            key=f"roles.{role.name}.args.{CONFIG}.eplb_config.dynamic_eplb",
            hint="DYNAMIC_EPLB: true in env of the role",
            source="vllm-ascend v0.23.0, vllm_ascend/ascend_config.py: an assertion",
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
            yield warning(
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
        yield warning(text, f"{place}.HCCL_EXEC_TIMEOUT", f"HCCL_EXEC_TIMEOUT: {AIV_LONGEST}", _HCCL)
    if spec.hardware.family == "a2" and str(env.get("HCCL_DETERMINISTIC", "")).lower() == "true":
        text = "HCCL_DETERMINISTIC wins over HCCL_OP_EXPANSION_MODE AIV on Atlas A2, and costs speed"
        yield warning(text, f"{place}.HCCL_DETERMINISTIC", "keep one of the two", _HCCL)


def _addresses(role: RoleSpec) -> Iterator[Problem]:
    for name in PER_NODE:
        value = role.env.get(name, "${}")
        if len(role.nodes) > 1 and isinstance(value, str) and "${" not in value:
            yield warning(
                f"{name} is {value} on every node of {role.name}, and each has its own address",
                f"roles.{role.name}.env.{name}",
                "remove it: dplaunch gives every node its own",
                TUTORIAL,
            )


def _ranges(place: str, env: Mapping[str, EnvValue]) -> Iterator[Problem]:
    for name, (lowest, highest) in RANGES.items():
        given = number(env.get(name, ""))
        if given is not None and not lowest <= given <= highest:
            text = f"{name} is {given}, and HCCL takes {lowest} to {highest}"
            yield warning(text, f"{place}.{name}", f"give {lowest} to {highest}, or remove it", _HCCL)


def _family(spec: ClusterSpec, place: str, env: Mapping[str, EnvValue]) -> Iterator[Problem]:
    if spec.hardware.family in ("a2", "a5") and env.get("ASCEND_A3_ENABLE", "0") not in _OFF:
        text = "ASCEND_A3_ENABLE moves KV over a link between nodes that only Atlas A3 has"
        source = "vllm-ascend, pd_disaggregation_mooncake_multi_node.md"
        yield warning(text, f"{place}.ASCEND_A3_ENABLE", "remove it", source)
    path = env.get("LD_LIBRARY_PATH", "${LD_LIBRARY_PATH}")
    if spec.hardware.family in NPUS and isinstance(path, str) and "${LD_LIBRARY_PATH}" not in path:
        text = "LD_LIBRARY_PATH replaces the path that runtime.setup made, and CANN's libraries are in that"
        hint = f"LD_LIBRARY_PATH: {path}:${{LD_LIBRARY_PATH}}"
        source = "vllm-ascend, pd_disaggregation_mooncake_multi_node.md: it adds to the old value"
        yield warning(text, f"{place}.LD_LIBRARY_PATH", hint, source)


def _spawn(place: str, env: Mapping[str, EnvValue], engine: Engine) -> Iterator[Problem]:
    name = "VLLM_WORKER_MULTIPROC_METHOD"
    if is_contract_a(engine.version) and env.get(name) == "spawn":
        text = f"{engine} may meet a circular import with {name} spawn"
        source = "vllm-ascend v0.9.1, examples/external_online_dp/run_dp_template.sh"
        yield warning(text, f"{place}.{name}", "remove it: dplaunch sets fork", source)
