"""docs/guard-protocol.md: a section per verb, its examples are requests and replies of that verb."""

import json
import re
from pathlib import Path

import pytest

from dplaunch.node.guard.verbs import QUICK, SLOW

ROOT = Path(__file__).parent.parent.parent.parent
PAGE = (ROOT / "docs/guard-protocol.md").read_text()
SECTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")[1:]}
VERBS = sorted({*QUICK, *SLOW})


def examples(section, arrow):
    return [json.loads(line) for line in re.findall(rf"^    {arrow} (.*)$", section, re.MULTILINE)]


def test_all_examples_are_json():
    lines = examples(PAGE, "→") + examples(PAGE, "←")
    assert len(lines) > 2 * len(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_a_section_with_a_request_and_its_reply(verb):
    section = SECTIONS[verb]
    (request,) = examples(section, "→")
    *events, reply = examples(section, "←")
    assert request["verb"] == verb
    assert reply["ok"] is True
    assert {line["id"] for line in (*events, reply)} == {request["id"]}
    assert all("event" in event for event in events)


def test_the_examples_have_the_keys_of_real_lines(client, spec, endpoint, streams, until):
    """Process, verdict and events, by their keys."""
    client.start(
        spec("e-0", "sh", "-c", "echo a; sleep 60", endpoints=[endpoint("e-0", "http://127.0.0.1:1")])
    )
    (documented,) = examples(SECTIONS["observe"], "←")[0]["processes"]
    observed = client.observe("e-0", health=True)
    assert documented.keys() == observed.keys()
    assert documented["endpoints"][0].keys() == observed["endpoints"][0].keys()
    processes = [{"name": "e-0", "endpoints": [endpoint("e-0", "http://127.0.0.1:1")], "line": "a"}]
    client.send("watch", processes=processes, interval=0.05)
    client.ask("follow", streams=streams("e-0"))
    until(lambda: client.events("health"))
    client.stop("e-0")
    until(lambda: client.events("exit"))
    documented = {}
    for verb in ("watch", "follow", "stop"):
        documented.update(
            {line["event"]: line.keys() for line in examples(SECTIONS[verb], "←") if "event" in line}
        )
    for kind in ("line", "health", "exit", "log", "stopping", "stopped"):
        assert documented[kind] == client.events(kind)[0].keys(), kind
