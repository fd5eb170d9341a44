from __future__ import annotations

from msgspec.structs import replace
from plans import a_job, a_plan, a_process

from dplaunch import plan, spec
from dplaunch.errors import Problem
from dplaunch.model.difference import Difference
from dplaunch.model.plan import Action, Change, Overlap, PortRange, Steps
from dplaunch.plan import to_json
from dplaunch.plan.waves import waves
from dplaunch.render import clusters_root
from dplaunch.view import actions as actions_view
from dplaunch.view import plan as plan_view


def example(name):
    return clusters_root() / f"{name}.yaml"


def test_seventy_two_engines_fit_on_a_screen(draw, golden, big_plan):
    golden("plan", draw(plan_view.render(big_plan), 80))


def test_a_wide_screen_gets_wide_gaps_and_the_same_words(draw, golden, big_plan):
    wide = draw(plan_view.render(big_plan), 200)
    golden("plan-wide", wide)
    assert wide.split() == draw(plan_view.render(big_plan), 80).split()


def test_verbose_has_a_row_per_engine(draw, golden, big_plan):
    drawn = draw(plan_view.render(big_plan, verbose=1), 100)
    golden("plan-verbose", drawn)
    assert sum(line.startswith(("prefill ", "decode ")) for line in drawn.split("\n")) == 72


def test_warnings_stand_at_the_end(draw, golden, make_plan):
    idle = Problem("8 devices stay unused", "c.yaml", 7, hint="raise dp", source="a document", warning=True)
    golden("plan-with-a-warning", draw(plan_view.render(make_plan(), (idle,)), 80))


def test_the_steps_that_are_split_stand_below_the_sums(draw, golden, make_plan):
    some = Steps(kind="with prefill", least=256, most=8192), Steps(kind="with prefill", least=32)
    none = Steps(kind="of decode only", least=32, most=16), Steps(kind="of decode only", least=None)
    overlaps = {
        "prefill": Overlap(steps=(some[0], none[0]), conditions=("at least 64 of the tokens are prefill",)),
        "decode": Overlap(steps=(some[1], none[1])),
    }
    golden("plan-overlap", draw(plan_view.render(make_plan(), overlaps=overlaps), 80))


def test_long_node_names_lose_nothing_at_80_columns(draw, make_plan):
    drawn = draw(plan_view.render(make_plan("atlas-800t-a3-rack07-unit{:02}.example.com".format)), 80)
    table = drawn.split("\n\n")[1].split("\n")
    assert max(map(len, table)) <= 80
    first = table[1 : next(n for n in range(2, 9) if table[n].startswith("decode"))]
    assert "".join(line[8:].split(" ")[0] for line in first) == "atlas-800t-a3-rack07-unit[01-04].example.com"


def test_sixty_four_nodes_are_a_row_each_where_they_differ(draw, make_plan):
    lines = draw(plan_view.render(make_plan(decode_nodes=60)), 80).split("\n")
    assert sum(line.startswith("decode ") for line in lines) == 60
    assert {"968", "1024", "64"} < {*lines[-1].split()}


def test_stand_alone_engines_have_no_master(draw, golden, big_plan):
    node = big_plan.nodes[0]
    engine = node.processes[0]
    (seat,) = engine.seats
    alone = replace(engine, seats=(replace(seat, ports={"http": seat.ports["http"]}, devices=()),))
    lonely = replace(big_plan, nodes=(replace(node, processes=(alone,)),), router=None)
    golden("plan-stand-alone", draw(plan_view.render(lonely), 80))


FORMS = (
    "qwen3-235b-a3-internal",
    "deepseek-gpu-hybrid",
    "deepseek-gpu-supervisor",
    "llama-gpu-2node",
    "llama2-70b-atb-2node",
)
"""Examples whose engines are not one process and one rank each."""


def test_an_engine_is_what_answers_whatever_ranks_stand_behind_it(draw, golden):
    found = [spec.load(path.read_text(), str(path), read_file=str).spec for path in map(example, FORMS)]
    drawn = [draw(plan_view.render(plan.build(one)), 100).partition("ROLE")[2] for one in found]
    golden("plan-forms", "\n\n".join(f"ROLE{text}" for text in drawn))


ACTIONS = (
    *(Action(Change.START, f"decode-{n}", f"n{5 + n // 16}", "new") for n in range(64)),
    *(
        Action(Change.RESTART, f"prefill-{n}", f"n{1 + n // 2}", "changed: run_dp_template.sh")
        for n in range(8)
    ),
    Action(Change.STOP, "prefill-9", "n4", "not in the file"),
    Action(Change.KEEP, "router", "n1"),
)


DIFFERENCES = (
    Difference(nodes=("n1", "n2", "n3"), path="decode/run_dp_template.sh", removed=("--max-num-seqs 16 \\\\",), added=("--max-num-seqs 32 \\\\",)),
    Difference(nodes=("n1",), processes=("decode-0", "decode-1"), removed=("9000",), added=("9100",)),
    Difference(nodes=("n1",), path="router/lib/app.py", added=tuple(f"line {n}" for n in range(15))),
)  # fmt: skip


def test_what_differs_from_what_runs_stands_below_the_table(draw, golden):
    golden("actions-differences", draw(actions_view.render(ACTIONS, differences=DIFFERENCES), 80))
    assert actions_view.to_json(ACTIONS, (), DIFFERENCES)["differences"][1]["added"] == ("9100",)


def test_actions_fold_by_change_and_reason_what_stops_first(draw, golden):
    golden("actions", draw(actions_view.render(ACTIONS), 80))


def test_nothing_to_do_says_so(draw, golden):
    golden("actions-unchanged", draw(actions_view.render(ACTIONS[-1:])))
    golden("actions-none", draw(actions_view.render(())))


SMALL = a_plan(
    a_process("router", "n1", after=("prefill-0", "decode-0")),
    a_process("prefill-0", "n1"),
    a_process("decode-0", "n2"),
    a_process("decode-1", "n2", group="decode/1"),
    a_job("convert-0", "n3"),
)
CHANGES = (
    Action(Change.STOP, "decode-2", "n9", "not in the file", "decode/2"),
    Action(Change.RESTART, "prefill-0", "n1", "changed", "prefill/0"),
    Action(Change.START, "decode-0", "n2", "new", "decode/0"),
    Action(Change.START, "decode-1", "n2", "new", "decode/1"),
    Action(Change.KEEP, "router", "n1", "", "router"),
)


def test_a_dry_run_shows_its_steps_wave_by_wave(draw, golden):
    golden("actions-in-waves", draw(actions_view.render(CHANGES, waves(CHANGES, SMALL)), 100))


def test_a_restart_is_a_wave_for_each_group(draw, golden):
    restart = tuple(
        Action(Change.RESTART, p.name, p.node, "asked for", p.group)
        for p in SMALL.processes
        if p.seats or p.endpoints
    )
    found = waves(restart, SMALL, group_by_group=True)
    golden("actions-group-by-group", draw(actions_view.render(restart, found), 100))


def test_where_nothing_is_to_do_no_step_is_shown(draw):
    keep = CHANGES[-1:]
    assert "wave" not in draw(actions_view.render(keep, waves(keep, SMALL)))


def test_a_dry_run_as_json(golden):
    golden("actions", actions_view.to_json(CHANGES, waves(CHANGES, SMALL)))


def test_a_plan_as_json(golden):
    golden("plan", to_json(SMALL))


def test_ports_of_an_engines_own_names_have_columns_of_their_own(draw, big_plan):
    [first, *rest] = big_plan.nodes[0].processes
    seat = replace(first.seats[0], ports={**first.seats[0].ports, "hand-over": PortRange(8200, 4)})
    processes = (replace(first, seats=(seat,)), *rest)
    nodes = (replace(big_plan.nodes[0], processes=processes), *big_plan.nodes[1:])
    table = (
        draw(plan_view.render(replace(big_plan, nodes=nodes), verbose=1), 120).split("\n\n")[1].split("\n")
    )
    assert table[0].split()[-4:] == ["HTTP", "RPC", "KV", "HAND-OVER"]
    assert [line.split()[-1] for line in table[1:3]] == ["8200-8203", "-"]
