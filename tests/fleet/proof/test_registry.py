"""Ranks that report to Redis: who is lacking is named, by process and rank."""

import json

import pytest
from msgspec.structs import replace
from plans import a_process

from dplaunch.fleet.proof.registry import judge
from dplaunch.model.plan import Registry, Seat
from dplaunch.model.remote import HttpReply

REGISTRY = Registry(address="10.0.0.9:6379", node="n1", key="c.cluster", roles={"serve": "mixed"})
NOW = 1000.0


def parent(node):
    """One process with four ranks."""
    seats = tuple(
        Seat(
            name=f"serve-{rank}", role="serve", group=0, node=node, address=f"addr-{node}", rank=rank,
            local_rank=rank, local_size=4, devices=(), master=f"addr-{node}",
        )
        for rank in range(4)
    )  # fmt: skip
    return replace(a_process("serve-0", node, endpoints=("serve-0",)), name=f"serve@{node}", seats=seats)


def entry(rank, node, ts=NOW, role="mixed"):
    return [f"abc_{rank}", json.dumps({"ts": ts, "role": role, "load": 0, "host": f"addr-{node}"})]


def found(*entries: list[str]):
    pairs = [part for one in entries for part in one]
    return HttpReply(status=200, body=json.dumps([[str(int(NOW)), "0"], pairs]))


def test_all_ranks_that_reported_lately_count():
    seen = judge((parent("n1"),), REGISTRY, found(*(entry(rank, "n1") for rank in range(4))))
    assert seen.describe() == "Redis at 10.0.0.9:6379: 4 of 4 ranks have reported"


@pytest.mark.parametrize(
    "late",
    [entry(2, "n1", ts=NOW - 60), entry(2, "n2"), entry(2, "n1", role="decode")],
    ids=["expired", "of another host", "of another role"],
)
def test_what_is_no_report_of_a_rank_leaves_it_lacking(late):
    seen = judge((parent("n1"),), REGISTRY, found(*(entry(rank, "n1") for rank in (0, 1, 3)), late))
    assert (seen.found, seen.wanted) == (3, 4)
    assert seen.describe().endswith("3 of 4 ranks have reported; serve@n1 on n1 lacks rank 2")


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (None, "does not respond"),
        (HttpReply(error="connection refused"), "connection refused"),
        (HttpReply(status=200, body='[["1", "0"], ["a_0", "{}"]]'), "cannot be read"),
        (HttpReply(status=200, body="[1]"), "cannot be read"),
    ],
)
def test_what_cannot_be_asked_or_read_is_said(reply, word):
    seen = judge((parent("n1"),), REGISTRY, reply)
    assert (seen.found, seen.wanted) == (0, 4)
    assert word in seen.describe()
