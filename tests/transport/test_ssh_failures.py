"""The catalogue of bad hosts: each gives one sentence that names the node, and the command that helps."""

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from sshd import free_port, make_key

from dplaunch.errors import ExitCode, HostError
from dplaunch.transport import connect
from dplaunch.wire.lines import Opening, greet

pytestmark = pytest.mark.sshd


@pytest.fixture
def fails(sshd):
    """fails(number, config=…, **ssh) → the HostError of connecting."""

    def connecting(number, config=None, **ssh):
        options = sshd.options(**({"ssh_config": config} if config else {}))
        with pytest.raises(HostError) as caught:
            connect(sshd.node(number, **ssh), options=options)
        assert (caught.value.node, caught.value.exit_code) == (f"n{number}", ExitCode.UNREACHABLE)
        return caught.value

    return connecting


@pytest.fixture
def listener():
    """A server that accepts and never speaks."""
    with socket.create_server(("127.0.1.1", 0)) as server:
        yield server


def known(sshd, name, *lines: str):
    """An ssh_config whose known_hosts has these lines; and that file."""
    path = sshd.folder / f"{name}_known"
    path.write_text("".join(f"{line}\n" for line in lines))
    return sshd.write_config(name, "Host *", f"  UserKnownHostsFile {path}"), path


def test_a_refused_port(fails):
    error = fails(1, port=free_port())
    assert error.text.startswith("n1 (127.0.1.1) refused the connection: nothing listens on port ")
    assert "`ssh.port`" in error.hint


def test_a_silent_host(fails, listener):
    began = time.monotonic()
    error = fails(1, port=listener.getsockname()[1], connect_timeout=0.3)
    assert time.monotonic() - began < 2.0
    assert "accepted the connection" in error.text
    assert error.text.endswith("but stayed silent for 0.3 s")
    assert "ssh -v" in error.hint


def test_a_host_that_does_not_answer_at_all(fails, listener):
    """A full backlog drops what else comes, as a firewall would."""
    listener.listen(0)
    port = listener.getsockname()[1]
    with socket.create_connection(("127.0.1.1", port)):
        error = fails(1, port=port, connect_timeout=0.3)
    assert error.text == f"n1 (127.0.1.1) did not answer on port {port} within 0.3 s"
    assert "`ping 127.0.1.1`" in error.hint


def test_something_else_than_ssh(fails, listener):
    def answer():
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 120)
            peer.recv(1000)

    threading.Thread(target=answer, daemon=True).start()
    error = fails(1, port=listener.getsockname()[1], connect_timeout=2.0)
    assert error.text.endswith("is not an SSH server")


def test_a_connection_closed_before_the_banner(fails, listener):
    def slam():
        listener.accept()[0].close()

    threading.Thread(target=slam, daemon=True).start()
    error = fails(1, port=listener.getsockname()[1], connect_timeout=5.0)
    assert "before the SSH handshake" in error.text
    assert "MaxStartups" in error.hint


def test_a_name_that_cannot_be_resolved(fails, sshd):
    config = sshd.write_config("noname", "Host *", "  HostName no-such-host.invalid")
    error = fails(1, config=config)
    assert error.text == "the name no-such-host.invalid of node n1 cannot be resolved"


def test_no_route(fails, sshd):
    config = sshd.write_config("noroute", "Host *", "  HostName 255.255.255.255")
    assert "255.255.255.255" in fails(1, config=config, connect_timeout=1.0).hint


def test_an_unknown_key(fails, sshd):
    config, path = known(sshd, "unknown")
    error = fails(1, config=config)
    assert error.text.startswith("the host key of n1 (127.0.1.1) is not known here: ssh-ed25519 SHA256:")
    assert f"`ssh-keyscan -H -p {sshd.port} 127.0.1.1 >> {path}`" in error.hint
    assert "host_keys: accept-new" in error.hint


def test_the_command_for_an_unknown_key_helps(fails, sshd):
    config, _ = known(sshd, "scanned")
    command = fails(1, config=config).hint.split("`")[1]
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)
    connect(sshd.node(1), options=sshd.options(ssh_config=config)).close()


@pytest.mark.parametrize("host_keys", ["strict", "accept-new"])
def test_a_changed_key_names_the_line_and_its_cure(fails, sshd, host_keys):
    other = (make_key(sshd.folder / f"other_{host_keys}").parent / f"other_{host_keys}.pub").read_text()
    config, path = known(sshd, f"changed_{host_keys}", "# a comment", f"{sshd.name(1)} {other.strip()}")
    error = fails(1, config=config, host_keys=host_keys)
    assert error.text.startswith(f"the host key of n1 (127.0.1.1) has changed: {path}:2 has another one")
    assert f"`ssh-keygen -f {path} -R '{sshd.name(1)}'`" in error.hint
    assert len(path.read_text().splitlines()) == 2


def test_a_revoked_key(fails, sshd):
    config, path = known(sshd, "revoked", f"{sshd.name(1)} {sshd.host_key}", f"@revoked * {sshd.host_key}")
    assert fails(1, config=config).text.startswith(f"the host key of n1 (127.0.1.1) is revoked by {path}:2")


def test_a_certificate_authority_is_not_ignored(fails, sshd):
    config, path = known(
        sshd, "authority", f"@cert-authority * {sshd.host_key}", f"{sshd.name(1)} {sshd.host_key}"
    )
    error = fails(1, config=config, host_keys="accept-new")
    assert f"{path}:1 has a kind of line for n1 (127.0.1.1) that dplaunch cannot check" in error.text


def test_a_rejected_login_names_user_and_keys(fails, sshd):
    stranger = make_key(sshd.folder / "rejected")
    config = sshd.write_config("stranger", "Host *", f"  IdentityFile {stranger}")
    Path(config).write_text(Path(config).read_text().replace(f"IdentityFile {sshd.key}", ""))
    error = fails(1, config=config, user="nobody-here")
    assert error.text == f"n1 (127.0.1.1) rejected the login of nobody-here (tried {stranger})"
    assert f"ssh-copy-id -i {stranger}.pub -p {sshd.port} nobody-here@127.0.1.1" in error.hint


def test_an_encrypted_key_asks_for_ssh_add(fails, sshd):
    locked = make_key(sshd.folder / "locked", "secret")
    config = Path(sshd.write_config("locked_config"))
    config.write_text(config.read_text().replace(f"{sshd.key}\n", f"{locked}\n"))
    error = fails(1, config=str(config))
    assert f"no key was found to try; {locked} is encrypted" in error.text
    assert error.hint == f"unlock the key first: `ssh-add {locked}`"


def test_no_key_at_all(fails, sshd):
    config = Path(sshd.write_config("keyless"))
    config.write_text(config.read_text().replace(f"{sshd.key}\n", f"{sshd.folder}/none\n"))
    assert "no key was found to try" in fails(1, config=str(config)).text


def test_a_key_of_the_cluster_file_that_is_not_there(fails, sshd):
    assert fails(1, key="/no/such/key").text == "the key /no/such/key does not exist"


def test_no_python3(sshd):
    host = connect(sshd.node(2), options=sshd.options())
    (sshd.home(2) / "bin").mkdir(exist_ok=True)
    stream = host.stream(["env", f"PATH={sshd.home(2)}/bin", "/bin/sh", "-c", "exec python3 -I -S -c pass"])
    with pytest.raises(HostError, match="has no"):
        list(stream.lines())
    host.close()


def test_a_connection_that_drops_in_the_middle(sshd):
    before = set(sshd.sessions())
    host = connect(sshd.node(3), options=sshd.options())
    mine = set(sshd.sessions()) - before
    stream = host.stream(["sh", "-c", "echo up; exec cat"])
    lines = stream.lines()
    assert next(lines) == b"up"
    for pid in mine:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(HostError, match=r"^the connection to n3 \(127.0.1.3\) was lost$") as caught:
        list(lines)
    assert "keep running" in caught.value.hint
    with pytest.raises(HostError, match="was lost"):
        host.stream(["true"])
    host.close()


def test_a_host_that_freezes_is_noticed_by_its_silence(sshd):
    before = set(sshd.sessions())
    host = connect(sshd.node(4), options=sshd.options(silence=0.5))
    mine = set(sshd.sessions()) - before
    stream = host.stream(["bash", "-c", "while echo beat; do read -t 0.1 line; test $? = 1 && exit; done"])
    lines = stream.lines()
    assert next(lines) == b"beat"
    for pid in mine:
        os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(HostError, match=r"n4 \(127.0.1.4\) has been silent for 0.5 s"):
            list(lines)
    finally:
        for pid in mine:
            os.kill(pid, signal.SIGCONT)
    host.close()


def test_a_login_shell_that_never_stops_talking(sshd):
    host = connect(sshd.node(5), options=sshd.options())
    stream = host.stream(["yes", "welcome"])
    with pytest.raises(HostError, match="n5 printed 200 lines, but the guard's hello was not"):
        greet(stream, "n5", Opening(b"", b""))
    stream.close()
    host.close()
