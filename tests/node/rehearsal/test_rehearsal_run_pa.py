"""The stand-in for the model library's run_pa.py: ranks that meet by a rank table, and how they die."""

import json
import os
import subprocess
import sys

import pytest

START = "import sys; sys.path.insert(0, {!r}); import rehearsal; sys.exit(rehearsal.main(sys.argv[1:]))"


@pytest.fixture
def table(tmp_path):
    """Two servers with two devices each, on addresses of this test's own process."""
    path = tmp_path / "ranktable.json"
    pid = os.getpid()
    servers = [
        {
            "server_id": f"127.{100 + pid % 100}.{pid // 100 % 250}.{server + 1}",
            "device": [
                {"device_id": str(n), "device_ip": f"198.18.0.{n + 1}", "rank_id": str(2 * server + n)}
                for n in range(2)
            ],
        }
        for server in range(2)
    ]
    path.write_text(json.dumps({"server_list": servers}))
    path.chmod(0o640)
    return path


@pytest.fixture
def ranks(bundle, table):
    """``ranks(*flags, ranks=…, **env)``: exit code and output of each rank, all started at once."""

    def run(*flags: str, ranks=range(4), **env):
        argv = [
            sys.executable,
            "-I",
            "-S",
            "-c",
            START.format(str(bundle)),
            "run_pa.py",
            "--model_path",
            "/w",
        ]
        common = {"WORLD_SIZE": "4", "RANK_TABLE_FILE": str(table), "DPLAUNCH_REHEARSAL_SPEED": "0", **env}
        started = [
            subprocess.Popen(
                [*argv, *flags],
                env={"RANK": str(rank), "LOCAL_RANK": str(rank % 2), **common},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            for rank in ranks
        ]  # fmt: skip
        outputs = [process.communicate(timeout=20)[0] for process in started]
        return [(process.returncode, text) for process, text in zip(started, outputs, strict=True)]

    return run


def test_all_ranks_meet_and_the_first_one_answers(ranks):
    found = ranks("--max_output_length", "3", "--input_text", "What's Deep Learning?")
    assert [code for code, _ in found] == [0, 0, 0, 0]
    assert "Answer[0]: What's Deep Learning?" in found[0][1]
    assert "setting device npu:1 for rank 3" in found[3][1]
    assert "Answer" not in found[1][1]


def test_a_rank_that_does_not_come_ends_the_others_by_a_timeout(ranks):
    found = ranks(ranks=range(3), DPLAUNCH_REHEARSAL_CONNECT_S="0.3")
    assert [code for code, _ in found] == [1, 1, 1]
    assert "EI0006" in found[0][1]


def test_a_rank_that_dies_ends_the_others(ranks):
    crash = {"DPLAUNCH_REHEARSAL_ONLY_RANK": "2", "DPLAUNCH_REHEARSAL_HANG": "inference"}
    found = ranks(DPLAUNCH_REHEARSAL_CRASH_AFTER="0.3", **crash)
    assert [code for code, _ in found] == [1, 1, 1, 1]
    assert "rehearsed failure" in found[2][1]
    assert "EI0002" in found[0][1]


@pytest.mark.parametrize(
    ("env", "word"),
    [
        ({"RANK": "4"}, "RANK should be in the range"),
        ({"RANK": "x"}, "RANK should be in the range"),
        ({"RANK_TABLE_FILE": "/nowhere/t.json"}, "EI0004"),
        ({"WORLD_SIZE": "8", "RANK": "7"}, "Rank id is not in the rankTableFile"),
        ({"DPLAUNCH_REHEARSAL_DEVICES": "1", "RANK": "1"}, "Invalid device ID"),
    ],
)
def test_a_wrong_environment_is_what_the_script_dies_of(ranks, env, word):
    [(code, text)] = ranks(ranks=[0], **env)
    assert (code, word in text) == (1, True), text


@pytest.mark.parametrize(
    ("flags", "word"), [(("--tp", "2"), "World size must equal"), (("--pp", "4"), "MASTER_IP")]
)
def test_sizes_that_do_not_fill_the_group_are_refused(ranks, flags, word):
    [(code, text)] = ranks(*flags, ranks=[0])
    assert (code, word in text) == (1, True), text


def test_an_unknown_flag_is_an_error_of_usage(ranks):
    [(code, text)] = ranks("--max-model-len", "2", ranks=[0])
    assert (code, "unrecognized arguments" in text) == (2, True)


def test_a_table_that_others_may_read_is_refused(ranks, table):
    table.chmod(0o644)
    [(code, text)] = ranks(ranks=[0])
    assert (code, "has mode 0644" in text) == (1, True)
    assert "has mode" not in ranks(ranks=[0], MINDIE_CHECK_INPUTFILES_PERMISSION="0", RANK="9")[0][1]
