"""How to reach a host: what ``ssh -G`` prints for it, overlaid by the cluster file."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from dplaunch.errors import HostError
from dplaunch.model.cluster import SshSpec
from dplaunch.transport.knownhosts import SSH_PORT

Config = Mapping[str, tuple[str, ...]]
"""Keyword in lower case → its values, each line one value."""


class Target(Struct, frozen=True, kw_only=True):
    """One host, resolved. Paths are absolute; ``agent`` is a socket's path or empty for none."""

    node: str
    host: str
    hostname: str
    port: int
    user: str
    keys: tuple[str, ...] = ()
    """Private key files to try, the cluster file's first; they need not exist."""
    key_given: bool = False
    """The first key is the cluster file's choice: its absence is an error."""
    identities_only: bool = False
    agent: str = ""
    jump: tuple[str, ...] = ()
    """``[user@]host[:port]`` in the order they are passed."""
    proxy_command: str = ""
    known_hosts: tuple[str, ...] = ()
    global_known_hosts: tuple[str, ...] = ()
    key_alias: str = ""
    accept_new: bool = False
    hash_known: bool = False
    timeout: float = 10.0

    @property
    def label(self) -> str:
        """``n3 (192.0.0.3)``: how messages name it."""
        return self.node if self.node == self.host else f"{self.node} ({self.host})"

    @property
    def login(self) -> str:
        """``-p PORT USER@HOST``, as an ssh command takes it."""
        return (f"-p {self.port} " if self.port != SSH_PORT else "") + f"{self.user}@{self.hostname}"


def resolve(node: str, host: str, spec: SshSpec, config: Config) -> Target:
    """Return the configuration's settings, with the cluster file's entries winning."""
    user_files, global_files = (
        _paths(_words(config, name, default))
        for name, default in (
            ("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2"),
            ("globalknownhostsfile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"),
        )
    )
    identities = config.get("identityfile", ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"))
    jump = spec.jump if spec.jump is not None else _one(config, "proxyjump", "none")
    hostname, user = _one(config, "hostname", host), spec.user or _one(config, "user", getpass.getuser())
    port = spec.port or int(_one(config, "port", "22"))
    return Target(
        node=node,
        host=host,
        hostname=hostname,
        port=port,
        user=user,
        keys=_paths(((spec.key,) if spec.key else ()) + identities),
        key_given=spec.key is not None,
        identities_only=_one(config, "identitiesonly", "no") == "yes",
        agent=_agent(_one(config, "identityagent", "SSH_AUTH_SOCK")),
        jump=() if jump in ("", "none") else tuple(jump.split(",")),
        proxy_command=""
        if spec.jump
        else _command(config, {"h": hostname, "p": str(port), "r": user, "n": host}),
        known_hosts=user_files,
        global_known_hosts=global_files,
        key_alias=_one(config, "hostkeyalias", ""),
        # "no" in ~/.ssh/config still refuses a changed key here: a new one is accepted and kept.
        accept_new=spec.host_keys == "accept-new"
        or _one(config, "stricthostkeychecking", "ask") in ("accept-new", "no", "off", "false"),
        hash_known=_one(config, "hashknownhosts", "no") == "yes",
        timeout=spec.connect_timeout,
    )


def _one(config: Config, name: str, default: str) -> str:
    return next(iter(config.get(name, ())), default)


def _words(config: Config, name: str, default: str) -> tuple[str, ...]:
    return tuple(word.strip('"') for word in _one(config, name, default).split())


def _paths(names: tuple[str, ...]) -> tuple[str, ...]:
    """Absolute paths, each once; ``none`` is ssh's word for no file at all."""
    home = str(Path.home())
    found = (os.path.expanduser(n.replace("%d", home)) for n in names if n != "none")  # noqa: PTH111 - str in, str out
    return tuple(dict.fromkeys(found))


def _agent(value: str) -> str:
    """``none``, ``SSH_AUTH_SOCK``, ``$VARIABLE`` or a path → a path, empty for none."""
    if value == "none":
        return ""
    if value == "SSH_AUTH_SOCK" or value.startswith("$"):
        return os.environ.get(value.strip("${}"), "")
    return os.path.expanduser(value)  # noqa: PTH111 - str in, str out


def _command(config: Config, tokens: Mapping[str, str]) -> str:
    """ProxyCommand with %h %p %r %n filled in; empty for none."""
    command = _one(config, "proxycommand", "none")
    if command == "none":
        return ""
    return re.sub(r"%([%a-zA-Z])", lambda m: "%" if m[1] == "%" else tokens.get(m[1], m[0]), command)


def hop(text: str) -> tuple[str | None, str, int | None]:
    """``[ssh://][user@]host[:port]`` → user, host, port; ``ssh -G`` puts brackets around any host."""
    match = re.fullmatch(r"(?:ssh://)?(?:(.+)@)?(?:\[(.+)\]|([^:]+|.*:.*:.*?))(?::(\d+))?/?", text)
    if match is None:
        return None, text, None
    user, bracketed, plain, port = match.groups()
    return user, bracketed or plain, int(port) if port else None


def parse(text: str) -> Config:
    """Output of ``ssh -G``: one ``keyword value`` per line, keywords may repeat."""
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        keyword, _, value = line.partition(" ")
        found[keyword.lower()] = (*found.get(keyword.lower(), ()), value.strip())
    return found


def ask_ssh(
    node: str, host: str, spec: SshSpec, config_file: str | None, without_ssh: Callable[[Path], Config]
) -> Config:
    """``ssh -G HOST``; where no ssh is installed ``without_ssh`` reads ``~/.ssh/config``."""
    if shutil.which("ssh") is None:
        path = Path(config_file) if config_file else Path.home() / ".ssh/config"
        return without_ssh(path) if path.exists() else {}
    argv = ["ssh", "-G"]
    argv += ["-F", config_file] if config_file else []
    argv += ["-l", spec.user] if spec.user else []
    argv += ["-p", str(spec.port)] if spec.port else []
    done = subprocess.run(
        [*argv, "--", host], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
    )
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise HostError(
            node, f"ssh refuses its own configuration for {host}: {why}", hint=f"`ssh -G {host}` shows it"
        )
    return parse(done.stdout)
