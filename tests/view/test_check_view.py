"""What ``check`` prints beside its table: what would repair it."""

from plans import a_plan, a_process

from dplaunch.model.check import CheckReport, Finding, Level, NodeSurvey
from dplaunch.view import check as drawing

TLS = Finding(
    probe="npu.tls", level=Level.WARN, node="n6", text="TLS differs", remedy="the same everywhere", fix="hccn_tool …"
)  # fmt: skip
TAKEN = Finding(probe="host.ports", level=Level.FAIL, node="n1", text="port 9001 is taken", remedy="end it")
WELL = Finding(probe="host.disk", level=Level.OK, node="n1", text="free: 79 GiB")


def test_what_no_command_repairs_is_not_left_out_of_the_fixes(draw, golden):
    golden("fixes", draw(drawing.render_fixes(CheckReport(findings=(TLS, TAKEN, WELL)))))


def test_where_all_is_well_there_is_nothing_to_repair(draw, golden):
    golden("fixes-none", draw(drawing.render_fixes(CheckReport(findings=(WELL,)))))


def test_times_in_json_are_figures_one_can_read():
    checked = CheckReport(nodes=(NodeSurvey(node="n1", seconds=0.08689999999999999),))
    [node] = drawing.to_json(a_plan(a_process("serve-0", "n1")), checked)["nodes"]
    assert node["seconds"] == 0.087


def test_nodes_that_are_unreachable_for_like_reasons_are_one_finding(draw):
    def login(node: int, level: Level, text: str, remedy: str = "") -> Finding:
        return Finding(probe="host.login", level=level, node=f"n{node}", text=text, remedy=remedy)

    silent = [login(n, Level.FAIL, "no answer on port 22", f"`ping 192.0.2.{n}`") for n in (1, 2, 3)]
    pythons = [login(n, Level.OK, f"reachable, Python 3.{n}") for n in (8, 9)]
    plan = a_plan(a_process("serve-0", "n1"))
    shown = draw(drawing.render(plan, CheckReport(findings=(*silent, *pythons)), verbose=1), 100)
    assert "n[1-3]" in shown
    assert "`ping 192.0.2.[1-3]`" in shown
    assert "Python 3.8" in shown
    assert "Python 3.9" in shown
