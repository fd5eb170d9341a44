"""What engines share that a script starts: processes, and the values its template needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from dplaunch.engines.adapter import Command, EngineAdapter, PortNeed, Site, StandIn
from dplaunch.engines.facts import Metrics
from dplaunch.engines.settings import Env, Flags, Split, secrets, split, user_env
from dplaunch.engines.vllm import forms, parallel
from dplaunch.engines.vllm.facts import LOOKED_UP, metrics
from dplaunch.engines.vllm.forms import Contract, Lines
from dplaunch.engines.vllm.lint import as_map
from dplaunch.model.cluster import DECODE, ClusterSpec, RoleSpec
from dplaunch.model.plan import Endpoint, Process, Seat, StopStep

COMPUTED = "What addresses, hardware, connector and version need"
WRITTEN = "From the cluster file"
UNITS: Mapping[forms.Unit, str] = {
    "rank": "One run starts one engine, that is one data-parallel rank",
    "node": "One run starts all data-parallel ranks of a group on this node, behind one HTTP server",
    "front": "One run starts the ranks of a group on this node, and the HTTP server of the whole group",
    "headless": "One run starts the ranks of a group on this node; its HTTP server is on another node",
    "supervisor": "One run starts vLLM's DP supervisor, which starts every rank of a group on this node",
    "part": "One run starts this node's part of an engine that is spread over several nodes",
}
STAND_IN = """#!/bin/sh
# Stands in for vLLM: the rehearsal engine takes the same arguments and environment.
exec python3 -I -S "${DPLAUNCH_BUNDLE:?is not set: start rehearsals with dplaunch}" rehearsal vllm "$@"
"""


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
        "dp_start_rank": str(seat.rank),
        "supervisor_port": str(seat.port("supervisor")),
        "nnodes": str(seat.parts),
        "node_rank": str(seat.part),
        "master_addr": seat.master,
        "master_port": str(seat.port("master")),
    }
    return tuple(values[name] for name in contract)


def lead(site: Site) -> Site:
    """The site with one seat for each process."""
    return replace(site, seats=forms.leads(site))


def group_devices(site: Site, seat: Seat) -> str:
    """All devices of the seat's group on this node, comma separated."""
    mine = (s for s in site.seats if s.group == seat.group)
    return ",".join(str(device) for s in mine for device in s.devices)


def sizes_a(role: RoleSpec) -> Lines:
    """What vllm-ascend 0.9.1 takes as flags: data parallelism comes in its environment."""
    return ("--port", '"$http_port"'), ("--tensor-parallel-size", str(role.tp))


def needs(role: RoleSpec, kv: int = 0, *, listens: bool = False) -> Iterator[PortNeed]:
    """Servers, where a group meets, and ``kv`` ports for KV transfer of each rank."""
    yield from forms.needs(role)
    if kv:
        yield PortNeed("kv", "KV transfer", count=kv, common=True, listens=listens)


SERVE = ("vllm", "serve")


class Scripted(EngineAdapter):
    """An engine that a script starts, with positional arguments in a contract's order.

    Methods that are given a seat and those that return something for each seat see one for each process: its
    first, with the devices of all.
    """

    def vllm(self, spec: ClusterSpec) -> str:
        """The version of the vLLM that runs; empty where it is not known."""
        return spec.engine.version

    def contract(self, site: Site) -> Contract:
        """What the script's positional arguments mean."""
        return forms.contract(site)

    def sizes(self, site: Site) -> Lines:
        """Flags whose values are the script's arguments, as shell text; none for a script of the user's."""
        del site
        return ()

    def env(self, site: Site, seat: Seat) -> Env:
        """What dplaunch computes of one engine's environment."""
        del site, seat
        return {}

    def flags(self, site: Site) -> Sequence[Flags]:
        """The further flags of each seat's engine."""
        return [{} for _ in site.seats]

    def start_path(self, site: Site) -> str:
        """The script that is run, relative to the node's folder."""
        return site.script_path

    def stop(self, site: Site) -> tuple[StopStep, ...]:
        """How to end an engine."""
        return parallel.stop(site.role, self.vllm(site.spec))

    def processes(self, site: Site) -> Iterator[Process]:
        """Those of the role's form: the script with the contract's positional arguments."""
        led = lead(site)
        contract, sizes, stop = self.contract(led), self.sizes(led), self.stop(led)
        for process, seat, flags in zip(forms.layout(site), led.seats, self.flags(led), strict=True):
            yield replace(
                process,
                endpoints=self._counting(site, process.endpoints),
                argv=("bash", self.start_path(led), *arguments(contract, led, seat)),
                flags=_flag_names(sizes, flags),
                env=secrets(led, seat),
                stop=stop,
            )

    def metrics(self, spec: ClusterSpec) -> Metrics:
        """As its release of vLLM names them."""
        return metrics(spec.engine.version)

    def keeps_kv(self, spec: ClusterSpec) -> bool:
        """Whether engines keep KV in a store beside them."""
        del spec
        return False

    def _counting(self, site: Site, endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        """Those whose role looks prompts up in a store; decode engines count what prefill hands over too."""
        if site.role.name == DECODE or not self.keeps_kv(site.spec):
            return tuple(endpoints)
        return tuple(replace(one, api=replace(one.api, looked_up=LOOKED_UP)) for one in endpoints)

    def commands(self, site: Site) -> Mapping[str, Command]:
        """What the script starts for each process; nothing is known of a script of the user's."""
        led = lead(site)
        sizes = self.sizes(led)
        if not sizes:
            return {}
        return {
            process.name: self._command(led, seat, sizes, flags)
            for process, seat, flags in zip(forms.layout(site), led.seats, self.flags(led), strict=True)
        }

    def _command(self, site: Site, seat: Seat, sizes: Lines, flags: Flags) -> Command:
        contract = self.contract(site)
        known = dict(zip(contract, arguments(contract, site, seat), strict=True))
        known |= {"local_ip": site.node.address, "nic_name": site.interface or "${nic_name}"}

        def fill(text: str) -> str:
            return re.sub(r"\$\{?(\w+)\}?", lambda found: known.get(found[1], found[0]), text)

        given = [fill(word) for words in flags.values() for word in words]
        computed = [word for flag, value in sizes for word in (flag, fill(value).strip('"'))]
        end = ("--served-model-name", *_served_names(site))
        written = self.env(site, seat) | user_env(site, seat)
        env = {name: fill(value) for name, value in written.items() if isinstance(value, str)}
        return Command((*SERVE, site.spec.model, *computed, *given, *end), env)

    def stand_in(self, spec: ClusterSpec) -> StandIn:
        """The rehearsal engine, in the manner of this version of vLLM, or of its own choice."""
        version = self.vllm(spec)
        return StandIn({"vllm": STAND_IN}, {"DPLAUNCH_REHEARSAL_VERSION": version} if version else {})

    def context(self, site: Site) -> dict[str, object]:
        """Everything ``templates/<engine>/*.sh.j2`` and the parts in ``templates/shell`` refer to."""
        names = [process.name for process in forms.layout(site)]
        site = lead(site)
        written = [user_env(site, seat) for seat in site.seats]
        envs = [self.env(site, seat) | own for seat, own in zip(site.seats, written, strict=True)]
        shared = split(site.seats, _labels(site), envs, self.flags(site))
        contract = self.contract(site)
        return {
            "title": f"{site.spec.name}: {site.role.name} on {site.node.name} ({site.node.address})",
            "release": self.release(site.spec),
            "script": site.facts.script,
            "contract": contract,
            "unit": UNITS[forms.unit(site.role, leads=site.seats[0].leads)],
            "engines": [
                (name, arguments(contract, site, s)) for name, s in zip(names, site.seats, strict=True)
            ],
            "folder": any("${script_folder}" in str(value) for env in envs for value in env.values()),
            "setup": site.spec.runtime.setup,
            "python": site.spec.runtime.python,
            "address": site.node.address,
            "pod": bool(site.node.pod),
            "nic": site.interface,
            "sizes": self.sizes(site),
            "model": site.spec.model,
            "served_names": _served_names(site),
            "exports": _exports(shared, written[0]),
            "secrets": sorted({name for seat in site.seats for name in secrets(site, seat)}),
            "selector": _selector(site),
            "arms": shared.arms,
            "flags": shared.flags,
        }


def _served_names(site: Site) -> tuple[str, ...]:
    """Names of the model itself: an adapter has its name from ``lora-modules``."""
    given = site.role.args.get("lora-modules", ())
    modules = given if isinstance(given, tuple) else (given,)
    adapters = {str(as_map(one).get("name") or str(one).partition("=")[0]) for one in modules}
    aliases = (name for name in site.spec.aliases if name not in adapters)
    return site.spec.served_model_name, *aliases


def _flag_names(sizes: Lines, flags: Flags) -> tuple[str, ...]:
    """Flags of an engine's command line, in order, without fields; none where a user's script writes it."""
    if not sizes:
        return ()
    given = (words[0] for words in flags.values() if words)
    names = (*(flag for flag, _ in sizes), *given, "--served-model-name")
    return tuple(dict.fromkeys(name.partition("=")[0].partition(".")[0] for name in names))


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
