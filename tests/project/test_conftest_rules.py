"""The rules of tests/conftest.py, each seen to bite: a small pytest run in a folder of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent


SKIPS = """
import os
import pytest

def test_skips():
    pytest.skip("no sshd here")

def test_flags_of_the_user_do_not_reach_a_test():
    assert "DPLAUNCH_YES" not in os.environ
"""
SKIPS_WHOLE = "import pytest\npytest.importorskip('no_such_module')\n"
LEAKS = """
import subprocess

def test_leaks(tmp_path):
    process = subprocess.Popen(["sleep", "60"], cwd=tmp_path)
    (tmp_path.parent.parent / "pid").write_text(str(process.pid))
"""


EXPECTS = """
import pytest

@pytest.mark.parametrize("name", ["missing.txt", "other.txt", "right.txt"])
def test_text(expect, request, name):
    expect(request.path.with_name(name), "new\\n")
"""


def under_our_conftest(
    folder: Path, *sources: str, options: tuple[str, ...] = (), **env: str
) -> tuple[int, str]:
    """Pytest's exit code and output for these test files."""
    shutil.copy(TESTS / "conftest.py", folder)
    for number, source in enumerate(sources):
        (folder / f"test_sample_{number}.py").write_text(source)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rs",
            f"--basetemp={folder}/base",
            "--continue-on-collection-errors",
            *options,
            folder,
        ],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(TESTS / "support"),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        | env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_skip_is_fine_at_a_desk_and_flags_stay_outside(tmp_path):
    code, out = under_our_conftest(tmp_path, SKIPS, SKIPS_WHOLE, DPLAUNCH_YES="1")
    assert (code, "1 passed, 2 skipped" in out) == (0, True), out


def test_in_ci_a_skip_is_a_failure_and_so_is_a_process_left_behind(tmp_path, until):
    code, out = under_our_conftest(tmp_path, SKIPS, SKIPS_WHOLE, LEAKS, CI="true")
    assert code == 1
    assert "1 failed, 2 passed, 2 errors" in out  # the skip; the whole module and the leak are errors
    assert "no sshd here" in out
    assert "no_such_module" in out
    pid = int((tmp_path / "pid").read_text())
    assert f"pid {pid}: sleep 60" in out
    until(lambda: not Path(f"/proc/{pid}/cwd").exists(), 2)


def test_a_text_is_compared_with_its_file_and_accepted_on_request(tmp_path):
    (tmp_path / "other.txt").write_text("old\n")
    (tmp_path / "right.txt").write_text("new\n")
    code, out = under_our_conftest(tmp_path, EXPECTS)
    assert (code, "2 failed, 1 passed" in out, "no such file" in out, "--accept" in out) == (
        1,
        True,
        True,
        True,
    ), out
    assert under_our_conftest(tmp_path, EXPECTS, options=("--accept",))[0] == 0
    assert {path.read_text() for path in tmp_path.glob("*.txt")} == {"new\n"}


def test_in_ci_no_text_is_accepted(tmp_path):
    code, out = under_our_conftest(tmp_path, EXPECTS, options=("--accept",), CI="true")
    assert (code, "CI is set" in out, list(tmp_path.glob("*.txt"))) == (4, True, []), out


def test_until_returns_the_first_true_value_and_names_the_last_false_one(until):
    values = iter([0, "", 7, 8])
    assert until(lambda: next(values), 1, 0) == 7
    with pytest.raises(AssertionError, match=r"not within 0 s.*last value \[\]"):
        until(list, 0)
