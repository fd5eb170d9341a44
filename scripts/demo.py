"""The laptop demo: a cluster up, asked, looked at and down again; then proof that nothing is left.

Drives the real command line, shows each command as it runs it, and keeps its state in a folder of its
own, so that a cluster of yours stays the current one. Needs the set-up environment and nothing else.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
DPLAUNCH = Path(sys.executable).parent / "dplaunch"
CLUSTER = "clusters/laptop.yaml"
QUESTION = "Which of you answers this?"


def main() -> int:
    """Run the demo; 0 when every step did and nothing was left."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dplaunch-demo-") as state:
        env = {**os.environ, "XDG_STATE_HOME": state}
        try:
            code = demo(env)
        finally:
            down = show(env, "down", "-y")
        left = left_in(state)
        end(left)
    if code or down or left:
        say(f"The demo failed: exit code {code}, down {down}, left running {list(left.values())}.")
        return 1
    say(f"Nothing is left running. The demo took {time.monotonic() - start:.0f} s.")
    return 0


def demo(env: Mapping[str, str]) -> int:
    """All steps between nothing and ``down``; the first exit code that is not 0."""
    return (
        show(env, "up", CLUSTER)
        or chat(env)
        or show(env, "status")
        or show(env, "logs", "decode-3", "-n", "20")
    )


def show(env: Mapping[str, str], *words: str) -> int:
    """Run one dplaunch command before everybody's eyes."""
    say(f"\n$ dplaunch {' '.join(words)}")
    return subprocess.run([DPLAUNCH, *words], cwd=ROOT, env=env, check=False).returncode


def chat(env: Mapping[str, str]) -> int:
    """Ask the router one question and print the answer as it streams in."""
    done = subprocess.run(
        [DPLAUNCH, "status", "-o", "json"], cwd=ROOT, env=env, capture_output=True, check=False
    )
    status = json.loads(done.stdout)
    url = f"{status['endpoint']}/v1/chat/completions"
    say(f"\n$ a streamed chat through the router, POST {url}\n{QUESTION}")
    pieces = 0
    try:
        for piece in stream(url, status["model"]):
            pieces += 1
            sys.stdout.write(piece)
            sys.stdout.flush()
    except OSError as error:
        say(f"No answer from the router: {error}")
        return 1
    say(f"\n({pieces} pieces)")
    return 0 if pieces else 1


def stream(url: str, model: str) -> Iterator[str]:
    """The pieces of a streamed chat completion, as they come."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": True,
        "max_tokens": 64,
    }
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - our own http endpoint
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through somebody's proxy
    with direct.open(request, timeout=30) as answer:
        for line in answer:
            data = line.removeprefix(b"data: ").strip()
            if line.startswith(b"data: ") and data != b"[DONE]":
                contents = (choice["delta"].get("content") for choice in json.loads(data)["choices"])
                yield from filter(None, contents)


def left_in(folder: str, grace: float = 1.0) -> dict[int, str]:
    """What still runs when ``grace`` seconds have passed: pid → command line."""
    deadline = time.monotonic() + grace
    while (left := running_in(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def running_in(folder: str) -> dict[int, str]:
    """Live processes whose command line or environment names the folder."""
    found = ((int(entry.name), command_of(entry, folder.encode())) for entry in Path("/proc").glob("[0-9]*"))
    return {pid: command for pid, command in found if command}


def command_of(entry: Path, mark: bytes) -> str:
    """The command line of a process that bears the mark, else nothing. A zombie has none."""
    try:
        command = (entry / "cmdline").read_bytes()
        marked = command and mark in command + (entry / "environ").read_bytes()
    except OSError:  # gone meanwhile, or not ours to read
        return ""
    return command.replace(b"\0", b" ").decode(errors="replace").strip() if marked else ""


def end(left: Mapping[int, str]) -> None:
    """Kill what was left, each by its pid."""
    for pid in left:
        os.kill(pid, 9)


def say(text: str) -> None:
    """One line of the demo's own."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
