"""SSH hosts: one connection per host, one per jump host. Only this file and ``keys`` import paramiko."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import paramiko
from msgspec.structs import replace

from dplaunch.errors import HostError
from dplaunch.model.cluster import Container, SshSpec
from dplaunch.model.plan import NodePlan
from dplaunch.transport import hostgroups, knownhosts, unreached
from dplaunch.transport.failures import lost_link
from dplaunch.transport.host import Host, Options, command_line
from dplaunch.transport.keys import PATIENCE, authenticate
from dplaunch.transport.knownhosts import Verdict
from dplaunch.transport.seats import Seats
from dplaunch.transport.sshconfig import Config, Target, ask_ssh, hop, resolve
from dplaunch.transport.stream import CHUNK, SLICE, Pipe, Tail

# Its ERROR records with tracebacks repeat what our errors say in a sentence.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)

WINDOW = 512 * 1024
"""Bytes a host may send before we read them: bounds memory at 64 hosts to 32 MiB."""
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
"""GCM first: no separate MAC to compute in Python."""
USER_TIMEOUT_MS = 30_000


def connect(node: NodePlan, *, options: Options) -> SshHost:
    """Logs in; raises HostError with the sentence and the command that helps."""
    target = _resolve(node.name, node.host, node.ssh, options)
    if node.pod is not None:
        return _share(target, node, options)
    transport = _log_in(target, node.ssh, options)
    return SshHost(target, transport, container=node.container, silence=options.silence)


def _share(target: Target, node: NodePlan, options: Options) -> SshHost:
    """A host over a connection that pods share, to where kubectl runs; it ends with the verb.

    sshd takes few logins at once (MaxStartups), and few sessions over one connection (MaxSessions).
    """
    key = ("control", node.host, node.ssh)
    seats = options.shared.get(key, Seats)
    number = seats.take()
    leave = partial(seats.leave, number)
    try:
        transport = options.shared.get(
            (*key, number), lambda: _log_in(target, node.ssh, options), valid=paramiko.Transport.is_active
        )
    except BaseException:
        leave()
        raise
    return SharedHost(target, transport, leave, silence=options.silence)


class SshHost(Host):
    """A host behind one SSH connection; each command is a channel of it."""

    def __init__(
        self, target: Target, transport: paramiko.Transport, *, container: Container | None, silence: float
    ) -> None:
        super().__init__(target.node, label=target.label, container=container, silence=silence)
        self._transport = transport

    def _open(self, argv: Sequence[str]) -> Pipe:
        try:
            with _limit(self._transport):
                channel = self._transport.open_session(window_size=WINDOW, timeout=PATIENCE)
                channel.exec_command(command_line(argv))
        except paramiko.ChannelException as error:
            raise HostError(
                self.node,
                f"sshd on {self.label} opens no further session on this connection: {error.text}",
                hint="raise MaxSessions in its sshd_config",
            ) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise lost_link(self.node, self.label) from error
        return ChannelPipe(channel, self._transport)

    def close(self) -> None:
        """Closes the connection: sshd ends the sessions' streams."""
        with contextlib.suppress(OSError):  # paramiko's reader looks only now and then whether it is to end
            self._transport.sock.shutdown(socket.SHUT_RD)
        self._transport.close()


class SharedHost(SshHost):
    """A seat on a connection that others use too."""

    def __init__(
        self, target: Target, transport: paramiko.Transport, leave: Callable[[], None], *, silence: float
    ) -> None:
        super().__init__(target, transport, container=None, silence=silence)
        self._leave: Callable[[], None] | None = leave
        self._pipes: list[Pipe] = []

    def _open(self, argv: Sequence[str]) -> Pipe:
        pipe = super()._open(argv)
        self._pipes.append(pipe)
        return pipe

    def close(self) -> None:
        """Ends its own sessions and leaves the seat; the connection ends with the verb."""
        for pipe in self._pipes:
            pipe.close()
        self._pipes.clear()
        if self._leave:
            self._leave()
            self._leave = None


class ChannelPipe:
    """``Pipe`` over a channel. The channel's timeout is the reader's; a writer never waits in it."""

    def __init__(self, channel: paramiko.Channel, transport: paramiko.Transport) -> None:
        self._channel, self._transport = channel, transport
        self._tail = Tail()

    def read(self, timeout: float) -> bytes | None:
        """As ``Pipe.read``; stderr is drained on the way, or its share of the window would fill."""
        self._channel.settimeout(timeout)
        try:
            return self._channel.recv(CHUNK)
        except TimeoutError:
            return None
        finally:
            self._drain()

    def write(self, data: memoryview) -> int:
        """As ``Pipe.write``; comes back early when there is output to read first."""
        try:
            if not self._takes_input():
                return 0
            sent = self._channel.send(bytes(data))
        except TimeoutError:
            return 0
        except (paramiko.SSHException, EOFError) as error:
            raise BrokenPipeError from error
        if sent == 0:
            raise BrokenPipeError
        return sent

    def _takes_input(self) -> bool:
        """Waits for the window to open, unless output comes first. Paramiko has no event for "either"."""
        channel, deadline = self._channel, time.monotonic() + SLICE
        while not channel.send_ready():
            if channel.recv_ready() or time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def stderr(self) -> str:
        """The last 8 KiB of stderr; it may come after the exit status, but not after the close."""
        deadline = time.monotonic() + SLICE
        while self._channel.exit_status != -1 and not self._channel.closed and time.monotonic() < deadline:
            time.sleep(0.002)
        self._drain()
        return self._tail.text()

    def _drain(self) -> None:
        while self._channel.recv_stderr_ready():
            self._tail.add(self._channel.recv_stderr(CHUNK))

    def wait(self, timeout: float) -> int | None:
        """As ``Pipe.wait``; sshd sends the status just after the end of stdout."""
        self._channel.status_event.wait(timeout)
        if self._channel.exit_status == -1 and (self.lost() or not self._channel.closed):
            return None
        return self._channel.exit_status

    def lost(self) -> bool:
        """The connection ended and no exit status had come."""
        if self._channel.exit_status != -1 or not self._channel.closed:
            return False
        self._transport.join(0.2)  # its channels learn of the end a moment before it does
        return not self._transport.is_active()

    def close(self) -> None:
        """Closes the channel: the command reads end of file."""
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            self._channel.close()


@contextlib.contextmanager
def _limit(transport: paramiko.Transport) -> Iterator[None]:
    """Closes the connection after PATIENCE: paramiko itself waits for ever for the answer to an exec."""
    timer = threading.Timer(PATIENCE, transport.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _resolve(node: str, host: str, spec: SshSpec, options: Options) -> Target:
    def ask() -> tuple[str, Config]:
        return host, ask_ssh(node, host, spec, options.ssh_config, _without_ssh(host))

    config = _like_another(host, spec, options, ask)
    if config is None:
        _, config = options.shared.get(("config", host, spec.user, spec.port), ask)
    return resolve(node, host, spec, config)


def _like_another(
    host: str, spec: SshSpec, options: Options, ask: Callable[[], tuple[str, Config]]
) -> Config | None:
    """Return ssh's settings for a host of the same group, as they hold for this one. None: ask for it."""
    known = options.shared.get(("patterns",), lambda: hostgroups.patterns(options.ssh_config))
    group = None if known is None else hostgroups.group(host, known)
    if group is None:
        return None
    with contextlib.suppress(HostError):  # then it is asked for itself, and the error is its own
        asked, answer = options.shared.get(("group", group, spec.user, spec.port), ask)
        return answer if asked == host else hostgroups.answer_for(host, asked, answer)
    return None


def _without_ssh(host: str) -> Callable[[Path], Config]:
    def read(path: Path) -> Config:
        found = paramiko.SSHConfig.from_path(str(path)).lookup(host)
        return {key: tuple(value) if isinstance(value, list) else (value,) for key, value in found.items()}

    return read


def _log_in(target: Target, spec: SshSpec, options: Options) -> paramiko.Transport:
    """A connection whose host key is checked and whose user is logged in."""
    known = _known(target, options)
    transport = _handshake(target, _socket(target, spec, options), known)
    try:
        _check_key(target, transport.get_remote_server_key(), known)
        authenticate(target, transport, options)
    except BaseException:
        transport.close()
        raise
    return transport


def _known(target: Target, options: Options) -> Sequence[knownhosts.Line]:
    """The lines about it; files are read once for all hosts as long as they stay as they are."""
    files = (*target.known_hosts, *target.global_known_hosts)
    lines = options.shared.get(("known", files, knownhosts.stamps(files)), lambda: knownhosts.read(files))
    return knownhosts.about(lines, knownhosts.names(target.hostname, target.port, target.key_alias))


def _socket(target: Target, spec: SshSpec, options: Options) -> socket.socket | paramiko.Channel:
    if target.jump:
        return _through_jump(target, spec, options)
    if target.proxy_command:
        return _through_command(target.proxy_command)
    try:
        sock = socket.create_connection((target.hostname, target.port), target.timeout)
    except OSError as error:
        raise unreached.no_connection(target, error) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sys.platform == "linux":  # the kernel ends a connection whose packets are not acknowledged
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    return sock


def _through_command(command: str) -> socket.socket:
    """ProxyCommand: its stdin and stdout are one end of a socket pair; it ends with the other."""
    ours, theirs = socket.socketpair()
    with theirs:
        end = theirs.fileno()
        subprocess.Popen(["sh", "-c", f"exec {command}"], stdin=end, stdout=end, start_new_session=True)
    return ours


def _through_jump(target: Target, spec: SshSpec, options: Options) -> paramiko.Channel:
    via, name = _jump(target.node, target.jump, spec, options), target.jump[-1]
    try:
        return via.open_channel(
            "direct-tcpip", (target.hostname, target.port), ("127.0.0.1", 0), timeout=target.timeout
        )
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise HostError(
            target.node,
            f"jump host {name} could not connect to {target.label}, port {target.port}: {error}",
            hint=f"try `ssh -J {','.join(target.jump)} {target.login}`",
        ) from error


def _jump(node: str, hops: tuple[str, ...], spec: SshSpec, options: Options) -> paramiko.Transport:
    """The connection to the last hop, shared by all hosts behind it."""
    user, host, port = hop(hops[-1])
    jump_spec = replace(spec, user=user, port=port, jump=",".join(hops[:-1]) or None)

    def make() -> paramiko.Transport:
        target = _resolve(node, host, jump_spec, options)
        itself = any(host == hop(other)[1] for other in target.jump)  # Host * with a ProxyJump
        return _log_in(replace(target, jump=() if itself else target.jump), jump_spec, options)

    return options.shared.get(("jump", hops), make, valid=paramiko.Transport.is_active)


def _handshake(
    target: Target, sock: socket.socket | paramiko.Channel, known: Sequence[knownhosts.Line]
) -> paramiko.Transport:
    transport = paramiko.Transport(sock)
    transport.banner_timeout, transport.auth_timeout = target.timeout, PATIENCE
    offered = transport.get_security_options()
    offered.ciphers = _preferred(CIPHERS, offered.ciphers)
    names = knownhosts.names(target.hostname, target.port, target.key_alias)
    offered.key_types = _preferred(_algorithms(knownhosts.kinds(known, names)), offered.key_types)
    began = time.monotonic()
    try:
        transport.start_client(timeout=target.timeout + PATIENCE)
        transport.get_remote_server_key()
    except (paramiko.SSHException, EOFError, OSError) as error:
        transport.close()
        quiet = not transport.remote_version and time.monotonic() - began >= target.timeout
        raise unreached.no_handshake(target, str(error), silent=quiet) from error
    return transport


def _algorithms(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Key types of known_hosts → host key algorithms: an RSA key signs with SHA-2 under other names."""
    rsa = ("rsa-sha2-512", "rsa-sha2-256")
    return tuple(name for kind in kinds for name in (rsa if kind == "ssh-rsa" else (kind,)))


def _preferred(first: Sequence[str], offered: Sequence[str]) -> tuple[str, ...]:
    """``offered`` with those of ``first`` in front."""
    front = [name for name in first if name in offered]
    return (*front, *(name for name in offered if name not in front))


def _check_key(target: Target, key: paramiko.PKey, known: Sequence[knownhosts.Line]) -> None:
    names = knownhosts.names(target.hostname, target.port, target.key_alias)
    verdict, place = knownhosts.check(known, names, key.get_base64())
    if verdict is Verdict.UNKNOWN and target.accept_new and target.known_hosts:
        knownhosts.append(
            target.known_hosts[0], names[0], key.get_name(), key.get_base64(), hashed=target.hash_known
        )
    elif verdict is not Verdict.KNOWN:
        raise unreached.bad_key(target, verdict, place, f"{key.get_name()} {key.fingerprint}")
