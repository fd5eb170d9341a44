"""One ``ssh -G`` for hosts that the SSH configuration cannot tell apart; the real ssh is asked for each."""

import subprocess

import pytest

from dplaunch.transport import hostgroups
from dplaunch.transport.sshconfig import parse

HOSTS = ("n1", "n2", "gpu-1", "192.0.2.7")


def real(config, host):
    argv = ["ssh", "-G", "-F", str(config), "--", host]
    return parse(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


@pytest.fixture
def config(tmp_path):
    def write(text, **included):
        for name, body in included.items():
            (tmp_path / name).write_text(body)
        path = tmp_path / "config"
        path.write_text(text.format(here=tmp_path))
        return path

    return write


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Host n*\n  User anna\nHost *\n  Port 2222\n",
        "Host=n1\n  User anna\nhost n? !n2 gpu-*\n  Port 2222\n",
        'Host "n1" 192.0.2.*\n  ProxyJump gate\nHost *\n  ControlPath ~/.ssh/%r@%h\n',
        "Host n*\n  HostName %h\n  ProxyCommand nc %h %p\n  IdentityFile ~/.ssh/%n\n",
        "Host n*\n  HostName %h.example\n",
        "Host n1 n2\n  HostName 192.0.2.1\n",
        "Include {here}/other*\n",
    ],
)
def test_what_is_said_for_one_is_what_ssh_says_for_the_other(config, text):
    path = config(text, other="Host n2\n  User otto\n")
    known = hostgroups.patterns(str(path))
    answers = {host: real(path, host) for host in HOSTS}
    for host in HOSTS:
        for asked in HOSTS:
            if hostgroups.group(host, known) == hostgroups.group(asked, known):
                assert hostgroups.answer_for(host, asked, answers[asked]) in (None, answers[host])


def test_plain_hosts_share_their_answer(config):
    path = config("Host *\n  User anna\n")
    assert (
        hostgroups.group("n1", hostgroups.patterns(str(path)))
        == hostgroups.group("n2", hostgroups.patterns(str(path)))
        == ("*",)
    )
    assert hostgroups.answer_for("n2", "n1", real(path, "n1")) == real(path, "n2")


@pytest.mark.parametrize(
    "text",
    ["Match exec true\n  User x\n", "match=host n1\n", "CanonicalizeHostname yes\n", "Include %d/x\n"],
)
def test_where_more_than_names_decides_every_host_is_asked_for(config, text):
    assert hostgroups.patterns(str(config(text))) is None


def test_a_name_with_capitals_is_asked_for():
    assert hostgroups.group("Node1", ("*",)) is None


def test_an_include_of_itself_ends(config):
    path = config("Include {here}/config\nHost n1\n")
    assert hostgroups.patterns(str(path)) == ("n1",)
