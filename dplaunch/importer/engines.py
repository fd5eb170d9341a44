"""What a started process is, read from its command line and its environment: sizes, rank, group, devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from dplaunch.engines.ascend import releases as ascend_releases
from dplaunch.engines.ascend.connectors import registered
from dplaunch.engines.ascend.releases import is_contract_a
from dplaunch.engines.fastdeploy import flag_rules
from dplaunch.engines.flagtable import Flags
from dplaunch.engines.versions import parse as parse_version
from dplaunch.engines.vllm import flagtable
from dplaunch.engines.vllm import releases as vllm_releases
from dplaunch.engines.vllm.transfer import KV_ROLES
from dplaunch.errors import UsageError
from dplaunch.importer import arguments
from dplaunch.importer.source import Proxy, Source
from dplaunch.model.cluster import DECODE, PREFILL, SERVE, Lb
from dplaunch.model.imported import Launch

ASCEND, VLLM, FASTDEPLOY = "vllm-ascend", "vllm", "fastdeploy"
FASTDEPLOY_NEWEST = "2.5.0"
VISIBLE = ("ASCEND_RT_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
TRANSFER = "kv-transfer-config"
_FORMS: dict[str, Lb] = {
    "data-parallel-hybrid-lb": "hybrid",
    "data-parallel-multi-port-external-lb": "supervisor",
}
_OF_ASCEND = ("HCCL_", "ASCEND_", "PYTORCH_NPU_", "VLLM_ASCEND_", "TASK_QUEUE_")


class Kind(Struct, frozen=True):
    """Which engine the source starts. ``why``: how its version was found."""

    name: str
    version: str
    why: str

    @property
    def by_env(self) -> bool:
        """Whether this engine takes its data parallelism from the environment."""
        return self.name == ASCEND and is_contract_a(self.version)

    def has_connector(self, name: str) -> bool:
        """Whether this release is known to have, or may have, a connector."""
        return self.name != ASCEND or name in registered(self.version)

    @property
    def flags(self) -> Flags | None:
        """The flags of the engine that runs."""
        if self.name == FASTDEPLOY:
            return flag_rules.flags(self.version)
        known = ascend_releases.find(self.version) if self.name == ASCEND else None
        return flagtable.flags(known.vllm if known else self.version)


class Engine(Struct, frozen=True, eq=False):
    """One process of the source, as far as the cluster file's keys describe it; equal to itself only."""

    launch: Launch
    flags: Mapping[str, Any]
    role: str
    dp: int
    rank: int
    address: str
    rpc: int
    lb: Lb
    part: int = 0
    """Which part it is of an engine that is spread over nodes."""

    @property
    def host(self) -> str:
        """Where it is started."""
        return self.launch.host

    @property
    def port(self) -> int:
        """Where it answers, or its first rank does."""
        ports = self.flags.get("ports", self.flags.get("port"))
        return number(str(ports).split(",")[0], 8000)

    @property
    def serves(self) -> bool:
        """Whether it has an HTTP server."""
        return "headless" not in self.flags and not self.part

    @property
    def sizes(self) -> dict[str, int]:
        """The parallel sizes of its role."""
        names = {"tp": "tensor", "pp": "pipeline", "pcp": "prefill-context", "dcp": "decode-context"}
        return {key: number(self.flags.get(f"{name}-parallel-size"), 1) for key, name in names.items()}

    @property
    def local(self) -> int:
        """Ranks of its group that it starts itself."""
        if self.lb == "external":
            return 1
        return number(self.flags.get("data-parallel-size-local"), self.dp)

    @property
    def group(self) -> tuple[object, ...]:
        """Equal for processes of one group; one that is a whole group has its own."""
        spread = number(self.flags.get("nnodes"), 1) > 1
        alone = not spread and (self.dp in (1, self.local))
        own = (self.host, self.port) if alone else ()
        return self.role, () if alone else (self.address, self.rpc), own

    @property
    def devices(self) -> tuple[int, ...]:
        """The devices that it sees by number; none where it sees all."""
        for name in VISIBLE:
            words = self.launch.env.get(name, "").split(",")
            if all(word.strip().isdecimal() for word in words):
                return tuple(int(word) for word in words)
        return ()


def number(value: Any, default: int) -> int:
    """A whole number from a flag or a variable; ``default`` where it holds none."""
    text = str(value).strip()
    return int(text) if text.lstrip("-").isdecimal() else default


def recognise(source: Source, version: str) -> Kind:
    """Which engine runs, and its version: the user's, the only one that fits, or the newest release."""
    ascend = any(_is_ascend(launch) for launch in source.launches)
    name = ASCEND if ascend else VLLM
    if any(launch.program.startswith(FASTDEPLOY) for launch in source.launches):
        name = FASTDEPLOY
    if version:
        return Kind(name, version, "given to `dplaunch import`")
    if name == FASTDEPLOY:
        return Kind(name, FASTDEPLOY_NEWEST, "the newest that dplaunch was tried with")
    by_env = any("VLLM_DP_RANK" in launch.env for launch in source.launches)
    used = {str(block.get("kv_connector")) for block in _blocks(source.launches)}
    if ascend and by_env and used <= {*registered("0.9.1")}:
        return Kind(name, "0.9.1", "it alone gets its ranks from VLLM_DP_*")
    known = [r.version for r in ascend_releases.RELEASES] if ascend else list(vllm_releases.RELEASES)
    finals = [text for text in known if (found := parse_version(text)) and "rc" not in text and found]
    return Kind(name, finals[-1], "the newest release that dplaunch knows")


def _is_ascend(launch: Launch) -> bool:
    flags = arguments.parse(launch.words, None)
    return (
        any(name.startswith(_OF_ASCEND) for name in launch.env)
        or flags.get("quantization") == "ascend"
        or "Ascend" in str(flags.get(TRANSFER, ""))
    )


def _blocks(launches: list[Launch]) -> list[Mapping[str, Any]]:
    found = (arguments.parse(launch.words, None).get(TRANSFER) for launch in launches)
    return [block for block in found if isinstance(block, Mapping)]


def understand(source: Source, kind: Kind) -> list[Engine]:
    """Every process of the source. Raises UsageError where one has no host, or numbers are missing."""
    roles = _roles_by_proxy(source.proxies)
    engines = [_engine(launch, kind, roles) for launch in source.launches]
    for engine in engines:
        if not isinstance(engine.flags.get(TRANSFER, {}), Mapping):
            text = f"the value of --{TRANSFER} is not JSON, and was not carried over"
            source.leave(
                engine.launch.where, text, "look for a comma after the last entry, or a missing quote"
            )
    lost = next((engine for engine in engines if not engine.host), None)
    if lost:
        raise UsageError(
            f"{lost.launch.where}: no host is named for this engine",
            hint="give the file as HOST=FILE, or write a line `# HOST` above the commands of each host",
        )
    both = {engine.role for engine in engines} & {PREFILL, DECODE}
    if both and any(engine.role == SERVE for engine in engines):
        unknown = next(engine for engine in engines if engine.role == SERVE)
        raise UsageError(
            f"{unknown.launch.where}: whether this engine is prefill or decode cannot be seen",
            hint="it has neither a kv_role nor a place in the proxy's command line: add one of them",
        )
    return engines


def _engine(launch: Launch, kind: Kind, roles: Mapping[tuple[str, int], str]) -> Engine:
    flags, env = arguments.parse(launch.words, kind.flags), launch.env
    block = flags.get(TRANSFER)
    by_kv = {role: name for name, role in KV_ROLES.items()}
    role = by_kv.get(str(block.get("kv_role")), "") if isinstance(block, Mapping) else ""
    split = str(flags.get("splitwise-role", ""))
    role = split if split in (PREFILL, DECODE) else role
    address = (launch.host, number(flags.get("port"), 8000))
    rank = flags.get("data-parallel-rank", flags.get("data-parallel-start-rank", env.get("VLLM_DP_RANK")))
    dp = number(flags.get("data-parallel-size", env.get("VLLM_DP_SIZE")), 1)
    return Engine(
        launch=launch,
        flags=flags,
        role=launch.role or role or roles.get(address, SERVE),
        dp=dp,
        rank=number(rank, 0),
        address=str(
            flags.get("data-parallel-address") or env.get("VLLM_DP_MASTER_IP") or flags.get("master-addr", "")
        ),
        rpc=number(
            flags.get("data-parallel-rpc-port", env.get("VLLM_DP_MASTER_PORT", flags.get("master-port"))), 0
        ),
        lb="supervisor" if kind.name == FASTDEPLOY else _form(flags, env, dp),
        part=number(flags.get("node-rank"), 0),
    )


def _form(flags: Mapping[str, Any], env: Mapping[str, str], dp: int) -> Lb:
    for flag, form in _FORMS.items():
        if flags.get(flag):
            return form
    by_rank = "data-parallel-rank" in flags or "data-parallel-external-lb" in flags or "VLLM_DP_RANK" in env
    return "external" if by_rank or dp == 1 else "internal"


def _roles_by_proxy(proxies: list[Proxy]) -> dict[tuple[str, int], str]:
    found: dict[tuple[str, int], str] = {}
    for proxy in proxies:
        if proxy.prefill:
            found |= dict.fromkeys(proxy.prefill, PREFILL) | dict.fromkeys(proxy.decode, DECODE)
    return found
