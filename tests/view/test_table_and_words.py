from __future__ import annotations

import pytest

from dplaunch import durations
from dplaunch.view.style import plain
from dplaunch.view.table import tabulate
from dplaunch.words import format_bytes, join_words, plural, shorten

HEADS = ("NAME", "WORDS", "N")
ROWS = [("a", "one, two, three, four", "1"), ("bb", "-", "22")]


def test_a_table_that_fits_has_wide_gaps_and_no_trailing_blanks(draw):
    assert draw(tabulate(HEADS, ROWS), 40).split("\n") == [
        "NAME  WORDS                  N",
        "a     one, two, three, four  1",
        "bb    -                      22",
    ]


def test_a_narrower_one_closes_the_gaps_then_folds_what_may_give_way_at_words(draw):
    assert "a    one, two, three, four 1" in draw(tabulate(HEADS, ROWS), 29)
    assert draw(tabulate(HEADS, ROWS, flex=("WORDS",)), 20).split("\n") == [
        "NAME WORDS        N",
        "a    one, two,    1",
        "     three, four",
        "bb   -            22",
    ]


def test_a_table_without_room_runs_over_rather_than_lose_text(draw):
    assert "one, two, three, four" in draw(tabulate(HEADS, ROWS), 10)


def test_columns_without_room_follow_below_the_others_beside_the_key_column(draw):
    heads, rows = ("ROLE", "NAME", "HTTP", "QUEUE"), [("serve", "one-two", "9000-9007", "9100-9107")]
    assert draw(tabulate(heads, rows, key="NAME"), 40).count("\n") == 1
    assert draw(tabulate(heads, rows, key="NAME"), 24).split("\n") == [
        "ROLE  NAME    HTTP",
        "serve one-two 9000-9007",
        "",
        "NAME     QUEUE",
        "one-two  9100-9107",
    ]


def test_text_of_any_length_survives_folding(draw):
    name = "atlas-800t-a3-rack07-unit[01-04].cluster.example.com"
    drawn = draw(tabulate(("NODE", "X"), [(name, "x")], flex=("NODE",)), 20)
    assert "".join(line.split(" ")[0] for line in drawn.split("\n")[1:]) == name


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-0.1, "0.0 s"), (0.44, "0.4 s"), (9.94, "9.9 s"), (9.96, "9 s"), (59.9, "59 s"), (60, "1 min 00 s"),
        (125, "2 min 05 s"), (3600, "1 h 00 min"), (11520, "3 h 12 min"), (90000, "1 d 1 h"),
    ],
)  # fmt: skip
def test_durations_as_people_write_them(value, text):
    assert durations.describe(value) == text


def test_counts_as_people_write_them():
    assert [plural(1, "engine"), plural(2, "engine"), plural(0, "process")] == [
        "1 engine",
        "2 engines",
        "0 processes",
    ]
    assert [join_words([]), join_words(["a"]), join_words(["a", "b", "c"])] == ["", "a", "a, b and c"]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("10%\r20%\r30%", "30%"),
        ("dos line\r\n", "dos line"),
        ("a\tb", "a\tb"),
        ("bell\x07 and \x1bc clear", "bell and  clear"),
        ("[/bold] stays", "[/bold] stays"),
    ],
)
def test_text_from_nodes_cannot_steer_the_terminal(raw, shown):
    assert plain(raw) == shown


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0 KiB"),
        (1536, "1.5 KiB"),
        (64 << 20, "64 MiB"),
        (1.5 * (1 << 30), "1.5 GiB"),
        (503 << 30, "503 GiB"),
        (2000 << 40, "2000.0 TiB"),
    ],
)
def test_a_size_has_the_unit_that_fits(amount, text):
    assert format_bytes(amount) == text


@pytest.mark.parametrize(("text", "shortened"), [("", ""), ("abcd", "abcd"), ("abcde", "abc…")])
def test_what_is_too_long_ends_in_a_mark(text, shortened):
    assert shorten(text, 4) == shortened
