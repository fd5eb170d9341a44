"""A client of the real guard: the bundle as a folder, one session per test, real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from waiting import until

import dplaunch.node

NODE = Path(dplaunch.node.__file__).parent
PYTHON = os.environ.get("DPLAUNCH_NODE_PYTHON", sys.executable)
"""The Python of the sessions: set the variable to run these tests with the oldest one, 3.8."""


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """The guard as it stands on a node, its byte code compiled."""
    folder = tmp_path_factory.mktemp("bundle")
    shutil.copytree(NODE / "guard", folder / "guard", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(NODE / "main.py", folder / "__main__.py")
    subprocess.run([PYTHON, "-m", "compileall", "-q", folder], check=True)
    return folder


class Client:
    """One guard session. Messages are kept by arrival; ``ask`` waits for the reply to one request."""

    def __init__(self, bundle, state, *, node="n1", prefix=(), **header) -> None:
        header = {"cluster": "c", "node": node, "state": str(state), **header}
        self.process = subprocess.Popen(
            [*prefix, PYTHON, "-I", "-S", str(bundle), "guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.root = Path(state) / "dplaunch" / header["cluster"] / node
        self.messages = []
        self.next = 0
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.raw(json.dumps(header).encode() + b"\n")
        self.hello = until(lambda: self.messages and self.messages[0], 10)

    def _read(self):
        for line in self.process.stdout:
            self.messages.append(json.loads(line))

    def raw(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, verb, **fields):
        self.next += 1
        self.raw(json.dumps({"id": self.next, "verb": verb, **fields}).encode() + b"\n")
        return self.next

    def reply(self, number, deadline=15):
        return until(
            lambda: next((m for m in self.messages if m.get("id") == number and "event" not in m), None),
            deadline,
            0.005,
        )

    def ask(self, verb, deadline=15, **fields):
        return self.reply(self.send(verb, **fields), deadline)

    def events(self, kind, **wanted):
        return [
            m
            for m in list(self.messages)
            if m.get("event") == kind and all(m.get(k) == v for k, v in wanted.items())
        ]

    def start(self, *specs: dict):
        return self.ask("start", processes=list(specs))["results"]

    def observe(self, name, **fields):
        found = self.ask("observe", **fields)["processes"]
        return next((p for p in found if p["name"] == name), None)

    def stop(self, *names: str, **fields):
        return self.ask("stop", names=list(names), **fields)["results"]

    def state_of(self, name):
        return json.loads((self.root / "proc" / name / "state.json").read_text())

    def end(self):
        """End of file on its stdin; its exit code."""
        self.process.stdin.close()
        code = self.process.wait(15)
        self.reader.join(5)
        self.process.stdout.close()
        self.process.stderr.close()
        return code


def spec(name, *argv: str, stop=(("TERM", 5), ("KILL", 5)), limits=(), **more):
    """A StartSpec. Its guard looks for children at once, however busy the machine is."""
    limits = {"share": 1, "look": 0.2, **dict(limits)}
    return {
        "name": name,
        "argv": list(argv),
        "stop": [list(s) for s in stop],
        "meta": {},
        "limits": limits,
        **more,
    }


def endpoint(name, url, health="/health", models="", model=""):
    """An endpoint of a StartSpec or of ``watch``; it is asked for its health only."""
    return {"name": name, "url": url, "health": health, "models": models, "model": model}


def streams(*names: str, file="", offset=None):
    """What ``follow`` is asked for: one log of each process."""
    return [{"process": name, "file": file, "offset": offset} for name in names]


@pytest.fixture(name="endpoint")
def _endpoint():
    return endpoint


@pytest.fixture(name="streams")
def _streams():
    return streams


@pytest.fixture(name="spec")
def _spec():
    return spec


@pytest.fixture
def clients(bundle, tmp_path):
    """``clients(**header)`` opens sessions on one node folder; what they started is stopped at the end."""
    opened = []

    def open_one(state=tmp_path / "state", **more):
        client = Client(bundle, state, **more)
        opened.append(client)
        return client

    yield open_one
    roots = {client.root for client in opened}
    for client in opened:
        if client.process.poll() is None:
            client.end()
    for root in roots:
        sweep(root)


@pytest.fixture
def client(clients):
    return clients()


def sweep(root):
    """Stop what still runs: by its guard; where that is gone, by what the state file names."""
    states = []
    for path in root.glob("proc/*/state.json"):
        try:
            state = json.loads(path.read_text())
        except (ValueError, RecursionError):
            continue
        if not {"guard", "main", "tree"} <= state.keys():
            continue
        states.append(state)
        (path.parent / "stop.json").write_text('{"grace": 0}')
    guards = [tuple(state["guard"]) for state in states]
    for pid, start in guards:
        end_one(pid, start, signal.SIGTERM)
    until(lambda: not any(start_of(pid) == start for pid, start in guards))
    for state in states:
        for pid, start in [state["main"], *[pair[:2] for pair in state["tree"]]]:
            end_one(pid, start, signal.SIGKILL)


def end_one(pid, start, number):
    if pid and start_of(pid) == start:
        os.kill(pid, number)


def start_of(pid):
    """Start time of a live process; None for a zombie or none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def living(pid):
    return start_of(pid) is not None


@pytest.fixture(name="living")
def _living():
    return living


@pytest.fixture
def script(tmp_path):
    """``script(text)``: argv that runs a Python text."""
    count = iter(range(1000))

    def write(text):
        path = tmp_path / f"script-{next(count)}.py"
        path.write_text(text)
        return [sys.executable, "-I", "-S", str(path)]

    return write
