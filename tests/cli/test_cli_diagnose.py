import json
import subprocess
import sys
from pathlib import Path

from ranklogs import failing, following, quiet

OUT = "(Worker_TP0 pid=9) ERROR 04-25 10:01:17 [multiproc_executor.py:559] RuntimeError: NPU out of memory."


def write(folder, logs):
    for name, lines in logs.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    return str(folder)


def test_collected_logs_are_diagnosed_without_a_cluster(tmp_path):
    logs = {f"n{n // 16}/decode-{n}.log": following(n) for n in range(64)}
    folder = write(tmp_path / "logs", {**logs, "n2/decode-37.log": failing(37, [OUT])})
    command = [str(Path(sys.executable).with_name("dplaunch")), "diagnose", "--from", folder, "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert (found["first"]["process"], found["first"]["node"]) == ("decode-37", "n2")
    assert (found["first"]["id"], found["first"]["line"]) == ("device-out-of-memory", len(quiet(37)) + 1)
    assert (found["logs"], found["silent"]) == (64, [])


def test_logs_in_which_nothing_failed_are_no_failure(cli, tmp_path):
    folder = write(tmp_path / "logs", {"decode-0.txt": quiet(0)})
    assert cli("diagnose", "--from", folder).stdout.startswith("no failure in 1 log")
    cli("diagnose", "--from", folder, "--previous", code=2)
    assert "targets" in cli("diagnose", "--from", folder, "decode-1", code=2).stderr
    assert "--since" in cli("diagnose", "--from", folder, "--since", "10m", code=2).stderr


def test_a_failure_is_explained_by_code_name_and_line(cli):
    assert "another rank did not respond" in cli("explain", "EI0006").stdout
    assert cli("explain", "OSError: [Errno 98] Address already in use").stdout.startswith("address-in-use: ")
    assert cli.json("explain", "ej0001")["id"] == "EJ0001"
    assert "did you mean 'kv-expired'?" in cli("explain", "kv-expred", code=2).stderr


def test_an_unknown_code_is_never_answered_with_its_neighbour(cli):
    for code in ("507099", "503", "EI0099", "NIXL_ERR_MOON"):
        said = cli("explain", code, code=2).stderr
        assert said.startswith(f"error: the catalogue has no error code '{code}'")
        assert "did you mean" not in said
    line = "E0425 10:01:17.4 112112 pool.cpp:52] cannot map fabric memory"
    assert "its message is: cannot map fabric memory" in cli("explain", line, code=2).stderr
    assert "deepep-timeout" in cli("explain", "DeepEP", code=2).stderr


def test_a_word_that_nobody_knows_is_answered_with_what_there_is(cli):
    said = cli("explain", "nonsense", code=2).stderr
    assert said.startswith(
        "error: 'nonsense' is neither a key of the cluster file nor a known word or failure"
    )
    assert "did you mean 'ports'?" in cli("explain", "host.ports", code=2).stderr
