"""A router on a loop of the test's own, with stub engines that check the KV protocol."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import aiohttp
import pytest
import yarl
from aiohttp import web

from dplaunch import router
from dplaunch.router.handover import bind
from dplaunch.router.request import PROMPTS
from dplaunch.router.settings import Settings
from dplaunch.router.worker import Place, new_loop, serving

ONE_EACH = {"prefill/0": 1, "prefill/1": 1, "decode/0": 1, "decode/1": 1}
FLOOD = 64
"""MiB."""
API = {"health": "/healthz", "metrics": "/stats", "running": "stub:running", "waiting": "stub:waiting"}
CHUNKS = [f'data: {{"choices":[{{"index":0,"text":"é{n} "}}]}}\n\n'.encode() for n in range(5)] + [
    b"data: [DONE]\n\n"
]


class StubEngine:
    """An engine that serves until told otherwise. ``acts`` holds what the next requests meet, one each:

    "500", "400", "reset" (connection aborted, no byte), "cut" (aborted after two chunks), "no-kv", "no-push",
    "recomputed" (instead of text), "recomputed-late" (after one chunk and ``gate``); "gate" waits for ``gate``
    after one chunk, "slow" before any, "silent" before it calls back or pushes; "flood" is 64 MiB.

    ``health`` is the status of its health check; 0 is silence. ``vault`` holds what prefill engines keep to be pulled, or have pushed.
    """

    def __init__(self, name, group, vault) -> None:
        self.name, self.group, self.role = name, group, group.split("/")[0]
        self.vault = vault
        self.seen = []
        self.acts = deque()
        self.gate = asyncio.Event()
        self.health, self.state = 200, "serving"
        self.running = self.waiting = 0
        self.streaming = self.written = 0
        self.cancelled = 0
        self.called_back = []
        self.reads_json = True

    async def start(self):
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get(API["health"], self._health)
        app.router.add_get(API["metrics"], self._metrics)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self.runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self.runner.setup()
        self.socket = bind("127.0.0.1", getattr(self, "port", 0), shared=False)
        self.port = self.socket.getsockname()[1]
        await web.SockSite(self.runner, self.socket).start()
        return self

    async def crash(self):
        """What kill -9 looks like from outside: no listener, every connection reset."""
        for site in list(self.runner.sites):
            await site.stop()
        for connection in self.runner.server.connections:
            if connection.transport:
                connection.transport.abort()

    async def stop(self):
        self.gate.set()
        await self.runner.cleanup()

    @property
    def entry(self):
        url = f"http://127.0.0.1:{self.port}"
        place = {"name": self.name, "role": self.role, "group": self.group, "url": url}
        return {**place, "state": self.state, "api": API}

    @property
    def requests(self):
        """Bodies of the completions it was asked for."""
        return [body for path, _, body in self.seen if path.endswith("completions")]

    async def _health(self, _request):
        if not self.health:
            await self.gate.wait()
        return web.Response(status=self.health or 200)

    async def _metrics(self, _request):
        queue = {"running": self.running, "waiting": self.waiting}
        lines = [f'stub:{what}{{engine="0"}} {count}.0\n' for what, count in queue.items()]
        return web.Response(text="".join(lines))

    async def _handle(self, request):
        raw = await request.read()
        body = read(raw) if self.reads_json else {}
        self.seen.append((request.raw_path, request.headers, body))
        act = self.acts.popleft() if self.acts else ""
        if act in ("500", "400"):
            return web.json_response({"error": {"message": f"{self.name} says {act}"}}, status=int(act))
        if act == "reset":
            request.transport.abort()
            return web.Response()
        if request.path not in PROMPTS:
            return web.json_response({"by": self.name})
        return await self._complete(request, body, act)

    async def _complete(self, request, body, act):
        params = body.get("kv_transfer_params") or {}
        if params.get("do_remote_decode"):
            if act in ("gate", "silent"):
                await self.gate.wait()
            return self._prefilled(request, act, params)
        if "metaserver" in params:
            await self._pushed(request, act, params["metaserver"])
        if "handle" in params and not self._pulled(request, params["handle"]):
            return web.json_response({"error": {"message": "handle pulled twice"}}, status=500)
        return await self._answer(request, body, act)

    def _prefilled(self, request, act, params):
        answer = {"choices": [{"text": "x"}]}
        if params.get("remote_block_ids"):
            assert params["request_id"] == f"cmpl-{request.headers['X-Request-Id']}-0"
            if act != "no-push":
                self.vault[params["request_id"]].set_result(self.name)
        elif act != "no-kv":
            handle = f"{self.name}:{len(self.seen)}"
            self.vault[handle] = request.headers["X-Request-Id"]
            answer["kv_transfer_params"] = {"do_remote_prefill": True, "handle": handle, "blocks": [[1, 2]]}
        return web.json_response(answer)

    def _pulled(self, request, handle):
        return self.vault.pop(handle, None) == request.headers["X-Request-Id"]

    async def _pushed(self, request, act, metaserver):
        """As vLLM-Ascend's layer-wise connector: call back without a key, decode once all KV has come."""
        if act == "silent":
            await self.gate.wait()
        own_id = f"cmpl-{request.headers['X-Request-Id']}-0"
        pushed = self.vault[own_id] = asyncio.get_running_loop().create_future()
        place = {"remote_block_ids": [[1, 2]], "remote_host": "127.0.0.1", "remote_port": 1, "token_ids": []}
        told = {"request_id": own_id, "do_remote_prefill": False, "do_remote_decode": True, **place}
        async with aiohttp.ClientSession() as http:
            for _ in range(2):  # as if the connection of the first had broken
                async with http.post(metaserver, json=told) as answer:
                    self.called_back.append(answer.status)
        await pushed

    async def _answer(self, request, body, act):
        if act == "slow":
            await self.gate.wait()
        if not body.get("stream"):
            reason = '"recomputed"' if act == "recomputed" else "null"
            text = f'{{"choices":[{{"text":"hello by {self.name}","stop_reason":{reason}}}]}}'
            return web.Response(text=text, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        self.streaming += 1
        try:
            await self._chunks(request, response, act)
        except (asyncio.CancelledError, ConnectionError):
            self.cancelled += 1
            raise
        finally:
            self.streaming -= 1
        return response

    async def _chunks(self, request, response, act):
        if act == "flood":
            for _ in range(FLOOD):
                await response.write(b"x" * (1 << 20))
                self.written += 1
            return
        gave_up = b'data: {"choices":[{"index":0,"text":"","stop_reason":"recomputed"}]}\n\n'
        for place, chunk in enumerate(CHUNKS):
            if place == 1 and act in ("gate", "recomputed-late"):
                await self.gate.wait()
            if (act, place) in (("recomputed", 0), ("recomputed-late", 1)):
                await response.write(gave_up)
                return
            if (act, place) == ("cut", 2):
                request.transport.abort()
            await response.write(chunk)


def read(raw):
    """A body as the most generous engine reads it."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return {}


class Cluster:
    """Engines, the members file, a router in front, and a client."""

    def __init__(self, folder, layout, flow, settings) -> None:
        self.vault = {}
        self.path = folder / "members.json"
        self.layout, self.settings = layout, settings
        self.flow = flow or ("pull" if "prefill/0" in layout else "alone")
        self.states = {}
        """Group → its state in the members file; serving unless it is named."""
        self.prepare = None
        self.engines = []

    async def open(self, stack):
        counted = {}
        for group, size in self.layout.items():
            for _ in range(size):
                role = group.split("/")[0]
                number = counted[role] = counted.get(role, -1) + 1
                engine = await StubEngine(f"{role}-{number}", group, self.vault).start()
                engine.state = self.states.get(group, "serving")
                stack.push_async_callback(engine.stop)
                self.engines.append(engine)
        if self.prepare is not None:
            self.prepare(self)
        self.write_members()
        listener = bind("127.0.0.1", 0, shared=False)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        chosen = {"members": str(self.path), "health_interval": 0.05, "grace": 1.0, **self.settings}
        worker = await stack.enter_async_context(serving(Settings(**chosen), Place((listener,))))
        self.state = worker.state
        self.http = await stack.enter_async_context(aiohttp.ClientSession())
        return self

    def __getitem__(self, name) -> StubEngine:
        return next(engine for engine in self.engines if engine.name == name)

    def role(self, role):
        return [engine for engine in self.engines if engine.role == role]

    def write_members(self, text=None):
        members = [engine.entry for engine in self.engines]
        document = {"format": 2, "revision": "g1", "model": "m", "flow": self.flow, "members": members}
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text or json.dumps(document))
        fresh.replace(self.path)

    async def put(self, group, state):
        """Write the group's state into the file, and wait until the router has read it."""
        for engine in self.engines:
            engine.state = state if engine.group == group else engine.state
        self.write_members()
        await self.until(lambda: {entry.state for entry in self.entries(group)} == {state})

    def entries(self, group):
        """What the router has read about a group."""
        return [m.entry for m in self.state.members.values() if m.entry.group == group]

    async def until(self, condition, deadline=15.0):
        end = time.monotonic() + deadline
        while not (found := condition()):
            assert time.monotonic() < end, "it did not become true in time"
            await asyncio.sleep(0.01)
        return found

    async def all_in(self):
        await self.until(
            lambda: self.state.members and all(member.alive for member in self.state.members.values())
        )

    def idle(self):
        return all(m.requests == 0 and m.tokens == 0 for m in self.state.members.values())

    async def post(self, path="/v1/completions", headers=None, **body):
        """Status, headers and whole body."""
        content = {"model": "m", "prompt": "hi", **body}
        async with self.http.post(self.url + path, json=content, headers=headers) as answer:
            return answer.status, answer.headers, await answer.read()

    async def get(self, path, headers=None):
        async with self.http.get(yarl.URL(self.url + path, encoded=True), headers=headers) as answer:
            return answer.status, answer.headers, await answer.read()

    async def counter(self, name):
        """Sum of the counter's series in /metrics."""
        text = (await self.get("/metrics"))[2].decode()
        lines = [line for line in text.splitlines() if line.partition(" ")[0].partition("{")[0] == name]
        return sum(float(line.rpartition(" ")[2]) for line in lines)


async def end_all_tasks():
    """What a scenario that failed left behind: its tasks would outlive their loop."""
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@pytest.fixture
def run(tmp_path):
    """``run(scenario, layout, …)``: the scenario with such a cluster, after ``prepare``, engines all in."""

    def runner(scenario, layout=ONE_EACH, flow="", states=None, prepare=None, **settings):
        async def whole():
            async with contextlib.AsyncExitStack() as stack:
                cluster = Cluster(tmp_path, layout, flow, settings)
                cluster.states.update(states or {})
                cluster.prepare = prepare
                await cluster.open(stack)
                await cluster.all_in()
                await scenario(cluster)

        loop = new_loop()
        try:
            loop.run_until_complete(asyncio.wait_for(whole(), 60))
        finally:
            loop.run_until_complete(end_all_tasks())
            loop.close()

    return runner


@pytest.fixture
def chunks():
    """What a stub streams."""
    return CHUNKS


class Running:
    """``python -m dprouter`` in a folder that holds nothing else."""

    def __init__(self, folder, *args: str, host="127.0.0.1", **env: str) -> None:
        package = folder / "dprouter"
        if not package.exists():
            source = Path(router.__file__).parent
            shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
        self.log = folder / f"log-{len(list(folder.glob('log-*')))}"
        argv = [
            sys.executable,
            "-m",
            "dprouter",
            "--members",
            str(folder / "members.json"),
            "--host",
            host,
            *args,
        ]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                argv,
                cwd=folder,
                stderr=out,
                env={"PATH": os.environ["PATH"], "XDG_STATE_HOME": os.environ["XDG_STATE_HOME"], **env},
            )

    def listening(self):
        """(port, pid) of each worker that listens."""
        found = re.findall(r"listening on [\d.]+:(\d+), process (\d+)", self.log.read_text())
        return [(int(port), int(pid)) for port, pid in found]

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(10)


@pytest.fixture
def start(tmp_path):
    """``start(flag, …, NAME=value)``: the router as a process, in a folder with the members file of ``run``."""
    running = []

    def starter(*args: str, host="127.0.0.1", **env: str):
        running.append(Running(tmp_path, *args, host=host, **env))
        return running[-1]

    yield starter
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
