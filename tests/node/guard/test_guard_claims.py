"""Two clusters on one machine: neither takes devices or ports that the other's live processes hold."""

HELD = {"ports": [9000], "address": "127.0.0.9", "meta": {"devices": [4, 5]}}


def other(clients, spec, **fields):
    there = clients(cluster="other", node="m1")
    [started] = there.start(spec("serve-0", "sleep", "60", **{**HELD, **fields}))
    assert started["ok"], started
    return there


def test_devices_of_another_cluster_are_refused_by_name(clients, spec):
    other(clients, spec)
    beside, meets = clients().start(
        spec("a", "sleep", "60", meta={"devices": [6, 7]}), spec("b", "sleep", "60", meta={"devices": [5, 6]})
    )
    assert beside["ok"], beside
    assert meets["error"]["kind"] == "claimed"
    assert meets["error"]["text"] == "b: device 5 in use by serve-0 of cluster other"


def test_ports_are_refused_before_the_other_has_bound_them(clients, spec):
    other(clients, spec)
    same, elsewhere = clients().start(
        spec("a", "sleep", "60", ports=[9000], address="127.0.0.9"),
        spec("b", "sleep", "60", ports=[9000], address="127.0.0.10"),
    )
    assert same["error"]["text"] == "a: port 9000 in use by serve-0 of cluster other"
    assert elsewhere["ok"], elsewhere


def test_a_survey_lists_what_is_held_of_what_is_wanted(clients, spec):
    other(clients, spec)
    claims = clients().ask("survey", address="127.0.0.9", ports=[9000, 9001], devices=[0, 5])["claims"]
    assert claims == [
        {"cluster": "other", "process": "serve-0", "address": "127.0.0.9", "ports": [9000], "devices": [5]}
    ]


def test_what_has_ended_holds_nothing(clients, spec):
    other(clients, spec).stop("serve-0")
    mine = clients()
    assert mine.ask("survey", address="127.0.0.9", ports=[9000], devices=[4])["claims"] == []
    assert mine.start(spec("a", "sleep", "60", **HELD))[0]["ok"]


def test_nodes_of_the_same_cluster_and_state_without_a_meaning_are_left_alone(clients, spec, tmp_path):
    clients(node="n2").start(spec("serve-0", "sleep", "60", **HELD))
    damaged = tmp_path / "state/dplaunch/other/n1/proc/x"
    damaged.mkdir(parents=True)
    (damaged / "state.json").write_text('{"ports": "all", "meta": [1]}')
    assert clients().start(spec("a", "sleep", "60", **HELD))[0]["ok"]
