"""Hosts: how to reach a machine and run things on it, one or all of them at once."""

from __future__ import annotations

from dplaunch.model.plan import NodePlan
from dplaunch.transport.fanout import Gathered, fan_out
from dplaunch.transport.host import Host, Options
from dplaunch.transport.local import LocalHost
from dplaunch.transport.pod import PodHost
from dplaunch.transport.run import Ran, run
from dplaunch.transport.stream import Stream

__all__ = ["Gathered", "Host", "Options", "Ran", "Stream", "connect", "fan_out", "run"]

THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def connect(node: NodePlan, *, options: Options) -> Host:
    """The host of ``node``: this machine when it is named so (without an SSH port), else over SSH; its pod.

    Raises HostError with one sentence and the command that helps.
    """
    if node.pod is not None:
        return PodHost(node.pod, _machine(node, options), silence=options.silence)
    return _machine(node, options)


def _machine(node: NodePlan, options: Options) -> Host:
    if node.host in THIS_MACHINE and node.ssh.port is None:
        return LocalHost(node.name, container=node.container, silence=options.silence)
    from dplaunch.transport import ssh  # noqa: PLC0415 - paramiko costs 0.1 s, only remote hosts need it

    return ssh.connect(node, options=options)
