"""``dplaunch ranktable`` where no node is contacted: tables of files, and arguments that cannot be right."""

import pytest

FILE = """\
cluster: {name}
engine: {{kind: vllm-ascend, version: "0.23.0"}}
model: some/model
hardware: atlas-800t-a2
nodes:
  - {{name: n1, host: 192.0.2.1, devices: 1}}
  - {{name: n2, host: 192.0.2.2, devices: 1}}
roles: {{serve: {{nodes: "n[1-2]", dp: 2}}}}
"""
TABLE = """\
{"server_count":"2","server_list":[
  {"device":[{"device_id":"0","device_ip":"10.0.0.1","rank_id":"0"}],"server_id":"192.0.2.1"},
  {"device":[{"device_id":"0","device_ip":"10.0.0.2","rank_id":"1"}],"server_id":"192.0.2.2"}],
"status":"completed","version":"1.0"}
"""


@pytest.fixture
def tables(cli):
    """A cluster of two A2 nodes, and ``table.json`` for it."""
    cli.write("cluster.yaml", FILE.format(name="tables"))
    cli.write("table.json", TABLE).chmod(0o640)
    return cli


def test_a_good_table_is_valid_as_text_and_as_json(tables):
    assert tables("ranktable", "--verify", "table.json").stdout == "table.json is valid\n"
    found = tables.json("ranktable", "--verify", "table.json")
    assert found["table"]["server_list"][1]["device"][0]["rank_id"] == "1"
    assert (found["problems"], found["path"], found["sha256"]) == ([], None, None)


def test_every_fault_of_a_table_has_its_place(tables):
    tables.write("bad.json", TABLE.replace('"1"', '"0"').replace("completed", "initializing")).chmod(0o640)
    error = tables("ranktable", "--verify", "bad.json", code=2).stderr
    assert "bad.json:3:64: error: rank_id 0" in error
    assert "bad.json:4:10: error: status" in error
    found = tables.json("ranktable", "--verify", "bad.json", code=2)
    assert [problem["line"] for problem in found["error"]["problems"]] == [3, 4]


def test_a_link_and_a_file_that_others_may_read_are_warnings(tables):
    (tables.folder / "table.json").chmod(0o644)
    (tables.folder / "link.json").symlink_to("table.json")
    printed = tables("ranktable", "--verify", "link.json").stdout
    assert "symbolic link" in printed
    assert "chmod 640 link.json" in printed
    assert "link.json is valid" in printed


def test_a_table_with_other_line_ends_is_saved_byte_for_byte(tables):
    (tables.folder / "table.json").write_bytes(TABLE.replace("\n", "\r\n").encode())
    tables("ranktable", "--verify", "table.json", "--save", "copy.json")
    assert (tables.folder / "copy.json").read_bytes() == TABLE.replace("\n", "\r\n").encode()
    assert (tables.folder / "copy.json").stat().st_mode & 0o777 == 0o640


def test_without_a_cluster_file_a_table_is_verified_by_itself(tables):
    (tables.folder / "cluster.yaml").unlink()
    assert "compared with no cluster file" in tables("ranktable", "--verify", "table.json").stdout
    assert "no cluster file" in tables("ranktable", code=2).stderr
    assert "none.yaml" in tables("ranktable", "none.yaml", "--verify", "table.json", code=2).stderr


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("--verify", "none.json"), "none.json does not exist"),
        (("--verify", "."), "is a folder"),
        (("--verify", "table.json", "--to", "table.json"), "not an absolute path"),
        (("--rehearse",), "a rehearsal has no devices"),
        (("--rehearse", "--verify", "table.json", "--to", "/etc/table.json"), "a rehearsal has no nodes"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(tables, words, word):
    assert word in tables("ranktable", *words, code=2).stderr
