"""Durations in and out."""

import pytest

from dplaunch import durations
from dplaunch.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("1.5s", 1.5), ("90", 90.0), ("1h", 3600.0), ("1h30m5s", 5405.0), ("2m30", 150.0)],
)
def test_a_duration_of_the_command_line(text, seconds):
    assert durations.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "1d", "-1", "m", "1m1h", "1 m", "1.5m"])
def test_what_cannot_be_read(text):
    with pytest.raises(UsageError) as error:
        durations.parse(text)
    assert error.value.text == f"cannot read '{text}' as a duration"
    assert error.value.hint == "write seconds, or hours, minutes and seconds as 1h30m, 40m or 90s"
