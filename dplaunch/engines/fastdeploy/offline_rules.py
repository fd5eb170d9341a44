"""What an offline program of FastDeploy would refuse, or wait for in vain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from msgspec.structs import replace

from dplaunch.engines import flag_rules as shared_flag_rules
from dplaunch.engines import rules as shared_rules
from dplaunch.engines.fastdeploy import flag_rules, forms, rules
from dplaunch.errors import Problem
from dplaunch.model.cluster import PREFILL, ArgValue, ClusterSpec

OWN = ("prompts", "prompts-file", "sampling-params", "output-file")
"""Keys of ``args`` that are the program's, beside LLM's arguments."""
OF_SERVERS = (
    *("api-key", "host", "port", "metrics-port", "controller-port", "local-data-parallel-id", "router"),
    *("enable-mm-output", "max-concurrency", "max-waiting-time", "timeout"),
    *("timeout-graceful-shutdown", "workers"),
)
"""Flags of api_server that EngineArgs does not have, or a program has no use for."""
SAMPLING = (
    *("n", "best_of", "presence_penalty", "frequency_penalty", "repetition_penalty", "temperature", "top_p"),
    *("top_k", "min_p", "seed", "stop", "stop_token_ids", "stop_seqs_len", "max_tokens", "min_tokens"),
    *("reasoning_max_tokens", "response_max_tokens", "logprobs", "prompt_logprobs", "temp_scaled_logprobs"),
    *("top_p_normalized_logprobs", "bad_words", "bad_words_token_ids", "guided_decoding"),
    "logits_processors_args",
)
"""Fields of SamplingParams, 2.2 to 2.6."""


def check(spec: ClusterSpec) -> Iterator[Problem]:
    """Problems of the file with this FastDeploy."""
    yield from rules.shared(spec)
    yield from rules.need_experts(spec)
    yield from _alone(spec)
    yield from _scheduler(spec)
    for place, args in shared_rules.arguments(spec):
        for name, value in args.items():
            for problem in _argument(spec.engine.version, name, value):
                yield replace(problem, key=f"{place}.{name}")
    yield from _prompts(spec)


def _alone(spec: ClusterSpec) -> Iterator[Problem]:
    """It is one program on one node, without an endpoint."""
    if spec.router is not None and spec.router.kind != "none":
        text = f"{forms.OFFLINE} runs a job, which has no endpoint that a router could reach"
        yield Problem(text, key="router", hint="remove router")
    for role in spec.roles:
        if role.name == PREFILL:
            text = "an offline program does both, prefill and decode"
            yield Problem(text, key="roles.prefill", hint="roles: {serve: …}; kind: fastdeploy splits them")
        elif role.name != "decode" and (len(role.nodes) > 1 or role.groups > 1):
            text = f"an offline program runs on one node, and {role.name} has {len(role.nodes)}"
            yield Problem(text, key=f"roles.{role.name}.nodes", hint="a file for each part of the prompts")


def _scheduler(spec: ClusterSpec) -> Iterator[Problem]:
    for role in spec.roles:
        if role.dp > 1 and spec.redis is None:
            yield Problem(
                f"{role.name} has dp {role.dp}, and FastDeploy's LLM gives requests to ranks beyond the "
                "first through Redis only",
                key=f"roles.{role.name}.dp",
                hint=f"redis: {{node: {role.nodes[0]}}}, or dp: 1 with a larger tp",
                source="FastDeploy, entrypoints/llm.py and engine/engine.py",
            )


def _prompts(spec: ClusterSpec) -> Iterator[Problem]:
    for role in spec.roles:
        given = [name for name in ("prompts", "prompts-file") if role.args.get(name)]
        if len(given) != 1:
            found = "both are given" if given else "neither is given"
            yield Problem(
                f"an offline program takes prompts or prompts-file, and {found}",
                key=f"roles.{role.name}.args",
                hint='args: {prompts: ["Hello"]}, or prompts-file: /data/prompts.txt, one in a line',
            )


def _argument(version: str, name: str, value: ArgValue) -> Iterator[Problem]:
    if name in ("prompts-file", "output-file"):
        if not (isinstance(value, str) and value.startswith("/")):
            yield Problem(f"{name} takes an absolute path on the node", hint=f"{name}: /data/{name}.txt")
    elif name == "prompts":
        texts = value if isinstance(value, tuple) else (value,)
        if not all(isinstance(text, str) for text in texts):
            yield Problem("prompts takes texts", hint='prompts: ["Hello, my name is"]')
    elif name == "sampling-params":
        yield from _sampling(value)
    elif name in OF_SERVERS:
        yield Problem(f"{name} is for servers, and this is a program", hint="remove it")
    elif name.startswith("no-"):
        text = f"LLM takes no {name}: its arguments are the fields of EngineArgs"
        yield Problem(text, hint=f"{name.removeprefix('no-')}: false")
    else:
        yield from shared_flag_rules.judge(flag_rules.parser(version), flag_rules.spelt(version, name), value)


def _sampling(value: ArgValue) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield Problem("sampling-params takes keys with values", hint="sampling-params: {temperature: 0.8}")
        return
    for name in value:
        if name.replace("-", "_") not in SAMPLING:
            near = get_close_matches(name.replace("-", "_"), SAMPLING, n=1)
            hint = (
                f"did you mean {near[0]}?"
                if near
                else "its fields are in fastdeploy/engine/sampling_params.py"
            )
            yield Problem(f"SamplingParams has no field {name}", hint=hint)
