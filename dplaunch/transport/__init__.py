"""Hosts: how to reach a machine and run things on it, one or all of them at once."""

from __future__ import annotations

import sys

from dplaunch.model.plan import NodePlan
from dplaunch.transport.fanout import Outcome, fan_out
from dplaunch.transport.host import SILENCE, Host, Options, Result, Stream
from dplaunch.transport.local import LocalHost

__all__ = ["SILENCE", "Host", "Options", "Outcome", "Result", "Stream", "connect", "fan_out"]

THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def connect(node: NodePlan, *, options: Options) -> Host:
    """The host of ``node``: this machine when it is named so (without an SSH port), else over SSH.

    Raises HostError with one sentence and the command that helps.
    """
    if options.local:
        return LocalHost(node.name, silence=options.silence)
    runtime = node.runtime
    prefix = (runtime.engine, "exec", "-i", runtime.container) if runtime.container else ()
    if node.host in THIS_MACHINE and node.ssh.port is None:
        return LocalHost(node.name, prefix=prefix, silence=options.silence)
    # paramiko loads invoke for the `Match exec` of an ssh_config that it reads itself: `ssh -G` reads ours,
    # and invoke takes longer to load than all the rest. None: there is no such module.
    sys.modules.setdefault("invoke", None)  # type: ignore[arg-type]
    from dplaunch.transport import ssh  # noqa: PLC0415 - paramiko costs 0.1 s, only remote hosts need it

    return ssh.connect(node, prefix=prefix, options=options)
