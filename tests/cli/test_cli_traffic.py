"""Clients stream while groups restart: nothing is cut, and nothing reaches a group that is not proved."""

import json
import os
import threading
import urllib.request
from collections import defaultdict

import pytest
from traffic import traffic

pytestmark = pytest.mark.whole

CLIENTS = 40
TOKEN_MS = 50
SECONDS = float(os.environ.get("DPLAUNCH_SOAK_STREAM_SECONDS", "4"))


@pytest.fixture
def recorded(laptop):
    """The laptop cluster with engines that write down every request that reaches them."""
    path = laptop.folder / "requests.jsonl"
    text = (laptop.folder / "cluster.yaml").read_text()
    knobs = f"DPLAUNCH_REHEARSAL_REQUESTS: {path}, DPLAUNCH_REHEARSAL_TOKEN_MS: {TOKEN_MS}"
    laptop.write("cluster.yaml", f"{text}\ndefaults: {{env: {{{knobs}}}}}\n")
    return laptop


def requests_on(laptop):
    """Process → (time, is a client's) of each completion that reached it."""
    found = defaultdict(list)
    for line in (laptop.folder / "requests.jsonl").read_text().splitlines():
        seen = json.loads(line)
        found[seen["process"]].append((seen["time"], seen["id"].startswith("client-")))
    return found


def groups_of(status):
    found = defaultdict(list)
    for process in status["processes"]:
        if process["kind"] == "engine":
            found[process["group"]].append(process)
    return found


def came_back(laptop, status):
    """A client has reached every group since it restarted."""
    asked = requests_on(laptop)
    return all(
        any(client and at >= e["started_at"] for e in engines for at, client in asked[e["name"]])
        for engines in groups_of(status).values()
    )


def test_clients_stream_on_while_every_group_restarts(recorded, until):
    up = recorded.json("up")
    with traffic(
        up["endpoint"], up["model"], clients=CLIENTS, tokens=int(SECONDS * 1000 / TOKEN_MS)
    ) as tally:
        recorded("restart", "prefill", "decode", "-y")
        status = recorded.json("status")
        until(lambda: came_back(recorded, status), 20.0 + 2 * SECONDS)
    assert tally.faults == []
    assert tally.answered >= CLIENTS
    asked = requests_on(recorded)
    for group, engines in groups_of(status).items():
        since = {engine["name"]: engine["started_at"] for engine in engines}
        fresh = {name: [r for r in asked[name] if r[0] >= since[name]] for name in since}
        opened = min((at for seen in fresh.values() for at, client in seen if client), default=None)
        assert opened is not None, f"no client came back to {group}"
        for name, seen in fresh.items():
            proofs = [at for at, client in seen if not client and at < opened]
            assert len(proofs) >= 2, f"{name} served clients before it answered alone and in a pair"
    assert status["state"] == "serving"
    recorded("down", "-y")


def test_a_group_that_another_change_holds_stays_held(recorded, until):
    """A restart of one group leaves alone what somebody else took out of service."""
    up = recorded.json("up")
    members = next((recorded.folder.parent / "state").rglob("members.json"))
    document = json.loads(members.read_text())
    for member in document["members"]:
        if member["group"] == "decode/1":
            member["state"] = "draining"
    fresh = members.with_suffix(".new")
    fresh.write_text(json.dumps(document))
    fresh.replace(members)
    seen = []
    done = threading.Event()

    def look():
        while not done.wait(0.02):
            states = {m["group"]: m["state"] for m in json.loads(members.read_text())["members"]}
            if not seen or seen[-1] != states:
                seen.append(states)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        recorded("restart", "decode-0", "-y")
    finally:
        done.set()
        watcher.join()
    assert {states["decode/1"] for states in seen} == {"draining"}
    assert [states["decode/0"] for states in seen] == ["serving", "draining", "held", "serving"]
    assert {states["prefill/0"] for states in seen} == {"serving"}
    listed = json.loads(urllib.request.urlopen(up["endpoint"] + "/members", timeout=5).read())["members"]
    assert {m["state"] for m in listed if m["group"] == "decode/1"} == {"draining"}
    recorded("down", "-y")


def test_a_prefill_engine_stays_until_its_kv_was_pulled(laptop):
    """Its answer is out, its KV is not: a restart waits for the pull, and the client gets its tokens."""
    text = (laptop.folder / "cluster.yaml").read_text()
    laptop.write("cluster.yaml", f"{text}\ndefaults: {{env: {{DPLAUNCH_REHEARSAL_SLOW_PULL: 3}}}}\n")
    up = laptop.json("up")
    with traffic(up["endpoint"], up["model"], clients=8, tokens=4) as tally:
        restarted = laptop.json("restart", "prefill", "-y")
    assert sorted(restarted["restarted"]) == ["prefill-0", "prefill-1"]
    assert tally.faults == []
    assert tally.answered >= 8
    laptop("down", "-y")


def test_the_router_restarts_and_no_client_is_refused_or_cut(recorded):
    """Long streams end at the router in which they began; new clients never find the port closed."""
    up = recorded.json("up")
    endpoint, model = up["endpoint"], up["model"]
    before = router_of(recorded)
    with (
        traffic(endpoint, model, clients=8, tokens=int(SECONDS * 1000 / TOKEN_MS)) as long,
        traffic(endpoint, model, clients=8, tokens=1) as short,
    ):
        for _ in range(2):
            recorded("restart", "router", "-y")
    after = router_of(recorded)
    assert (long.faults, short.faults) == ([], [])
    assert short.answered > 50
    assert (before["pid"] != after["pid"], after["restarts"], after["healthy"]) == (True, 0, True)
    recorded("down", "-y")
    assert recorded.json("status", code=1)["state"] == "down"


def router_of(laptop):
    status = laptop.json("status")
    assert status["state"] == "serving"
    return next(process for process in status["processes"] if process["role"] == "router")
