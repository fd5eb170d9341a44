from datetime import datetime, timezone

import pytest

from dplaunch.stamp import Calendar, parse_stamp


@pytest.mark.parametrize(
    ("text", "at", "fine"),
    [
        ("INFO 09-24 20:59:57 [core.py:790] x", (2026, 9, 24, 20, 59, 57), False),
        ("(EngineCore_DP0 pid=7) INFO 09-24 20:59:57 [core.py:790] x", (2026, 9, 24, 20, 59, 57), False),
        ("ERROR 2026-04-25 10:01:17.340 [a.py:1] x", (2026, 4, 25, 10, 1, 17, 340000), True),
        ("[PID: 12] 2026-04-25-10:01:17", (2026, 4, 25, 10, 1, 17), False),
        ("[PID: 12] 2026-04-25 10:01:17.340.123 EI0006", (2026, 4, 25, 10, 1, 17, 340000), True),
        ("(A pid=1) (B pid=2) WARNING 12-31 23:59:59 x", (2025, 12, 31, 23, 59, 59), False),
        ("INFO:     Application startup complete.", None, None),
        ("Loading safetensors checkpoint shards: 45% Completed | 3/8 [00:03<00:05]", None, None),
        ("INFO 02-30 10:00:00 x", None, None),
        ("INFO 09-24 25:00:00 x", None, None),
        ("it was on 09-24 20:59:57", None, None),
        ("", None, None),
        ("[ERROR] HCCL(7,python3):2026-02-19-03:16:15.787.356 x", (2026, 2, 19, 3, 16, 15, 787000), True),
        ("(A pid=1) E 12-29 03:20:00 x [PID: 7] 2026-01-02-03:04:05 EI0006", (2026, 1, 2, 3, 4, 5), False),
        ("[2026-01-02 03:04:05] ERROR x", (2026, 1, 2, 3, 4, 5), False),
        ("E20260106 06:43:02.5 9 x", (2026, 1, 6, 6, 43, 2, 500000), True),
        ("[rank7]:[E0110 03:24:54.5 ProcessGroup.cpp:1] x", (2026, 1, 10, 3, 24, 54, 500000), True),
    ],
)
def test_a_line_has_the_time_it_carries_and_no_other(text, at, fine):
    found = parse_stamp(text)
    near = datetime(2026, 5, 1, tzinfo=timezone.utc).timestamp()
    wanted = at and datetime(*at, tzinfo=timezone.utc).timestamp()
    epoch = found and found.epoch(near)
    assert (epoch, epoch and found.fine) == (wanted and pytest.approx(wanted), fine)


def test_a_leap_day_is_found_in_the_year_that_has_it():
    found = parse_stamp("INFO 02-29 10:00:00 x").epoch(datetime(2028, 3, 1, tzinfo=timezone.utc).timestamp())
    assert found == datetime(2028, 2, 29, 10, tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    "lines",
    [
        ["INFO 12-31 23:59:59 x", "INFO 01-01 00:00:01 x"],
        ["INFO 12-01 10:00:00 x", "INFO 02-03 10:00:00 x"],
        ["[PID: 7] 2025-12-31-23:59:59.119.066 x", "INFO 01-01 00:00:01 x"],
        ["INFO 02-28 10:00:00 x", "INFO 02-29 10:00:00 x", "INFO 03-01 10:00:00 x"],
        ["INFO 04-25 10:00:00 x", "INFO 04-25 10:00:01 x"],
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_lines_are_in_order_though_the_year_ends_between_them(lines, turned):
    calendar = Calendar()
    asked = lines[::-1] if turned else lines
    places = {line: calendar.place(line) for line in asked}
    assert sorted(lines, key=places.__getitem__) == lines
    assert len(set(places.values())) == len(lines)


def test_a_line_without_a_time_has_no_place():
    calendar = Calendar()
    assert [calendar.place(line) for line in ("", "INFO x")] == [0.0, 0.0]
