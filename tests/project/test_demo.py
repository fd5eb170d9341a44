"""scripts/demo.py with a stand-in for dplaunch: it takes everything down, and notices what is left."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

DEMO = Path(__file__).parent.parent.parent / "scripts" / "demo.py"
STUB = """#!/bin/sh
echo "$@" >> "$DEMO_CALLS"
case "$*" in
    "up "*) {up} ;;
    "status -o json") echo '{{"endpoint": "{endpoint}", "model": "tiny"}}' ;;
    "down "*) {down} ;;
esac
"""


class Answer(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert (asked["model"], asked["stream"]) == ("tiny", True)
        self.send_response(200)
        self.end_headers()
        for delta in ({"role": "assistant"}, {"content": "decode-"}, {"content": "3 does"}, {}):
            self.wfile.write(b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object):
        """Say nothing."""


@pytest.fixture
def endpoint():
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def demo(tmp_path, endpoint):
    """``demo(up=…, down=…)``: exit code, output and the commands it gave, with shell code for the two."""

    def demo(up: str = "true", down: str = "true") -> tuple[int, str, list[str]]:
        python = tmp_path / "python3"
        python.symlink_to(Path(sys.executable).resolve())
        stub = tmp_path / "dplaunch"
        stub.write_text(STUB.format(up=up, down=down, endpoint=endpoint))
        stub.chmod(0o755)
        calls = tmp_path / "calls"
        env = {"PATH": os.environ["PATH"], "DEMO_CALLS": str(calls)}
        done = subprocess.run(
            [python, DEMO], env=env, capture_output=True, text=True, timeout=30, check=False
        )
        return done.returncode, done.stdout + done.stderr, calls.read_text().splitlines()

    return demo


def test_the_demo_goes_all_the_way(demo):
    code, out, calls = demo()
    assert (code, calls) == (
        0,
        ["up clusters/laptop.yaml", "status -o json", "status", "logs decode-3 -n 20", "down -y"],
    )
    assert "decode-3 does" in out
    assert "Nothing is left running" in out


def test_what_does_not_come_up_is_taken_down(demo):
    code, out, calls = demo(up="exit 4")
    assert (code, calls) == (1, ["up clusters/laptop.yaml", "down -y"])
    assert "exit code 4" in out


def test_what_down_leaves_is_named_and_ended(demo, until):
    code, out, _ = demo(up='sleep 61 > "$XDG_STATE_HOME/log" 2>&1 & echo "PID $!"')
    assert code == 1
    assert "left running ['sleep 61']" in out
    pid = next(line.split()[1] for line in out.splitlines() if line.startswith("PID"))
    until(lambda: not Path(f"/proc/{pid}/cwd").exists(), 2)
