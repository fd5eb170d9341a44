"""Pods as hosts: what goes wrong in their kubectl, and a control node over SSH."""

import json

import kubestub
import pytest
from msgspec.structs import replace

from dplaunch.errors import HostError
from dplaunch.fleet.kubernetes import Client
from dplaunch.model.kubernetes import Kubectl, Manifest, Pod
from dplaunch.transport import connect, fan_out
from dplaunch.transport.host import Options
from dplaunch.transport.local import LocalHost
from dplaunch.transport.pod import PodHost
from dplaunch.transport.seats import SESSIONS, Seats

PODS = 2 * SESSIONS + 1


def a_pod(number: int, program: object) -> Pod:
    return Pod(name=f"c-serve-{number}", workload="c-serve", kubectl=Kubectl(program=str(program)))


def a_set(replicas: int) -> str:
    template = {"metadata": {"labels": {}}, "spec": {"containers": [{"name": "engine", "image": "engine:1"}]}}
    spec = {"replicas": replicas, "template": template}
    return json.dumps({"kind": "StatefulSet", "metadata": {"name": "c-serve"}, "spec": spec})


@pytest.mark.parametrize(
    ("printed", "code", "text", "hint"),
    [
        ('Error from server (NotFound): pods "c-serve-0" not found', 1, "pod c-serve-0 is gone", "up"),
        (
            'exec: "python3": executable file not found in $PATH',
            126,
            "image of pod c-serve-0 has no python3",
            "runtime.python",
        ),
        (
            'unable to upgrade connection: container not found ("engine")',
            1,
            "no running container",
            "describe pod",
        ),
        (
            'pods "c-serve-0" is forbidden: cannot create resource "pods/exec"',
            1,
            "may not run commands",
            "can-i",
        ),
        ("Unable to connect to the server: dial tcp: i/o timeout", 1, "the way to pod", "get pods"),
        ("something else", 3, "ended with exit code 3: something else", "python3 --version"),
    ],
)
def test_what_kubectl_prints_becomes_a_sentence_and_what_to_do(tmp_path, printed, code, text, hint):
    program = tmp_path / "kubectl"
    program.write_text(f"#!/bin/sh\ncat >&2 <<'end'\n{printed}\nend\nexit {code}\n")
    program.chmod(0o755)
    host = PodHost(a_pod(0, program), LocalHost("n1"))
    with pytest.raises(HostError) as caught:
        list(host.stream(["python3", "-V"]).lines())
    assert text in caught.value.text
    assert hint in caught.value.hint


def test_connections_have_a_few_seats_each_and_the_first_free_one_is_taken():
    seats = Seats()
    assert [seats.take() for _ in range(PODS)] == [0] * SESSIONS + [1] * SESSIONS + [2]
    seats.leave(1)
    assert [seats.take(), seats.take()] == [1, 2]


@pytest.fixture
def control(sshd, tmp_path):
    """Host 1 with kubectl, and options."""
    program = kubestub.install(tmp_path / "kube")
    options: Options = sshd.options()
    yield replace(sshd.node(1), pod=a_pod(0, program)), options
    options.shared.close()


@pytest.mark.sshd
def test_pods_behind_a_control_node_share_a_few_connections(sshd, control, until):
    node, options = control
    others = set(sshd.sessions())  # of tests whose hosts live as long as their module
    client = Client(node.pod.kubectl, lambda: connect(replace(node, pod=None), options=options))
    client.apply(Manifest(kind="StatefulSet", name="c-serve", text=a_set(PODS)))
    nodes = {
        f"p{n}": replace(node, name=f"p{n}", pod=a_pod(n, node.pod.kubectl.program)) for n in range(PODS)
    }
    hosts, streams = {}, {}

    def enter(name):
        hosts[name] = connect(nodes[name], options=options)
        streams[name] = hosts[name].stream(["sh", "-c", "echo $STUB_POD; cat"])
        return next(streams[name].lines()).decode()

    seen = fan_out(nodes, enter, deadline=60.0)
    assert [one.value.rpartition("/")[2] for one in seen.values()] == [f"c-serve-{n}" for n in range(PODS)]
    assert len(set(sshd.sessions()) - others) == 1 + 3  # kubectl's own, and three for the pods
    hosts["p0"].close()
    again = connect(nodes["p0"], options=options)
    assert list(again.stream(["echo", "again"]).lines()) == [b"again"]
    assert len(set(sshd.sessions()) - others) == 1 + 3
    streams["p1"].send(b"still there\n")
    assert next(streams["p1"].lines()) == b"still there"
    for host in (*hosts.values(), again):
        host.close()
    options.shared.close()
    client.close()
    until(lambda: not set(sshd.sessions()) - others)


@pytest.mark.sshd
def test_a_control_node_without_kubectl_is_named(control):
    node, options = control
    gone = replace(node, pod=a_pod(0, "/no/kubectl"))
    host = connect(gone, options=options)
    with pytest.raises(HostError, match="has no /no/kubectl"):
        list(host.stream(["true"]).lines())
    client = Client(gone.pod.kubectl, lambda: connect(replace(gone, pod=None), options=options))
    with pytest.raises(HostError, match=r"there is no kubectl on n1 \(127.0.1.1\)"):
        client.need(("version",))
    client.close()
