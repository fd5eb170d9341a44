"""Other routers: started last, because they must see serving engines; so not with --detach. And none at all."""

import json
import sys

import pytest
from faulty import Site
from lab import Lab

pytestmark = pytest.mark.lab

# What both programs have in common: they want every engine there when they start, and pass requests on.
# vllm-router answers /health and /v1/models, the example proxy only /healthcheck and the two POSTs.
ROUTER = """\
#!%s
import http.server, sys, urllib.request
from urllib.error import HTTPError
words = sys.argv[1:]
def after(flag):
    rest = words[words.index(flag) + 1:]
    return rest[:next((i for i, word in enumerate(rest) if word.startswith("--")), len(rest))]
if "--vllm-pd-disaggregation" in words:
    urls = [words[i + 1] for i, word in enumerate(words) if word in ("--prefill", "--decode")]
    gets = ("/health", "/v1/models")
else:
    sides = ("prefiller", "decoder")
    places = [pair for side in sides for pair in zip(after(f"--{side}-hosts"), after(f"--{side}-ports"))]
    urls = [f"http://{host}:{port}" for host, port in places]
    gets = ("/healthcheck",)
for url in urls:
    urllib.request.urlopen(url + "/health", timeout=5)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path not in gets:
            return self.say(404, b"")
        return self.pass_on(None) if self.path.startswith("/v1/") else self.say(200, b"{}")
    def do_POST(self):
        self.pass_on(self.rfile.read(int(self.headers["Content-Length"])))
    def pass_on(self, body):
        headers = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(urls[-1] + self.path, body, headers)) as answer:
            self.say(answer.status, answer.read())
    def say(self, code, body):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer((after("--host")[0], int(after("--port")[0])), Handler).serve_forever()
"""
KINDS = {
    "vllm-router": "router: {kind: vllm-router, node: n1, port: 8000}\n",
    "vllm-ascend": "router: {kind: vllm-ascend, node: n1, port: 8000, path: /srv/home/bin/vllm-router}\n",
}


@pytest.fixture(scope="module")
def site():
    with Lab(3) as lab:
        lab["h1"].stub("vllm-router", ROUTER % sys.executable)
        yield Site(lab)


@pytest.fixture(autouse=True)
def _nothing_is_left(site):
    site.mend()
    yield
    site.clean()


@pytest.mark.parametrize("kind", KINDS)
def test_a_foreign_router_starts_last(site, kind):
    site.write(without="router:", more=KINDS[kind])
    error, hint = site.fails("up", "--detach", code=2)
    assert error.startswith("--detach does not wait, and router starts after ")
    assert "kind: dplaunch" in hint
    site.clean()
    up = json.loads(site("up", "-o", "json").stdout)
    assert set(up["processes"].values()) == {"proved"}
    assert site.status()["state"] == "serving"
    assert not json.loads(site("up", "-o", "json").stdout)["changed"]
    site("down", "-y")


def test_a_foreign_router_that_is_not_installed(site):
    site.write(without="router:", more=KINDS["vllm-router"].replace("node: n1", "node: n2"))
    error, _ = site.fails("up", code=1)
    assert error.startswith("router on n2 exited with code 127")


def test_without_a_router_the_first_engine_is_the_endpoint(site):
    site.write(without="router:", more="router: {kind: none}\n")
    assert "endpoint  http://192.0.2.1:9000" in site("up").stdout
    assert len(site.status()["processes"]) == 3
    site("down", "-y")
