"""A stand-in engine, as fast as Python gets: one raw protocol, answers joined beforehand.

``python standin.py PORT NAME``. A request's ``temperature`` is read as the seconds between its tokens
(0: all at once), because every router passes that field on; ``max_tokens`` is how many it gets.
"""

import asyncio
import json
import sys

import uvloop

HANDLE = {
    "do_remote_prefill": True,
    "do_remote_decode": False,
    "remote_block_ids": [[1, 2]],
    "remote_engine_id": "e",
}
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)


def framed(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def whole(kind: bytes, payload: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (
        kind,
        len(payload),
        payload,
    )


class Texts:
    """Every answer this engine gives."""

    def __init__(self, name: str):
        choice = {
            "index": 0,
            "text": f" {name}",
            "logprobs": None,
            "finish_reason": None,
            "stop_reason": None,
        }
        head = {
            "id": "cmpl-0123456789abcdef",
            "object": "text_completion",
            "created": 1770000000,
            "model": "m",
        }
        self.token = framed(b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\n\n")
        self.end = framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"
        prefilled = {**head, "choices": [choice], "kv_transfer_params": HANDLE}
        self.prefilled = whole(b"application/json", json.dumps(prefilled).encode())
        self.models = whole(b"application/json", b'{"object":"list","data":[{"id":"m","object":"model"}]}')
        self.metrics = whole(b"text/plain", b"vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n")


class Engine(asyncio.Protocol):
    def __init__(self, texts: Texts):
        self.texts = texts
        self.buffer = b""
        self.timer = None

    def connection_made(self, transport):
        self.transport = transport
        self.loop = asyncio.get_running_loop()

    def connection_lost(self, _error):
        if self.timer:
            self.timer.cancel()

    def data_received(self, data):
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        size = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                size = int(line[15:])
        if len(rest) >= size:
            self.buffer = rest[size:]
            self.answer(head.split(b" ", 2)[1], rest[:size])

    def answer(self, path, body):
        if path == b"/metrics":
            self.transport.write(self.texts.metrics)
        elif not body:
            self.transport.write(self.texts.models)
        else:
            self.complete(json.loads(body))

    def complete(self, fields):
        if (fields.get("kv_transfer_params") or {}).get("do_remote_decode"):
            self.transport.write(self.texts.prefilled)
            return
        count, pause = fields["max_tokens"], fields.get("temperature") or 0
        if pause:
            self.transport.write(STREAM_HEAD)
            self.trickle(count, pause, self.loop.time())
        else:
            self.transport.write(STREAM_HEAD + self.texts.token * count + self.texts.end)

    def trickle(self, left, pause, due):
        if left == 0:
            self.transport.write(self.texts.end)
            return
        self.transport.write(self.texts.token)
        self.timer = self.loop.call_at(due + pause, self.trickle, left - 1, pause, due + pause)


async def main(port: int, name: str):
    texts = Texts(name)
    server = await asyncio.get_running_loop().create_server(lambda: Engine(texts), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
