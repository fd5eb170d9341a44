"""The guard's look into Redis."""

import json
import threading

import pytest

from dplaunch.node.guard import ask
from dplaunch.node.rehearsal import redis as played


@pytest.fixture
def server():
    """``server(password)``: a Redis at a free port; its URL."""
    servers = []

    def start(password=""):
        one = played._Server(("127.0.0.1", 0), played.Keys(password))
        threading.Thread(target=one.serve_forever, daemon=True).start()
        servers.append(one)
        return f"redis://127.0.0.1:{one.server_address[1]}"

    yield start
    for one in servers:
        one.shutdown()
        one.server_close()


def asked(url, *commands: list[str], **headers):
    request = {"url": url, "body": json.dumps(commands), "headers": headers, "timeout": 5}
    return ask.ask_all([request])[0]


def test_the_replies_come_in_order(server):
    seen = asked(server(), ["HSET", "k", "a", "1"], ["HGETALL", "k"], ["GET", "no"], ["LLEN", "x"])
    assert (seen["status"], json.loads(seen["body"])) == (200, [1, ["a", "1"], None, 0])


def test_a_password_comes_first_and_its_lack_is_redis_own_words(server):
    url = server("secret")
    assert json.loads(asked(url, ["LLEN", "x"], Password="secret")["body"]) == [0]
    assert "NOAUTH" in asked(url, ["PING"])["error"]


def test_where_nothing_listens_the_address_is_named():
    assert "redis://127.0.0.1:1: " in asked("redis://127.0.0.1:1", ["PING"])["error"]
