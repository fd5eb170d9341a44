"""Look at a job again and again, copy the logs of its pods, and say on a port whether it is ready."""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import threading
import time

from .cluster import Kubectl, LostError, Seen, deployment

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from typing import IO, NoReturn

    from .cluster import Pod

LOOK_EVERY = 2.0
"""Seconds between two looks while the job is not ready; while it is, ``--every`` says how many."""
UNHEARD = 60.0
"""Seconds that pods have been ready after which a log that says neither counts no more."""
STALE = 60.0
"""Seconds after which a look counts no more: kubectl has not answered since."""
LOG_MOST = 64 << 20
"""Bytes after which the log of a further pod begins anew; the first pod's is bounded by whoever runs us."""


def run(argv: list[str]) -> int:
    """Follow the pods until the job is gone or has failed (1), or until SIGTERM (0)."""
    options = _parse(argv)
    follower = Follower(options)

    def end(*_: object) -> NoReturn:
        follower.close()
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    _Health(options.listen, follower.health).start()
    code = follower.run()
    follower.close()
    return code


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="pods", allow_abbrev=False)
    parser.add_argument("--kind", required=True, help="kind of the job, with its group")
    parser.add_argument("--job", required=True)
    parser.add_argument("--pods", type=int, default=1, help="how many it has")
    parser.add_argument("--selector", required=True, help="label of the job, its pods and the marker")
    parser.add_argument("--marker", required=True, help="ConfigMap that names the deployment")
    parser.add_argument("--deployment", required=True, help="digest that the marker must hold")
    parser.add_argument("--listen", required=True, help="HOST:PORT on which GET tells whether it is ready")
    parser.add_argument("--logs", required=True, help="folder for the logs of further pods")
    parser.add_argument("--ready", default="", help="regular expression: the first pod's log says it is")
    parser.add_argument("--unready", default="", help="regular expression: its log says that it is not")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two looks at most")
    parser.add_argument("kubectl", nargs="+")
    return parser.parse_args(argv)


def say(text: str) -> None:
    """Print a line of our own, whole: threads print beside us."""
    mark = "" if text.startswith("ERROR: ") else "[pods] "
    os.write(1, f"{mark}{text}\n".encode())


class Follower:
    """What is known of one job."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._kubectl = Kubectl(options.kubectl)
        self._kinds = f"{options.kind},pods,configmaps"
        self._copies: dict[str, _Copy] = {}
        """By pod."""
        self._told: bool | None = None
        """Whether the log said last that it is ready; None: it said neither."""
        self._trouble = "it was not looked at yet"
        self._looked_at = self._ready_since = 0.0
        self._said = ""

    def health(self) -> str:
        """Why the job is not ready; empty where it is."""
        if self._trouble:
            return self._trouble
        if time.monotonic() - self._looked_at > STALE:
            return "kubectl does not answer"
        if self._told is False:
            return "its log says that it is not ready"
        if self._told is None and self._options.ready and time.monotonic() - self._ready_since < UNHEARD:
            return f"its log does not say yet: {self._options.ready}"
        return ""

    def run(self) -> int:
        """Look until the job is gone."""
        seen_before = False
        while True:
            seen = self._look()
            if seen is not None:
                self._copy(seen.pods)
                gone = seen_before and not seen.there
                if gone or seen.failed:
                    why = "was deleted" if gone else f"failed: {seen.failed}"
                    say(f"ERROR: {self._options.kind.partition('.')[0]} {self._options.job} {why}")
                    return 1
                seen_before = seen.there
            time.sleep(min(LOOK_EVERY, self._options.every) if self.health() else self._options.every)

    def close(self) -> None:
        """End what reads logs."""
        for copy in self._copies.values():
            if copy.logs is not None and copy.logs.poll() is None:
                copy.logs.kill()

    def _look(self) -> Seen | None:
        """What is there now; None where kubectl did not answer, or another deployment is there."""
        try:
            items = self._kubectl.items(self._kinds, self._options.selector)
        except LostError as lost:
            self._note(f"kubectl: {lost}")
            return None
        if deployment(items, self._options.marker) != self._options.deployment:
            self._trouble = "it is not deployed yet"
            self._note(self._trouble)
            return None
        seen = Seen(items, self._options.job)
        if self._trouble:
            self._ready_since = time.monotonic()
        self._trouble, self._looked_at = seen.trouble(self._options.pods), time.monotonic()
        wrong = "ERROR: " if seen.there and any(pod.wrong for pod in seen.pods) else ""
        ready = f"{len(seen.pods)} of {self._options.pods} pods are ready"
        self._note(f"{wrong}{self._trouble}" if self._trouble else ready)
        return seen

    def _note(self, text: str) -> None:
        if text != self._said:
            say(text)
            self._said = text

    def _copy(self, pods: list[Pod]) -> None:
        """Follow each run of each pod's container: the first pod's to our own log, others' to files.

        Where kubectl lost its connection while the container runs, the rest is asked for.
        """
        for number, pod in enumerate(pods):
            before = self._copies.get(pod.name)
            again = before is not None and before.launch == pod.launch
            if not pod.launch or (before and before.thread.is_alive()) or (again and not pod.running):
                continue
            if not again and not number:
                self._told = None
            since = int(time.monotonic() - before.ended) + 1 if again and before else 0
            self._copies[pod.name] = copy = _Copy(pod.launch)
            copy.thread = threading.Thread(target=self._follow, args=(pod, number, since, copy), daemon=True)
            copy.thread.start()

    def _follow(self, pod: Pod, number: int, since: int, copy: _Copy) -> None:
        copy.logs = logs = self._kubectl.follow(pod.name, pod.container, since)
        if logs.stdout and number:
            _store(logs.stdout, os.path.join(self._options.logs, f"{pod.name}.log"))
        for line in logs.stdout or ():
            os.write(1, line if line.endswith(b"\n") else line + b"\n")
            self._read(line.decode("utf-8", "replace"))
        logs.wait()
        copy.ended = time.monotonic()

    def _read(self, line: str) -> None:
        for pattern, ready in ((self._options.ready, True), (self._options.unready, False)):
            if pattern and re.search(pattern, line):
                self._told = ready


def _store(lines: IO[bytes], path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "ab", buffering=0) as target:
        for line in lines:
            if target.tell() > LOG_MOST:
                target.truncate(0)
            target.write(line)


class _Copy:
    """The log of one run of a container, being copied."""

    def __init__(self, launch: str) -> None:
        self.launch = launch
        self.thread = threading.Thread()
        self.logs: subprocess.Popen[bytes] | None = None
        self.ended = 0.0


class _Health:
    """Answers each GET with 200, or with 503 and the reason."""

    def __init__(self, listen: str, health: Callable[[], str]) -> None:
        host, _, port = listen.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._health = health
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host.strip("[]"), int(port)))
        self._socket.listen(64)

    def start(self) -> None:
        """Serve in a thread from now on."""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            try:
                self._answer(connection)
            except OSError:  # who asked has left
                pass
            finally:
                connection.close()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(2.0)
        asked = b""
        while b"\r\n\r\n" not in asked and len(asked) < 1 << 16:
            piece = connection.recv(4096)
            if not piece:
                return
            asked += piece
        wrong = self._health()
        status = "503 Service Unavailable" if wrong else "200 OK"
        body = (wrong or "ready").encode()
        head = f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {len(body)}\r\n"
        connection.sendall(f"{head}connection: close\r\n\r\n".encode() + body)
