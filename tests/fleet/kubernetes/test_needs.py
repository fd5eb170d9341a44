"""What check says of a cluster in which an engine's own program makes the pods, from what kubectl prints."""

import json
from pathlib import Path

import pytest

from dplaunch.fleet.kubernetes.kubectl import Caller
from dplaunch.fleet.kubernetes.needs import examine, judge_package
from dplaunch.model.kubernetes import Deployment, Kubectl, Named, Needs
from dplaunch.transport import Ran

CASES = Path(__file__).parent / "cases"

DEPLOYMENT = Deployment(
    node="control",
    process="deploy",
    kubectl=Kubectl(namespace="space"),
    cluster="c",
    digest="d",
    marker="m",
    selector="job=space",
    objects=(Named("jobs.example.com", "one"),),
    shapes={},
    further=(),
    kinds="jobs.example.com,pods",
    package="/data/package.run",
    needs=Needs(
        kinds={
            "jobs.example.com": "the Operator",
            "queues.volcano": "Volcano",
            "podgroups.volcano": "Volcano",
        },
        programs={"operator": "the Operator", "device-plugin": "the device plugin"},
        image="engine:1",
        resource="example.com/npu",
        pods=(8, 8),
        labels={"kind": "big"},
        modules=("yaml",),
    ),
)
GOOD = {
    "version": json.dumps({"serverVersion": {"gitVersion": "v1.33.0"}}),
    "get namespace": "namespace/space\n",
    "get pods": "kube-system operator-1 Running\nkube-system device-plugin-a Running\nkube-system device-plugin-b Running\n",
    "get nodes": 'm1 True /8 ["engine:1"]\nm2 True /8 ["engine:1"]\n',
}


class Answers(Caller):
    """A kubectl whose answers begin with the words that it is asked; None: it fails."""

    def __init__(self, answers: dict[str, str | None]) -> None:
        super().__init__(DEPLOYMENT.kubectl)
        self._answers = answers

    def call(self, words, given="", patience=0.0):
        asked = " ".join(words)
        found = next((text for start, text in self._answers.items() if asked.startswith(start)), "")
        return Ran(1, "", "Error from server (Forbidden)") if found is None else Ran(0, found, "")


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("good", {}),
        ("no-server", {"version": None}),
        ("no-namespace", {"get namespace": ""}),
        ("no-rights", {"auth can-i create jobs": None, "auth can-i get pods/log": None}),
        ("no-volcano", {"get crd queues": None, "get crd podgroups": None}),
        ("no-device-plugin", {"get pods": "kube-system operator-1 Running\n"}),
        (
            "plugin-crashes",
            {"get pods": "k operator-1 Running\nk device-plugin-a CrashLoopBackOff\nk device-plugin-b Running\n"},
        ),
        ("pods-hidden", {"get pods": None}),
        ("few-devices", {"get nodes": "m1 True /8 engine:1\nm2 True /4 engine:1\nm3 False /8 \nm4 True true/8 \n"}),
        ("no-image", {"get nodes": "m1 True /8 other:1\nm2 True /8 engine:1\nm3 True /8 \n"}),
        ("machines-hidden", {"get nodes": None}),
    ],
)  # fmt: skip
def test_each_thing_that_lacks_is_named(expect, name, answers):
    found = examine(Answers({**GOOD, **answers}), DEPLOYMENT)
    lines = [f"{one.level.value}: {one.text}" + (f"\n  {one.remedy}" if one.remedy else "") for one in found]
    expect(CASES / f"needs-{name}.txt", "\n".join(lines) + "\n")


def test_the_package_and_the_modules_of_its_scripts_are_looked_for():
    good = list(judge_package(lambda _: Ran(0, "", ""), DEPLOYMENT))
    assert [one.level.value for one in good] == ["ok"]
    lacking = list(
        judge_package(lambda _: Ran(1, "", "x\nModuleNotFoundError: No module named 'yaml'"), DEPLOYMENT)
    )
    assert [one.level.value for one in lacking] == ["fail", "fail"]
    assert "/data/package.run" in lacking[0].text
    assert "No module named 'yaml'" in lacking[1].text
