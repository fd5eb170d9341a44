"""Dual-batch overlap of vllm-ascend: a variable from 0.9.1 to 0.10.2rc1, and nothing since.

Source, unless a rule has its own: vllm-ascend PR #941, vllm_ascend/multistream of v0.9.1 to v0.10.2rc1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dplaunch.engines.ascend.releases import is_contract_a
from dplaunch.engines.rules import reaching
from dplaunch.engines.settings import Env
from dplaunch.engines.versions import at_least
from dplaunch.engines.vllm.advice import number
from dplaunch.engines.vllm.dbo import OFF, at_once, largest_step, never, speculates
from dplaunch.engines.vllm.lint import Engine
from dplaunch.errors import Problem
from dplaunch.model.cluster import DECODE, ClusterSpec, RoleSpec
from dplaunch.model.plan import Overlap, Steps

VARIABLE = "VLLM_ASCEND_ENABLE_DBO"
GONE = "0.11.0rc0"
"""The first version in which no model splits its steps: 0.11 still reads the variable."""

TOKENS = 256
PREFILL_TOKENS = 64
SHARE = (40, 60)
"""Percent of the tokens in one half: the code allows an imbalance of a tenth of all tokens."""

_SOURCE = "vllm-ascend PR #941, vllm_ascend/multistream"
_PLATFORM = "vllm-ascend v0.9.1, vllm_ascend/platform.py; PR #2093"
_REMOVED = "vllm-ascend PR #2849 (models), #3712 (variable), #8507 (--enable-dbo is reset)"


def env(role: RoleSpec, version: str) -> Env:
    """What switches it on."""
    return {VARIABLE: "1"} if role.dbo is not None and not at_least(version, GONE) else {}


def check(spec: ClusterSpec, engine: Engine) -> Iterator[Problem]:
    """Every role whose overlap this version lacks or refuses; a warning where it never splits a step."""
    for role in spec.roles:
        by_variable = f"roles.{role.name}.env.{VARIABLE}"
        if role.dbo is not None:
            yield from tuple(_lacking(role, engine)) or _given(spec, role, engine)
        elif role.env.get(VARIABLE, "") not in OFF and not at_least(engine.version, GONE):
            found = tuple(_speculation(spec, role, engine, by_variable))
            yield from found or never(overlap(role), by_variable, _SOURCE)


def _lacking(role: RoleSpec, engine: Engine) -> Iterator[Problem]:
    if at_least(engine.version, GONE):
        yield Problem(
            f"{engine} has no dual-batch overlap: only 0.9.1 to 0.10.2rc1 have it",
            key=f"roles.{role.name}.dbo",
            hint="remove dbo",
            source=_REMOVED,
        )


def _given(spec: ClusterSpec, role: RoleSpec, engine: Engine) -> Iterator[Problem]:
    key = f"roles.{role.name}.dbo"
    for name in ("decode_token_threshold", "prefill_token_threshold"):
        if getattr(role.dbo, name) is not None:
            text = f"{engine} takes no {name}: it splits steps from {TOKENS} tokens on"
            yield Problem(text, key=f"{key}.{name}", hint="dbo: true", source=_SOURCE)
    for settings in reaching(spec, role):
        if VARIABLE in settings.env:
            text = f"{VARIABLE} is what dbo of {role.name} sets"
            yield Problem(text, key=f"{settings.place}.env.{VARIABLE}", hint="keep one of the two")
    found = tuple(_speculation(spec, role, engine, key))
    yield from found or never(overlap(role), key, _SOURCE)


def _speculation(spec: ClusterSpec, role: RoleSpec, engine: Engine, key: str) -> Iterator[Problem]:
    drafting = any(speculates(settings.args) for settings in reaching(spec, role))
    if is_contract_a(engine.version) and drafting:
        yield Problem(
            f"{engine} does not start {role.name} with dual-batch overlap and a speculative-config: "
            "it takes DeepSeek without MTP",
            key=key,
            hint=f"remove {key.rpartition('.')[2]}, or speculative-config: null in args of {role.name}",
            source=_PLATFORM,
        )


def check_model(spec: ClusterSpec, model: Mapping[str, Any], version: str) -> Iterator[Problem]:
    """A model that is not split: 0.9.1 does not start with it, later versions ignore the switch."""
    kind = str(model.get("model_type", ""))
    if not kind or "deepseek" in kind or at_least(version, GONE):
        return
    refused = is_contract_a(version)
    for role in spec.roles:
        if role.dbo is not None:
            effect = "does not start with" if refused else "ignores"
            yield Problem(
                f"vllm-ascend {version} {effect} dual-batch overlap for a model of type {kind}: "
                "it takes DeepSeek only",
                key=f"roles.{role.name}.dbo",
                hint="remove dbo",
                warning=not refused,
                source=_PLATFORM if refused else "vllm-ascend v0.10.2rc1, vllm_ascend/models/__init__.py",
            )


def overlap(role: RoleSpec) -> Overlap:
    """Which of the role's steps are split: between two requests, and only where prompts are computed."""
    most = largest_step(role)
    alone = number(role.args.get("max-num-seqs")) == 1
    prefill = Steps(kind="with prefill", least=None if alone else TOKENS, most=most)
    decode = Steps(kind="of decode only", least=None, most=most)
    if role.name == DECODE:
        return Overlap(steps=(decode,))
    low, high = SHARE
    conditions = [
        f"at least {PREFILL_TOKENS} of the tokens are prefill",
        f"a cut between two requests leaves each half {low} to {high} % of the tokens (imbalance ratio 0.1)",
    ]
    if role.dp > 1:
        conditions.append(at_once(role))
    return Overlap(steps=(prefill, decode), conditions=() if alone else tuple(conditions))
