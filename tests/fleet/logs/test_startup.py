"""The walk of ``analyze``: which lines it reads, and what becomes of nodes that do not have them."""

from nodes import Node
from plans import a_plan, a_process
from scene import Scene
from starts import BEGAN, SERVING, STAGES, line

from dplaunch.fleet.logs.startup import analyze
from dplaunch.model.trail import Entry, Result

PLAN = a_plan(
    *(a_process(f"decode-{n}", f"n{n // 2}") for n in range(4)), a_process("router", "n0"), stages=STAGES
)


def node(number, *, slow=0.0, **fields):
    made = Node(f"n{number}", **fields)
    for name in (f"decode-{2 * number}", f"decode-{2 * number + 1}"):
        made.observed(name, started_at=BEGAN.timestamp())
        made.logs[name] = (line("weights", 5), line("memory", 15 + slow), SERVING)
        made.previous[name] = (line("weights", 5), line("memory", 12), SERVING)
    return made


def look(*nodes: Node):
    scene = Scene(PLAN, *nodes)
    scene.driver.open()
    return scene, analyze(scene.job, PLAN.processes, scene.driver.observe())


def test_every_engine_is_read_with_one_request_per_node_and_run():
    scene, up = look(node(0), node(1, slow=30))
    assert {t.process: t.total for t in up.timelines} == {
        "decode-0": 15, "decode-1": 15, "decode-2": 45, "decode-3": 45,
    }  # fmt: skip
    weights = up.stages[-1]
    assert (weights.stage, weights.engine, weights.node, weights.before) == ("weights", "decode-2", "n1", 7)
    follows = [(sources, query) for name, sources, query in scene.calls("follow") if name == "n1"]
    assert [[one.process for one in sources] for sources, _ in follows] == [["decode-2", "decode-3"]] * 2
    assert [(q.previous, q.follow, q.tail) for _, q in follows] == [(False, False, None), (True, False, None)]
    assert "percent" not in follows[0][1].grep


def test_a_node_is_let_go_once_its_engines_have_served():
    scene, _ = look(node(0), node(1))
    assert [stream.node for stream in scene.calls("cancel")].count("n0") == 2


def test_a_log_that_lost_its_beginning_is_named():
    _, up = look(node(0, dropped={"decode-0": 9}), node(1))
    assert [bool(t.problem) for t in up.timelines][:2] == [True, False]


def test_a_node_that_breaks_leaves_the_others():
    scene, up = look(node(0, breaks_at="follow"), node(1))
    assert [t.total for t in up.timelines] == [None, None, 15, 15]
    assert "n0" in scene.driver.unreached


def test_the_trail_of_earlier_starts_is_read():
    trail = [
        Entry(at=n, who="a", verb="up", result=Result.READY, started=5, phases={"load": 10.0 * n})
        for n in (1, 2)
    ]
    _, up = look(node(0, trail=trail), node(1))
    assert (up.phase_times.total, up.phase_times.usual_total) == (20, 10)


def test_without_a_start_no_log_is_read():
    scene, up = look()
    assert up.timelines == ()
    assert scene.calls("follow") == []
