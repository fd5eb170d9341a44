from __future__ import annotations

from dataclasses import replace

from dplaunch.errors import Problem
from dplaunch.model.plan import Action, Change
from dplaunch.view import actions as actions_view
from dplaunch.view import plan as plan_view

AT_80 = """\
deepseek-r1: vllm-ascend 0.23.0, revision 3f9a2c81
model     deepseek_r1 (vllm-ascend/DeepSeek-R1-W8A8)
endpoint  http://192.0.0.1:8000, router on n1

ROLE    NODES  GROUPS ENGINES        RANKS DEVICES HTTP      RPC   KV
prefill n[1-4] 0-3    prefill-[0-7]  0-1   0-15    9000-9001 13395 61000-61015
decode  n5     0      decode-[0-15]  0-15  0-15    9000-9015 13395 61000-61015
decode  n6     0      decode-[16-31] 16-31 0-15    9000-9015 13395 61000-61015
decode  n7     0      decode-[32-47] 32-47 0-15    9000-9015 13395 61000-61015
decode  n8     0      decode-[48-63] 48-63 0-15    9000-9015 13395 61000-61015
router  n1     -      router         -     -       8000      -     -

1 engine = 1 process = 1 data-parallel rank; a group starts and stops as one
prefill: 4 groups × 2 engines × 8 devices = 64 devices; masters n[1-4]:13395
decode: 1 group × 64 engines × 1 device = 64 devices; master n5:13395
total: 72 engines on 128 devices of 8 nodes"""


def test_seventy_two_engines_fit_on_a_screen(draw, big_plan):
    assert draw(plan_view.drawn(big_plan), 80) == AT_80


def test_a_wide_screen_gets_wide_gaps_and_the_same_words(draw, big_plan):
    wide = draw(plan_view.drawn(big_plan), 200)
    assert "prefill  n[1-4]  0-3     prefill-[0-7]   0-1    0-15     9000-9001  13395  61000-61015" in wide
    assert wide.split() == AT_80.split()


def test_verbose_has_a_row_per_engine(draw, big_plan):
    lines = draw(plan_view.drawn(big_plan, verbose=1), 100).split("\n")
    assert "prefill  n1     0       prefill-1  1      8-15     9001  13395  61008-61015" in lines
    assert sum(line.startswith(("prefill ", "decode ")) for line in lines) == 72


def test_warnings_stand_at_the_end(draw, make_plan):
    idle = Problem("8 devices stay unused", "c.yaml", 7, hint="raise dp", source="a document", warning=True)
    drawn = draw(plan_view.drawn(make_plan(), (idle,)), 80)
    assert drawn.split("\n")[-5:] == [
        "c.yaml:7: warning: 8 devices stay unused",
        "    = help: raise dp",
        "    = source: a document",
        "",
        "1 warning in c.yaml",
    ]


def test_long_node_names_lose_nothing_at_80_columns(draw, make_plan):
    drawn = draw(plan_view.drawn(make_plan("atlas-800t-a3-rack07-unit{:02}.example.com".format)), 80)
    table = drawn.split("\n\n")[1].split("\n")
    assert max(map(len, table)) <= 80
    first = table[1 : next(n for n in range(2, 9) if table[n].startswith("decode"))]
    assert "".join(line[8:].split(" ")[0] for line in first) == "atlas-800t-a3-rack07-unit[01-04].example.com"


def test_sixty_four_nodes_are_a_row_each_where_they_differ(draw, make_plan):
    lines = draw(plan_view.drawn(make_plan(decode_nodes=60)), 80).split("\n")
    assert sum(line.startswith("decode ") for line in lines) == 60
    assert "total: 968 engines on 1024 devices of 64 nodes" in lines


def test_stand_alone_engines_have_no_master(draw, big_plan):
    node = big_plan.nodes[0]
    engine = node.processes[0]
    (seat,) = engine.seats
    alone = replace(engine, seats=(replace(seat, ports={"http": seat.ports["http"]}, devices=()),))
    plan = replace(big_plan, nodes=(replace(node, processes=(alone,)),), router=None)
    lines = draw(plan_view.drawn(plan), 80).split("\n")
    assert "prefill  n1     0       prefill-0  0      -        9000  -    -" in lines
    assert lines[-2:] == ["prefill: 1 group × 1 engine = 1 engine", "total: 1 engine on 1 node"]


ACTIONS = (
    *(Action(Change.START, f"decode-{n}", f"n{5 + n // 16}", "new") for n in range(64)),
    *(
        Action(Change.RESTART, f"prefill-{n}", f"n{1 + n // 2}", "changed: run_dp_template.sh")
        for n in range(8)
    ),
    Action(Change.STOP, "prefill-9", "n4", "not in the file"),
    Action(Change.KEEP, "router", "n1"),
)


def test_actions_fold_by_change_and_reason_what_stops_first(draw):
    assert (
        draw(actions_view.drawn(ACTIONS), 80)
        == """\
   CHANGE   PROCESSES      NODES   WHY
-  stop     prefill-9      n4      not in the file
±  restart  prefill-[0-7]  n[1-4]  changed: run_dp_template.sh
+  start    decode-[0-63]  n[5-8]  new
   keep     router         n1

1 to stop, 8 to restart, 64 to start, 1 unchanged"""
    )


def test_nothing_to_do_says_so(draw):
    assert draw(actions_view.drawn(ACTIONS[-1:])) == "nothing to do: 1 process runs as the file says"
    assert draw(actions_view.drawn(())) == "nothing to do: the plan is empty and nothing runs"


def test_actions_as_json():
    value = actions_view.to_json(ACTIONS[-2:])
    assert value == {
        "actions": [
            {"change": "stop", "process": "prefill-9", "node": "n4", "reason": "not in the file"},
            {"change": "keep", "process": "router", "node": "n1", "reason": ""},
        ],
        "counts": {"start": 0, "stop": 1, "restart": 0, "keep": 1},
    }
