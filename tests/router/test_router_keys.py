"""Keys of clients: by name, in either header, changed while requests come in."""

import json
from hashlib import sha256

import pytest

from dplaunch.router.keys import Keys, parse


def document(**keys: str):
    named = [{"name": n.replace("_", "-"), "sha256": sha256(k.encode()).hexdigest()} for n, k in keys.items()]
    return json.dumps({"format": 1, "keys": named})


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"Authorization": "Bearer apple"}, "team-a"),
        ({"Authorization": "bearer apple"}, "team-a"),
        ({"x-api-key": "pear"}, "team-b"),
        ({"Authorization": "Bearer wrong", "x-api-key": "pear"}, "team-b"),
        ({"x-api-key": "sesame"}, "own"),
        ({"Authorization": "apple"}, ""),
        ({"Authorization": "Bearer \udce9"}, ""),
        ({"x-api-key": ""}, ""),
        ({}, ""),
    ],
)
def test_a_key_is_recognised_in_either_header(headers, name):
    keys = Keys("sesame", guarded=True)
    keys.replace(parse(document(team_a="apple", team_b="pear")))
    assert keys.name_of(headers) == name


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Expecting"),
        ("[]", "not an object"),
        ('{"format": 1, "keys": ["secret"]}', "key 1 has no usable name"),
        ('{"format": 1, "keys": [{"name": "own", "sha256": ""}]}', "key 1 has no usable name"),
        ('{"format": 1, "keys": [{"name": "a", "sha256": "secret"}]}', "64 hexadecimal digits"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_and_shows_no_key(text, why):
    with pytest.raises(ValueError, match=why) as raised:
        parse(text)
    assert "secret" not in str(raised.value)


def test_keys_are_counted_by_name_rotated_without_a_restart_and_never_reach_an_engine(run, tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(document(team_a="apple"))

    async def status(c, key):
        return (await c.post(headers={"x-api-key": key}))[0]

    async def rotated(c, text, key):
        path.write_text(text)
        while await status(c, key) != 200:
            pass

    async def scenario(c):
        assert (await c.post())[0] == 401
        while await status(c, "apple") != 200:
            pass
        await rotated(c, document(team_a="cherry", team_b="pear"), "cherry")
        assert [await status(c, key) for key in ("apple", "pear")] == [401, 200]
        path.write_text("broken")
        assert await status(c, "pear") == 200
        assert await status(c, "sesame") == 200
        metrics = (await c.get("/metrics"))[2].decode()
        assert 'dprouter_client_requests_total{client="team-b"} 2' in metrics
        assert {seen[1]["Authorization"] for e in c.engines for seen in e.seen} == {"Bearer sesame"}
        assert not any("x-api-key" in seen[1] for e in c.engines for seen in e.seen)

    run(scenario, {"serve/0": 1}, keys=str(path), api_key="sesame")


def test_where_a_file_of_keys_is_named_and_missing_nobody_gets_in(run, tmp_path):
    async def scenario(c):
        assert (await c.post())[0] == 401

    run(scenario, {"serve/0": 1}, keys=str(tmp_path / "missing"))


def test_a_clients_key_does_not_let_it_name_engines_from_elsewhere(run, tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(document(team_a="apple"))

    async def scenario(c):
        headers = {"x-api-key": "apple"}
        while (await c.post(headers=headers))[0] != 200:
            pass
        pair = {**headers, "X-Dplaunch-Pair": "serve-0"}
        assert (await c.post(headers=pair))[0] == 200, "from the router's own node"

    run(scenario, {"serve/0": 1}, keys=str(path), api_key="sesame")
