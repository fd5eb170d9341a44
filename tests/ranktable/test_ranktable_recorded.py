"""Tables of what the tools of two A2 and of two A3 print, as public documents show it: recorded/README.md."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace
from nodes import Node
from npuworld import called
from scene import Scene
from specs import A2, A3, cluster, nodes, serve

from dplaunch.model.remote import SurveyReply
from dplaunch.plan import build
from dplaunch.preflight.ranktable import find_site, make
from dplaunch.ranktable import verify

HERE = Path(__file__).parent
GUIDE = """\
{ "server_count":"2", "server_list": [ { "device":[ { "device_id":"0", "device_ip":"10.10.100.10", "rank_id":"0" },
{ "device_id":"1", "device_ip":"10.10.100.11", "rank_id":"1" }, { "device_id":"2", "device_ip":"10.10.100.12",
"rank_id":"2" }, { "device_id":"3", "device_ip":"10.10.100.13", "rank_id":"3" }], "server_id":"90.90.152.89" },
{ "device":[ { "device_id":"0", "device_ip":"10.10.100.22", "rank_id":"4" }, { "device_id":"1",
"device_ip":"10.10.100.23", "rank_id":"5" }, { "device_id":"2", "device_ip":"10.10.100.24", "rank_id":"6" },
{ "device_id":"3", "device_ip":"10.10.100.25", "rank_id":"7" } ], "server_id":"90.90.152.91" } ],
"status":"completed", "version":"1.0" }
"""
"""RankTableFile of MindIE LLM's guide, whose blanks and lines follow no rule."""
A2_NODES = {"huawei89": "90.90.152.89", "huawei91": "90.90.152.91"}
A3_NODES = {"server4": "172.16.0.4", "server40": "172.16.0.40"}


class Recorded(Node):
    """Its tools print what a session shows."""

    session = ""

    def survey(self, survey: Mapping[str, object]) -> SurveyReply:
        """One answer for each command of the session, none for others."""
        answers = {}
        for part in f"\n{(HERE / 'recorded' / self.session).read_text()}".split("\n# ")[1:]:
            call, _, text = part.partition("\n")
            answers[call] = f"{text}\n" if text else ""
        self.outputs = {
            command["key"]: {"out": answers[call]}
            if call in answers
            else {"code": 127, "err": "not recorded"}
            for command in survey["commands"]
            for call in [called(command["argv"])]
        }
        return super().survey(survey)


def made_on(addresses: Mapping[str, str], devices: tuple[int, ...]):
    """The table of the nodes with these sessions, and what it is for."""
    machines = tuple(
        replace(one, address=address, devices=devices)
        for one, address in zip(nodes(2), addresses.values(), strict=True)
    )
    role = serve(nodes=("n1", "n2"), dp=2)
    spec = cluster(role, hardware=A3 if addresses is A3_NODES else A2, nodes=machines)
    recorded = [Recorded("n1"), Recorded("n2")]
    for node, session in zip(recorded, addresses, strict=True):
        node.session = f"{session}.txt"
    return make(Scene(build(spec), *recorded).job, spec), find_site(spec)


def test_the_tables_of_both_families_are_as_their_golden_files(expect):
    for name, addresses, devices in (("a2", A2_NODES, range(8)), ("a3", A3_NODES, range(16))):
        text, site = made_on(addresses, tuple(devices))
        expect(HERE / "golden" / f"recorded-{name}.json", text)
        assert verify(text, "made.json", site) == ()


def test_the_table_of_the_guide_is_made_of_the_outputs_of_the_guide():
    text, _ = made_on(A2_NODES, (0, 1, 2, 3))
    assert "".join(text.split()) == "".join(GUIDE.split())
    assert json.loads(text) == json.loads(GUIDE)


@pytest.mark.parametrize("devices", [tuple(range(16)), (15, 2, 10, 9)])
def test_devices_of_a3_are_in_numeric_order_whatever_the_order_of_their_addresses(devices):
    servers = json.loads(made_on(A3_NODES, devices)[0])["server_list"]
    numbers = [[int(one["device_id"]) for one in server["device"]] for server in servers]
    assert numbers == [sorted(devices)] * 2
    ranks = [int(one["rank_id"]) for server in servers for one in server["device"]]
    assert ranks == list(range(len(ranks)))
    last = servers[1]["device"][-1]
    assert (last["device_ip"], last["super_device_id"]) == ("192.168.40.184", str(40 << 22 | 29 << 16 | 15))
