"""Pairs of engines proved on a real rehearsal cluster: one broken route is found, a cold one forgiven."""

import pytest

pytestmark = pytest.mark.whole


def with_override(laptop, engines, knob, value):
    path = laptop.folder / "cluster.yaml"
    override = f'overrides: {{"{engines}": {{env: {{DPLAUNCH_REHEARSAL_{knob}: "{value}"}}}}}}'
    laptop.write("cluster.yaml", f"{path.read_text()}\n{override}\n")


def side_channel(laptop, engine):
    """Where this engine hands KV out: HOST:PORT."""
    (node,) = laptop.json("plan")["nodes"]
    seat = next(p["seats"][0] for p in node["processes"] if p["name"] == engine)
    return f"{seat['address']}:{seat['ports']['kv']['first']}"


def test_a_pair_whose_kv_is_broken_answers_200_and_up_refuses_and_names_it(laptop):
    with_override(laptop, "decode-2", "BAD_KV_FROM", side_channel(laptop, "prefill-1"))
    lines = laptop("up", code=1).stderr.splitlines()
    (error,) = [line for line in lines if line.startswith("error: ")]
    assert error.startswith("error: prefill-1 → decode-2 answered 200 with unprintable text")
    assert lines[-1] == "hint: dplaunch logs decode-2 prefill-1 -n 50"
    assert laptop.json("status", code=1)["state"] == "down"

    laptop("up", "--keep", code=1)
    seen = laptop.json("status", code=4)
    assert (seen["state"], seen["proof"]["holds"], seen["proof"]["verb"]) == ("closed", False, "up")
    proof = laptop.json("test", code=1)
    assert [p["engines"] for p in proof["pairs"] if not p["ok"]] == [["prefill-1", "decode-2"]]
    assert proof["odd"] is None
    assert "FAILED prefill-1 → decode-2: answered 200" in laptop("test", "--all", code=1).stdout
    laptop("down", "-y")


def test_cold_pairs_are_forgiven_once_and_all_is_proved(laptop):
    with_override(laptop, "decode-[0-1]", "FIRST_FETCH_FAILS", "1")
    said = laptop("up", "--test", "all").stderr
    assert (
        "the first request failed and the second was answered correctly: prefill-[0-1] → decode-[0-1]" in said
    )
    proof = laptop.json("test")
    assert (proof["ok"], proof["total"], proof["notes"]) == (True, 8, [])
    assert {k["moved"] for k in proof["kv"]} == {True}
    assert [r["stream"] for r in proof["router"]] == [False, True]
    last = laptop.json("status")["proof"]
    assert (last["holds"], last["verb"]) == (True, "test")
    laptop("down", "-y")
    assert "nothing to test" in laptop("test", "cluster.yaml", code=1).stderr
