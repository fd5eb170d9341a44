from pathlib import Path

import pytest

from dplaunch.errors import HostError
from dplaunch.model.cluster import SshSpec
from dplaunch.transport.ssh import _without_ssh
from dplaunch.transport.sshconfig import ask_ssh, hop, parse, resolve


def target(text, **spec):
    return resolve("n1", "h1", SshSpec(**spec), parse(text))


def no_fallback(_path):
    raise AssertionError("ssh exists here")


def test_what_ssh_says_is_taken():
    found = target(
        "user bob\nhostname 192.0.2.1\nport 2222\nidentityfile /k/a\nidentityfile /k/b\nidentitiesonly yes\n"
        "proxyjump me@j1,j2:99\nuserknownhostsfile /kh/a /kh/b\nglobalknownhostsfile none\nhostkeyalias x\n"
        "stricthostkeychecking accept-new\nhashknownhosts yes\nidentityagent /run/agent\n"
    )
    assert (found.user, found.hostname, found.port, found.keys) == (
        "bob",
        "192.0.2.1",
        2222,
        ("/k/a", "/k/b"),
    )
    assert (found.jump, found.known_hosts, found.global_known_hosts) == (
        ("me@j1", "j2:99"),
        ("/kh/a", "/kh/b"),
        (),
    )
    assert (found.identities_only, found.key_alias, found.accept_new, found.hash_known) == (
        True,
        "x",
        True,
        True,
    )
    assert (found.agent, found.label, found.login) == ("/run/agent", "n1 (h1)", "-p 2222 bob@192.0.2.1")


def test_the_cluster_file_wins():
    text = "user bob\nport 22\nidentityfile /k/a\nproxyjump j1\nproxycommand nc %h %p\n"
    found = target(text, user="root", port=33, key="/k/mine", jump="j9", connect_timeout=3.0)
    assert (found.user, found.port, found.keys, found.key_given) == ("root", 33, ("/k/mine", "/k/a"), True)
    assert (found.jump, found.proxy_command, found.timeout) == (("j9",), "", 3.0)


def test_host_keys_are_strict_unless_somebody_says_otherwise():
    assert not target("stricthostkeychecking ask\n").accept_new
    assert not target("stricthostkeychecking true\n").accept_new
    assert target("stricthostkeychecking ask\n", host_keys="accept-new").accept_new


def test_the_agent_is_the_environments_unless_named(monkeypatch):
    monkeypatch.setenv("SSH_AUTH_SOCK", "/tmp/a")
    monkeypatch.setenv("MINE", "/tmp/b")
    agents = [target(text).agent for text in ("", "identityagent none\n", "identityagent $MINE\n")]
    assert agents == ["/tmp/a", "", "/tmp/b"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("j1", (None, "j1", None)),
        ("me@j1:2222", ("me", "j1", 2222)),
        ("me@realm@[192.0.2.1]", ("me@realm", "192.0.2.1", None)),
        ("ssh://me@[2001:db8::1]:22/", ("me", "2001:db8::1", 22)),
        ("2001:db8::1", (None, "2001:db8::1", None)),
    ],
)
def test_jump_hosts_are_read_as_ssh_writes_them(text, expected):
    assert hop(text) == expected


def test_tokens_of_a_proxy_command():
    text = "hostname 192.0.2.1\nuser bob\nport 2222\nproxycommand ssh -W [%h]:%p -l %r %n %%x j\n"
    assert target(text).proxy_command == "ssh -W [192.0.2.1]:2222 -l bob h1 %x j"


def test_ssh_itself_is_asked_so_that_include_and_match_work(tmp_path):
    (tmp_path / "more").write_text("Match user root\n  Port 4444\n")
    config = tmp_path / "config"
    config.write_text(f"Host alias\n  HostName 192.0.2.7\nHost *\nInclude {tmp_path}/more\n")
    found = ask_ssh("n1", "alias", SshSpec(user="root"), str(config), no_fallback)
    assert (found["hostname"], found["port"], found["user"]) == (("192.0.2.7",), ("4444",), ("root",))


def test_a_broken_configuration_is_a_sentence(tmp_path):
    (tmp_path / "config").write_text("NoSuchKeyword yes\n")
    with pytest.raises(HostError, match=r"ssh refuses its own configuration for h1: .*terminating") as caught:
        ask_ssh("n1", "h1", SshSpec(), str(tmp_path / "config"), no_fallback)
    assert caught.value.hint == "`ssh -G h1` shows it"


def test_a_host_that_looks_like_an_option_is_none(tmp_path):
    (tmp_path / "config").write_text("")
    with pytest.raises(HostError):
        ask_ssh("n1", "-oProxyCommand=true", SshSpec(), str(tmp_path / "config"), no_fallback)


def test_without_ssh_the_file_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    config = Path(tmp_path / "config")
    config.write_text("Host h1\n  Port 2222\n  IdentityFile /k/a\n  IdentityFile /k/b\n  ProxyJump j1\n")
    found = resolve("n1", "h1", SshSpec(), ask_ssh("n1", "h1", SshSpec(), str(config), _without_ssh("h1")))
    assert (found.port, found.keys, found.jump) == (2222, ("/k/a", "/k/b"), ("j1",))
