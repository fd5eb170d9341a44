"""What engines found in a store of KV, by the counters of those that have one."""

from msgspec.structs import replace
from nodes import Node
from plans import a_plan, a_process
from scene import Scene

from dplaunch.fleet.lookups import read_lookups
from dplaunch.model.remote import HttpReply
from dplaunch.model.summary import Lookups

PAGE = 'toy:asked{engine="0"} 80\ntoy:asked{engine="1"} 20\ntoy:found{engine="0"} 40\n'


def keeping(name, node):
    """An engine with a store."""
    process = a_process(name, node)
    [endpoint] = process.endpoints
    api = replace(endpoint.api, looked_up=("toy:asked", "toy:found"))
    return replace(process, endpoints=(replace(endpoint, api=api),))


def node(name, page):
    return Node(name, http=lambda _: page and HttpReply(status=200, body=page))


def test_engines_are_added_up_without_those_that_do_not_count():
    engines = keeping("serve-0", "n1"), keeping("serve-1", "n2"), keeping("serve-2", "n3")
    stage = Scene(a_plan(*engines), node("n1", PAGE), node("n2", PAGE), node("n3", "other 1\n"))
    stage.driver.open()
    assert read_lookups(stage.job) == Lookups(asked=200, found=80)


def test_without_a_store_no_engine_is_asked():
    stage = Scene(a_plan(a_process("serve-0", "n1")), node("n1", PAGE))
    assert read_lookups(stage.job) is None
    assert not stage.asked()
