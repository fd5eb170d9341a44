"""The lab's DNS: names of pods behind a headless Service, from the API server's own list."""

import json
import socketserver
import ssl
import struct
import sys
import time
import urllib.request
from pathlib import Path

SERVER, TOKEN_FILE, CA, ADDRESS = sys.argv[1:5]
TOKEN = Path(TOKEN_FILE).read_text().split(",", maxsplit=1)[0]
CONTEXT = ssl.create_default_context(cafile=CA)
_known = {"at": 0.0, "names": {}}


def names():
    """NAME.SUBDOMAIN.NAMESPACE → address, at most 0.3 s old."""
    if time.monotonic() - _known["at"] > 0.3:
        request = urllib.request.Request(
            f"{SERVER}/api/v1/pods", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, context=CONTEXT, timeout=5) as reply:
            pods = json.load(reply)["items"]
        _known["names"] = {
            f"{p['spec'].get('hostname', '')}.{p['spec'].get('subdomain', '')}.{p['metadata']['namespace']}": p[
                "status"
            ]["podIP"]
            for p in pods
            if p["status"].get("podIP")
        }
        _known["at"] = time.monotonic()
    return _known["names"]


def question(data):
    labels, at = [], 12
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels), struct.unpack("!H", data[at + 1 : at + 3])[0], data[12 : at + 5]


class Query(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        name, kind, asked = question(data)
        known = name.removesuffix(".cluster.local").removesuffix(".svc")
        address = names().get(known) if ".svc" in name else None
        flags, answer = 0x8583, b""  # authoritative, no such name
        if address:
            flags = 0x8580
            if kind == 1:
                answer = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + bytes(map(int, address.split(".")))
        head = data[:2] + struct.pack("!HHHHH", flags, 1, 1 if answer else 0, 0, 0)
        sock.sendto(head + asked + answer, self.client_address)


if __name__ == "__main__":
    socketserver.ThreadingUDPServer((ADDRESS, 53), Query).serve_forever()
