"""What the driver for pods adds: pods made, mended and given up by name, on a kubectl whose cluster is a folder."""

import kubestub
import pytest

from dplaunch.errors import DplaunchError
from dplaunch.fleet.guards import Address, open_session
from dplaunch.fleet.kubernetes import Client, Pods
from dplaunch.model.check import Level
from dplaunch.plan import build
from dplaunch.spec import load
from dplaunch.transport import Options, connect
from dplaunch.transport.local import LocalHost

FILE = """\
cluster: c
driver: kubernetes
kubernetes: {{image: '{image}', kubectl: {kubectl}, workload: {workload}}}
engine: {{kind: rehearsal}}
model: m
hardware: {{devices: {devices}, family: a2}}
nodes: [{{name: "n[1-4]"}}]
roles: {{serve: {{nodes: "n[1-4]", groups: 2, dp: 2}}}}
router: {{kind: none}}
"""


class Soon(Pods):
    """Its pauses take no time; by its own clock each is half a minute."""

    def pause(self, seconds: float) -> None:
        now = self.clock() + 30 * seconds
        self.clock = lambda: now


@pytest.fixture
def kube(tmp_path, lib):
    """``kube(image=…)``: a driver for the file with these values, and the cluster behind its kubectl."""
    program = kubestub.install(tmp_path / "kube", lib=lib)
    cluster = kubestub.Cluster(program.parent)
    drivers = []

    def make(image="engine:1", workload="statefulset", devices=1, kubectl=program):
        text = FILE.format(kubectl=kubectl, image=image, workload=workload, devices=devices)
        plan = build(load(text, "cluster.yaml", read_file=lambda _: None).spec)

        def enter(node):
            return open_session(node, lambda n: connect(n, options=Options()), Address(plan.cluster))

        client = Client(plan.kubernetes.kubectl, lambda: LocalHost("kubectl"))
        drivers.append(Soon(plan, plan.kubernetes, enter, client))
        return drivers[-1], cluster

    yield make
    for driver in drivers:
        driver.close()
    for pod in cluster.pods():
        cluster.delete("pod", pod["metadata"]["name"])


def prepare(driver):
    noted = []
    driver.prepare(noted.append)
    return noted


def refused(driver):
    with pytest.raises(DplaunchError) as caught:
        prepare(driver)
    return caught.value


@pytest.mark.parametrize(
    ("workload", "pods"),
    [
        ("statefulset", ["c-serve-0", "c-serve-1", "c-serve-2", "c-serve-3"]),
        ("leaderworkerset", ["c-serve-0", "c-serve-0-1", "c-serve-1", "c-serve-1-1"]),
    ],
)
def test_every_node_is_entered_as_the_pod_that_its_object_makes(kube, workload, pods):
    driver, cluster = kube(workload=workload)
    assert prepare(driver) == []
    assert sorted(one["metadata"]["name"] for one in cluster.pods()) == pods
    driver.open()
    assert (driver.unreached, sorted(driver.reached)) == ({}, ["n1", "n2", "n3", "n4"])
    assert driver.forget() == {}
    assert cluster.objects() == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"image": "missing"}, "n1: pod c-serve-0 does not run: ImagePullBackOff"),
        ({"image": "refused"}, "the API server refused StatefulSet c-serve: "),
        ({"kubectl": "/no/kubectl"}, "there is no kubectl on "),
    ],
)
def test_what_keeps_pods_from_running_is_named(kube, given, said):
    error = refused(kube(**given)[0])
    assert said in error.text
    assert error.hint


def test_a_pod_that_no_machine_takes_is_reported_while_it_is_awaited_and_then_given_up_by_name(kube):
    noted = []
    with pytest.raises(DplaunchError, match="n1: pod c-serve-0 does not run: no machine takes it: 0/2 nodes"):
        kube(devices=9)[0].prepare(noted.append)
    assert len(noted) == 4
    assert noted[0].startswith("pod c-serve-0: no machine takes it")


def test_pods_that_could_not_run_are_made_anew_once_the_file_is_corrected(kube):
    assert "ImagePullBackOff" in refused(kube(image="missing")[0]).text
    driver, cluster = kube(image="engine:1")
    prepare(driver)
    assert {one["spec"]["template"]["spec"]["containers"][0]["image"] for one in made(cluster)} == {
        "engine:1"
    }
    driver.open()
    assert driver.unreached == {}


def made(cluster):
    return [one for one in cluster.objects() if one["kind"] == "StatefulSet"]


def test_an_object_of_an_earlier_file_is_in_the_way_or_reported(kube):
    prepare(kube(devices=1)[0])
    error = refused(kube(workload="leaderworkerset")[0])
    assert "StatefulSet c-serve of an earlier cluster file" in error.text
    assert "down" in error.hint


def test_a_pod_that_is_not_there_is_a_node_on_which_nothing_runs(kube):
    driver, _ = kube()
    driver.open()
    assert driver.unreached == {}
    assert [node.processes for node in driver.observe().nodes] == [()] * 4


def test_check_counts_the_devices_of_machines_that_are_ready(kube):
    [*good, devices] = kube(devices=4)[0].examine()
    assert {one.level for one in good} == {Level.OK}
    assert (devices.level, "16 huawei.com/Ascend910 for 16" in devices.text) == (Level.OK, True)
    *_, devices = kube(devices=9)[0].examine()
    assert (devices.level, "at most 8 on one machine" in devices.text) == (Level.FAIL, True)
    [silent] = kube(kubectl="/no/kubectl")[0].examine()
    assert (silent.level, "there is no kubectl" in silent.text) == (Level.FAIL, True)
