"""The walk of ``analyze`` on nodes in memory."""

from fakefleet import FakeNode, Scene, a_plan, a_process
from starts import BEGAN, SERVING, STAGES, line

from dplaunch.fleet.analyze import analyze
from dplaunch.fleet.observe import observe

PLAN = a_plan(
    *(a_process(f"decode-{n}", f"n{n // 2}") for n in range(4)), a_process("router", "n0"), stages=STAGES
)


def said(name, *lines: str):
    return [{"event": "log", "name": name, "offset": 0, "end": 9, "lines": list(lines)}]


def node(number, *, slow=0.0, **how):
    made = FakeNode(f"n{number}", **how)
    for name in (f"decode-{2 * number}", f"decode-{2 * number + 1}"):
        made.observed(name, started_at=BEGAN.timestamp())
        made.logs[name] = said(name, line("weights", 5), line("memory", 15 + slow), SERVING)
        made.before[name] = said(name, line("weights", 5), line("memory", 12), SERVING)
    return made


def look(*nodes: FakeNode):
    scene = Scene(PLAN, *nodes)
    scene.fleet.open()
    return scene, analyze(scene.job, PLAN.processes, observe(scene.job))


def test_every_engine_is_read_with_one_request_per_node_and_run():
    scene, up = look(node(0), node(1, slow=30))
    assert [(t.process, t.total) for t in up.timelines] == [
        ("decode-0", 15), ("decode-1", 15), ("decode-2", 45), ("decode-3", 45),
    ]  # fmt: skip
    weights = up.stages[-1]
    assert (weights.stage, weights.engine, weights.node, weights.before) == ("weights", "decode-2", "n1", 7)
    follows = [asked for verb, asked in scene.nodes["n1"].asked if verb == "follow"]
    assert [(f["names"], f["previous"], f["follow"], f["tail"]) for f in follows] == [
        (["decode-2", "decode-3"], False, False, None),
        (["decode-2", "decode-3"], True, False, None),
    ]
    assert "percent" not in follows[0]["grep"]


def test_a_node_is_let_go_once_its_engines_have_served():
    scene, _ = look(node(0), node(1))
    follow = [verb for verb, _ in scene.nodes["n0"].asked if verb in ("follow", "cancel")]
    assert follow == ["follow", "cancel", "follow", "cancel"]


def test_a_log_that_lost_its_beginning_is_said():
    odd = node(0)
    odd.logs["decode-0"] = [{"event": "gap", "name": "decode-0", "lost": 9}]
    _, up = look(odd, node(1))
    assert [t.problem for t in up.timelines][:2] == ["the log of its start was dropped, it grew too long", ""]


def test_a_node_that_breaks_leaves_the_others():
    scene, up = look(node(0, breaks_at="follow"), node(1))
    assert [t.total for t in up.timelines] == [None, None, 15, 15]
    assert "n0" in scene.fleet.unreached


def test_the_trail_of_earlier_starts_is_read():
    trail = [
        {"at": n, "verb": "up", "outcome": "ready", "started": 5, "phases": {"load": 10.0 * n}}
        for n in (1, 2)
    ]
    _, up = look(node(0, trail=trail), node(1))
    assert (up.walk.total, up.walk.usual_total) == (20, 10)


def test_without_a_start_there_is_nothing_to_tell():
    scene, up = look()
    assert up.timelines == ()
    assert "follow" not in scene.nodes["n0"].verbs()
