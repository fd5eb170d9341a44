"""Files of the node folder: read, and written only where they are what the writer has seen."""

import fcntl
import hashlib
import json
import os
import pwd
import threading
from pathlib import Path

import pytest

from dplaunch.node.guard.files import put
from dplaunch.node.guard.store import Folder, Refused


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def get(client, path):
    (file,) = client.ask("get", paths=[path])["files"]
    return file


def test_get_returns_text_and_hash_and_what_is_missing(client):
    client.ask("put", files=[{"path": "router/members.json", "text": '{"ü": 1}'}])
    reply = client.ask("get", paths=["router/members.json", "router/none", "none/none"])
    assert reply["files"] == [
        {"path": "router/members.json", "text": '{"ü": 1}', "sha": sha('{"ü": 1}')},
        {"path": "router/none", "text": None, "sha": ""},
        {"path": "none/none", "text": None, "sha": ""},
    ]


def test_an_absolute_path_is_written_and_read_where_its_folder_exists(client, tmp_path):
    path = tmp_path / "x.conf"
    assert client.ask("put", files=[{"path": str(path), "text": "new", "mode": 0o640}])["ok"]
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)
    assert get(client, str(path))["text"] == "new"
    lost = client.ask("put", files=[{"path": str(tmp_path / "no/x"), "text": ""}])
    assert f"{tmp_path}/no/x" in lost["error"]["text"]
    folder = client.ask("put", files=[{"path": str(tmp_path), "text": ""}])
    assert folder["error"]["text"] == f"{tmp_path} is a folder"


def test_a_file_has_its_owner_from_the_beginning_or_is_not_written(client, tmp_path):
    name = pwd.getpwuid(os.getuid()).pw_name
    path = tmp_path / "own" / "x"
    path.parent.mkdir()
    assert client.ask("put", files=[{"path": str(path), "text": "a", "owner": name}])["ok"]
    refused = client.ask("put", files=[{"path": str(path), "text": "b", "owner": "no-such-user"}])
    assert "no-such-user" in refused["error"]["text"]
    assert (path.read_text(), list(path.parent.iterdir())) == ("a", [path])


@pytest.mark.parametrize("path", ["/etc/../etc/x", "/x/", "../x", "a/../../x", "", "a/"])
def test_get_and_put_stay_inside_the_node_folder(client, path):
    assert client.ask("get", paths=[path])["error"]["kind"] == "request"
    assert client.ask("put", files=[{"path": path, "text": "", "expect": ""}])["error"]["kind"] == "request"


def test_get_of_a_folder_and_of_a_huge_file_is_an_error(client):
    client.ask("put", files=[{"path": "a/b", "text": ""}])
    os.truncate(client.root / "a/b", 5 << 20)
    assert client.ask("get", paths=["a"])["error"]["kind"] == "io"
    assert "is larger than" in client.ask("get", paths=["a/b"])["error"]["text"]


def test_put_writes_only_what_is_as_expected(client):
    assert client.ask("put", files=[{"path": "m", "text": "1", "expect": ""}])["ok"]
    assert client.ask("put", files=[{"path": "m", "text": "2", "expect": sha("1")}])["ok"]
    assert client.ask("put", files=[{"path": "m", "text": "3"}])["ok"]
    assert get(client, "m")["text"] == "3"


@pytest.mark.parametrize("expect", ["", sha("1"), "nonsense"])
def test_put_writes_nothing_where_one_file_is_not_as_expected(client, expect):
    client.ask("put", files=[{"path": "m", "text": "2"}], plan={"revision": "r1"})
    files = [{"path": "other", "text": "x", "expect": ""}, {"path": "m", "text": "3", "expect": expect}]
    error = client.ask("put", files=files, plan={"revision": "r2"})["error"]
    assert (error["kind"], error["paths"]) == ("changed", ["m"])
    assert get(client, "m")["text"] == "2"
    assert get(client, "other")["text"] is None
    assert client.ask("observe")["revision"] == "r1"


def test_two_sessions_that_change_one_file_never_undo_each_other(clients):
    pair = clients(), clients()
    refused = []

    def add(client, letter):
        for number in range(15):
            while True:
                file = get(client, "members.json")
                members = json.loads(file["text"] or "[]")
                text = json.dumps([*members, f"{letter}{number}"])
                reply = client.ask(
                    "put", files=[{"path": "members.json", "text": text, "expect": file["sha"]}]
                )
                if reply["ok"]:
                    break
                assert reply["error"]["kind"] == "changed"
                refused.append(letter)

    threads = [
        threading.Thread(target=add, args=(one, letter)) for one, letter in zip(pair, "ab", strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    members = json.loads(get(pair[0], "members.json")["text"])
    assert sorted(members) == sorted(f"{letter}{number}" for letter in "ab" for number in range(15))
    assert [one for one in members if one[0] == "a"] == [f"a{number}" for number in range(15)]
    assert not list(Path(pair[0].root).rglob("*.tmp"))


def test_a_put_waits_for_another_one_but_not_for_ever(client):
    file = {"path": "m", "text": "1"}
    client.ask("put", files=[])
    with (client.root / "files.lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        number = client.send("put", files=[file])
        with pytest.raises(Refused, match=r"for 0\.05 s") as refused:
            put(Folder(str(client.root)), [file], None, patience=0.05)
        assert refused.value.error["kind"] == "busy"
        assert not (client.root / "m").exists()
    assert client.reply(number)["ok"]


def test_of_two_puts_with_the_same_expectation_one_is_written(clients):
    pair = clients(), clients()
    for round_ in range(10):
        expect = get(pair[0], "m")["sha"]
        numbers = [
            one.send("put", files=[{"path": "m", "text": f"{round_}{place}", "expect": expect}])
            for place, one in enumerate(pair)
        ]
        replies = [one.reply(number) for one, number in zip(pair, numbers, strict=True)]
        assert sorted(reply["ok"] for reply in replies) == [False, True]
        winner = [reply["ok"] for reply in replies].index(True)
        assert get(pair[0], "m")["text"] == f"{round_}{winner}"
