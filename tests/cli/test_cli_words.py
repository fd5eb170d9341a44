"""Arguments, exit codes and forms of output: nothing is started here."""

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("verb", ["validate", "plan", "up", "status", "down", "audit", "lock"])
def test_without_any_file_it_says_where_it_looked(cli, verb):
    result = cli(verb, code=2)
    assert "no cluster file" in result.stderr
    assert "dplaunch init" in result.stderr


def test_a_missing_file(cli):
    result = cli("plan", "nowhere.yaml", code=2)
    assert "nowhere.yaml does not exist" in result.stderr


def test_a_folder_is_no_file(cli):
    (cli.folder / "d.yaml").mkdir()
    assert "is a folder" in cli("plan", "d.yaml", code=2).stderr


def test_bytes_are_no_text(cli):
    (cli.folder / "b.yaml").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in cli("plan", "b.yaml", code=2).stderr


def test_problems_stand_with_file_line_and_column(laptop):
    text = (laptop.folder / "cluster.yaml").read_text()
    laptop.write("bad.yaml", text.replace("roles:", "rolls:"))
    result = laptop("validate", "bad.yaml", code=2)
    assert "bad.yaml:" in result.stderr
    assert "roles" in result.stderr


def add_idle_node(laptop):
    text = (laptop.folder / "cluster.yaml").read_text()
    laptop.write("cluster.yaml", text.replace("\nroles:", "  - {name: idle, host: localhost}\nroles:"))


def test_quiet_verbs_leave_warnings_about_the_file_to_validate(laptop):
    add_idle_node(laptop)
    for words in (("plan",), ("render", "-O", "out"), ("up", "--dry-run")):
        verb, *rest = words
        assert "nothing runs on idle" not in laptop(verb, "-q", *rest).output, words
    assert "nothing runs on idle" in laptop("validate", "-q").stdout


def test_a_warning_of_the_file_is_told_with_what_to_do(laptop):
    add_idle_node(laptop)
    assert (
        laptop("status", code=1).stderr == "warning: nothing runs on idle; give it to a role, or remove it\n"
    )


def test_problems_as_json(laptop):
    laptop.write("bad.yaml", "cluster: x\nclutser: y\n")
    error = laptop.json("validate", "bad.yaml", code=2)["error"]
    assert error["kind"] == "spec"
    assert error["exit_code"] == 2
    assert any(p["line"] == 2 for p in error["problems"])


def test_the_file_from_the_environment_and_by_option(laptop, monkeypatch):
    (laptop.folder / "cluster.yaml").rename(laptop.folder / "other.yaml")
    laptop("validate", code=2)
    laptop("validate", "-f", "other.yaml")
    monkeypatch.setenv("DPLAUNCH_CLUSTER", "other.yaml")
    laptop("validate")


def test_every_flag_can_come_from_the_environment(laptop, monkeypatch):
    monkeypatch.setenv("DPLAUNCH_PLAN_OUTPUT", "json")
    assert json.loads(laptop("plan").stdout)["nodes"]


def test_plan_names_every_engine(laptop):
    shown = laptop("plan").stdout
    for word in ("prefill", "decode", "router"):
        assert word in shown
    assert len(laptop.json("plan")["nodes"][0]["processes"]) == 7


def test_a_saved_plan_is_compared(laptop):
    laptop("plan", "--save", "old.json")
    assert "no difference" in laptop("plan", "--diff", "old.json").stdout
    text = (laptop.folder / "cluster.yaml").read_text()
    laptop.write("cluster.yaml", text + "\noverrides: {prefill-0: {env: {A: b}}}\n")
    assert "no difference" not in laptop("plan", "--diff", "old.json").stdout


def test_a_plan_file_that_is_none(laptop):
    laptop.write("old.json", "{}")
    assert "old.json" in laptop("plan", "--diff", "old.json", code=2).stderr
    assert "nothing.json" in laptop("plan", "--diff", "nothing.json", code=2).stderr


def test_render_writes_runnable_scripts(laptop):
    files = laptop.json("render", "-O", "out")["files"]
    scripts = [f for f in files if f.endswith("run_dp_template.sh")]
    assert len(scripts) == 2
    for script in scripts:
        assert (laptop.folder / script).read_text().startswith("#!/bin/")
        assert (laptop.folder / script).stat().st_mode & 0o100


def test_status_of_what_never_ran_is_down(laptop):
    assert laptop.json("status", code=1)["state"] == "down"


def test_down_of_nothing_is_done(laptop):
    laptop("down")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["logs", "decod-3"], "decode-3"),
        (["restart", "decode-9", "-y"], "decode-"),
        (["exec", "node:zzz", "--", "true"], "node:zzz"),
        (["explain", "rolse"], "roles"),
        (["up", "--timeout", "soon"], "soon"),
        (["status", "--wait", "godot"], "ready"),
        (["up", "--only", "decoder"], "decode"),
        (["logs", "all", "--grep", "(["], "is not a regular expression"),
    ],
)
def test_wrong_words_are_answered_with_right_ones(laptop, words, said):
    result = laptop(*words, code=2)
    assert said in result.stderr


def test_exec_runs_on_the_node_and_folds(laptop):
    result = laptop.json("exec", "all", "--", "sh", "-c", "echo here; exit 3", code=1)
    assert result["results"][0]["out"] == "here\n"
    assert result["results"][0]["code"] == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["all", "hostname"], "is missing before the command"),
        (["all", "df", "-h"], "is missing before the command"),
        (["all", "hostname", "--", "-s"], "only the target and options"),
        (["--", "all", "hostname"], "only the target and options"),
        (["all", "--"], "COMMAND"),
    ],
)
def test_the_command_of_exec_stands_behind_two_dashes(laptop, words, said):
    assert said in " ".join(laptop("exec", *words, code=2).stderr.split())


def test_options_between_target_and_command_are_dplaunchs_own(laptop):
    (laptop.folder / "cluster.yaml").rename(laptop.folder / "other.yaml")
    result = laptop("exec", "all", "-f", "other.yaml", "-o", "json", "--", "printf", "%s", "-f")
    assert json.loads(result.stdout)["results"][0]["out"] == "-f"
    assert "TARGET [OPTIONS] -- COMMAND" in laptop("exec", "all", "--help").stdout


def test_a_command_that_cannot_be_run_failed_on_a_node_that_was_reached(laptop):
    result = laptop.json("exec", "all", "--", "no-such-program", code=1)
    assert "no-such-program" in result["results"][0]["problem"]


def test_init_asks_until_each_answer_fits(cli):
    program = str(Path(sys.executable).parent / "dplaunch")
    near, far = pty.openpty()
    with subprocess.Popen(
        [program, "init"], stdin=far, stdout=far, stderr=far, start_new_session=True
    ) as run:
        os.close(far)
        os.write(near, b"99\ndeepseek-r1-a2-2node\n192.0.2.1\n192.0.2.[1-2]\nno good\nsite-b\n")
        printed = read_all(near)
        assert run.wait(20) == 0, printed
    for word in (
        "99 is not the name",
        "is for 2 nodes",
        "'no good' is not a valid name",
        "wrote cluster.yaml",
    ):
        assert word in printed
    assert cli.json("plan")["cluster"] == "site-b"


def read_all(terminal):
    """What was printed on a terminal until its last program closed it."""
    printed = b""
    with contextlib.suppress(OSError):  # how Linux reports that end
        while data := os.read(terminal, 65536):
            printed += data
    os.close(terminal)
    return printed.decode()


def test_explain_schema_and_completion(cli):
    assert "Data-parallel" in cli("explain", "roles.decode.dp").stdout
    assert cli("explain").stdout.startswith("#")
    assert json.loads(cli("schema").stdout)["$schema"]
    for shell in ("bash", "zsh", "fish"):
        assert "_DPLAUNCH_COMPLETE" in cli("completion", shell).stdout


def test_init_writes_an_example_with_my_hosts(cli):
    words = ("--preset", "deepseek-r1-a3-4p4d", "--hosts", "192.0.2.[11-18]", "--name", "mine")
    written = cli.json("init", *words)
    assert written["cluster"] == "mine"
    assert written["unresolved"] == []
    plan = cli.json("plan")
    assert plan["cluster"] == "mine"
    assert plan["nodes"][7]["host"] == "192.0.2.18"
    assert "already exists" in cli("init", "--preset", "laptop", code=2).stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--preset", "deepseek-r1-a3-4p4d", "--hosts", "192.0.2.[1-3]"], "is for 8 nodes"),
        (["--preset", "latop"], "did you mean laptop"),
        (["--preset", "laptop", "--name", "my cluster"], "is not a valid name"),
        ([], "--preset"),
    ],
)
def test_init_says_what_does_not_fit(cli, words, said):
    assert said in cli("init", *words, code=2).stderr


def test_version_and_help(cli):
    assert cli("--version").stdout.startswith("dplaunch 0.")
    assert "rehearse" in cli("up", "--help").stdout


def test_a_verb_shows_its_own_options_and_then_the_common_ones(cli, expect):
    text = "".join(f"{line.rstrip()}\n" for line in cli("plan", "--help").stdout.splitlines())
    expect(Path(__file__).parent / "golden" / "plan-help.txt", text)


@pytest.mark.parametrize(
    "words", [("plan", "--save", "no/x.json"), ("init", "--preset", "laptop", "-O", "no/x.json")]
)
def test_a_place_that_cannot_be_written_is_named(laptop, words):
    error = laptop(*words, code=2).stderr
    assert "no/x.json cannot be written: No such file or directory" in error


def test_output_that_cannot_be_written_is_an_error_and_a_reader_that_left_is_none(laptop):
    program = str(Path(sys.executable).parent / "dplaunch")
    with Path("/dev/full").open("w") as full:
        assert (
            subprocess.run([program, "schema"], stdout=full, stderr=subprocess.PIPE, check=False).returncode
            == 2
        )
    with subprocess.Popen([program, "schema"], stdout=subprocess.PIPE) as run:
        run.stdout.read(1)
        run.stdout.close()
        assert run.wait(20) == 0
