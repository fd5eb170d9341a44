"""Each knob does what the package says it does."""

import os
import signal
import time
from pathlib import Path

import pytest


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_crash_with_a_code(start):
    engine = start(CRASH_AFTER="0.1", EXIT_CODE="7")
    assert engine.code() == 7
    assert "EngineCore encountered a fatal error." in engine.log


def test_exit_with_zero_at_once(start):
    assert start(CRASH_AFTER="0", EXIT_CODE="0", SPEED="1").code() == 0


def test_crash_by_signal(start):
    assert start(CRASH_AFTER="0", CRASH_SIGNAL="SEGV", SPEED="1").code() == -signal.SIGSEGV


def test_hang_in_a_stage(start):
    engine = start(HANG="graphs")
    engine.logged("KV cache size")
    assert engine.health() == 0
    assert "ACL graphs" not in engine.log
    engine.process.terminate()
    assert engine.code() == 0


def test_never_ready_and_never_gone(start):
    engine = start(NEVER_READY="1")
    engine.logged("WorkerProc failed to start.")
    assert engine.health() == 0
    assert engine.process.poll() is None


def test_sigterm_may_be_ignored(start):
    engine = start(IGNORE_TERM="1").ready()
    engine.process.terminate()
    assert engine.text("still here", 2) == "still here"


def test_orphans_survive_in_sessions_of_their_own(start, until):
    engine = start(ORPHANS="2").ready()
    left = children(engine.pid)
    try:
        assert len(left) == 2
        until(lambda: all(os.getsid(pid) == pid for pid in left))
        engine.process.terminate()
        engine.code()
        for pid in left:
            os.kill(pid, 0)
    finally:
        for pid in left:
            os.kill(pid, signal.SIGKILL)


def test_a_title_wipes_command_line_and_environment(start):
    engine = start(TITLE="1", env={"A_MARK_OF_OURS": "1"}).ready()
    proc = Path(f"/proc/{engine.pid}")
    assert (proc / "cmdline").read_text().rstrip("\0") == "VLLM::EngineCore"
    assert "A_MARK_OF_OURS" not in (proc / "environ").read_text()
    assert (proc / "comm").read_text().strip() == "VLLM::EngineCor"
    assert engine.text("works", 1) == "works"


def test_slow_to_the_first_token(start):
    engine = start(SLOW="0.3").ready()
    began = time.monotonic()
    engine.text("a", 1)
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize(
    ("manner", "fits"), [("empty", lambda text: text == ""), ("garbage", lambda text: "a" not in text[:1])]
)
def test_wrong_answers(start, manner, fits):
    assert fits(start(ANSWER=manner).ready().text("a b", 3))


def test_a_flood_of_lines(start):
    engine = start(LOG_FLOOD="1000")
    engine.logged("flood line 200")


def test_one_rank_only(start_group):
    engines = start_group(2, ONLY_RANK="1", CRASH_AFTER="0.3", EXIT_CODE="3")
    assert engines[1].code() == 3
    assert "rehearsed crash" not in engines[0].log


def test_speed_stretches_the_start(start):
    engine = start(SPEED="0.05")
    began = time.monotonic()
    engine.ready()
    assert time.monotonic() - began > 0.2


def test_a_knob_that_is_not_a_number_ends_it(start):
    engine = start(SPEED="fast")
    assert engine.code() == 1
    assert "cannot read 'fast' as a number" in engine.log


def test_a_stage_that_does_not_exist_ends_it(start):
    engine = start(HANG="rendezvous")
    assert engine.code() == 1
    assert "HANG: there is no stage 'rendezvous'; use one of plugin, args, coordinator" in engine.log
