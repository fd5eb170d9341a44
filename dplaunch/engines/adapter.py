"""What every engine adapter offers ``plan``: pure functions from (spec, seats) to what will run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol

from msgspec import Struct, field

from dplaunch.engines.facts import Dense, EngineFacts, Metrics, Software
from dplaunch.errors import Problem
from dplaunch.model.cluster import ArgValue, ClusterSpec, NodeSpec, RoleSpec, ServiceSpec
from dplaunch.model.kubernetes import Deployment
from dplaunch.model.plan import File, Flow, Overlap, Process, RankTable, Registry, Seat


class Site(Struct, frozen=True, kw_only=True):
    """One role on one node: what one script is written for."""

    spec: ClusterSpec
    facts: EngineFacts
    role: RoleSpec
    node: NodeSpec
    seats: tuple[Seat, ...]
    """This role's ranks on this node, groups and ranks in order."""

    @property
    def script_path(self) -> str:
        """``prefill/run_dp_template.sh``, relative to the node's folder."""
        return f"{self.role.name}/{self.facts.script}"

    @property
    def interface(self) -> str:
        """The node's network interface where it need not be found: given, or the loopback."""
        return self.node.nic or ("lo" if self.node.address.startswith("127.") else "")


class Template(Struct, frozen=True):
    """A file still to be rendered: template and finished values."""

    path: str
    template: str
    context: Mapping[str, object] = field(default_factory=dict)
    mode: int = 0o755


class NamedFile(Struct, frozen=True):
    """A file that a program reads, and the environment variable that names it."""

    variable: str
    name: str
    text: str


class PortNeed(Struct, frozen=True):
    """Ports of one name that a role needs: how many for each rank, each node of a group, or each group.

    A group's port is on the node of its rank 0. With ``common`` the whole group is configured with one base,
    from which rank r takes ``count`` ports at r × ``count``: the base is moved to where all of them are free.
    """

    name: str
    use: str
    """In messages: ``KV transfer``."""
    per: Literal["rank", "node", "group"] = "rank"
    count: int = 1
    common: bool = False
    listens: bool = True
    """The role itself binds them, rather than connecting to the other side's."""
    told: bool = True
    """All of a group are configured with the group's port, rather than only who listens."""


class Command(Struct, frozen=True):
    """What a script starts in the end, without secrets. ``${NAME}`` is only known on the node."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


class StandIn(Struct, frozen=True):
    """What plays the engine in a rehearsal: programs, first in PATH, and environment for them."""

    programs: Mapping[str, str]
    env: Mapping[str, str] = field(default_factory=dict)
    args: Mapping[str, ArgValue] = field(default_factory=dict)
    """Flags → values in place of the file's, which name files that a rehearsal must not touch."""
    routers: tuple[str, ...] = ()
    """Kinds of foreign routers that it plays too; in place of any other one our own runs."""


class EngineAdapter(Protocol):
    """One engine. Adapters hold no state and never touch a host."""

    @property
    def facts(self) -> EngineFacts:
        """What others may know of it."""

    def release(self, spec: ClusterSpec) -> str:
        """``vllm-ascend 0.23.0``."""

    def check(self, spec: ClusterSpec) -> tuple[Problem, ...]:
        """What this engine in this version refuses or would do wrong; warnings among it."""
        del spec
        return ()

    def software(self, spec: ClusterSpec) -> tuple[Software, ...]:
        """What should be installed on the nodes; nothing where that is not ours to know."""
        del spec
        return ()

    def dense(self, spec: ClusterSpec) -> Dense | None:
        """What becomes of a model without experts whose data parallelism is above 1; None: not known."""
        del spec
        return None

    def metrics(self, spec: ClusterSpec) -> Metrics:
        """Names of the metrics that its release has."""
        del spec
        return self.facts.metrics

    def weights(self, spec: ClusterSpec, model: Mapping[str, Any]) -> Iterable[Problem]:
        """What does not fit between the file and weights whose config.json holds ``model``.

        ``experts`` is their number, ``modelslim`` whether ModelSlim's description lies beside the weights,
        and ``own_tokenizer`` whether the folder has a tokenizer in Python only.
        """
        del spec, model
        return ()

    def rank_table(self, spec: ClusterSpec) -> RankTable | None:
        """The rank table that its engines read; None where they need none."""
        del spec
        return None

    def deployment(self, spec: ClusterSpec) -> Deployment | None:
        """What its own program makes on Kubernetes; None where it makes nothing there."""
        del spec
        return None

    def flow(self, spec: ClusterSpec) -> Flow | None:
        """How its KV transfer wants requests to go through split roles; None: as the router does it."""
        del spec
        return None

    def registry(self, spec: ClusterSpec) -> Registry | None:
        """Where its ranks report to; None where they do not."""
        del spec
        return None

    def service_file(self, spec: ClusterSpec, service: ServiceSpec) -> NamedFile | None:
        """What a service that it knows reads; None where that is not computed."""
        del spec, service
        return None

    def ports(self, spec: ClusterSpec, role: RoleSpec) -> tuple[PortNeed, ...]:
        """The ports that a role needs, of the names in ``facts.ports``."""

    def files(self, site: Site) -> tuple[Template | File, ...]:
        """What the role needs on the node."""

    def processes(self, site: Site) -> Iterable[Process]:
        """What runs there, by a layout; ports, files and fingerprints are added by the planner.

        Paths in ``argv`` are relative to the node's folder.
        """

    def overlap(self, spec: ClusterSpec, role: RoleSpec) -> Overlap | None:
        """Which of the role's steps dual-batch overlap splits; None: it is off, or unknown."""
        del spec, role
        return None

    def commands(self, site: Site) -> Mapping[str, Command]:
        """Process → the command of its engine; empty where a process's own words are all that is known."""
        del site
        return {}

    def router_command(
        self, spec: ClusterSpec, node: NodeSpec, port: int
    ) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]] | None:
        """The command of the router that it deploys, and its flags line by line; None: it has none.

        ``port``: where its health is to be asked.
        """
        del spec, node, port
        return None

    def stand_in(self, spec: ClusterSpec) -> StandIn:
        """What a rehearsal runs in its place."""
