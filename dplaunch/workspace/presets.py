"""The shipped examples, which ``init`` turns into a first cluster file."""

from __future__ import annotations

import difflib
import ipaddress
import re
import socket
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from dplaunch.errors import UsageError
from dplaunch.ranges import expand, fold
from dplaunch.render import clusters_root

Lookup = Callable[[str], str]
"""Host name → its address; empty where it has none that other nodes could use."""

_NODES = re.compile(r"^nodes:\n(?:[ #].*\n|\n)+", re.MULTILINE)
_HOST = re.compile(r"""\bhost:\s*("[^"]*"|[^\s,}]+)""")
_CLUSTER = re.compile(r"^cluster: (\S+)", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LOCAL, _LOOPBACK = "localhost", "127.0.0.1"


def list_presets() -> dict[str, str]:
    """Return the name of each example → its first comment line, which describes it."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(clusters_root().glob("*.yaml"))}
    return {name: text.partition("\n")[0].lstrip("# ").strip() for name, text in texts.items()}


def load_preset(example: str) -> Preset:
    """Return the example of that name. Raises UsageError if there is none."""
    known = list_presets()
    if example not in known:
        near = difflib.get_close_matches(example, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}"
        raise UsageError(f"{example} is not the name of an example", hint=hint)
    return Preset(example, (clusters_root() / f"{example}.yaml").read_text(encoding="utf-8"))


def look_up(host: str) -> str:
    """Return a host's address by this machine's resolver, IPv4 first; a loopback address counts as none."""
    try:
        found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        return ""
    addresses = [str(info[4][0]) for info in sorted(found, key=lambda info: info[0] != socket.AF_INET)]
    return next((one for one in addresses if not ipaddress.ip_address(one).is_loopback), "")


class Preset(Struct, frozen=True):
    """A cluster file that begins as an example."""

    example: str
    text: str
    unresolved: tuple[str, ...] = ()
    """Hosts whose address is left for the user to write."""

    @property
    def cluster(self) -> str:
        """The cluster's name."""
        found = _CLUSTER.search(self.text)
        return found[1] if found else ""

    @property
    def hosts(self) -> str:
        """The hosts of all nodes, as a range."""
        return ",".join(self._entries())

    @property
    def size(self) -> int:
        """How many nodes it has."""
        return len(expand(self.hosts))

    def named(self, cluster: str) -> Preset:
        """The same under another name. Raises UsageError for a name that no cluster can have."""
        if not _NAME.fullmatch(cluster):
            raise UsageError(
                f"'{cluster}' is not a valid name for a cluster",
                hint="use up to 63 letters, digits, '.', '_' and '-'",
            )
        return replace(self, text=_CLUSTER.sub(f"cluster: {cluster}", self.text, count=1))

    def on_hosts(self, hosts: str, lookup: Lookup = look_up) -> Preset:
        """Deal these hosts (a range) out over the entries of ``nodes``; each entry keeps its number of hosts.

        An entry with host names gets their addresses too. Raises UsageError for the wrong number of hosts.
        """
        given = list(expand(hosts))
        if len(given) != self.size:
            raise UsageError(
                f"{self.example} is for {self.size} nodes, but {hosts} names {len(given)}",
                hint=f"give {self.size} hosts, or leave --hosts out and edit `nodes` and `roles` in the file",
            )
        section = _NODES.search(self.text)
        if section is None:
            return self
        before = expand(self.hosts)
        dealt = dict(zip(before, given, strict=True))
        addresses = {host: _address(host, lookup) for host in given}
        nodes = _HOST.sub(
            lambda match: _host_and_address([dealt[old] for old in expand(match[1].strip('"'))], addresses),
            section.group(),
        )
        if "address:" in nodes:
            nodes = nodes.replace("nodes:\n", f"nodes:\n{_ADDRESS_COMMENT}", 1)
        text = (
            _rename(self.text[: section.start()], dealt) + nodes + _rename(self.text[section.end() :], dealt)
        )
        return replace(self, text=text, unresolved=tuple(host for host in given if not addresses[host]))

    def _entries(self) -> list[str]:
        section = _NODES.search(self.text)
        return [value.strip('"') for value in _HOST.findall(section.group())] if section else []


_ADDRESS_COMMENT = """\
  # address: the node's address on the network between the nodes, as looked up from its host name.
  # Correct it where the engines use another network.
"""


def _address(host: str, lookup: Lookup) -> str:
    """The address of a host: the host itself where it is one already."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _LOOPBACK if host == _LOCAL else lookup(host)
    return host


def _host_and_address(hosts: list[str], addresses: dict[str, str]) -> str:
    """The keys of one entry of ``nodes``."""
    if all(addresses[host] in (host, _LOOPBACK) for host in hosts):
        return f'host: "{_range(hosts)}"'
    written = [addresses[host] or f"ADDRESS-OF-{host}" for host in hosts]
    return f'host: "{_range(hosts)}", address: "{_range(written)}"'


def _range(words: list[str]) -> str:
    """The words as a range in their order; as a list where a range would change it."""
    folded = fold(words)
    return folded if list(expand(folded)) == words else ",".join(words)


def _rename(text: str, new: dict[str, str]) -> str:
    """Replace each old host that is a word of its own, as in ``master``, by the new one."""
    return re.sub(r"(?<![\w.-])[\w.-]+(?![\w.-])", lambda word: new.get(word.group(), word.group()), text)
