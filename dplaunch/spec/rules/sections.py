"""Rules about sections that need, forbid or name one another."""

from __future__ import annotations

from collections.abc import Iterator

from dplaunch.engines import facts, kinds
from dplaunch.engines.routers import KINDS, OURS
from dplaunch.model.cluster import DECODE, PREFILL, SERVE
from dplaunch.nearest import did_you_mean
from dplaunch.ranges import fold
from dplaunch.spec.finding import Finding, KeyPath, dotted
from dplaunch.spec.resolve import NODE, selected
from dplaunch.spec.rules.rule import SEATING, Case, Rule


def roles_complete(case: Case) -> Iterator[Finding]:
    """Prefill and decode, or serve alone."""
    given = case.file.roles.given().keys()
    if not given:
        yield Finding(
            ("roles",),
            "roles is empty",
            "add prefill and decode, or serve for one that does both",
            at_key=True,
        )
    elif SERVE in given and len(given) > 1:
        other = " and ".join(name for name in given if name != SERVE)
        yield Finding(
            ("roles", SERVE),
            f"serve does all the work and cannot stand beside {other}",
            "remove one",
            at_key=True,
        )
    elif len(given) == 1 and SERVE not in given:
        (one,) = given
        missing = DECODE if one == PREFILL else PREFILL
        yield Finding(
            ("roles",),
            f"{one} needs {missing}, which is missing",
            f"add {missing}, or call the one role serve",
            at_key=True,
        )


def client_keys(case: Case) -> Iterator[Finding]:
    """Keys of clients are known to our router only, and need a key for the engines behind it."""
    if not case.file.api_keys:
        return
    if case.spec.router is None or case.spec.router.kind != OURS:
        yield Finding(
            ("api_keys",),
            "api_keys needs dplaunch's router: other routers and engines know one key",
            "use router: {kind: dplaunch}, or api_key alone",
            at_key=True,
        )
    elif case.file.api_key is None:
        yield Finding(
            ("api_keys",),
            "api_keys needs api_key, the key that engines and dplaunch itself use",
            "add api_key: {from_env: NAME}, and keep it from clients",
            at_key=True,
        )


def engine_complete(case: Case) -> Iterator[Finding]:
    """A version for the engines whose script is rendered by it, a path for the user's own script."""
    engine, needs = case.file.engine, case.engine.needs
    if "version" in needs and engine.version is None:
        yield Finding(
            ("engine", "version"),
            f"engine.version is missing: it decides which flags {engine.kind} gets",
            'add version, in quotes: version: "0.23.0"',
        )
    roles = case.file.roles.given()
    if "path" in needs and engine.path is None and not all(role.path for role in roles.values()):
        yield Finding(
            ("engine", "path"),
            f"engine.path is missing: kind {engine.kind} runs your own script",
            f"add path: {case.engine.script}, or a path to each role",
        )
    if "path" not in needs:
        paths: dict[KeyPath, str | None] = {("engine", "path"): engine.path}
        paths |= {("roles", name, "path"): role.path for name, role in roles.items()}
        for path in (path for path, given in paths.items() if given is not None):
            # asked only here: every other engine is loaded for it
            takers = " or ".join(kind for kind in kinds() if "path" in facts(kind).needs)
            text = f"{dotted(path)} is for kind {takers}, not {engine.kind}"
            yield Finding(path, text, "remove it", at_key=True)


def rank_table_fits(case: Case) -> Iterator[Finding]:
    """Only some engines read a rank table that the engine's section names."""
    if case.file.engine.rank_table is not None and not case.engine.takes_rank_table:
        text = f"engine.rank_table has no effect with engine.kind {case.file.engine.kind}"
        yield Finding(("engine", "rank_table"), text, "remove it", at_key=True)


def hardware_given(case: Case) -> Iterator[Finding]:
    """Without it no device could be assigned, and engines would share them."""
    kind, needs = case.file.engine.kind, case.engine.needs
    roles = {name for role in case.spec.roles for name in role.nodes}
    bare = [node.name for node in case.spec.nodes if node.name in roles and not node.devices]
    families = [family for family, _ in case.engine.families]
    family = case.spec.hardware.family
    if case.file.hardware and families and family not in (*families, "cpu"):
        hint = f"{kind} runs on {', '.join(families)}; for others choose another engine.kind"
        yield Finding(("hardware",), f"{kind} does not run on hardware of family {family}", hint)
    if case.file.hardware is None and "hardware" in needs:
        hint = f"add hardware: {case.engine.example_hardware}"
        yield Finding(("hardware",), f"hardware is missing: {kind} needs devices", hint)
    elif bare and "devices" in needs:
        yield Finding(
            ("hardware",),
            f"{kind} needs devices, and {fold(bare)} has none",
            "add devices to hardware or node",
        )


def kv_transfer_fits(case: Case) -> Iterator[Finding]:
    """Prefill hands its KV cache to decode; a single role has no receiver, yet may have a store."""
    transfer = case.file.kv_transfer
    if transfer and case.spec.kv_transfer and case.file.roles.serve:
        stores = case.engine.stores
        movers = [name for name in case.spec.kv_transfer.connectors if name not in stores]
        if movers:
            hint = f"remove it; alone work {', '.join(stores)}" if stores else "remove it"
            text = f"{movers[0]} needs prefill and decode, and there is only serve"
            yield Finding(("kv_transfer",), text, hint, at_key=True)
    if transfer is None and case.spec.disaggregated and "kv_transfer" in case.engine.needs:
        yield Finding(
            ("kv_transfer",),
            "kv_transfer is missing: prefill hands its KV cache to decode",
            f"add kv_transfer: {{connector: {case.engine.default_connector}}}",
        )


def router_fits(case: Case) -> Iterator[Finding]:
    """The router sits on a node; keys of one kind are not given to another."""
    router = case.file.router
    names = [node.name for node in case.spec.nodes]
    if router.node is not None and router.node not in names:
        hint = did_you_mean(router.node, names, f"nodes are: {fold(names)}")
        yield Finding(
            ("router", "node"), f"router.node names {router.node}, which is not a node of this file", hint
        )
    script = KINDS[router.kind].script if router.kind in KINDS else ""
    if script and router.path is None:
        yield Finding(
            ("router", "path"),
            f"router.path is missing: kind {router.kind} runs {script}",
            "add path: where the script is on the router's node",
        )
    owners = {key: name for name, kind in KINDS.items() for key in kind.keys}
    for key in sorted(router.model_fields_set & owners.keys()):
        if router.kind != owners[key]:
            text = f"router.{key} is for kind {owners[key]}, not {router.kind}"
            yield Finding(("router", key), text, "remove it", at_key=True)


def warmup_fits(case: Case) -> Iterator[Finding]:
    """A warm-up request fits the max-model-len of the engines that receive it."""
    warmup = case.spec.warmup
    if warmup is None:
        return
    tokens = warmup.prompt_tokens + warmup.output_tokens
    for role in case.spec.roles[:1]:
        most = role.args.get("max-model-len")
        if isinstance(most, int) and tokens > most:
            yield Finding(
                ("warmup", "prompt_tokens"),
                f"a warm-up request of {tokens} tokens is longer than {role.name}'s max-model-len {most}",
                "make prompt_tokens and output_tokens smaller",
            )


def overrides_exist(case: Case) -> Iterator[Finding]:
    """An override names an engine or a node of this cluster, and no other override names it too."""
    nodes = [NODE + node.name for node in case.spec.nodes]
    engines = [f"{role.name}-{n}" for role in case.spec.roles for n in range(role.groups * role.dp)]
    seen: dict[str, str] = {}
    for key in case.file.overrides:
        for name in selected(key):
            if name not in {*engines, *nodes}:
                hint = f"use one of {fold(engines)}, {fold(nodes)}"
                yield Finding(
                    ("overrides", key), f"{name} is neither an engine nor node:NAME", hint, at_key=True
                )
            if seen.setdefault(name, key) != key:
                yield Finding(
                    ("overrides", key),
                    f"{name} is already in {seen[name]}",
                    "keep it in one of the two",
                    at_key=True,
                )


RULES = (
    Rule(("roles.*",), roles_complete),
    Rule(("engine.kind", "engine.version", "engine.path", "roles.*.path"), engine_complete),
    Rule(("engine.kind", "engine.rank_table"), rank_table_fits),
    Rule(("engine.kind", "hardware.**", "nodes.*.name", "nodes.*.devices", "roles.*.nodes"), hardware_given),
    Rule(("engine.kind", "kv_transfer", "roles.*"), kv_transfer_fits),
    Rule(("nodes.*.name", "router.**"), router_fits),
    Rule(("api_key", "api_keys", "router.**"), client_keys),
    Rule(("warmup.**", "roles.**", "defaults.args"), warmup_fits),
    Rule(("overrides", *SEATING), overrides_exist),
)
