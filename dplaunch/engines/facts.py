"""What others may know of an engine without asking it to do anything: values, one per kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct, field

from dplaunch.model.cluster import Family, Lb
from dplaunch.model.plan import Api, Stage

Need = Literal["version", "path", "hardware", "devices", "kv_transfer"]
"""What the cluster file must give an engine: ``hardware`` may say that there are no devices."""


class ReservedPorts(Struct, frozen=True):
    """Ports of each host that the engine's own libraries take, half-open."""

    first: int
    end: int
    owner: str
    moved_by: str = ""
    """The environment variable that holds another first one."""

    def at(self, first: str) -> range:
        """The ports from ``first`` on, given as text; the usual ones where that is not a number."""
        start = int(first) if first.isdecimal() else self.first
        return range(start, start + self.end - self.first)


class RandomPorts(Struct, frozen=True):
    """Ports from which a KV connector draws: ``first`` on, ``each`` for every device of the node from 0 on.

    ``connector`` is how the names of such connectors begin.
    """

    connector: str
    first: int
    each: int
    owner: str
    source: str

    def on(self, devices: Iterable[int]) -> range:
        """What may be drawn on a node where these devices are in use."""
        return range(self.first, self.first + self.each * (max(devices, default=-1) + 1))


class Help(Struct, frozen=True):
    """How an engine's program prints the flags it takes.

    ``ask`` is shell text that prints them; ``sure`` a flag of every version: an answer without it is not the
    whole help.
    """

    program: str
    ask: str
    sure: str


class Software(Struct, frozen=True):
    """A package or toolkit, and the versions of it that fit; ``whose`` names who wants them.

    What is ``wanted`` must be so; anything else is only what the engine was released with.
    """

    name: str
    versions: tuple[str, ...]
    whose: str
    wanted: bool = True


class Dense(Struct, frozen=True):
    """What happens to a model without experts whose data parallelism is above 1."""

    refused: bool
    """It does not start; else it runs, though not as meant."""
    effect: str
    source: str


class Metrics(Struct, frozen=True, kw_only=True):
    """Names of an engine's Prometheus metrics, for a dashboard. Empty: it has none.

    Histograms are of seconds and named without ``_bucket``; gauges of caches are from 0 to 1.
    """

    finished: str = ""
    """Counter of requests answered."""
    running: str = ""
    waiting: str = ""
    ttft: str = ""
    """Histogram of the time to a request's first token."""
    tpot: str = ""
    """Histogram of the time from one token to the next."""
    kv_used: str = ""
    """Gauge of the KV cache in use."""
    prefix_queries: str = ""
    """Counter of prompt tokens looked up among cached prefixes."""
    prefix_hits: str = ""
    """Counter of those found there."""
    prefix_rate: str = ""
    """Gauge of found by looked up, where the engine divides them itself."""
    port: str = ""
    """Which of its named ports serves them where a rank has it; else the endpoint's own does."""
    condition: str = ""
    """A sentence: what must be set for them to be served."""


class EngineFacts(Struct, frozen=True, kw_only=True):
    """One engine kind of the cluster file."""

    kind: str
    needs: frozenset[Need] = frozenset()
    families: tuple[tuple[Family, int], ...] = ()
    """Hardware families it runs on, each with the devices a node of it has at least: the first that fits is
    taken where the file names none, ``cpu`` where none fits."""
    example_hardware: str = ""
    """What a file without hardware could say."""
    default_version: str = ""
    default_connector: str = ""
    stores: tuple[str, ...] = ()
    """Connectors that keep KV beside an engine, or combine such: one role can use them alone."""
    ports: Mapping[str, int] = field(default_factory=lambda: {"http": 9000})
    """Names of its ports, each with the base to count from unless the file gives another."""
    reserved: tuple[ReservedPorts, ...] = ()
    random_ports: tuple[RandomPorts, ...] = ()
    script: str = ""
    """Name of the script that starts it."""
    key_env: str = ""
    """Where it looks for the key that clients must present."""
    api: Api = field(default_factory=Api)
    metrics: Metrics = Metrics()
    """Of its newest release."""
    stages: tuple[Stage, ...] = ()
    """Log lines of start-up, in order."""
    banners: tuple[str, ...] = ()
    """What it logs once for each launch."""
    chatter: tuple[str, ...] = ()
    """Regular expressions of lines that it logs all the time while it serves."""
    packages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Software to look at on a node, in the order it is printed: what it is called here, and the Python
    packages that it may be installed as; none for a toolkit, which is found in its own way."""
    must_agree: tuple[str, ...] = ()
    """Software of which all nodes need the same version."""
    computed: Mapping[str, str] = field(default_factory=dict)
    """Regular expressions of flags that dplaunch computes → what of the cluster file decides them."""
    help: Help | None = None
    """None where the command line is not ours to check."""
    titles: tuple[str, ...] = ()
    """Regular expressions: how a command line of such an engine or of its own routers begins, without the
    interpreter and the folder."""
    lb: tuple[Lb, ...] = ("external",)
    """Ways to balance over the ranks of a group that it knows."""
    spans_nodes: bool = False
    """One engine can be spread over several nodes."""
    takes_rank_table: bool = False
    """The cluster file may name the rank table of its engines (``engine.rank_table``)."""
    deploys: bool = False
    """Its own program makes its pods on Kubernetes: nodes are control nodes, on which that runs."""
    serves: bool = True
    """It has endpoints; else it is a job, and nothing is routed to it."""
    without_dbo: str = "it has no dual-batch overlap"
    """Why ``dbo`` of a role has no effect; empty for an engine that knows it."""
    rehearsal: bool = False
    """It only stands in for an engine."""
