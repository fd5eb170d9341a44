"""Dual-batch overlap of vLLM: its flags, what it needs, and which steps it splits.

Source, unless a rule has its own: vLLM 0.11.0 to 0.33.0, docs/design/dbo.md, vllm/config and vllm/v1/worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dplaunch.engines.flags import words
from dplaunch.engines.rules import Settings, reaching, warning
from dplaunch.engines.settings import Env, Flags
from dplaunch.engines.versions import at_least
from dplaunch.engines.vllm.advice import drafted, number
from dplaunch.errors import Problem
from dplaunch.model.cluster import DECODE, PREFILL, ArgValue, ClusterSpec, RoleSpec
from dplaunch.model.plan import Overlap, Steps

FIRST = "0.11.0rc0"
BACKEND = "all2all-backend"
BACKEND_ENV = "VLLM_ALL2ALL_BACKEND"
BACKEND_FLAG = "0.13.0rc0"
"""From here on at the latest the back end is a flag; before, it is a variable."""
BACKENDS = ("deepep_low_latency", "deepep_high_throughput")
WITHOUT_NIXL_EP = "0.23.0"
"""The last version read that refuses nixl_ep."""

DECODE_THRESHOLD = 32
PREFILL_THRESHOLD = 512
"""What vLLM takes where it is given no threshold."""

RUNNER = "VLLM_USE_V2_MODEL_RUNNER"
RUNNER_NEVER = ("0.23.0", "0.29.0")
"""Versions read whose Model Runner V2 refuses it, first and last."""
RUNNER_PARTLY = "0.31.0"
"""From here on that runner takes it, but not with everything."""
PCP_NEEDS_RUNNER = "0.29.0"

OFF = ("", "0")
_DOCS = "vLLM, docs/design/dbo.md"
_CONFIG = "vLLM, vllm/config/vllm.py"
_SPECULATION = "speculative-config"


def flags(role: RoleSpec, version: str) -> Flags:
    """What switches it on; the cluster file's own flags win."""
    if role.dbo is None or not at_least(version, FIRST):
        return {}
    given: dict[str, ArgValue] = {
        "enable-dbo": True,
        "dbo-decode-token-threshold": role.dbo.decode_token_threshold,
        "dbo-prefill-token-threshold": role.dbo.prefill_token_threshold,
        BACKEND: _backend(role) if at_least(version, BACKEND_FLAG) else None,
    }
    return {flag: words(flag, value) for flag, value in given.items()}


def env(role: RoleSpec, version: str) -> Env:
    """The back end, where it is no flag yet."""
    early = role.dbo is not None and not at_least(version, BACKEND_FLAG)
    return {BACKEND_ENV: _backend(role)} if early else {}


def _backend(role: RoleSpec) -> str:
    """As the documentation recommends by what the steps mostly are."""
    return "deepep_high_throughput" if role.name == PREFILL else "deepep_low_latency"


def check(spec: ClusterSpec, version: str) -> Iterator[Problem]:
    """Every role whose overlap this vLLM lacks or refuses; a warning where it never splits a step."""
    for role in spec.roles:
        if role.dbo is not None:
            found = tuple(_lacking(spec, role, version)) or tuple(_refused(spec, role, version))
            yield from found or never(overlap(role), f"roles.{role.name}.dbo", _DOCS)


def _lacking(spec: ClusterSpec, role: RoleSpec, version: str) -> Iterator[Problem]:
    key = f"roles.{role.name}.dbo"
    if not at_least(version, FIRST):
        yield Problem(
            f"vllm {version} has no dual-batch overlap",
            key=key,
            hint="remove dbo, or use vllm 0.11.0 or later",
            source="vLLM PR #23693",
        )
    elif spec.hardware.family == "cpu":
        text, source = "vllm switches dual-batch overlap off on a CPU", "vLLM, vllm/platforms/cpu.py"
        yield Problem(text, key=key, hint="remove dbo", source=source)


def _refused(spec: ClusterSpec, role: RoleSpec, version: str) -> Iterator[Problem]:
    key, name = f"roles.{role.name}.dbo", role.name
    if role.dp == 1:
        text = f"dual-batch overlap splits steps of data-parallel ranks only, and dp of {name} is 1"
        yield Problem(text, key=key, hint="remove dbo, or make dp 2 or more", source=_DOCS)
    if not role.expert_parallel:
        text = f"dual-batch overlap hides the communication of expert parallelism, which {name} does not have"
        yield Problem(text, key=key, hint=f"add ep: true to {name}, or remove dbo", source=_DOCS)
    if role.pcp > 1 and at_least(version, PCP_NEEDS_RUNNER):
        text = f"no model runner of vllm {version} takes dual-batch overlap together with pcp {role.pcp}"
        yield Problem(text, key=key, hint="remove dbo, or pcp: 1", source=_CONFIG)
    for settings in reaching(spec, role):
        yield from _other_backend(settings, version)
        yield from _runner(settings, role, version)


def _other_backend(settings: Settings, version: str) -> Iterator[Problem]:
    allowed = BACKENDS if at_least(WITHOUT_NIXL_EP, version) else (*BACKENDS, "nixl_ep")
    early = not at_least(version, BACKEND_FLAG)
    name, section = (BACKEND_ENV, "env") if early else (BACKEND, "args")
    given = settings.env.get(name) if early else settings.args.get(name)
    if given is not None and given not in allowed:
        yield Problem(
            f"vllm {version} does not take dual-batch overlap with {name} {given}",
            key=f"{settings.place}.{section}.{name}",
            hint=f"{name}: {' or '.join(allowed)}; or remove dbo",
            source=_CONFIG,
        )


def _runner(settings: Settings, role: RoleSpec, version: str) -> Iterator[Problem]:
    if settings.env.get(RUNNER, "") in OFF:
        return
    first, last = RUNNER_NEVER
    key = f"{settings.place}.env.{RUNNER}"
    if at_least(version, first) and at_least(last, version):
        text = f"Model Runner V2 of vllm {version} does not take dual-batch overlap"
        yield Problem(text, key=key, hint=f"remove {RUNNER}, or dbo", source=_CONFIG)
    for what in _unsupported(role) if at_least(version, RUNNER_PARTLY) else ():
        text = f"Model Runner V2 of vllm {version} does not take dual-batch overlap together with {what}"
        yield Problem(text, key=key, hint=f"remove {RUNNER}, dbo or {what}", source=_CONFIG)


def _unsupported(role: RoleSpec) -> Iterator[str]:
    if speculates(role.args):
        yield _SPECULATION
    if role.args.get("enable-lora"):
        yield "enable-lora"
    for size in ("pp", "dcp"):
        if getattr(role, size) > 1:
            yield f"{size} {getattr(role, size)}"


def speculates(args: Mapping[str, ArgValue]) -> bool:
    """Whether these flags switch speculative decoding on, MTP included."""
    return any(value and flag.partition(".")[0] == _SPECULATION for flag, value in args.items())


def overlap(role: RoleSpec) -> Overlap:
    """Which of the role's steps are split: each half of the tokens is one, through a request if need be."""
    thresholds = role.dbo
    decode = (thresholds and thresholds.decode_token_threshold) or DECODE_THRESHOLD
    prefill = (thresholds and thresholds.prefill_token_threshold) or PREFILL_THRESHOLD
    kinds = {PREFILL: ("prefill",), DECODE: ("decode",)}.get(role.name, ("prefill", "decode"))
    steps = {
        "prefill": Steps(kind="with prefill", least=prefill, most=largest_step(role)),
        "decode": Steps(kind="of decode only", least=decode, most=_largest_decode(role)),
    }
    return Overlap(steps=tuple(steps[kind] for kind in kinds), conditions=(at_once(role),))


def at_once(role: RoleSpec) -> str:
    """What ranks must agree on: the experts' communication takes all of them."""
    return f"every rank of the group has such a step at the same time ({role.dp} ranks)"


def largest_step(role: RoleSpec) -> int | None:
    """Tokens of one rank's largest step; None where the engine decides."""
    return number(role.args.get("max-num-batched-tokens"))


def _largest_decode(role: RoleSpec) -> int | None:
    """One token for each sequence, and those that are drafted."""
    sequences = number(role.args.get("max-num-seqs"))
    bounds = (sequences and sequences * (1 + drafted(role)), largest_step(role))
    return min((bound for bound in bounds if bound), default=None)


def never(found: Overlap, key: str, source: str) -> Iterator[Problem]:
    """A warning at ``key``, which switches overlap on, where no step of the role can be split."""
    if any(steps.splits for steps in found.steps):
        return
    why = "; ".join(steps.describe() for steps in found.steps)
    larger = any(steps.least for steps in found.steps)
    hint = ", or allow larger steps (max-num-batched-tokens, max-num-seqs)" if larger else ""
    name = key.rpartition(".")[2]
    yield warning(f"{name} never splits a step: {why}", key, f"remove {name}{hint}", source)
