"""The host's TCP plane: ``listen`` opens real listeners for a while, ``connect`` tries real connections."""

from __future__ import annotations

import os
import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor

from . import ports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .call import Call

AT_ONCE = 64
LOOK = 0.25


def listen(call: Call) -> dict[str, Any]:
    """The verb ``listen``: an event ``listening`` with the ports, then accept until cancelled.

    A port that is taken already is in ``refused``, ``held`` when a process listens there: then connections
    reach that process.
    """
    address, wanted = str(call.get("address", "")), [int(port) for port in call.get("ports", [])]
    tried = [(port, _listener(address, port)) for port in (*wanted, *([0] * int(call.get("random", 0))))]
    sockets = [made for _, made in tried if not isinstance(made, OSError)]
    opened = [sock.getsockname()[1] for sock in sockets]
    refused = [_refusal(address, port, made) for port, made in tried if isinstance(made, OSError)]
    random = [port for port in opened if port not in wanted]
    call.emit("listening", {"ports": opened, "random": random, "refused": refused})
    try:
        return {"accepted": _accept(call, sockets, time.monotonic() + float(call.get("seconds", 60.0)))}
    finally:
        for sock in sockets:
            sock.close()


def _listener(address: str, port: int) -> socket.socket | OSError:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(256)
    except OSError as error:
        sock.close()
        return error
    return sock


def _refusal(address: str, port: int, error: OSError) -> dict[str, Any]:
    held = bool(port) and ports.find_holder(address, port) is not None
    return {"port": port, "error": os.strerror(error.errno or 0), "held": held}


def _accept(call: Call, sockets: list[socket.socket], deadline: float) -> int:
    accepted = 0
    while sockets and not call.over() and time.monotonic() < deadline:
        accepted += sum(_accept_one(sock) for sock in select.select(sockets, [], [], LOOK)[0])
    return accepted


def _accept_one(sock: socket.socket) -> bool:
    try:
        sock.accept()[0].close()
    except OSError:
        return False  # the peer has gone
    return True


def connect(call: Call) -> dict[str, Any]:
    """The verb ``connect``: ``targets`` [{key, address, port}], each within ``timeout`` seconds (3)."""
    targets, timeout = call.get("targets", []), float(call.get("timeout", 3.0))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {"results": list(pool.map(lambda target: _try(target, timeout), targets))}


def _try(target: dict[str, Any], timeout: float) -> dict[str, Any]:
    address, began = str(target.get("address", "")), time.monotonic()
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        sock.connect((address, int(target.get("port", 0))))
    except socket.timeout:
        why = f"no answer within {timeout:g} s"
    except OSError as error:
        why = (error.strerror or str(error)).lower()
    else:
        why = ""
    finally:
        sock.close()
    return {
        "key": target.get("key"),
        "ok": not why,
        "error": why,
        "seconds": round(time.monotonic() - began, 4),
    }
