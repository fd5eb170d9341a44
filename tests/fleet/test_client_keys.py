"""Keys of clients on the router's node."""

import json
from hashlib import sha256

from msgspec.structs import replace
from plans import a_plan, a_process
from scene import Scene

from dplaunch.fleet.client_keys import write_client_keys
from dplaunch.model.cluster import SecretRef
from dplaunch.router.keys import Keys, parse

TEAM_A, TEAM_B = SecretRef("env", "A"), SecretRef("file", "b.key")
SECRETS = {TEAM_A: "key-of-a", TEAM_B: "key-of-b"}


def written(keys, secrets=SECRETS):
    plan = replace(a_plan(a_process("serve-0", "n2"), a_process("router", "n1")), api_keys=keys)
    scene = Scene(plan)
    scene.driver.open()
    write_client_keys(replace(scene.job, secrets=secrets))
    return scene.nodes["n1"].files.get("router/keys.json")


def test_the_file_has_digests_by_name_that_the_router_knows_and_no_key():
    text = written({"team-a": TEAM_A, "team-b": TEAM_B})
    assert parse(text) == {sha256(f"key-of-{x}".encode()).hexdigest(): f"team-{x}" for x in "ab"}
    assert not any(key in text for key in SECRETS.values())
    known = Keys("own", guarded=True)
    known.replace(parse(text))
    assert known.name_of({"x-api-key": "key-of-b"}) == "team-b"
    assert json.loads(text)["format"] == 1


def test_without_keys_of_clients_there_is_no_file():
    assert written({}) is None
