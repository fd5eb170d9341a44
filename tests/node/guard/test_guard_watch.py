"""Watch and probe: matching lines, health as it changes, exits with their last lines."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Answers(BaseHTTPRequestHandler):
    """Answers what the test put into ``server.answers``: path → (status, body), or a callable."""

    def do_GET(self):
        answer = self.server.answers.get(self.path, (404, ""))
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        status, text = answer(body) if callable(answer) else answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    do_POST = do_GET  # noqa: N815 - the server's own names

    def log_message(self, *_args: object):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args: object):
        """A client that has read enough of a big answer is no fault."""


@pytest.fixture
def web():
    server = Server(("127.0.0.1", 0), Answers)
    server.answers, server.seen = {}, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def models(*names: str):
    return (200, json.dumps({"data": [{"id": name} for name in names]}))


def test_lines_health_and_exit_of_one_engine(client, spec, endpoint, until, web, tmp_path):
    go = tmp_path / "go"
    text = f"echo start; echo 'Loading 50%'; while [ ! -e {go} ]; do sleep 0.05; done; echo boom >&2; exit 3"
    client.start(spec("e-0", "sh", "-c", text))
    web.answers["/health"] = (503, "")
    process = {
        "name": "e-0",
        "offset": 0,
        "endpoints": [endpoint("e-0", web.url, models="/v1/models", model="m")],
        "headers": {"Authorization": "Bearer k"},
    }
    patterns = [{"id": "load", "regex": r"Loading (?P<percent>\d+)%"}, {"id": "start", "regex": "^start$"}]
    number = client.send("watch", processes=[process], patterns=patterns, interval=0.05)
    until(lambda: client.events("health", status=503))
    web.answers.update({"/health": (200, ""), "/v1/models": models("other")})
    until(lambda: client.events("health", ok=True, models=False))
    web.answers["/v1/models"] = models("other", "m")
    until(lambda: client.events("health", ok=True, models=True))
    assert web.seen[-1][2]["Authorization"] == "Bearer k"
    lines = until(lambda: len(e := client.events("line", name="e-0")) == 2 and e)
    assert [(e["pattern"], e["groups"]) for e in lines] == [("start", {}), ("load", {"percent": "50"})]
    go.touch()
    (gone,) = until(lambda: client.events("exit", name="e-0"))
    assert (gone["code"], gone["signal"]) == (3, "")
    assert (gone["again"], gone["asked"], gone["done"]) == (False, False, False)
    assert gone["tail"] == ["start", "Loading 50%", "boom"]
    assert gone["log"] == str(client.root / "proc/e-0/log")
    assert client.ask("cancel", target=number)["ok"]
    assert client.reply(number) == {"id": number, "ok": True}
    assert len(client.events("health")) == 3, "only changes are told"


def test_a_second_watcher_sees_the_past(clients, spec, until):
    first = clients()
    first.start(spec("e-0", "sh", "-c", "echo early; exit 0"))
    until(lambda: first.observe("e-0")["ended_at"])
    second = clients()
    second.send("watch", processes=[{"name": "e-0", "offset": 0}], patterns=[{"id": 1, "regex": "early"}])
    (gone,) = until(lambda: second.events("exit", name="e-0"))
    assert gone["code"] == 0
    assert [e["text"] for e in second.events("line")] == ["early"]


def test_of_some_patterns_only_the_first_lines_are_told(client, spec, until):
    client.start(spec("e-0", "sh", "-c", "for n in 1 2 3 4; do echo bad $n; done; echo good"))
    patterns = [{"id": "bad", "regex": "bad", "most": 2}, {"id": "all", "regex": "."}]
    client.send("watch", processes=[{"name": "e-0"}], patterns=patterns)
    until(lambda: client.events("exit", name="e-0"))
    assert [e["text"] for e in client.events("line", pattern="bad")] == ["bad 1", "bad 2"]
    assert len(client.events("line", pattern="all")) == 5


def test_a_service_that_dies_is_told_each_time(client, spec, until):
    client.start(spec("router", "sh", "-c", "sleep 0.2; exit 9", restarts=True, limits={"backoff": 0.1}))
    client.send("watch", processes=[{"name": "router"}])
    told = until(lambda: len(e := client.events("exit", name="router")) >= 2 and e)
    assert {(e["code"], e["again"]) for e in told} == {(9, True)}


def test_observe_asks_the_health_of_each_endpoint_where_it_is_wanted(client, spec, endpoint, web):
    web.answers["/health"] = (200, "")
    two = [endpoint("decode-0", web.url), endpoint("decode-1", web.url, health="/nope")]
    client.start(
        spec("decode@n1", "sleep", "60", endpoints=two),
        spec("quiet", "sleep", "60", endpoints=[endpoint("quiet", web.url, health="")]),
        spec("headless", "sleep", "60"),
    )

    def health(name, **fields):
        return {one["name"]: one["healthy"] for one in client.observe(name, **fields)["endpoints"]}

    assert health("decode@n1", health=True) == {"decode-0": True, "decode-1": False}
    assert health("quiet", health=True) == {"quiet": None}
    assert health("headless", health=True) == {}
    assert health("decode@n1") == {"decode-0": None, "decode-1": None}
    assert client.observe("decode@n1")["endpoints"][1]["url"] == web.url


def test_probe_asks_all_at_once_and_past_every_proxy(clients, web, monkeypatch, until):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    client = clients()
    never = threading.Event()
    web.answers.update(
        {
            "/echo": lambda body: (200, f"you said {body}"),
            "/slow": lambda _body: never.wait(5) and (200, ""),
            "/big": (200, "x" * 100_000),
        }
    )
    requests = [
        {"key": "echo", "url": web.url + "/echo", "method": "POST", "body": {"a": 1}, "timeout": 5},
        {"key": "text", "url": web.url + "/echo", "method": "POST", "body": "t", "timeout": 5},
        {"key": "big", "url": web.url + "/big", "timeout": 5},
        {"key": "slow", "url": web.url + "/slow", "timeout": 0.3},
        {"key": "none", "url": web.url + "/none", "timeout": 5},
        {"key": "refused", "url": "http://127.0.0.1:1/", "timeout": 5},
        {"key": "odd", "url": "ftp://127.0.0.1/", "timeout": 5},
    ]
    results = {r["key"]: r for r in client.ask("probe", requests=requests)["results"]}
    never.set()
    assert (results["echo"]["status"], results["echo"]["body"]) == (200, 'you said {"a": 1}')
    assert results["text"]["body"] == "you said t"
    assert len(results["big"]["body"]) == 64 << 10
    assert (results["slow"]["status"], results["slow"]["error"]) == (
        None,
        "no complete response within 0.3 s",
    )
    assert results["none"]["status"] == 404
    assert "refused" in results["refused"]["error"].lower()
    assert "this is neither an http:// nor a tcp://" in results["odd"]["error"]


def test_a_server_that_drips_is_not_waited_for(client, spec, script, until):
    text = """
import socket, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(); print(s.getsockname()[1], flush=True)
c, _ = s.accept()
c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 9999\\r\\n\\r\\n")
while True:
    c.sendall(b"x"); time.sleep(0.05)
"""
    client.start(spec("drip", *script(text)))
    port = int(until(lambda: (client.root / "proc/drip/log").read_text().strip()))
    (result,) = client.ask(
        "probe", requests=[{"key": 1, "url": f"http://127.0.0.1:{port}/", "timeout": 0.4}]
    )["results"]
    assert result["error"] == "no complete response within 0.4 s"


def test_cancel_of_nothing_is_no_fault(client):
    assert client.ask("cancel", target=99)["ok"]


def test_a_watch_may_come_before_the_start(client, spec, until):
    client.send("watch", processes=[{"name": "later"}], patterns=[{"id": 1, "regex": "here"}])
    client.start(spec("later", sys.executable, "-c", "print('here')"))
    until(lambda: client.events("line", name="later"))
    until(lambda: client.events("exit", name="later"))


PARENT = """
import os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if os.path.exists(f"{sys.argv[1]}-{self.server.server_port}") else 503)
        self.end_headers()
    def log_message(self, *args):
        pass
servers = [ThreadingHTTPServer(("127.0.0.1", 0), Answers) for _ in range(2)]
print(*(server.server_port for server in servers), flush=True)
threading.Thread(target=servers[0].serve_forever, daemon=True).start()
servers[1].serve_forever()
"""


def test_each_endpoint_of_a_parent_process_has_a_health_of_its_own(
    client, spec, endpoint, script, until, tmp_path
):
    (client.root).mkdir(parents=True)
    client.start(spec("decode@n1", *script(PARENT), str(tmp_path / "well")))
    ports = until(lambda: (client.root / "proc/decode@n1/log").read_text().split())
    endpoints = [endpoint(f"decode-{n}", f"http://127.0.0.1:{port}") for n, port in enumerate(ports)]
    client.send("watch", processes=[{"name": "decode@n1", "endpoints": endpoints}], interval=0.05)

    def health():
        return {
            e["endpoint"]: (e["ok"], e["models"], e["status"])
            for e in client.events("health", name="decode@n1")
        }

    until(lambda: health() == {"decode-0": (False, False, 503), "decode-1": (False, False, 503)})
    (tmp_path / f"well-{ports[1]}").touch()
    until(lambda: health() == {"decode-0": (False, False, 503), "decode-1": (True, True, 200)})
    (tmp_path / f"well-{ports[0]}").touch()
    (tmp_path / f"well-{ports[1]}").unlink()
    until(lambda: health() == {"decode-0": (True, True, 200), "decode-1": (False, False, 503)})
    assert len(client.events("health")) == 5, "only changes are reported"


def test_an_endpoint_without_a_path_is_not_asked(client, spec, endpoint, until, web):
    web.answers["/health"] = (200, "")
    client.start(spec("e-0", "sleep", "60"))
    endpoints = [
        endpoint("no-health", web.url, health="", models="/v1/models", model="m"),
        endpoint("no-models", web.url, model="m"),
        endpoint("any-model", web.url, models="/v1/models"),
    ]
    client.send("watch", processes=[{"name": "e-0", "endpoints": endpoints}], interval=0.05)
    until(lambda: len(client.events("health")) == 2)
    assert {e["endpoint"] for e in client.events("health", ok=True, models=True)} == {
        "no-models",
        "any-model",
    }
    until(lambda: len(web.seen) > 6)
    assert {path for _, path, _ in web.seen} == {"/health"}


def test_a_line_of_its_own_makes_a_process_ready(client, spec, until):
    loading = "echo Loading; sleep 0.1; echo 'Daemon start success!'; sleep 60"
    client.start(
        spec("daemon", "sh", "-c", loading, ready={"kind": "line", "pattern": "start success"}),
        spec("other", "sh", "-c", loading),
    )
    assert client.observe("daemon")["ready"] == {"kind": "line", "pattern": "start success"}
    processes = [{"name": "daemon", "line": "start success"}, {"name": "other", "line": ""}]
    client.send("watch", processes=processes, patterns=[{"id": "load", "regex": "Loading"}])
    (event,) = until(lambda: client.events("line", pattern="ready"))
    assert (event["name"], event["text"], event["groups"]) == ("daemon", "Daemon start success!", {})
    until(lambda: len(client.events("line", pattern="load")) == 2)


def test_a_service_is_ready_again_after_each_restart(client, spec, until):
    client.start(
        spec("router", "sh", "-c", "echo up; sleep 0.3; exit 1", restarts=True, limits={"backoff": 0.1})
    )
    client.send("watch", processes=[{"name": "router", "line": "^up$"}])
    until(lambda: len(client.events("line", pattern="ready")) >= 2)
