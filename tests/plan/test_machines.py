"""Machines as they are: whole cluster files of unusual ones, from the text to what runs."""

from pathlib import Path

import pytest

from dplaunch import plan, spec
from dplaunch.errors import SpecError
from dplaunch.plan.check import check
from dplaunch.view.problems import render

CASES = Path(__file__).parent / "cases"


RIGHT = ("half-of-a-shared-node", "one-card-gone", "ipv6-hosts", "names-with-ipv6-addresses")


def load(name):
    text = (CASES / f"{name}.yaml").read_text()
    return spec.load(text, f"{name}.yaml", read_file=str, check=check)


def seats_of(planned):
    return [seat for process in planned.processes for seat in process.seats]


@pytest.mark.parametrize(
    ("name", "devices"),
    [
        ("half-of-a-shared-node", [4, 5, 6, 7]),
        ("one-card-gone", [0, 1, 3, 4, 5, 6, 7]),
    ],
)
def test_engines_take_the_devices_that_the_file_names(name, devices):
    loaded = load(name)
    planned = plan.build(loaded.spec)
    seats = seats_of(planned)
    assert (loaded.warnings, planned.warnings) == ((), ())
    assert [seat.devices for seat in seats if seat.node == "n2"] == [(device,) for device in devices]
    engines = [p for p in planned.processes if p.node == "n1" and p.kind == "engine"]
    assert [engine.argv[2] for engine in engines] == [str(device) for device in devices]


def test_a_rehearsal_has_as_many_devices_as_the_highest_number_needs():
    planned = plan.build(load("half-of-a-shared-node").spec, rehearse=True)
    script = next(f.text for f in planned.nodes[0].files if f.path == "serve/run_dp_template.sh")
    assert "export DPLAUNCH_REHEARSAL_DEVICES=8\n" in script


@pytest.mark.parametrize("name", ["ipv6-hosts", "names-with-ipv6-addresses"])
def test_ipv6_addresses_stand_in_brackets_in_urls_and_bare_elsewhere(name):
    loaded = load(name)
    planned = plan.build(loaded.spec)
    assert (loaded.warnings, planned.warnings) == ((), ())
    assert planned.url == "http://[2001:db8:40:a00::11]:8000"
    assert planned.endpoints[1].url == "http://[2001:db8:40:a00::12]:9000"
    second = next(p for p in planned.nodes[1].processes if p.kind == "engine")
    assert second.argv[6] == "2001:db8:40:a00::11"
    script = next(f.text for f in planned.nodes[1].files if f.path == "serve/run_dp_template.sh")
    assert "local_ip=2001:db8:40:a00::12\n" in script
    assert "--host :: " in script


def test_an_ipv6_address_is_written_as_tools_print_it():
    text = (
        (CASES / "ipv6-hosts.yaml").read_text().replace("2001:db8:40:a00::12", "2001:0DB8:40:0a00:0:0:0:12")
    )
    assert spec.load(text, "c.yaml", read_file=str).spec.nodes[1].address == "2001:db8:40:a00::12"


def test_hccl_gets_to_know_that_the_network_is_ipv6():
    ascend = (
        (CASES / "half-of-a-shared-node.yaml").read_text().replace("192.0.2.[191-192]", "2001:db8::[1-2]")
    )
    planned = plan.build(spec.load(ascend, "c.yaml", read_file=str).spec)
    script = next(f.text for f in planned.nodes[0].files if f.path == "serve/run_dp_template.sh")
    assert "export HCCL_SOCKET_FAMILY=AF_INET6\n" in script


def test_each_wrong_file_has_its_problems(expect):
    wrong = sorted(set(CASES.glob("*.yaml")) - {CASES / f"{name}.yaml" for name in RIGHT})
    for path in wrong:
        with pytest.raises(SpecError) as refused:
            load(path.stem)
        expect(path.with_suffix(".problems"), f"{render(refused.value.problems)}\n")
