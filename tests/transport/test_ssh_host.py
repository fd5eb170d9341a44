"""The transport contract over a real sshd."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sshd import make_key

from dplaunch.errors import HostError
from dplaunch.transport import connect, fan_out
from dplaunch.wire import bundle, lines

pytestmark = pytest.mark.sshd


def printed(host, *argv: str):
    """What a command that must succeed prints, its last newline aside."""
    return b"\n".join(host.stream(argv).lines()).decode()


@pytest.fixture
def quiet(sshd, until):
    """No connection of another test is left."""
    until(lambda: not sshd.sessions(), 5.0)


@pytest.fixture
def host(sshd):
    host = connect(sshd.node(1), options=sshd.options())
    yield host
    host.close()


def test_commands_arrive_word_for_word(host):
    words = ["a b", "it's", '"$HOME"', "`id`", "\\", "*", "", "ü\n2"]
    assert printed(host, "printf", "%s|", *words) == "|".join(words) + "|"


def test_a_session_that_fails_raises_with_what_it_printed(host, sshd):
    stream = host.stream(["sh", "-c", "echo $HOME; echo oops >&2; exit 3"])
    lines = stream.lines()
    assert next(lines).decode() == str(sshd.home(1))
    with pytest.raises(HostError, match=r"on n1 \(127.0.1.1\) ended with exit code 3") as caught:
        next(lines)
    assert caught.value.detail == ("oops",)


def test_a_large_send_does_not_wait_for_a_reader(host):
    stream = host.stream(["head", "-n", "2"])
    stream.send(b"x" * 3_000_000 + b"\nlast\n")
    assert [len(line) for line in stream.lines()] == [3_000_000, 4]


def test_a_flood_of_errors_does_not_stop_the_output(host):
    stream = host.stream(["sh", "-c", "head -c 700000 /dev/zero >&2; echo end >&2; echo done"])
    assert list(stream.lines()) == [b"done"]
    assert stream.stderr_tail().endswith("end\n")


def test_a_program_that_is_killed_is_not_a_lost_link(host):
    stream = host.stream(["sh", "-c", "echo up; kill -9 $$"])
    lines = stream.lines()
    assert next(lines) == b"up"
    with pytest.raises(HostError, match=r"the session on n1 \(127.0.1.1\) was killed"):
        list(lines)


def test_close_ends_a_reader_without_an_error(host):
    stream = host.stream(["sh", "-c", "echo up; exec cat"])
    lines = stream.lines()
    assert next(lines) == b"up"
    threading.Timer(0.1, stream.close).start()
    assert list(lines) == []


def test_one_connection_serves_several_commands(sshd, quiet):
    host = connect(sshd.node(1), options=sshd.options())
    streams = [host.stream(["cat"]) for _ in range(8)]
    for number, stream in enumerate(streams):
        stream.send(b"%d\n" % number)
    assert [next(s.lines()) for s in streams] == [b"%d" % n for n in range(8)]
    assert len(sshd.sessions()) == 1
    host.close()


def test_too_many_sessions_on_one_connection_is_a_sentence(host):
    streams = [host.stream(["cat"]) for _ in range(10)]
    with pytest.raises(HostError, match="opens no further session") as caught:
        host.stream(["cat"])
    assert "MaxSessions" in caught.value.hint
    assert len(streams) == 10


def test_sixteen_hosts_at_once(sshd):
    options = sshd.options()

    def ask(number):
        host = connect(sshd.node(number), options=options)
        try:
            return printed(host, "sh", "-c", "echo $HOME")
        finally:
            host.close()

    outcomes = fan_out(sshd.numbers, ask, deadline=20.0)
    assert {n: o.value or o.error for n, o in outcomes.items()} == {
        n: str(sshd.home(n)) for n in sshd.numbers
    }


def test_a_jump_host_is_connected_to_once(sshd, quiet):
    options = sshd.options()

    def reach(number):
        host = connect(sshd.node(number, jump=f"{sshd.user}@127.0.1.9:{sshd.port}"), options=options)
        return host, printed(host, "sh", "-c", "echo $SSH_CONNECTION").split()[2]

    outcomes = fan_out([2, 3, 4], reach, deadline=20.0)
    assert [o.value[1] for o in outcomes.values()] == ["127.0.1.2", "127.0.1.3", "127.0.1.4"]
    assert len(sshd.sessions()) == 4
    for outcome in outcomes.values():
        outcome.value[0].close()
    options.shared.close()


def test_jumps_make_a_chain(sshd):
    options = sshd.options(
        ssh_config=sshd.write_config(
            "chain", "Match originalhost 127.0.1.2", "  ProxyJump 127.0.1.8,127.0.1.9"
        )
    )
    host = connect(sshd.node(2), options=options)
    assert printed(host, "sh", "-c", "echo $SSH_CONNECTION").split()[2] == "127.0.1.2"
    host.close()
    options.shared.close()


def test_a_jump_host_that_is_down_is_named(sshd):
    with pytest.raises(HostError, match=r"127.0.1.9.* refused the connection") as caught:
        connect(sshd.node(2, jump="127.0.1.9:1"), options=sshd.options())
    assert caught.value.node == "n2"


def test_a_host_its_jump_host_cannot_reach_is_named(sshd):
    with pytest.raises(
        HostError, match=r"jump host 127.0.1.9 could not connect to n2 \(127.0.1.2\), port 1:"
    ):
        connect(sshd.node(2, jump="127.0.1.9", port=1), options=sshd.options())


def test_a_proxy_command_is_honoured(sshd):
    code = "import socket,sys,threading,shutil;s=socket.create_connection((sys.argv[1],int(sys.argv[2])));o=s.makefile('wb',0);i=s.makefile('rb',0);threading.Thread(target=lambda:shutil.copyfileobj(open(0,'rb',0),o),daemon=True).start();shutil.copyfileobj(i,open(1,'wb',0))"
    program = sshd.folder / "proxy.py"
    program.write_text(code)
    config = sshd.write_config("proxied", "Host *", f"  ProxyCommand {sys.executable} {program} %h %p")
    host = connect(sshd.node(3), options=sshd.options(ssh_config=config))
    assert printed(host, "true") == ""
    host.close()


def test_an_agent_unlocks_an_encrypted_key(sshd, tmp_path, until):
    key, sock = tmp_path / "locked", tmp_path / "agent"
    key.write_bytes(sshd.key.read_bytes())
    (tmp_path / "locked.pub").write_bytes((sshd.folder / "key.pub").read_bytes())
    key.chmod(0o600)
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", sock], stdout=subprocess.DEVNULL)
    try:
        until(sock.exists, 5.0)
        environment = {"SSH_AUTH_SOCK": str(sock), "PATH": "/usr/bin:/bin"}
        subprocess.run(["ssh-add", "-q", key], env=environment, check=True)
        subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", key], check=True)
        config = sshd.write_config("agent", "Host *", f"  IdentityAgent {sock}", f"  IdentityFile {key}")
        options = sshd.options(ssh_config=config)
        Path(config).write_text(Path(config).read_text().replace(f"IdentityFile {sshd.key}", ""))
        host = connect(sshd.node(1), options=options)
        assert printed(host, "true") == ""
        host.close()
    finally:
        agent.terminate()
        agent.wait(5)


def test_the_cluster_files_key_is_tried_first(sshd):
    options = sshd.options(
        ssh_config=sshd.write_config(
            "otherkey", "Host *", f"  IdentityFile {make_key(sshd.folder / 'first')}"
        )
    )
    host = connect(sshd.node(1, key=str(sshd.key)), options=options)
    host.close()


def test_accept_new_keeps_the_key_of_every_host_and_then_checks_it(sshd):
    known = sshd.folder / "fresh_known_hosts"
    config = sshd.write_config("fresh", "Host *", f"  UserKnownHostsFile {known}")
    options = sshd.options(ssh_config=config)
    outcomes = fan_out(
        range(1, 9),
        lambda n: connect(sshd.node(n, host_keys="accept-new"), options=options).close(),
        deadline=20.0,
    )
    assert [o.error for o in outcomes.values()] == [None] * 8
    assert sorted(known.read_text().splitlines()) == [f"{sshd.name(n)} {sshd.host_key}" for n in range(1, 9)]
    connect(sshd.node(5), options=options).close()


def test_a_guard_session_greets_through_a_noisy_login(sshd):
    (sshd.home(6) / ".bashrc").write_text("echo Welcome; echo '{\"motd\": 1}'; echo warning >&2\n")
    host = connect(sshd.node(6), options=sshd.options())
    stream = host.stream(["bash", "-c", 'source ~/.bashrc; exec "$@"', "bash", *bundle.bootstrap()])
    hello = lines.greet(stream, "n6", bundle.opening("c1", "n6", None, bundle.bundle()))
    assert hello["root"] == str(sshd.home(6) / "state/dplaunch/c1/n6")
    host.close()
