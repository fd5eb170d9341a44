"""The stand-in of Redis: what schedulers of engines ask of it, over its own protocol."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import until

import dplaunch.node.rehearsal as package

START = "import sys; sys.path.insert(0, {!r}); import rehearsal; sys.exit(rehearsal.main(sys.argv[1:]))"


class Client:
    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.stream = self.sock.makefile("rb")

    def __call__(self, *words: object) -> object:
        parts = b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in (str(word).encode() for word in words))
        self.sock.sendall(b"*%d\r\n%s" % (len(words), parts))
        return self.read()

    def read(self):
        line = self.stream.readline().decode().rstrip()
        kind, rest = line[0], line[1:]
        if kind in "+-":
            return line
        if kind == ":":
            return int(rest)
        if rest == "-1":
            return None
        if kind == "*":
            return [self.read() for _ in range(int(rest))]
        return self.stream.read(int(rest) + 2)[:-2].decode()


def start(port: int, words: list[str]) -> subprocess.Popen[str]:
    code = START.format(str(Path(package.__file__).parents[1]))
    argv = [sys.executable, "-c", code, "redis-server", *words, "--port", str(port)]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def served(free_port):
    started = []

    def serve(words=(), given=""):
        process = start(free_port, words)
        started.append(process)
        process.stdin.write(given)
        process.stdin.close()
        assert "Ready to accept connections" in process.stdout.readline()
        return Client(free_port)

    yield serve
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_hashes_lists_and_strings(served):
    ask = served()
    assert ask("PING") == "+OK"
    assert "redis_version:7" in ask("INFO", "server")
    assert [ask("HSET", "t.cluster", "a", "{}"), ask("HSET", "t.cluster", "a", "1", "b", "2")] == [1, 1]
    assert ask("HGETALL", "t.cluster") == ["a", "1", "b", "2"]
    assert [ask("HDEL", "t.cluster", "a"), ask("HGET", "t.cluster", "a"), ask("HGETALL", "no")] == [
        1,
        None,
        [],
    ]
    assert ask("LPUSH", "q", "1", "2") == 2
    assert [ask("RPOP", "q", 5), ask("LLEN", "q"), ask("RPOP", "q")] == [["1", "2"], 0, None]
    assert [ask("SET", "k", "v", "EX", "100"), ask("GET", "k"), ask("DEL", "k")] == ["+OK", "v", 1]


def test_what_is_wrong_is_answered_in_its_own_words(served):
    ask = served()
    ask("SET", "k", "v")
    assert ask("HGETALL", "k").startswith("-WRONGTYPE")
    assert ask("FLY") == "-ERR unknown command 'FLY'"
    assert ask("HSET").startswith("-ERR wrong number")


def test_what_has_expired_is_gone(served):
    ask = served()
    ask("HSET", "h", "a", "1")
    assert ask("EXPIRE", "h", "0.05") == 1
    until(lambda: ask("HGETALL", "h") == [])
    assert [ask("EXPIRE", "h", 9), ask("EXISTS", "h")] == [0, 0]


def test_a_password_is_asked_for(served):
    ask = served(["-"], given="requirepass geheim\n")
    assert ask("PING").startswith("-NOAUTH")
    assert ask("AUTH", "no").startswith("-WRONGPASS")
    assert [ask("AUTH", "geheim"), ask("PING")] == ["+OK", "+OK"]
