"""A service or a job in a rehearsal: ``service PORTS COMMAND…`` and ``service job COMMAND…``.

A service says what it stands in for, accepts connections on its ports and responds 200 to every request
until it is told to end. It keeps blocks of KV for engines that take it for a pool's master. A job says what
it stands in for too, and ends well.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

from .pool import FIRST, Pool
from .web import Connection, Request, Server

JOB = "job"
KEEP_ALIVE = 5.0


def main(argv: list[str]) -> int:
    """Play it; its exit code."""
    how, command = argv[0], argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        sockets = [_bind(int(port)) for port in how.split(",") if port.isdigit()]
    except OSError as error:
        sys.stderr.write(f"cannot listen on {how}: {error}\n")
        return 1
    sys.stdout.write(f"stands in for: {' '.join(command)}\n")
    sys.stdout.flush()
    if how == JOB:
        return 0
    pool = Pool()
    for sock in sockets:
        sock.listen(1024)
        server = Server(sock, _respond, KEEP_ALIVE)
        threading.Thread(target=_accept, args=(sock, server, pool), daemon=True).start()
    signal.sigwait((signal.SIGTERM, signal.SIGINT))
    return 0


def _bind(port: int) -> socket.socket:
    address = os.environ.get("DPLAUNCH_ADDRESS", "127.0.0.1")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    return sock


def _accept(sock: socket.socket, server: Server, pool: Pool) -> None:
    while True:
        client, address = sock.accept()
        threading.Thread(target=_meet, args=(client, address[0], server, pool), daemon=True).start()


def _meet(client: socket.socket, host: str, server: Server, pool: Pool) -> None:
    """A client of the pool, or of HTTP: its first byte says which."""
    try:
        first = client.recv(1, socket.MSG_PEEK)
    except OSError:
        first = b""
    if first == FIRST:
        pool.converse(client)
    else:
        server.converse(client, host)


def _respond(_: Request, connection: Connection) -> None:
    connection.send(200, b"{}")
