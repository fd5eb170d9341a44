"""Machines as they are: whole cluster files of unusual ones, from the text to what runs."""

from pathlib import Path

import pytest

from dplaunch import plan, spec
from dplaunch.errors import SpecError
from dplaunch.plan.check import check
from dplaunch.view.problems import render

CASES = Path(__file__).parent / "cases"


RIGHT = ("half-of-a-shared-node", "one-card-gone")


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


def test_each_wrong_file_has_its_problems(expect):
    wrong = sorted(set(CASES.glob("*.yaml")) - {CASES / f"{name}.yaml" for name in RIGHT})
    for path in wrong:
        with pytest.raises(SpecError) as refused:
            load(path.stem)
        expect(path.with_suffix(".problems"), f"{render(refused.value.problems)}\n")
