"""A process that does what files in a folder tell it, one after the other: writes lines, responds, ends.

It takes over from another where its guard asks for that, and ends when another takes over from it.

python puppet.py FOLDER ENDPOINT=PORT …
"""

import http.server
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

FOLDER = Path(sys.argv[1])
PORTS = dict(word.split("=") for word in sys.argv[2:])
STATUS = dict.fromkeys(PORTS, 200)
MODEL = dict.fromkeys(PORTS, "m")
GOOD = '{"choices": [{"text": " Rome, of course"}]}'
PAGE = "toy:running 0.0\ntoy:waiting 0.0\n"


class Handler(http.server.BaseHTTPRequestHandler):
    """One endpoint."""

    def do_GET(self):
        name = self.server.endpoint
        pages = {"/v1/models": json.dumps({"data": [{"id": MODEL[name]}]}), "/metrics": PAGE}
        self.reply(STATUS[name] if self.path == "/health" else 200, pages.get(self.path, ""))

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.reply(200, GOOD)

    def reply(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object):
        """The log holds what the test wants in it."""


def serve(name, port):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    server.endpoint = name
    threading.Thread(target=server.serve_forever, daemon=True).start()


def say(*lines: str):
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def write(path, *lines: str):
    with Path(path).open("a", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))


def respond(name, status, model):
    STATUS[name], MODEL[name] = status, model


ORDERS = {
    "say": say,
    "write": write,
    "respond": respond,
    "ignore": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "end": os._exit,
}

signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))
for endpoint in PORTS.items():
    serve(*endpoint)
if "DPLAUNCH_TAKES_OVER" in os.environ:
    Path(os.environ["DPLAUNCH_TAKES_OVER"]).touch()
while True:
    for path in sorted(FOLDER.iterdir()):
        what, *words = json.loads(path.read_text(encoding="utf-8"))
        if what in ("die", "end"):  # what has begun again must not find it
            path.unlink()
        ORDERS[what](*words)
        path.unlink()
    time.sleep(0.01)
