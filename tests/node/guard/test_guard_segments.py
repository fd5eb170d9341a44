"""Shared memory of a process that is killed: gone with it, and nobody else's is touched."""

import mmap
import os
import signal
import uuid
from pathlib import Path

import pytest

MAKER = """
import mmap, os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
kept = []
for name, share in zip(sys.argv[1::2], sys.argv[2::2]):
    fd = os.open("/dev/shm/" + name, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(fd, 4096)
    kept.append(mmap.mmap(fd, 4096, flags=getattr(mmap, share)))
    os.close(fd)
time.sleep(600)
"""
SEMAPHORE = """
import multiprocessing, time
lock = multiprocessing.get_context("spawn").Lock()
time.sleep(600)
"""


@pytest.fixture
def shm():
    """``shm(count)``: names of files in /dev/shm that no other test uses."""
    names = []

    def make(count):
        names.extend(f"dplaunch-test-{uuid.uuid4()}" for _ in range(count))
        return names[-count:]

    yield make
    for name in names:
        (Path("/dev/shm") / name).unlink(missing_ok=True)


@pytest.fixture
def maker(client, spec, script, until):
    """``maker(*names)``: a process that has made and mapped these, which its guard has noted; its state."""

    def start(*names: str):
        words = [word for name in names for word in (name, "MAP_SHARED")]
        client.start(spec("e-0", *script(MAKER), *words, stop=[["TERM", 0.1], ["KILL", 5]]))
        until(lambda: {name for name, _ in client.state_of("e-0")["shared"]} == set(names))
        return client.state_of("e-0")

    return start


def left(names):
    return [name for name in names if (Path("/dev/shm") / name).exists()]


def test_what_a_killed_process_made_is_gone_with_it(client, maker, shm):
    names = shm(3)
    maker(*names)
    assert client.stop("e-0")[0]["how"] == "KILL"
    assert left(names) == []


def test_a_semaphore_is_known_though_its_mapping_has_another_name(client, spec, script, until):
    client.start(spec("e-0", *script(SEMAPHORE), stop=[["KILL", 5]]))
    [[name, _]] = until(lambda: client.state_of("e-0")["shared"])
    assert name.startswith("sem.mp-")
    client.stop("e-0")
    assert left([name]) == []


def test_it_is_gone_too_where_nobody_asked_for_the_end(client, maker, shm, until):
    names = shm(1)
    os.kill(maker(*names)["main"][0], signal.SIGKILL)
    until(lambda: client.observe("e-0")["state"] == "exited")
    until(lambda: left(names) == [])


def test_a_session_removes_it_where_the_guard_was_killed(client, maker, shm, until, living):
    names = shm(1)
    guard = maker(*names)["guard"][0]
    os.kill(guard, signal.SIGKILL)
    until(lambda: not living(guard))
    client.stop("e-0")
    assert left(names) == []


def test_forgetting_removes_it_where_both_were_killed(client, maker, shm, until, living):
    names = shm(1)
    state = maker(*names)
    for pid in (state["guard"][0], state["main"][0]):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not living(state["guard"][0]) and not living(state["main"][0]))
    assert left(names) == names
    assert client.ask("forget", all=True)["ok"]
    assert left(names) == []


def test_what_somebody_else_has_mapped_stays(client, maker, shm):
    ours, shared = names = shm(2)
    maker(*names)
    with (Path("/dev/shm") / shared).open("r+b") as file:
        view = mmap.mmap(file.fileno(), 4096)
    client.stop("e-0")
    assert left([ours, shared]) == [shared]
    view.close()


def test_what_is_older_than_the_process_stays(client, spec, script, shm, until):
    old, new = names = shm(2)
    (Path("/dev/shm") / old).write_bytes(b"x" * 4096)
    os.utime(Path("/dev/shm") / old, (1, 1))
    text = MAKER.replace("os.ftruncate(fd, 4096)", "os.fstat(fd).st_size or os.ftruncate(fd, 4096)")
    client.start(spec("e-0", *script(text), old, "MAP_SHARED", new, "MAP_SHARED", stop=[["KILL", 5]]))
    until(lambda: client.state_of("e-0")["shared"])
    client.stop("e-0")
    assert left(names) == [old]


def test_what_a_process_only_reads_stays(client, spec, script, shm, until):
    read, made = names = shm(2)
    argv = script(MAKER)
    client.start(spec("e-0", *argv, read, "MAP_PRIVATE", made, "MAP_SHARED", stop=[["KILL", 5]]))
    until(lambda: client.state_of("e-0")["shared"])
    client.stop("e-0")
    assert left(names) == [read]


def test_a_name_that_now_is_another_file_stays(client, maker, shm):
    (name,) = shm(1)
    maker(name)
    (Path("/dev/shm") / name).unlink()
    (Path("/dev/shm") / name).write_bytes(b"of somebody else")
    client.stop("e-0")
    assert left([name]) == [name]
