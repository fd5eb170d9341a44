"""A service or a job in a rehearsal: ``service PORTS COMMAND…`` and ``service job COMMAND…``.

A service says what it stands in for, accepts connections on its ports and responds 200 to every request
until it is told to end. A job says so too, and ends well.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

from .web import Connection, Request, Server

JOB = "job"
KEEP_ALIVE = 5.0


def main(argv: list[str]) -> int:
    """Play it; its exit code."""
    how, command = argv[0], argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        servers = [_listen(int(port)) for port in how.split(",") if port.isdigit()]
    except OSError as error:
        sys.stderr.write(f"cannot listen on {how}: {error}\n")
        return 1
    sys.stdout.write(f"stands in for: {' '.join(command)}\n")
    sys.stdout.flush()
    if how == JOB:
        return 0
    for server in servers:
        server.start()
    signal.sigwait((signal.SIGTERM, signal.SIGINT))
    return 0


def _listen(port: int) -> Server:
    address = os.environ.get("DPLAUNCH_ADDRESS", "127.0.0.1")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    return Server(sock, _respond, KEEP_ALIVE)


def _respond(_: Request, connection: Connection) -> None:
    connection.send(200, b"{}")
