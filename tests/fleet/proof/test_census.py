"""Engines that register with a foreign router: the router is asked when it has counted them all."""

import json

import pytest
from msgspec.structs import replace
from nodes import Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.errors import DplaunchError
from dplaunch.fleet.change.options import ChangeOptions
from dplaunch.fleet.change.up import up
from dplaunch.model.cluster import RouterSpec
from dplaunch.model.plan import Process
from dplaunch.model.remote import HttpReply


def paired(process):
    """What answers through the router only."""
    api = replace(process.endpoints[0].api, completions="")
    return replace(process, endpoints=(replace(process.endpoints[0], api=api),))


def registering(*engines: Process, counts):
    """Those engines behind a router that has counted ``counts``, one after the other, the last from then on."""
    router = a_process("router", "n1")
    api = replace(router.endpoints[0].api, registered="/registered_number")
    router = replace(router, endpoints=(replace(router.endpoints[0], api=api),))
    left = [json.dumps(one) for one in counts]

    def http(request):
        if not request.url.endswith("/registered_number"):
            return None
        return HttpReply(status=200, body=left.pop(0) if len(left) > 1 else left[0])

    foreign = RouterSpec(node="n1", kind="fastdeploy")
    plan = a_plan(*engines, router, router=foreign, flow="alone")
    return Scene(plan, Node("n1", http=http))


SPLIT = (paired(a_process("prefill-0", "n1")), paired(a_process("decode-0", "n2")))


def test_the_router_is_asked_once_it_has_counted_all_and_the_engines_are_not():
    counts = [{}, {"prefill": 1, "decode": 0}, {"mixed": 0, "prefill": 1, "decode": 1}]
    stage = registering(*SPLIT, counts=counts)
    assert up(stage.job, ChangeOptions(), lambda *_: True).ready
    asked = [one.key for one in stage.asked() if one.method == "POST"]
    assert set(asked) == {"router"}


def test_those_of_an_only_role_may_register_under_any_name():
    stage = registering(a_process("serve-0", "n1"), a_process("serve-1", "n2"), counts=[{"mixed": 2}])
    assert up(stage.job, ChangeOptions(), lambda *_: True).ready


def test_what_is_lacking_in_the_end_is_named():
    stage = registering(*SPLIT, counts=[{"prefill": 1, "decode": 0}])
    with pytest.raises(DplaunchError) as caught:
        up(stage.job, ChangeOptions(), lambda *_: True)
    assert caught.value.text.endswith("has registered 0 of 1 decode engines")
