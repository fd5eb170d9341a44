"""Starts that fail: one error with node, cause and remedy; everything that had been started is gone again."""

import pytest
from faulty import STATE
from waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("nothing_is_left")]


def test_a_full_disk(site):
    host = site.lab["h3"]
    host.fill()
    error, hint = site.fails("up", code=1)
    assert error.startswith(f"n3: {STATE}/n3/")
    assert error.endswith("cannot be written: No space left on device")
    (folder,) = (word for word in hint.split() if word.startswith("/"))
    assert hint == f"free space there: df -h {folder}"
    assert host.path(folder).is_dir()
    host.free()


def test_a_read_only_disk(site):
    host = site.lab["h3"]
    host.read_only()
    error, hint = site.fails("up", code=1)
    assert error.startswith(f"n3: {STATE}/n3/")
    assert error.endswith("cannot be written: Read-only file system")
    assert "findmnt -T /" in hint
    assert "nothing runs" in site("down").stdout
    host.read_only(False)


def test_a_disk_that_fills_up_later_does_not_hinder_down(site):
    site("up")
    site.lab["h1"].fill()  # the lock is there
    assert site.status()["state"] == "serving"
    site("down", "-y")
    site.clean()
    site.lab["h1"].free()


def test_a_port_that_is_taken(site):
    host = site.lab["h3"]
    host.run(["sh", "-c", "setsid python3 -m http.server 9000 > /dev/null 2>&1 &"])
    dial = "import socket; socket.create_connection(('127.0.0.1', 9000))"
    until(lambda: host.run(["python3", "-c", dial]).returncode == 0)
    error, hint = site.fails("up", code=1)
    assert error.startswith("n3: port 9000 of decode-1 is taken by pid ")
    assert error.endswith("(python3 -m http.server 9000) of user root; nothing was started")
    assert "choose other ports" in hint
    error, hint = site.fails("up", "--no-check", code=1)
    assert error.startswith("decode-1 on n3 was not started: port 9000 is taken by pid ")
    assert "(python3 -m http.server 9000) of user root" in error
    assert "stop that process" in hint
    site.kill(host, "http.server")


def test_no_engine_there(site):
    host = site.lab["h3"]
    vllm = host.path("~/bin/vllm")
    script = vllm.read_text()
    vllm.unlink()
    done = site("up", code=1)
    host.stub("vllm", script)
    assert "error: decode-1 on n3 exited with code 127 before it was ready\n" in done.stderr
    assert "exec: vllm: not found" in done.stderr
    assert "runtime.setup" in done.stderr.splitlines()[-1]


def test_an_engine_that_exits_with_code_0_at_once(site):
    host = site.lab["h3"]
    script = host.path("~/bin/vllm").read_text()
    host.stub("vllm", "#!/bin/sh\necho I am another program called vllm\n")
    quiet = site("up", "-q", code=1).stderr
    error, hint = site.fails("up", code=1)
    host.stub("vllm", script)
    assert error == "decode-1 on n3 exited with code 0 before it was ready"
    assert hint == "dplaunch logs decode-1 -n 50"
    # what the events told is told by the error where no events are shown
    assert "I am another program" in quiet
    assert f"log: n3:{STATE}/n3/proc/decode-1/log" in quiet
    assert "another program" in site("logs", "decode-1", "-n", "50").stdout


def test_an_address_that_no_interface_has(site):
    site.write(n3="{name: n3, host: 192.0.2.3, address: 192.0.2.33}")
    error, hint = site.fails("up", code=1)
    assert error == "n3: no interface carries 192.0.2.33; nothing was started"
    assert "eth0 has 192.0.2.3" in hint
    done = site("up", "--no-check", code=1)
    assert "error: decode-1 on n3 exited with code" in done.stderr
    assert "No interface of h3 carries 192.0.2.33; it has: lo 127.0.0.1" in done.stderr
    assert "correct address or nic of the node" in done.stderr.splitlines()[-1]


def test_one_that_never_gets_ready(site):
    site.write(more="overrides: {decode-1: {env: {DPLAUNCH_REHEARSAL_NEVER_READY: 1}}}\n")
    error, hint = site.fails("up", "--timeout", "2s", code=4)
    assert error.startswith("not ready after 2 s: decode-")
    assert "on n3" in error
    assert hint.startswith("dplaunch logs decode-")
    site.clean()
    done = site("up", "--timeout", "2s", "--keep", code=4)
    assert "--keep: nothing was stopped" in done.stderr
    assert "starting" in site("status", code=4).stdout
    site("down", "-y")


def test_hooks(site):
    site.write(more='hooks: {before_up: "echo no, not today; exit 3"}\n')
    error, hint = site.fails("up", code=1)
    assert error == "the hook before_up exited with code 3; nothing was started"
    assert "by hand" in hint
    site.clean()
    site.write(more='hooks: {after_up: "echo $DPLAUNCH_HOOK_ENDPOINT; exit 4", after_down: "echo gone"}\n')
    error, _ = site.fails("up", code=1)
    assert error == "the hook after_up exited with code 4; the cluster is up and keeps running"
    assert site.status()["state"] == "serving"
    assert "gone" in site("down", "-y").stderr


def test_an_api_key_is_asked_for_and_kept_nowhere(site):
    key = "s3cr3t-of-the-lab"
    site.write(more="api_key: {from_env: THE_KEY}\n")
    error, hint = site.fails("up", code=2)
    assert error == "the secret THE_KEY is not set in the environment"
    assert hint == "export THE_KEY=…"
    site("up", env={"THE_KEY": key})
    for url in ("http://192.0.2.1:8000", "http://192.0.2.1:9000", "http://192.0.2.3:9000"):
        assert _http_status(site, url) == "401"
        assert _http_status(site, url, key) == "200"
    assert site.status()["state"] == "serving"  # without the key
    # the sources of this test are no place of ours: a checkout may lie below /tmp
    search = f"grep -rl --exclude=*.py --exclude=*.pyc '[s]{key[1:]}' ~/.local /tmp /dev/shm; grep -l '[s]{key[1:]}' /proc/[0-9]*/cmdline"
    for host in site.lab.hosts.values():
        assert host.run(["sh", "-c", search]).stdout == ""
    assert site.lab.run(["sh", "-c", f"grep -rl {key} ~/.local"]).stdout == ""
    site("down", "-y")


def _http_status(site, url, key=None):
    ask = (
        "import sys, urllib.request as u, urllib.error as e\ntry: print(u.urlopen(u.Request(sys.argv[1], headers=\
dict([sys.argv[2:]] if sys.argv[2:] else [])), timeout=5).status)\nexcept e.HTTPError as x: print(x.code)"
    )
    header = ["Authorization", f"Bearer {key}"] if key else []
    return site.lab.run(["python3", "-I", "-S", "-c", ask, f"{url}/v1/models", *header]).stdout.strip()


def test_one_role_and_by_force(site):
    assert "decode of faults is up: 2 engines ready and proved" in site("up", "--only", "decode").stdout
    before = {p["name"]: p["pid"] for p in site.status()["processes"]}
    assert before["prefill-0"] is None
    assert before["router"] is None
    site("up")
    refused = site("up", "--force", code=2).stderr
    assert "This stops processes of faults (production, 4 processes on 3 nodes: n[1-3])" in refused
    site("up", "--force", "--only", "prefill", "-y")
    after = {p["name"]: p["pid"] for p in site.status()["processes"]}
    assert after["decode-1"] == before["decode-1"]
    site("down", "-y")
