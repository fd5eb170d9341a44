"""The stub tools print what a test asks of them, through the very commands of the probes."""

from __future__ import annotations

import os
import signal
import subprocess

import npustub
import pytest
from npuworld import World

from dplaunch.probes import hccn, npu_smi


def run(stub, command):
    env = {"PATH": f"{stub.bin}:{os.environ['PATH']}"}
    return subprocess.run(command.argv, env=env, capture_output=True, check=False, timeout=20)


@pytest.mark.parametrize("family", ["a2", "a3"])
def test_a_stub_answers_what_the_probes_ask(tmp_path, family):
    stub = npustub.NpuStub(tmp_path, family, node=2).install()
    assert run(stub, npu_smi.make_command("", "info")).stdout.decode() == npustub.smi_info(family)
    assert run(stub, hccn.make_query("link", 3)).stdout == b"link status: UP\n"
    assert (stub.folder / "hccn.conf").read_text() == npustub.hccn_conf(family, 2)
    how = "-hccs_ping" if family == "a3" else "-ping"
    answer = run(stub, hccn.make_command("", 3, how, "-g", "address", "10.9.8.7")).stdout.decode()
    assert answer.startswith("device 3 PING 10.9.8.7\n")
    assert hccn.parse_ping(answer) == {"lost": 0, "error": ""}


def test_every_call_of_every_probe_has_an_answer(tmp_path):
    world = World("a3", 2)
    world.findings()
    stub = npustub.NpuStub(tmp_path, "a3", node=1).install()
    for _, call in world.asked:
        tool, _, words = call.partition(" ")
        if tool != "cat":
            any_name = stub.file(tool, f"{words.rpartition(' ')[0]} any")
            assert stub.file(tool, words).exists() or any_name.exists(), call


def test_one_answer_can_be_changed(tmp_path):
    stub = npustub.NpuStub(tmp_path, "a2").install()
    stub.answer("hccn_tool", "-i 3 -ip -g", "Get ipconf failed, because no ip was preset there!\n", code=13)
    stub.answer("hccn_tool", "-i 4 -ip -g", b"\x00\xff")
    changed, raw = run(stub, hccn.make_query("ip", 3)), run(stub, hccn.make_query("ip", 4))
    assert (changed.returncode, changed.stdout[:10]) == (13, b"Get ipconf")
    assert raw.stdout == b"\x00\xff"
    assert run(stub, hccn.make_query("ip", 5)).returncode == 0


def test_an_unknown_call_fails(tmp_path):
    done = run(npustub.NpuStub(tmp_path, "a2").install(), hccn.make_query("vnic", 0))
    assert (done.returncode, done.stderr) == (1, b"hccn_tool: no answer to: -i_0_-vnic_-g\n")


@pytest.mark.parametrize("words", ["-i 0 -link -g", ""])
def test_a_call_can_be_made_to_take_long(tmp_path, words):
    stub = npustub.NpuStub(tmp_path, "a2").install()
    stub.delay("hccn_tool", words, 30)
    call = [stub.bin / "hccn_tool", "-i", "0", "-link", "-g"]
    process = subprocess.Popen(call, start_new_session=True, stdout=subprocess.DEVNULL)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
