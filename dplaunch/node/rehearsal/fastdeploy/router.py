"""FastDeploy's routers: engines register, a request goes to a pair of them, or to one that does both."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
from http import HTTPStatus

from ..web import Connection, Request, Server
from .arguments import UsageError, parse, refuse
from .log import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Instance = dict[str, Any]

FLAGS = {"--host": "text", "--port": "int", "--splitwise": "flag", "--config_path": "text"}
ROLES = ("mixed", "prefill", "decode")
LOOK_EVERY = 5.0
"""Seconds between two looks at every engine; one that fails is forgotten until it registers again."""


def run(words: list[str], env: dict[str, str]) -> int:
    """Play it until SIGTERM or SIGINT."""
    try:
        flags = parse(words, FLAGS)
    except UsageError as fault:
        return refuse("launch", fault)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    log = Log({**env, "FD_LOG_DIR": os.path.join(env.get("FD_LOG_DIR") or "log", "log_router")})
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    host = flags.get("host") or _own_address(env)
    port = int(flags.get("port", "9000"))
    try:
        sock.bind((host, port))
    except OSError as fault:
        log.uncaught(f"OSError: {fault}")
        return 1
    router = Router(splitwise=flags.get("splitwise") == "true", log=log)
    Server(sock, router.handle, keep_alive=5.0).start()
    log.console(f"Router started at http://{host}:{port}")
    while not ended.wait(LOOK_EVERY):
        router.look()
    return 0


def _own_address(env: dict[str, str]) -> str:
    return env.get("DPLAUNCH_REHEARSAL_BIND") or "0.0.0.0"


class Router:
    """Who has registered, and whose turn it is. ``splitwise``: prefill and decode, else mixed engines."""

    def __init__(self, *, splitwise: bool, log: Log) -> None:
        self._splitwise = splitwise
        self._wanted = ("prefill", "decode") if splitwise else ("mixed",)
        self._log = log
        self._lock = threading.Lock()
        self._known: dict[str, Instance] = {}
        self._turn = 0

    def handle(self, request: Request, connection: Connection) -> None:
        """Answer one request."""
        if request.path == "/register" and request.method == "POST":
            refusal = self._register(json.loads(request.body))
            connection.send_json(500 if refusal else 200, {"success": not refusal, "message": refusal})
        elif request.path == "/registered_number":
            connection.send_json(200, {role: len(self._of(role)) for role in ROLES})
        elif request.path == "/health":
            connection.send_json(200, {"status": "ok"})
        elif request.path.startswith("/v1/") and request.method == "POST":
            self._forward(request, connection)
        else:
            connection.send_json(404, {"detail": "Not Found"})

    def look(self) -> None:
        """Forget engines that are not healthy."""
        for url, instance in list(self._known.items()):
            if not _healthy(instance):
                self._log.file(
                    "router.log", "router.py[line:600]", f"Instance {url} is not healthy", "WARNING"
                )
                with self._lock:
                    self._known.pop(url, None)

    def _of(self, role: str) -> list[Instance]:
        with self._lock:
            return [instance for instance in self._known.values() if instance["role"] == role]

    def _register(self, instance: Instance) -> str:
        role = instance["role"]
        if (role == "mixed") == self._splitwise:
            return f"Invalid instance role: {role}, splitwise: {self._splitwise}"
        if not _healthy(instance):
            return f"Instance {_url(instance)} is not healthy"
        with self._lock:
            new = _url(instance) not in self._known
            self._known[_url(instance)] = instance
        if new:
            self._log.file(
                "router.log", "router.py[line:130]", f"Register {role} instance success: {_url(instance)}"
            )
        return ""

    def _choose(self) -> list[Instance]:
        """Who is asked, the one that answers last; empty where a role has nobody."""
        able = [self._of(role) for role in self._wanted]
        self._turn += 1
        return [some[self._turn % len(some)] for some in able] if all(able) else []

    def _forward(self, request: Request, connection: Connection) -> None:
        body = json.loads(request.body)
        chosen = self._choose()
        if not chosen:
            role = next(role for role in self._wanted if not self._of(role))
            connection.send_json(500, {"detail": f"No {role} servers available."})
            return
        if self._splitwise:
            prefill, decode = chosen
            body["request_id"] = os.urandom(8).hex()
            body["disaggregate_info"] = {
                "prefill_ip": prefill["host_ip"],
                "decode_ip": decode["host_ip"],
                "decode_connector_port": decode["connector_port"],
                "transfer_protocol": "rdma",
            }
        raw = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        if "authorization" in request.headers:
            headers["Authorization"] = request.headers["authorization"]
        others = [
            threading.Thread(target=_ask, args=(one, request.path, raw, headers)) for one in chosen[:-1]
        ]
        for thread in others:
            thread.start()
        status, kind, answer = _ask(chosen[-1], request.path, raw, headers)
        connection.send(status, answer, kind)


def _url(instance: Instance) -> str:
    return f"{instance['host_ip']}:{instance['port']}"


def _healthy(instance: Instance) -> bool:
    client = http.client.HTTPConnection(_url(instance), timeout=5)
    try:
        client.request("GET", "/health")
        return client.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        client.close()


def _ask(instance: Instance, path: str, raw: bytes, headers: dict[str, str]) -> tuple[int, str, bytes]:
    """Status, content type and body; what fails is 502."""
    client = http.client.HTTPConnection(_url(instance), timeout=120)
    try:
        client.request("POST", path, raw, headers)
        reply = client.getresponse()
        return reply.status, reply.getheader("content-type") or "application/json", reply.read()
    except (OSError, http.client.HTTPException) as fault:
        return 502, "application/json", json.dumps({"detail": str(fault)}).encode()
    finally:
        client.close()
