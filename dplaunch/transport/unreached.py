"""Why a host could not be reached over SSH: one sentence each, with the command that helps. Pure."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from dplaunch.errors import HostError
from dplaunch.transport.knownhosts import SSH_PORT, Verdict, names
from dplaunch.transport.sshconfig import Target


def no_connection(target: Target, error: OSError) -> HostError:
    """The TCP connection failed."""
    where, port = target.label, target.port
    if isinstance(error, socket.gaierror):
        text = f"the name {target.hostname} of node {target.node} cannot be resolved"
        hint = "correct `host` in the cluster file, or add the name to DNS, /etc/hosts or ~/.ssh/config"
    elif isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        text = f"{where} did not answer on port {port} within {target.timeout:g} s"
        hint = f"check that it is switched on and no firewall drops port {port}: `ping {target.hostname}`"
    elif error.errno == errno.ECONNREFUSED:
        text = f"{where} refused the connection: nothing listens on port {port}"
        hint = "start sshd there, or set `ssh.port` in the cluster file"
    elif error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        text = f"there is no route to {where}"
        hint = f"check its address and this machine's network: `ip route get {target.hostname}`"
    else:
        text, hint = f"{where} could not be reached: {error}", f"try `ssh {target.login}`"
    return HostError(target.node, text, hint=hint)


def no_handshake(target: Target, why: str, *, silent: bool) -> HostError:
    """TCP works, SSH does not."""
    where, port = target.label, target.port
    if silent:
        text = f"{where} accepted the connection on port {port} but stayed silent for {target.timeout:g} s"
        hint = f"check that sshd is what listens there and is not overloaded: `ssh -v {target.login}`"
    elif "Indecipherable" in why or "Invalid SSH banner" in why:
        text, hint = f"what listens on port {port} of {where} is not an SSH server", "set `ssh.port`"
    elif "banner" in why:
        text = f"{where} closed the connection on port {port} before the SSH handshake"
        hint = "sshd may be at its MaxStartups or block this address: try again, or read the host's log"
    else:
        text = f"{where} and this machine could not agree on an SSH handshake: {why}"
        hint = f"try `ssh -v {target.login}`"
    return HostError(target.node, text, hint=hint)


def bad_key(target: Target, verdict: Verdict, place: str, key: str) -> HostError:
    """The host key is not one to trust; ``key`` is its type and fingerprint."""
    where = target.label
    if verdict is Verdict.UNKNOWN:
        file = target.known_hosts[0] if target.known_hosts else "~/.ssh/known_hosts"
        port = f"-p {target.port} " if target.port != SSH_PORT else ""
        scan = f"`ssh-keyscan -H {port}{target.hostname} >> {file}`"
        learn = f"`ssh {target.login}` once" if target.jump or target.proxy_command else scan
        text = f"the host key of {where} is not known here: {key}"
        hint = f"compare the fingerprint on the host, then {learn}; or set `ssh.host_keys: accept-new`"
    elif verdict is Verdict.CHANGED:
        file, name = place.rpartition(":")[0], names(target.hostname, target.port, target.key_alias)[0]
        text = f"the host key of {where} has changed: {place} has another one than {key}"
        renew = f"`ssh-keygen -f {file} -R '{name}'` and accept the new key"
        hint = f"if the machine was reinstalled, {renew}; if not, somebody may be in between"
    elif verdict is Verdict.REVOKED:
        text, hint = f"the host key of {where} is revoked by {place}: {key}", "give the host a new key"
    else:
        text = f"{place} has a kind of line for {where} that dplaunch cannot check (@cert-authority)"
        hint = (
            "add the host's own key in a file of its own and name it as UserKnownHostsFile in ~/.ssh/config"
        )
    return HostError(target.node, text, hint=hint)


def no_login(
    target: Target, tried: Sequence[str], problems: Sequence[str], methods: Sequence[str]
) -> HostError:
    """Every key was refused. ``problems`` are sentences on keys that could not be used."""
    encrypted = [p.split()[0] for p in problems if p.endswith("is encrypted")]
    key = next((t for t in tried if t.startswith("/")), "~/.ssh/id_ed25519")
    if encrypted:
        hint = f"unlock the key first: `ssh-add {encrypted[0]}`"
    elif methods and "publickey" not in methods:
        hint = f"sshd there takes only {', '.join(methods)}: allow PubkeyAuthentication"
    elif not tried:
        hint = "make a key with `ssh-keygen -t ed25519` and copy it with `ssh-copy-id`, or set `ssh.key`"
    else:
        hint = f"`ssh-copy-id -i {key}.pub {target.login}`, or set `ssh.user` and `ssh.key`"
    keys = f"tried {', '.join(tried)}" if tried else "no key was found to try"
    return HostError(
        target.node,
        f"{target.label} rejected the login of {target.user} ({'; '.join((keys, *problems))})",
        hint=hint,
    )
