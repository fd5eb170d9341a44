"""The hand-over of a prompt's KV from prefill to decode as MooncakeLayerwiseConnector does it.

The decode engine has a request first: it posts where its memory is to the request's metaserver, and waits.
The prefill engine is then asked with what was posted, and sends the prompt there once it has computed it.
Both requests have one id, by which they find each other. Read in vllm-ascend 0.23.0,
``mooncake_layerwise_connector.py``. Messages are JSON lines::

    prefill → decode   pushed {engine, request, host, words, tokens}
    decode → prefill   ack
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
from urllib.parse import urlsplit

from ..answers import GARBAGE, Prompt
from ..wire import Wire
from .log import CORE
from .machine import bind_listener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .knobs import Knobs
    from .log import Log
    from .transfer import Transfer

BEAT = 0.25
"""Seconds between two looks at whether the answer is still wanted."""
CALLS = 3
"""How often the metaserver is called, until it answers anything at all."""
CALL_LIMIT = 10.0
"""Seconds for each call; the engine itself waits for ever."""
SEND_LIMIT = 10.0
"""Seconds for the decode engine to take what is sent."""
PLACE = "mooncake_layerwise_connector.py"


class Receiver:
    """The decode engine's side: it listens on every port of ``transfer.ports``."""

    def __init__(self, transfer: Transfer, knobs: Knobs, log: Log) -> None:
        self.transfer = transfer
        self._knobs = knobs
        self._log = log
        self._waiting: dict[str, Callable[[Prompt], None]] = {}

    def open(self) -> None:
        """Bind and listen; raises FatalError when a port is taken or the address is not of this machine."""
        for rank, port in enumerate(self.transfer.ports):
            where = f"tcp://{self.transfer.host}:{port}"
            sock = bind_listener(self.transfer.host, port, f"zmq.error.ZMQError: {{text}} (addr='{where}')")
            sock.listen(64)
            threading.Thread(target=self._accept, args=(sock,), daemon=True).start()
            text = f"KVCacheRecvingLayerThread listening on {where}, tp_rank={rank}"
            self._log.info(self.transfer.worker, f"{PLACE}:607", text)

    def wait(self, request: str, params: dict[str, object], check: Callable[[], None]) -> Prompt:
        """Call the metaserver and wait, without a limit, for what a prefill engine pushes.

        ``check`` is called several times a second, and raises what ends the wait.
        """
        arrived: list[Prompt] = []
        here = threading.Event()

        def take(prefilled: Prompt) -> None:
            arrived.append(prefilled)
            here.set()

        self._waiting[request] = take
        url = str(params.get("metaserver"))
        self._log.info(CORE, f"{PLACE}:953", f"Send request: {request} to proxy metaserver: {url}")
        threading.Thread(target=self._call, args=(url, request), daemon=True).start()
        try:
            while not here.wait(BEAT):
                check()
        finally:
            self._waiting.pop(request, None)
        return arrived[0]

    def _call(self, url: str, request: str) -> None:
        parallel = self.transfer.parallel
        message = {
            "token_ids": [],
            "request_id": request,
            "do_remote_prefill": False,
            "do_remote_decode": True,
            "remote_block_ids": [[1]],
            "remote_block_size": [128],
            "remote_engine_id": self.transfer.engine_id,
            "remote_host": self.transfer.host,
            "remote_port": self.transfer.port,
            "remote_tp_size": parallel.tp,
            "remote_pcp_size": parallel.pcp,
            "remote_dcp_size": parallel.dcp,
            "remote_cached_tokens": 0,
        }
        for attempt in range(1, CALLS + 1):
            error = _post(url, message)
            if not error:
                return
            text = f"Failed to connect to metaserver. url={url}, retry={attempt}. "
            self._log.error(CORE, f"{PLACE}:1098", text)
        self._log.error(CORE, f"{PLACE}:980", f"Access metaserver fail. error={error}. ")

    def _accept(self, sock: socket.socket) -> None:
        while True:
            connection, _ = sock.accept()
            threading.Thread(target=self._receive, args=(connection,), daemon=True).start()

    def _receive(self, connection: socket.socket) -> None:
        connection.settimeout(SEND_LIMIT)
        wire = Wire(connection)
        try:
            for message in wire.messages():
                self._take(message)
                wire.send("ack")
        except (OSError, ValueError):  # silence, or not one of us
            pass
        finally:
            connection.close()

    def _take(self, message: dict[str, object]) -> None:
        take = self._waiting.get(str(message.get("request")))
        words = message.get("words")
        if take is None or not isinstance(words, list):
            return  # nobody waits (any more)
        source = self._knobs.bad_kv_from
        spoiled = source and source == message.get("host")
        take(Prompt(list(GARBAGE) if spoiled else [str(word) for word in words], int(str(message["tokens"]))))


def push(log: Log, transfer: Transfer, request: str, params: dict[str, object], prefilled: Prompt) -> None:
    """Send what was computed to the engine that ``params`` names; log a failure, as the engine does."""
    error = _send(transfer, request, params, prefilled)
    if error:
        where = f"{params.get('remote_host')}:{params.get('remote_port')}"
        text = f"Sending signal fail. signal_type=done_sending_msg, request_id={request}, "
        text += f"destination={where}, error={error}. "
        log.error(transfer.worker, f"{PLACE}:1968", text)


def _send(transfer: Transfer, request: str, params: dict[str, object], prefilled: Prompt) -> str:
    """What went wrong; empty when the decode engine has it."""
    own = transfer.engine_id
    if params.get("remote_engine_id") == own:
        return f"Conflict engine id {own} with local engine id {own}."
    try:
        address = str(params.get("remote_host")), int(str(params.get("remote_port")))
        with socket.create_connection(address, SEND_LIMIT) as sock:
            wire = Wire(sock)
            fields = {"host": transfer.host, "words": prefilled.words, "tokens": prefilled.tokens}
            wire.send("pushed", engine=own, request=request, **fields)
            return "" if wire.receive() else "Failed to receive ACK after 3 attempts"
    except (OSError, ValueError, OverflowError) as fault:
        return f"{type(fault).__name__}: {fault}"


def _post(url: str, message: dict[str, object]) -> str:
    """Post to the metaserver; what went wrong. What it answers does not matter."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        return f"Request URL is missing an 'http://' or 'https://' protocol: {url}"
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    try:
        client = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=CALL_LIMIT)
        client.request("POST", target, json.dumps(message), {"Content-Type": "application/json"})
        client.getresponse().read()
        client.close()
    except (OSError, ValueError, http.client.HTTPException) as fault:
        return f"{type(fault).__name__}: {fault}"
    return ""
