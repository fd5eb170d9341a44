"""The keys that are offered to a host, from files and agents."""

from __future__ import annotations

import base64
import contextlib
import socket
from collections.abc import Generator, Sequence
from pathlib import Path

import paramiko
from paramiko.agent import Agent, AgentKey

from dplaunch.errors import HostError
from dplaunch.transport import unreached
from dplaunch.transport.host import Options
from dplaunch.transport.sshconfig import Target

PATIENCE = 30.0
"""Seconds for a host, or an agent, that has begun to talk: key exchange, login, opening a session each."""

Keys = Generator[tuple[str, paramiko.PKey], None, None]
"""Names (a path, ``agent key COMMENT``) and keys."""


def authenticate(target: Target, transport: paramiko.Transport, options: Options) -> None:
    """Offers one key after the other, the likeliest first."""
    tried: list[str] = []
    problems: list[str] = []
    methods: Sequence[str] = ()
    with contextlib.closing(_keys(target, options, problems)) as keys:
        for name, key in keys:
            tried.append(name)
            try:
                transport.auth_publickey(target.user, key)
            except paramiko.BadAuthenticationType as error:
                methods = error.allowed_types
                break
            except paramiko.AuthenticationException:
                continue
            except (paramiko.SSHException, EOFError, OSError):
                break  # sshd hangs up after MaxAuthTries
            if transport.is_authenticated():
                return
            problems.append("the key alone is not enough there")
    raise unreached.no_login(target, tried, problems, methods)


def _keys(target: Target, options: Options, problems: list[str]) -> Keys:
    """Keys to try with their names: the cluster file's, the agent's, then files. Notes the unusable ones."""
    if target.key_given:
        if not Path(target.keys[0]).exists():
            raise HostError(target.node, f"the key {target.keys[0]} does not exist", hint="correct `ssh.key`")
        yield from _from_file(target.keys[0], options, problems)
    yield from _from_agent(target)
    for path in target.keys[1:] if target.key_given else target.keys:
        if Path(path).exists():
            yield from _from_file(path, options, problems)


def _from_file(path: str, options: Options, problems: list[str]) -> Keys:
    def load() -> paramiko.PKey:
        return paramiko.PKey.from_path(path)

    try:
        yield path, options.shared.get(("key", path), load)
    except (TypeError, paramiko.PasswordRequiredException):  # TypeError: what cryptography raises
        problems.append(f"{path} is encrypted")
    except (paramiko.SSHException, paramiko.pkey.UnknownKeyType, ValueError, OSError) as error:
        problems.append(f"{path} cannot be used ({error})")


def _from_agent(target: Target) -> Keys:
    """An agent connection of our own: paramiko's is not made for several threads."""
    with contextlib.ExitStack() as stack:
        try:
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            sock.settimeout(PATIENCE)
            sock.connect(target.agent)
            agent = NamedAgent(sock)
        except (paramiko.SSHException, OSError):
            return
        only = _public_keys(target.keys) if target.identities_only else None
        for key in agent.get_keys():
            if only is None or key.asbytes() in only:
                yield f"agent key {_name(key)}", key


class NamedAgent(Agent):
    """The agent behind ``sock``.

    ``paramiko.Agent()`` knows the socket of SSH_AUTH_SOCK only, one for the whole process; IdentityAgent may
    name another one for each host. Paramiko has no public way to say which: this sets what its own does.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._conn = None
        self._keys = ()
        self._connect(sock)  # type: ignore[attr-defined]  # the stubs leave out what is private


def _name(key: AgentKey) -> str:
    return str(key.comment or key.fingerprint)


def _public_keys(paths: Sequence[str]) -> set[bytes]:
    """What ``IdentitiesOnly`` allows the agent to offer."""
    found = set()
    for path in paths:
        with contextlib.suppress(OSError, IndexError, ValueError):
            found.add(base64.b64decode(Path(f"{path}.pub").read_text().split()[1]))
    return found
