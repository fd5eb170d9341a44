from __future__ import annotations

import io
import json

import pytest
from rich.console import Group
from rich.panel import Panel
from rich.text import Text

from dplaunch.errors import DplaunchError
from dplaunch.model.log import FoldedLine, LogLine
from dplaunch.view import plan as plan_view
from dplaunch.view.board import Board
from dplaunch.view.logs import LogPrinter
from dplaunch.view.screen import Screen
from dplaunch.view.table import tabulate


def screens(terminal, out_tty: bool = True, err_tty: bool = True, **options):
    environ = {"TERM": "xterm-256color", "COLUMNS": "80", **options.pop("environ", {})}
    out, err = (terminal() if tty else io.StringIO() for tty in (out_tty, err_tty))
    return Screen(out, err, environ=environ, **options), out, err


@pytest.mark.parametrize(
    ("options", "live"),
    [
        ({}, True),
        ({"out_tty": False}, False),
        ({"err_tty": False}, False),
        ({"json": True}, False),
        ({"quiet": True}, False),
        ({"environ": {"TERM": "dumb"}}, False),
    ],
)
def test_a_live_picture_only_where_somebody_can_see_it(terminal, options, live):
    assert screens(terminal, **options)[0].live is live


@pytest.mark.parametrize(
    ("options", "color"),
    [
        ({}, True),
        ({"environ": {"NO_COLOR": "1"}}, False),
        ({"environ": {"TERM": "dumb"}}, False),
        ({"environ": {"FORCE_COLOR": ""}}, False),
        ({"out_tty": False}, False),
        ({"out_tty": False, "environ": {"FORCE_COLOR": "1"}}, True),
    ],
)
def test_color_is_the_terminals_and_the_users_choice(terminal, options, color):
    screen, out, _ = screens(terminal, **options)
    screen.present(Text("x", "red"), {})
    assert screen.color is color
    assert ("\x1b[31m" in out.getvalue()) is color


def test_data_goes_to_stdout_and_talk_to_stderr(terminal):
    screen, out, err = screens(terminal, out_tty=False, err_tty=False)
    screen.present(Text("data"), {})
    screen.say("talk")
    screen.warn("careful")
    assert (out.getvalue(), err.getvalue()) == ("data\n", "talk\nwarning: careful\n")


def test_quiet_keeps_results_warnings_and_errors(terminal):
    screen, out, err = screens(terminal, out_tty=False, err_tty=False, quiet=True)
    screen.present(Text("data"), {})
    screen.say("talk")
    screen.warn("careful")
    screen.fail(DplaunchError("broken"))
    assert (out.getvalue(), err.getvalue()) == ("data\n", "warning: careful\nerror: broken\n")


def test_json_puts_result_and_error_on_stdout(terminal):
    screen, out, err = screens(terminal, json=True)
    screen.present(Text("data"), {"état": 1})
    assert out.getvalue() == '{\n  "état": 1\n}\n'
    out.truncate(0), out.seek(0)
    screen.fail(DplaunchError("broken"))
    assert json.loads(out.getvalue())["error"]["text"] == "broken"
    assert err.getvalue() == ""


def test_a_piped_table_is_never_folded(terminal, make_plan):
    screen, out, _ = screens(terminal, out_tty=False)
    screen.present(
        plan_view.render(make_plan("atlas-800t-a3-rack07-unit{:02}.cluster.example.com".format)), {}
    )
    row = next(line for line in out.getvalue().split("\n") if line.startswith("prefill "))
    assert "atlas-800t-a3-rack07-unit[01-04].cluster.example.com" in row
    assert row.endswith("61000-61015")


def test_nothing_is_cut_off_on_a_narrow_terminal(terminal):
    screen, out, _ = screens(terminal, environ={"COLUMNS": "20", "NO_COLOR": "1"})
    screen.present(Text("curl " + "x" * 50, no_wrap=True, overflow="ignore"), {})
    assert "x" * 50 in out.getvalue()


def test_text_is_never_markup(terminal):
    screen, out, _ = screens(terminal, out_tty=False)
    screen.present(Text("[bold]as it is[/bold] :smile:"), {})
    assert out.getvalue() == "[bold]as it is[/bold] :smile:\n"


def test_an_ascii_terminal_gets_question_marks_not_a_crash():
    raw = io.BytesIO()
    screen = Screen(io.TextIOWrapper(raw, encoding="ascii"), io.StringIO(), environ={})
    screen.present(Text("4 × 2"), {})
    screen.write("—\n")
    assert raw.getvalue() == b"4 ? 2\n?\n"


@pytest.mark.parametrize(
    ("typed", "yes"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_anything_but_yes_is_no(terminal, typed, yes):
    screen, out, err = screens(terminal)
    assert screen.ask("Stop 72 processes?", io.StringIO(typed)) is yes
    assert err.getvalue() == "Stop 72 processes? [y/N] "
    assert out.getvalue() == ""


def test_json_lines_are_one_line_each(terminal):
    screen, out, _ = screens(terminal, json=True)
    screen.present_line({"text": "a\nb", "n": 1})
    assert out.getvalue() == '{"text":"a\\nb","n":1}\n'


@pytest.mark.parametrize("rehearsal", [True, False])
def test_every_json_document_says_whether_it_is_of_a_rehearsal(terminal, rehearsal):
    screen, out, _ = screens(terminal, json=True)
    screen.rehearsal = rehearsal
    screen.present_line({"a": 1})
    screen.present("text", {"b": 2})
    screen.fail(DplaunchError("no"))
    line, _, documents = out.getvalue().partition("\n")
    decoder = json.JSONDecoder()
    second, end = decoder.raw_decode(documents)
    third, _ = decoder.raw_decode(documents[end:].lstrip())
    assert [found["rehearsal"] for found in (json.loads(line), second, third)] == [rehearsal] * 3


def test_a_board_in_a_pipe_repeats_only_what_changed(terminal):
    screen, out, _ = screens(terminal, out_tty=False)
    board = Board(screen)
    for word in ("one", "one", "two"):
        board.show(Text(word))
    board.close()
    assert out.getvalue() == "one\ntwo\n"


def test_a_board_on_a_terminal_replaces_its_picture(terminal):
    screen, out, _ = screens(terminal, environ={"NO_COLOR": "1"})
    board = Board(screen)
    board.show(Text("one"))
    board.show(Text("two"))
    board.close()
    assert "\x1b[2K" in out.getvalue()  # the line was erased
    assert out.getvalue().rindex("two") > out.getvalue().rindex("one")


UNSEEN = [
    *range(9),
    *range(11, 32),
    *range(0x7F, 0xA0),
    0x61C,
    0x200E,
    *range(0x2028, 0x202F),
    0x2066,
    0xD800,
]
EVIL = "".join(f"a{chr(number)}" for number in UNSEEN) + "\x1b]0;owned\x07\x1b[2J\x9b2J\x1b]52;c;ZQ==\x07"


def unseen(text):
    return sorted({f"U+{ord(c):04X}" for c in text if ord(c) in UNSEEN})


@pytest.mark.parametrize("tty", [False, True])
def test_no_text_controls_the_terminal_however_it_is_drawn(terminal, tty):
    screen, out, err = screens(terminal, out_tty=tty, err_tty=tty, environ={"NO_COLOR": "1", "TERM": "dumb"})
    rows = tabulate(("NAME", EVIL), [("x", EVIL)])
    screen.present(Group(Text(EVIL), Text(EVIL, "bold"), Panel(EVIL), rows), {})
    screen.say(EVIL)
    screen.warn(EVIL)
    screen.fail(DplaunchError(EVIL, hint=EVIL, detail=(EVIL,)))
    screen.ask(EVIL, io.StringIO("n"))
    assert unseen(out.getvalue() + err.getvalue()) == []


def test_no_text_controls_the_terminal_in_a_live_picture(terminal):
    plain, plain_out, _ = screens(terminal)
    evil, evil_out, _ = screens(terminal)
    for screen, text in ((plain, "a"), (evil, EVIL)):
        board = Board(screen)
        board.show(Text(text, no_wrap=True))
        board.close()
    assert evil_out.getvalue().count("\x1b") == plain_out.getvalue().count("\x1b")
    assert "\x9b" not in evil_out.getvalue()


def test_no_text_controls_the_terminal_in_json_and_nothing_of_it_is_lost():
    out = io.StringIO()
    screen = Screen(out, io.StringIO(), json=True, environ={})
    screen.present(Text(), {"text": EVIL, "中文": "好"})
    assert unseen(out.getvalue()) == []
    assert "好" in out.getvalue()
    assert json.loads(out.getvalue())["text"] == EVIL
    screen.fail(DplaunchError(EVIL))
    screen.present_line({EVIL: EVIL})
    assert unseen(out.getvalue()) == []


def test_no_line_of_a_log_controls_the_terminal():
    folded = FoldedLine(lines=(LogLine(process=EVIL, node="n1", offset=0, text=EVIL),), text=EVIL)
    assert unseen(LogPrinter(("a",)).line(folded).replace("\ud800", "")) == []
