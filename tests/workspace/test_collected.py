import pytest

from dplaunch.errors import UsageError
from dplaunch.workspace.collected import find_logs


def write(folder, *names: str):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"one\r\ntwo \xff\nthree")


def test_a_folder_of_logs_names_processes_after_files_and_nodes_after_folders(tmp_path):
    write(
        tmp_path, "n1/prefill-0.log", "n2/decode-0.log", "n2/decode-0.prev.log", "router.txt", "n2/plan.json"
    )
    found = find_logs(tmp_path)
    assert [(log.process, log.node) for log in found] == [
        ("prefill-0", "n1"),
        ("decode-0", "n2"),
        ("router", ""),
    ]
    with found[0].lines() as lines:
        assert list(lines) == ["one", "two \ufffd", "three"]


def test_the_run_before_is_read_on_request(tmp_path):
    write(tmp_path, "n2/decode-0.log", "n2/decode-0.prev.log")
    (log,) = find_logs(tmp_path, previous=True)
    assert (log.process, log.path.name) == ("decode-0", "decode-0.prev.log")


def test_equal_names_get_their_folders_in_front(tmp_path):
    write(tmp_path, "run/n1/rank-0.log", "run/n2/rank-0.log")
    assert [log.process for log in find_logs(tmp_path)] == ["run/n1/rank-0", "run/n2/rank-0"]


def test_a_folder_without_logs_is_an_error_with_a_hint_how_to_get_some(tmp_path):
    write(tmp_path, "plan.json")
    with pytest.raises(UsageError, match=r"holds no logs") as caught:
        find_logs(tmp_path)
    assert "--collect" in caught.value.hint


def test_one_file_may_be_named_instead_of_a_folder(tmp_path):
    file = tmp_path / "nohup.out"
    file.write_text("a\nb\n")
    (log,) = find_logs(file)
    with log.lines() as lines:
        assert (log.process, log.node, list(lines)) == ("nohup", "", ["a", "b"])
