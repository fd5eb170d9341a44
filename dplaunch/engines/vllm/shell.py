"""The values every engine's script template is rendered with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from dplaunch.engines.adapter import Site
from dplaunch.engines.layout import per_rank
from dplaunch.engines.settings import Env, Flags, Split, secrets, split, user_env
from dplaunch.model.cluster import RoleSpec
from dplaunch.model.plan import Process, Seat, StopStep

CONTRACT_A = (
    ("dp_size", "DP_SIZE"),
    ("dp_address", "DP_ADDRESS"),
    ("dp_rpc_port", "DP_RPC_PORT"),
    ("dp_rank_local", "DP_RANK_LOCAL"),
    ("dp_rank", "DP_RANK"),
    ("http_port", "HTTP_PORT"),
    ("dp_size_local", "DP_SIZE_LOCAL"),
)
"""Positional arguments of run_dp_template.sh, vllm-ascend v0.9.1, examples/external_online_dp."""

CONTRACT_B = (
    ("devices", "DEVICES"),
    ("http_port", "HTTP_PORT"),
    ("dp_size", "DP_SIZE"),
    ("dp_rank", "DP_RANK"),
    ("dp_address", "DP_ADDRESS"),
    ("dp_rpc_port", "DP_RPC_PORT"),
    ("tp_size", "TP_SIZE"),
)
"""The same from 0.10.1rc1 on (vllm-ascend PR #2685)."""

Contract = tuple[tuple[str, str], ...]
Lines = tuple[tuple[str, str], ...]

COMPUTED = "What addresses, hardware, connector and version need"
WRITTEN = "From the cluster file"


def arguments(contract: Contract, site: Site, seat: Seat) -> tuple[str, ...]:
    """One engine's positional arguments, in the contract's order."""
    values = {
        "devices": ",".join(str(device) for device in seat.devices),
        "http_port": str(seat.port("http")),
        "dp_size": str(site.role.dp),
        "dp_rank": str(seat.rank),
        "dp_rank_local": str(seat.local_rank),
        "dp_size_local": str(seat.local_size),
        "dp_address": seat.master,
        "dp_rpc_port": str(seat.port("rpc")),
        "tp_size": str(site.role.tp),
    }
    return tuple(values[name] for name, _ in contract)


def group_devices(site: Site, seat: Seat) -> str:
    """All devices of the seat's group on this node, comma separated."""
    mine = (s for s in site.seats if s.group == seat.group)
    return ",".join(str(device) for s in mine for device in s.devices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What an adapter knows of its script. The callables give one engine's own values."""

    release: str
    contract: Contract
    sizes: Lines
    """Flags whose values are the script's arguments, as shell text; none for a script of the user's."""
    computed: Callable[[Site, Seat], Env]
    flags: Callable[[Site, Seat], Flags]


def sizes_a(role: RoleSpec) -> Lines:
    """What vllm-ascend 0.9.1 takes as flags: data parallelism comes in its environment."""
    return ("--port", '"$http_port"'), ("--tensor-parallel-size", str(role.tp))


def sizes_b(role: RoleSpec) -> Lines:
    """The layout as flags."""
    ranks = (
        ("--data-parallel-size", '"$dp_size"'),
        ("--data-parallel-rank", '"$dp_rank"'),
        ("--data-parallel-address", '"$dp_address"'),
        ("--data-parallel-rpc-port", '"$dp_rpc_port"'),
    )
    parallel = ranks if role.dp > 1 else ()
    return ("--port", '"$http_port"'), *parallel, ("--tensor-parallel-size", '"$tp_size"')


def processes(site: Site, recipe: Recipe, script: str, stop: tuple[StopStep, ...]) -> Iterator[Process]:
    """One engine for each rank: the script with the contract's positional arguments."""
    for process in per_rank(site):
        [seat] = process.seats
        yield replace(
            process,
            argv=("bash", script, *arguments(recipe.contract, site, seat)),
            flags=flag_names(site, recipe, seat),
            env=secrets(site, seat),
            stop=stop,
        )


def flag_names(site: Site, recipe: Recipe, seat: Seat) -> tuple[str, ...]:
    """Flags of an engine's command line, in order, without fields; none where a user's script writes it."""
    if not recipe.sizes:
        return ()
    given = (words[0] for words in recipe.flags(site, seat).values() if words)
    names = (*(flag for flag, _ in recipe.sizes), *given, "--served-model-name")
    return tuple(dict.fromkeys(name.partition("=")[0].partition(".")[0] for name in names))


def context(site: Site, recipe: Recipe) -> dict[str, object]:
    """Everything ``templates/<engine>/*.sh.j2`` and the parts in ``templates/shell`` refer to."""
    written = [user_env(site, seat) for seat in site.seats]
    envs = [recipe.computed(site, seat) | own for seat, own in zip(site.seats, written, strict=True)]
    shared = split(site.seats, _labels(site), envs, [recipe.flags(site, seat) for seat in site.seats])
    return {
        "title": f"{site.spec.name}: {site.role.name} on {site.node.name} ({site.node.address})",
        "release": recipe.release,
        "script": site.facts.script,
        "contract": recipe.contract,
        "engines": [(s.name, arguments(recipe.contract, site, s)) for s in site.seats],
        "setup": site.spec.runtime.setup,
        "python": site.spec.runtime.python,
        "address": site.node.address,
        "nic": _interface(site),
        "sizes": recipe.sizes,
        "model": site.spec.model,
        "served_model_name": site.spec.served_model_name,
        "exports": _exports(shared, written[0]),
        "secrets": sorted({name for seat in site.seats for name in secrets(site, seat)}),
        "selector": _selector(site),
        "arms": shared.arms,
        "flags": shared.flags,
    }


def _exports(shared: Split, written: Env) -> list[tuple[str, list[tuple[str, str]]]]:
    """Computed values first: the user's may refer to them, and win where both have one."""
    computed = [(name, value) for name, value in shared.env if name not in written]
    own = [(name, value) for name, value in shared.env if name in written]
    return [(COMPUTED, computed), (WRITTEN, own)]


def _selector(site: Site) -> str:
    return "dp_rank" if len({s.group for s in site.seats}) == 1 else "http_port"


def _labels(site: Site) -> Sequence[str]:
    by_rank = _selector(site) == "dp_rank"
    return [str(s.rank if by_rank else s.port("http")) for s in site.seats]


def _interface(site: Site) -> str:
    """Where it need not be found: given, or the loopback, whose addresses are listed nowhere."""
    return site.node.nic or ("lo" if site.node.address.startswith("127.") else "")
