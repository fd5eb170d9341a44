"""Where start-up time went: log lines in, values out."""

from datetime import datetime, timezone

import pytest
from msgspec.structs import replace
from starts import BEGAN, SERVING, STAGES, line, log, start

from dplaunch.model.trail import Entry, Result
from dplaunch.timeline import IMPORTS, analyse, compare_phases


def triples(spans):
    return [(s.stage, s.begin, s.seconds) for s in spans]


def one(lines, **how):
    [timeline] = analyse([log("decode-0", "n5", lines, **how)], [], STAGES).timelines
    return timeline


@pytest.mark.parametrize("hours", [-10, 0, 8, 14])
def test_stages_are_timed_from_the_start_of_the_process_whatever_its_zone(hours):
    lines = [line("arguments", 8, hours=hours), line("engine", 20, hours=hours), SERVING]
    timeline = one(lines)
    assert triples(timeline.spans) == [
        (IMPORTS, 0, 8),
        ("arguments", 8, 12),
        ("engine", 20, None),
        ("serving", None, None),
    ]
    assert timeline.total == 20
    assert timeline.problem == ""


def test_a_slow_first_engine_does_not_move_the_zone_of_its_node():
    late, early = [line("arguments", 1000), SERVING], [line("arguments", 10), SERVING]
    up = analyse([log("decode-0", "n5", late), log("decode-1", "n5", early)], [], STAGES)
    assert [timeline.total for timeline in up.timelines] == [1000, 10]


def test_a_whole_second_may_lie_before_the_start_it_belongs_to():
    began = BEGAN.replace(microsecond=900_000)
    timeline = one([line("arguments", 0), line("engine", 3)], began=began)
    assert triples(timeline.spans)[0] == (IMPORTS, 0, 0)
    assert timeline.total == pytest.approx(2.1)


def test_the_year_may_end_during_a_start():
    began = datetime(2026, 12, 31, 15, 59, 50, tzinfo=timezone.utc)
    lines = [line("arguments", 5, began=began), line("engine", 15, began=began)]
    assert one(lines, began=began).total == 15


def test_a_line_without_time_gets_none_and_its_stage_counts_with_the_one_before():
    lines = [
        line("KV cache", 30, fine=True),
        "Capturing CUDA graphs:  40%|",
        line("HTTP server", 50, fine=True),
    ]
    up = analyse([log("decode-0", "n5", lines)], [], STAGES)
    assert triples(up.timelines[0].spans) == [
        (IMPORTS, 0, 30),
        ("KV cache", 30, 20),
        ("graphs", None, None),
        ("HTTP server", 50, None),
    ]
    assert up.untimed == ("graphs",)
    assert [times.stage for times in up.stages] == [IMPORTS, "KV cache"]


def test_lines_of_stages_that_are_over_are_echoes():
    lines = [
        line("weights", 10),
        line("memory", 20),
        line("weights", 25),
        line("memory", 26),
        line("KV cache", 30),
    ]
    assert triples(one(lines).spans)[1:] == [("weights", 10, 10), ("memory", 20, 10), ("KV cache", 30, None)]


def test_a_clock_that_steps_back_is_reported_and_takes_no_time_back():
    timeline = one([line("weights", 100), line("memory", 40), line("KV cache", 120)])
    assert triples(timeline.spans)[1:] == [("weights", 100, 0), ("memory", 100, 20), ("KV cache", 120, None)]
    assert "60 s at `memory`" in timeline.problem


@pytest.mark.parametrize(
    ("lines", "lost", "word"),
    [([], False, "no line"), ([], True, "dropped"), ([SERVING], False, "a time")],
)
def test_what_could_not_be_read_is_reported(lines, lost, word):
    starts = [replace(log("decode-0", "n5", lines), lost=lost)]
    up = analyse(starts, [], STAGES)
    assert up.timelines[0].total is None
    assert word in up.timelines[0].problem
    assert (up.stages, up.groups, up.resolution) == ((), (), 0.0)


@pytest.mark.parametrize(("fine", "resolution"), [(True, 0.001), (False, 1.0)])
def test_the_resolution_is_that_of_the_lines(fine, resolution):
    assert (
        analyse([start("decode-0", "n5", {"arguments": 5.0}, fine=fine)], [], STAGES).resolution == resolution
    )


def test_the_slowest_of_a_stage_beside_the_middle_and_the_run_before():
    now = [start(f"decode-{n}", f"n{n}", {"weights": 10, "memory": 20.0 + (n == 2) * 31}) for n in range(5)]
    before = [start(f"decode-{n}", f"n{n}", {"weights": 5, "memory": 22.0}, known=False) for n in range(5)]
    imports, weights = analyse(now, before, STAGES).stages
    assert (imports.stage, imports.median, imports.before) == (IMPORTS, 10, None)
    assert (weights.stage, weights.engines, weights.median, weights.slowest) == ("weights", 5, 20, 51)
    assert (weights.engine, weights.node, weights.spread, weights.before) == ("decode-2", "n2", 31, 22)


def test_roles_are_kept_apart():
    logs = [
        start("prefill-0", "n1", {"weights": 1, "memory": 2}),
        start("decode-0", "n2", {"weights": 3, "graphs": 9}),
    ]
    assert [(t.role, t.stage) for t in analyse(logs, [], STAGES).stages] == [
        ("prefill", IMPORTS), ("prefill", "weights"), ("decode", IMPORTS), ("decode", "weights"),
    ]  # fmt: skip


def test_who_is_late_where_all_meet_is_counted_once():
    """decode-2 loads 30 s longer; the others spend them in the next stage, where they meet."""
    quick = {"arguments": 5, "weights": 5, "memory": 10, "KV cache": 35, "graphs": 1, "HTTP server": 6}
    late = {"arguments": 5, "weights": 5, "memory": 40, "KV cache": 5, "graphs": 1, "HTTP server": 10}
    logs = [start(f"decode-{n}", f"n{n}", late if n == 2 else quick) for n in range(4)]
    [group] = analyse(logs, [], STAGES).groups
    assert {w.stage: (w.engine, w.lost) for w in group.waits if w.lost} == {
        "weights": ("decode-2", pytest.approx(30)),
        "graphs": ("decode-2", pytest.approx(4)),
    }
    assert group.lost == pytest.approx(34)
    assert (group.group, group.engines, group.seconds) == ("decode/0", 4, pytest.approx(66))


def test_a_group_of_one_has_no_waits():
    assert analyse([start("prefill-0", "n1", {"weights": 1})], [], STAGES).groups == ()


def test_differences_below_the_resolution_are_not_lost_time():
    logs = [start(f"decode-{n}", "n1", {"weights": 5, "memory": 10 + 0.4 * n}, fine=False) for n in range(2)]
    assert analyse(logs, [], STAGES).groups[0].lost == 0


def entry(result=Result.READY, verb="up", started=7, **phases):
    made = Entry(at=1.0, who="ada@desk", verb=verb, result=result)
    return replace(made, started=started, phases=phases) if phases else made


def test_a_start_beside_the_median_of_earlier_ones_of_as_many():
    trail = [entry(load=float(n), prove=1.0) for n in range(3)]
    trail += [entry(started=2, load=99.0), entry(verb="restart", load=99.0), entry(Result.STOPPED, "down")]
    found = compare_phases(
        [*trail, entry(Result.BEGAN), entry(load=10.0, prove=2.0), entry(Result.STOPPED, "down")]
    )
    assert (found.verb, found.started, found.total, len(found.earlier)) == ("up", 7, 12, 3)
    assert (found.usual, found.usual_total) == ({"load": 1, "prove": 1}, 2)


def test_a_phase_that_earlier_starts_did_not_have_took_them_no_time():
    found = compare_phases([entry(load=3.0), entry(load=4.0, drain=2.0)])
    assert found.usual == {"load": 3.0, "drain": 0.0}
    assert found.usual_total == 3.0


def test_of_many_earlier_starts_the_last_ten_count():
    found = compare_phases([entry(load=float(n)) for n in range(30)])
    assert [phases["load"] for phases in found.earlier] == list(range(19, 29))


@pytest.mark.parametrize(
    "trail",
    [
        [],
        [entry(verb="test", load=3.0)],
        [entry(Result.BEGAN)],
        [entry(load=3.0), entry(Result.BEGAN)],
        [entry(load=3.0), entry(Result.FAILED, load=2.0)],
        [entry(load=3.0), entry(Result.DETACHED, load=2.0)],
        [entry()],
    ],
)
def test_a_start_that_did_not_end_or_left_no_figures_is_none(trail):
    assert compare_phases(trail) is None


def test_a_proof_alone_does_not_count_as_a_start():
    found = compare_phases([entry(load=3.0), entry(load=5.0), entry(Result.PROVED, prove=9.0)])
    assert (found.phases, found.earlier) == ({"load": 5.0}, ({"load": 3.0},))


def test_a_first_start_has_nothing_to_compare_with():
    found = compare_phases([entry(load=3.0)])
    assert (found.earlier, found.usual, found.usual_total) == ((), {}, None)
