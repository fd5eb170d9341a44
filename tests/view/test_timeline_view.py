"""Where start-up time went, as a table, as JSON, and as a report with a chart."""

from xml.etree import ElementTree as ET

import pytest
from starts import STAGES, start

from dplaunch.model.timeline import PhaseTimes, StartUp
from dplaunch.timeline import analyse
from dplaunch.view import gantt
from dplaunch.view import timeline as drawing

SVG = "{http://www.w3.org/2000/svg}"
PHASE_TIMES = PhaseTimes(
    verb="up",
    started=9,
    phases={"connect": 0.4, "load": 131.0},
    earlier=({"connect": 0.3, "load": 100.0}, {"connect": 0.3, "load": 102.0}),
    usual={"connect": 0.3, "load": 101.0},
    usual_total=101.3,
)


def cluster(engines=8, *, fine=True, name="decode", node="n"):
    def took(n, extra):
        slow = 31.0 if n == 3 else 0.0
        weights = {"arguments": 8.5, "weights": 12.2, "memory": 80 + slow + extra}
        return {**weights, "KV cache": 10 - 0.2 * (n == 1), "HTTP server": 5.0}

    now = [start(f"{name}-{n}", f"{node}{n // 4}", took(n, 0), fine=fine) for n in range(engines)]
    before = [
        start(f"{name}-{n}", f"{node}{n // 4}", took(n, 7), known=False, fine=fine) for n in range(engines)
    ]
    return now, before


@pytest.fixture
def up() -> StartUp:
    return analyse(*cluster(), STAGES, PHASE_TIMES)


def test_a_table_by_stage_then_who_was_waited_for_then_phases(up, draw, golden):
    golden("timeline", draw(drawing.render("r1", up), 80))


def test_verbose_has_a_row_per_engine_the_slowest_first(up, draw):
    rows = draw(drawing.render("r1", up, verbose=1), 200).splitlines()
    head = next(n for n, row in enumerate(rows) if row.startswith("ENGINE"))
    assert rows[head + 1].split(maxsplit=2)[:2] == ["decode-3", "n0"]
    assert "weights 1 min 51 s, memory 10 s" in rows[head + 1]
    assert rows[head + 9] == ""


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("verbose", [0, 1])
def test_it_fits_the_terminal(draw, width, verbose):
    prefill, decode = cluster(4, name="prefill", node="node-a"), cluster(64, node="node-b")
    up = analyse([*prefill[0], *decode[0]], [*prefill[1], *decode[1]], STAGES, PHASE_TIMES)
    drawn = draw(drawing.render("r1", up, verbose=verbose), width)
    assert max(map(len, drawn.splitlines())) <= width
    assert "ROLE" in drawn


def test_whole_seconds_are_shown_as_such_and_said(draw, golden):
    golden("timeline-whole-seconds", draw(drawing.render("r1", analyse(*cluster(fine=False), STAGES)), 200))


def test_engines_without_times_share_a_note(draw, golden):
    now = [start(f"decode-{n}", "n1", {}) for n in range(4)]
    golden("timeline-without-times", draw(drawing.render("r1", analyse(now, [], STAGES)), 200))


def test_one_earlier_start_is_the_one_before(golden):
    times = PhaseTimes(verb="up", started=1, phases={"load": 2.0}, earlier=({"load": 3.0},), usual_total=3.0)
    golden("timeline-one-before", drawing.describe_walk(times))


def test_the_stable_form(up, golden):
    value = drawing.to_json("r1", up)
    golden("timeline", {**value, "engines": value["engines"][2:4]})
    assert drawing.to_json("r1", StartUp())["walk"] is None


def test_the_report_is_one_well_formed_file_with_a_bar_per_stage(up):
    root = ET.fromstring(gantt.report("r1", up))
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert len(titles) == 8 * 5
    assert "decode-3 on n0: weights 1 min 51 s" in titles
    assert [h2.text for h2 in root.iter("h2")] == [
        "Engines", "Stages", "Waiting for the slowest", "Phases", "Every engine",
    ]  # fmt: skip
    assert "warn" in {row.get("class") for row in root.iter("tr")}


def test_names_from_a_cluster_file_are_text_in_the_report():
    now = [start(f"<b>-{n}", 'n"&', {"arguments": 3, "weights": 4}) for n in range(2)]
    text = gantt.report("<script>x</script>", analyse(now, [], STAGES))
    assert ET.fromstring(text).find("body/header/h1").text == "<script>x</script>: start-up"
    assert "<b>" not in text


@pytest.mark.parametrize(("engines", "rows"), [(8, 8), (200, 200), (1000, 200)])
def test_many_engines_share_rows_and_the_slowest_of_them_is_drawn(engines, rows):
    up = analyse(*cluster(engines), STAGES)
    root = ET.fromstring(gantt.chart(up))
    labels = [text.text for text in root.iter(f"{SVG}text") if text.get("text-anchor") == "end"]
    assert len(labels) == rows
    assert "decode-3 on n0: weights 1 min 51 s" in [title.text for title in root.iter(f"{SVG}title")]


def test_a_start_without_any_time_is_a_chart_without_bars():
    root = ET.fromstring(gantt.report("r1", analyse([start("decode-0", "n1", {})], [], STAGES)))
    assert list(root.iter(f"{SVG}title")) == []
