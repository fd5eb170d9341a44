from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dplaunch.logs import Merge, fold_past, name_log_file
from dplaunch.model.log import FoldedLine, LogChunk
from dplaunch.stamp import normalise


def chunk(process: str, lines: list[str], offset: int = 0) -> LogChunk:
    end = offset + sum(len(line.encode()) + 1 for line in lines)
    return LogChunk(process=process, node="n1", offset=offset, end=end, lines=tuple(lines))


def pairs_of(folded: tuple[FoldedLine, ...]) -> list[tuple[str, str]]:
    return [(",".join(line.processes), line.text) for line in folded]


def test_equal_lines_within_the_window_become_one():
    merge = Merge(window=0.3)
    out = [*merge.feed(chunk("d-0", ["loading"]), 1.0), *merge.feed(chunk("d-1", ["loading"]), 1.1)]
    assert out == []
    assert pairs_of(merge.flush(1.3)) == [("d-0,d-1", "loading")]


def test_equal_lines_far_apart_stay_two():
    merge = Merge(window=0.3)
    merge.feed(chunk("d-0", ["loading"]), 1.0)
    first = merge.feed(chunk("d-1", ["loading"]), 1.4)
    assert pairs_of(first) == [("d-0", "loading")]
    assert pairs_of(merge.flush()) == [("d-1", "loading")]


def test_a_process_repeating_itself_has_its_line_once_with_a_count():
    merge = Merge(window=0.3)
    merge.feed(chunk("d-0", ["again", "again"]), 1.0)
    merge.feed(chunk("d-1", ["again", "again", "again"]), 1.1)
    [folded] = merge.flush()
    assert (folded.processes, folded.text) == (("d-0", "d-1"), "again (×2..3)")
    assert len(folded.lines) == 5


def test_folding_never_reorders_what_one_process_logged():
    merge = Merge(window=1.0)
    merge.feed(chunk("d-0", ["x", "y"]), 1.0)
    merge.feed(chunk("d-1", ["y", "x"]), 1.1)
    assert pairs_of(merge.flush()) == [("d-0", "x"), ("d-0,d-1", "y"), ("d-1", "x")]


def test_lines_of_their_own_do_not_end_the_folding_of_those_that_follow():
    merge = Merge(window=1.0)
    for name, port in (("d-0", "mine"), ("d-1", "yours"), ("d-2", "his")):
        merge.feed(chunk(name, [f"port is {port}", "load", f"loaded {port}", "ready"]), 1.0)
    assert pairs_of(merge.flush()) == [
        ("d-0", "port is mine"), ("d-1", "port is yours"), ("d-2", "port is his"), ("d-0,d-1,d-2", "load"),
        ("d-0", "loaded mine"), ("d-1", "loaded yours"), ("d-2", "loaded his"), ("d-0,d-1,d-2", "ready"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (("rank 3 on port 9003", "rank 11 on port 9011"), "rank 3..11 on port 9003..9011"),
        (("took 2.5 s", "took 10.1 s", "took 2.5 s"), "took 2.5..10.1 s"),
        (("at 0x7f00", "at 0x7f11"), "at …"),
        (("id 688faec690842501173f93b9ebc879ca_dp0", "id 1fcd4fb4067f751e173f93b9ebc879ca_dp1"), "id …_dp0..1"),
    ],
)  # fmt: skip
def test_lines_that_differ_in_numbers_show_their_range(lines, text):
    merge = Merge(window=1.0)
    for n, line in enumerate(lines):
        merge.feed(chunk(f"d-{n}", [line]), 1.0)
    [folded] = merge.flush()
    assert folded.text == text


def test_an_equal_line_is_joined_rather_than_one_with_other_numbers():
    merge = Merge(window=1.0)
    merge.feed(chunk("d-0", ["shard 1/3", "shard 2/3", "shard 3/3"]), 1.0)
    merge.feed(chunk("d-1", ["shard 2/3", "shard 3/3"]), 1.0)
    assert pairs_of(merge.flush()) == [
        ("d-0", "shard 1/3"),
        ("d-0,d-1", "shard 2/3"),
        ("d-0,d-1", "shard 3/3"),
    ]


def test_pids_and_clocks_do_not_keep_lines_apart():
    lines = [
        f"(EngineCore_DP{n} pid={4000 + n}) INFO 09-24 20:59:5{n} [core.py:790] Loading weights took 3.1 GB"
        for n in range(3)
    ]
    merge = Merge(window=1.0)
    for n, line in enumerate(lines):
        merge.feed(chunk(f"d-{n}", [line]), 1.0)
    assert pairs_of(merge.flush()) == [("d-0,d-1,d-2", "INFO [core.py:790] Loading weights took 3.1 GB")]


def test_a_line_alone_keeps_its_pid_and_clock():
    text = "(APIServer pid=7) INFO 09-24 20:59:57 [api.py:1] ready"
    merge = Merge()
    merge.feed(chunk("d-0", [text]), 1.0)
    assert pairs_of(merge.flush()) == [("d-0", text)]


def test_other_figures_do_keep_lines_apart():
    assert normalise("rank 3 is DP rank 3") != normalise("rank 4 is DP rank 4")


def test_without_a_window_lines_pass_at_once():
    merge = Merge(window=0.0)
    assert pairs_of(merge.feed(chunk("d-0", ["a", "b"]), 1.0)) == [("d-0", "a"), ("d-0", "b")]
    assert merge.flush() == ()


def test_bytes_seen_before_a_reconnect_are_dropped():
    merge = Merge(window=0.0)
    merge.feed(chunk("d-0", ["a", "b"]), 1.0)
    assert merge.feed(chunk("d-0", ["a", "b"]), 2.0) == ()
    overlapping = merge.feed(chunk("d-0", ["b", "c"], offset=2), 3.0)
    assert pairs_of(overlapping) == [("d-0", "c")]
    assert overlapping[0].lines[0].offset == 4


def test_a_new_run_is_read_from_its_start():
    merge = Merge(window=0.0)
    merge.feed(chunk("d-0", ["old", "old"]), 1.0)
    merge.restarted("d-0")
    assert pairs_of(merge.feed(chunk("d-0", ["new"]), 2.0)) == [("d-0", "new")]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_nothing_lost_nothing_twice_in_order_whatever_the_chunks(data):
    whole = {f"d-{n}": data.draw(st.lists(st.sampled_from("abcä"), max_size=8)) for n in range(3)}
    merge = Merge(window=0.3)
    sent = dict.fromkeys(whole, 0)
    heard: list[FoldedLine] = []
    for at in range(data.draw(st.integers(0, 12))):
        process = data.draw(st.sampled_from(sorted(whole)))
        begin = data.draw(st.integers(0, sent[process]))  # a reconnect may send again what was seen
        end = data.draw(st.integers(sent[process], len(whole[process])))
        offset = sum(len(line.encode()) + 1 for line in whole[process][:begin])
        heard += merge.feed(chunk(process, whole[process][begin:end], offset), at * 0.1)
        sent[process] = max(end, sent[process])
    heard += merge.flush()
    for process, lines in whole.items():
        kept = [line.text for folded in heard for line in folded.lines if line.process == process]
        assert kept == lines[: sent[process]]


def test_a_flood_of_one_line_is_one_line():
    merge = Merge(window=10.0)
    for n in range(4):
        merge.feed(chunk(f"d-{n}", ["same"] * 10_000), 1.0)
    assert pairs_of(merge.flush()) == [("d-0,d-1,d-2,d-3", "same (×10000)")]


def test_a_tangle_of_many_lines_is_not_searched_for_ever_and_stays_in_order():
    lines = [f"{chr(65 + n // 26)}{chr(65 + n % 26)}" for n in range(600)]
    merge = Merge(window=10.0)
    for n in range(3):
        merge.feed(chunk(f"d-{n}", lines[n * 50 :]), 1.0)
    folded = merge.flush()
    for n in range(3):
        assert [f.text for f in folded if f"d-{n}" in f.processes] == lines[n * 50 :]


def test_past_lines_are_ordered_by_their_own_clocks_and_folded():
    chunks = [
        chunk("d-0", ["INFO 09-24 20:59:50 one", "  traceback", "INFO 09-24 20:59:58 same", "INFO 10-01 00:00:00 last"]),
        chunk("d-1", ["ERROR 2026-09-24 20:59:51.340 two", "INFO 09-24 20:59:57 three", "INFO 09-24 20:59:58 same"]),
    ]  # fmt: skip
    assert [(names, text.split()[-1]) for names, text in pairs_of(fold_past(chunks))] == [
        ("d-0", "one"), ("d-0", "traceback"), ("d-1", "two"), ("d-1", "three"), ("d-0,d-1", "same"), ("d-0", "last"),
    ]  # fmt: skip


def test_past_lines_of_a_new_year_come_last():
    chunks = [chunk("d-0", ["INFO 01-01 00:00:01 new"]), chunk("d-1", ["INFO 12-31 23:59:59 old"])]
    assert [text.split()[-1] for _, text in pairs_of(fold_past(chunks))] == ["old", "new"]


def test_past_lines_without_any_clock_keep_their_order():
    chunks = [chunk("d-0", ["a", "b"]), chunk("d-1", ["b", "a"])]
    assert pairs_of(fold_past(chunks)) == [("d-0", "a"), ("d-0,d-1", "b"), ("d-1", "a")]


@pytest.mark.parametrize(
    ("node", "process", "previous", "path"),
    [
        ("n5", "decode-3", False, "n5/decode-3.log"),
        ("n5", "decode-3", True, "n5/decode-3.prev.log"),
        ("../etc", "a/b", False, "_etc/a_b.log"),
        ("..", "x", False, "_/x.log"),
    ],
)
def test_collected_files_have_safe_names(node, process, previous, path):
    assert name_log_file(node, process, previous=previous) == path
