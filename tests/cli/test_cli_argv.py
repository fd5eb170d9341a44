"""What each verb takes on its command line; nothing is started, and no node is asked."""

import re
import subprocess
import sys

import pytest
from typer.main import get_command

from dplaunch.cli.app import app

VERBS = sorted(get_command(app).commands)  # type: ignore[attr-defined]

DURATIONS = [
    ("up", "--timeout"),
    ("up", "--drain-timeout"),
    ("up", "--dry-run", "--drain-timeout"),
    ("restart", "decode", "--timeout"),
    ("restart", "decode", "--drain-timeout"),
    ("restart", "decode", "-y", "--drain-timeout"),
    ("status", "--wait", "ready", "--timeout"),
    ("down", "--grace"),
    ("logs", "all", "--since"),
    ("diagnose", "--since"),
]


@pytest.mark.parametrize("words", DURATIONS, ids=" ".join)
@pytest.mark.parametrize("text", ["soon", "5x", "-3", "1m1h"])
def test_a_duration_that_cannot_be_read_is_refused_before_anything_is_asked(laptop, words, text):
    error = laptop(*words, text, code=2).stderr
    assert f"cannot read '{text}' as a duration" in error
    assert "1h30m" in error


@pytest.mark.parametrize("text", ["0", "90s", "2.5", "1h30m"])
def test_durations_in_every_form_are_taken(laptop, text):
    result = laptop("up", "--dry-run", "--timeout", text, "--drain-timeout", text)
    assert "to start" in result.stdout


@pytest.mark.parametrize("line", ["logs {}", "logs all {} -n 5", "restart decode {}", "exec {} -- id"])
@pytest.mark.parametrize("name", ["clusters/laptop.yaml", "a.yml"])
def test_a_file_in_the_place_of_a_target_is_refused_with_the_option_that_takes_it(laptop, line, name):
    error = " ".join(laptop(*line.format(name).split(), code=2).stderr.replace("│", " ").split())
    assert f"{name} looks like a cluster file; give it as `--file {name}`" in error


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("DPLAUNCH_UP_TIMEOUT", ("up",)),
        ("DPLAUNCH_UP_DRAIN_TIMEOUT", ("up",)),
        ("DPLAUNCH_RESTART_TIMEOUT", ("restart", "decode", "-y")),
        ("DPLAUNCH_RESTART_DRAIN_TIMEOUT", ("restart", "decode", "-y")),
    ],
)
def test_time_outs_can_come_from_the_environment(laptop, monkeypatch, variable, words):
    monkeypatch.setenv(variable, "soon")
    assert "cannot read 'soon' as a duration" in laptop(*words, code=2).stderr


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("restart",), "TARGET"),
        (("restart", "decode"), "-y"),
        (("restart", "all", "--only", "decode"), "--only"),
        (("up", "--test", "some"), "--test"),
        (("up", "--wait"), "--wait"),
        (("status", "--drain-timeout", "5s"), "--drain-timeout"),
        (("lock", "--force"), "--force"),
    ],
)
def test_what_a_verb_does_not_take_is_refused(laptop, words, word):
    assert word in laptop(*words, code=2).stderr


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("logs", "all", "-t"), "add -f"),
        (("up", "--detailed-exitcode"), "add --dry-run"),
        (("status", "--wait", "soon"), ""),
    ],
)
def test_an_option_that_would_do_nothing_is_refused_with_what_it_lacks(laptop, words, hint):
    refused = laptop(*words, code=2).stderr
    assert refused.startswith("error: ")
    assert hint in refused


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(cli, verb):
    assert f"dplaunch {verb}" in cli(verb, "--help").stdout


@pytest.mark.parametrize(
    ("verb", "option", "default"),
    [
        ("up", "--timeout", "ready_timeout"),
        ("up", "--drain-timeout", "drain_timeout"),
        ("restart", "--timeout", "ready_timeout"),
        ("restart", "--drain-timeout", "drain_timeout"),
        ("down", "--grace", "30s"),
    ],
)
def test_the_help_of_a_time_out_names_its_default(verb, option, default):
    found = {name: p.help for p in get_command(app).commands[verb].params for name in p.opts}  # type: ignore[attr-defined]
    assert re.search(rf"\(default: {default}\)\.$", found[option])


@pytest.mark.parametrize("verb", ["schema", "explain", "completion", "ls", "init"])
def test_a_verb_about_no_cluster_does_not_list_the_options_of_one(verb):
    listed = {name for p in get_command(app).commands[verb].params if not p.hidden for name in p.opts}  # type: ignore[attr-defined]
    assert not listed & {"--file", "--rehearse"}


def test_the_help_names_no_type_where_an_option_takes_no_value(cli):
    shown = cli("up", "--help").stdout
    assert re.search(r"--detach\s+Return", shown)
    assert re.search(r"--timeout\s+DURATION", shown)


def test_y_is_listed_where_something_is_asked_and_taken_everywhere(cli):
    commands = get_command(app).commands  # type: ignore[attr-defined]
    listed = {verb for verb in VERBS for p in commands[verb].params if "-y" in p.opts and not p.hidden}
    assert listed == {"down", "init", "restart", "up"}
    cli("schema", "-y")


LOADING = """
import sys

class CtrlC:
    def find_spec(self, name, *_):
        if name == "dplaunch.cli.restart":
            raise KeyboardInterrupt

sys.meta_path.insert(0, CtrlC())
from dplaunch.cli import main
main()
"""


def test_ctrl_c_while_the_program_still_loads_ends_it_without_a_traceback():
    done = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
