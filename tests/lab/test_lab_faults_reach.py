"""Hosts that cannot be used: each kind gives one error with node and remedy, exit 3, and starts nothing."""

import re
from contextlib import contextmanager

import pytest
from waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("nothing_is_left")]

DOCKER = """\
#!/bin/sh
# What `docker exec -i NAME COMMAND…` does and says; what ~/container holds is how the container is.
[ "$1 $2" = "exec -i" ] || exit 64
shift 2; name=$1; shift
case $(cat ~/container) in
missing) echo "Error response from daemon: No such container: $name" >&2; exit 1 ;;
stopped) echo "Error response from daemon: container 8f1d2c is not running" >&2; exit 1 ;;
esac
exec env INSIDE="$name" "$@"
"""


@contextmanager
def rewritten(path, text):
    """A file with another text for a while."""
    before = path.read_text()
    path.write_text(text)
    yield
    path.write_text(before)


def test_a_host_that_is_off(site):
    host = site.lab["h3"]
    host.power_off()
    error, hint = site.fails("up", code=3)
    assert error == "n3 (192.0.2.3) did not answer on port 22 within 1 s"
    assert "`ping 192.0.2.3`" in hint
    seen = site("status", code=3).stdout
    assert "unknown" in seen
    # the kernel may know by now that nobody is at that address
    assert re.search(r"unreachable: (n3 \(192\.0\.2\.3\) did not answer|there is no route to n3)", seen)
    assert "INCOMPLETE: 0 of 1 process stopped" in site("down", code=3).stdout
    host.power_on()
    assert "nothing runs" in site("down").stdout


def test_a_host_whose_cable_is_pulled(site):
    site.lab["h2"].unplug()
    error, _ = site.fails("up", code=3)
    assert error == "n2 (192.0.2.2) did not answer on port 22 within 1 s"
    site.lab["h2"].plug()


def test_a_host_that_refuses(site):
    site.write(n3="{name: n3, host: 192.0.2.3, ssh: {port: 23}}")
    error, hint = site.fails("up", code=3)
    assert error == "n3 (192.0.2.3) refused the connection: nothing listens on port 23"
    assert "ssh.port" in hint


def test_a_key_that_is_not_known(site):
    known = site.lab.path("~/.ssh/known_hosts")
    without = "".join(line for line in known.read_text().splitlines(True) if not line.startswith("h2"))
    with rewritten(known, without):
        error, hint = site.fails("up", code=3)
        assert error.startswith("the host key of n2 (192.0.2.2) is not known here: ssh-ed25519 SHA256:")
        assert "ssh-keyscan -H 192.0.2.2 >> " in hint
        site.write(n2="{name: n2, host: 192.0.2.2, ssh: {host_keys: accept-new}}")
        site("up", "--dry-run")
        assert len(known.read_text().splitlines()) == 3


def test_a_key_that_has_changed(site):
    known = site.lab.path("~/.ssh/known_hosts")
    keys = {line.split(",")[0]: line.split(None, 1) for line in known.read_text().splitlines(True)}
    keys["h2"][1] = keys["h3"][1]
    with rewritten(known, "".join(" ".join(words) for words in keys.values())):
        error, hint = site.fails("up", code=3)
    assert error.startswith("the host key of n2 (192.0.2.2) has changed")
    assert "known_hosts:2" in error
    assert "ssh-keygen" in hint


def test_a_login_that_is_rejected_everywhere_is_one_error(site):
    with rewritten(site.lab.path("/srv/lab/authorized_keys"), ""):
        done = site("up", code=3)
    assert "error: 3 of 3 nodes are unreachable: n[1-3]\n" in done.stderr
    for n in (1, 2, 3):
        assert done.stderr.count(f"n{n} (192.0.2.{n}) rejected the login of root") == 1
    assert done.stderr.splitlines()[-1].startswith("hint: `ssh-copy-id")


def test_a_host_without_python(site):
    host = site.lab["h3"]
    config = site.lab.path("/srv/lab/h3/sshd_config")
    with rewritten(config, re.sub("PATH=.*", "PATH=/nowhere", config.read_text())):
        _read_config_again(site)
        error, hint = site.fails("up", code=3)
        assert error == "n3 (192.0.2.3) has no python3 in a non-login shell's PATH"
        assert "Python 3.8 or newer" in hint
    _read_config_again(site)
    assert host.pid


def _read_config_again(site):
    log = site.lab.path("/srv/lab/h3/sshd.log")
    before = log.read_text().count("Server listening")
    site.lab["h3"].run(["sh", "-c", "kill -HUP 1"])
    until(lambda: log.read_text().count("Server listening") > before)


def test_containers_that_are_not_there_do_not_run_or_do(site):
    hosts = site.lab.hosts.values()
    for host in hosts:
        host.stub("docker", DOCKER)
        host.path("~/container").write_text("fine")
    text = site.lab.path("~/cluster.yaml").read_text()
    site.lab.path("~/cluster.yaml").write_text(text.replace("runtime: {", "runtime: {container: ascend, "))
    site.lab["h3"].path("~/container").write_text("missing")
    error, hint = site.fails("up", code=3)
    assert error == "n3 (192.0.2.3) has no container named ascend"
    assert "docker run" in hint
    site.lab["h3"].path("~/container").write_text("stopped")
    error, hint = site.fails("up", code=3)
    assert error == "container ascend on n3 (192.0.2.3) does not run"
    assert "`docker start ascend` on n3" in hint
    site.clean()
    site.lab["h3"].path("~/container").write_text("fine")
    site("up")
    assert "ascend" in site("exec", "decode-1", "--", "sh", "-c", "echo $INSIDE").stdout
    assert "startup complete" in site("logs", "decode-1", "-n", "0").stdout
    site("down", "-y")
