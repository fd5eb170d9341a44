"""The operator's side: which file is meant, what is remembered, secrets, hooks, starting files."""

import json
import os
import re
from pathlib import Path

import pytest
from plans import a_plan, a_process

from dplaunch.errors import DplaunchError, SpecError, UsageError
from dplaunch.model.cluster import SecretRef
from dplaunch.workspace import Memory, Pick, load_cluster, read_plan, read_secrets, run_hook
from dplaunch.workspace.presets import Preset, list_presets, load_preset, look_up

LAPTOP = load_preset("laptop").text


@pytest.fixture
def memory(tmp_path):
    (tmp_path / "here").mkdir()
    return Memory({"XDG_STATE_HOME": str(tmp_path / "state")}, tmp_path / "here")


def file_in(folder: Path, name: str = "cluster.yaml", text: str = LAPTOP) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_what_is_given_wins_over_environment_current_and_here(tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    file_in(here)
    environ = {"XDG_STATE_HOME": str(tmp_path), "DPLAUNCH_CLUSTER": "b.yaml"}
    assert Memory(environ, here).pick("a.yaml").path == here / "a.yaml"
    assert Memory(environ, here).pick(None).path == here / "b.yaml"
    del environ["DPLAUNCH_CLUSTER"]
    assert Memory(environ, here).pick(None).path == here / "cluster.yaml"
    far = file_in(tmp_path, "far.yaml")
    Memory(environ, here).remember(far, LAPTOP, "laptop", rehearse=False)
    assert Memory(environ, here).pick(None).path == far


def test_the_current_cluster_is_meant_when_nothing_is_given(memory, tmp_path):
    path = file_in(tmp_path, "far.yaml")
    memory.remember(path, LAPTOP, "laptop", rehearse=True)
    pick = memory.pick(None)
    assert pick.path == path
    assert pick.rehearse
    assert pick.text_from is not None
    assert pick.text_from.read_text() == LAPTOP


def test_the_copy_serves_when_the_file_is_gone(memory, tmp_path):
    path = file_in(tmp_path, "far.yaml")
    memory.remember(path, LAPTOP, "laptop", rehearse=False)
    path.unlink()
    assert load_cluster(memory.pick(None)).plan.cluster == "laptop"


def test_a_file_given_by_name_means_production_also_while_its_rehearsal_is_current(memory, tmp_path):
    path = file_in(tmp_path, "far.yaml")
    memory.remember(path, LAPTOP, "laptop", rehearse=True)
    assert not memory.pick(str(path)).rehearse
    assert memory.pick(None).rehearse


def test_the_environment_follows_the_rehearsal_of_its_own_file_only(tmp_path):
    environ = {"XDG_STATE_HOME": str(tmp_path), "DPLAUNCH_CLUSTER": "far.yaml"}
    path, other = file_in(tmp_path, "far.yaml"), file_in(tmp_path, "other.yaml")
    memory = Memory(environ, tmp_path)
    memory.remember(path, LAPTOP, "laptop", rehearse=True)
    assert memory.pick(None).rehearse
    memory.remember(other, LAPTOP, "other", rehearse=True)
    assert memory.pick(None) == Pick(path)


def test_clusters_stay_known_until_they_are_down_and_the_last_one_is_current(memory, tmp_path):
    for name in ("a", "b", "c"):
        memory.remember(file_in(tmp_path, f"{name}.yaml"), LAPTOP, name, rehearse=name == "b")
    assert [known.cluster for known in memory.known()] == ["a", "b", "c"]
    memory.forget("a", rehearse=True)  # not the one that was started
    assert len(memory.known()) == 3
    memory.forget("c", rehearse=False)
    assert memory.current().cluster == "b"
    assert memory.pick(None).rehearse
    memory.forget("a", rehearse=False)
    assert memory.current().cluster == "b"
    memory.forget("b", rehearse=True)
    assert memory.known() == ()
    with pytest.raises(UsageError, match="no cluster is current"):
        memory.pick(None)


def test_a_cluster_and_its_rehearsal_are_two(memory, tmp_path):
    path = file_in(tmp_path)
    memory.remember(path, LAPTOP, "laptop", rehearse=False)
    memory.remember(path, LAPTOP, "laptop", rehearse=True)
    assert [known.rehearse for known in memory.known()] == [False, True]
    memory.forget("laptop", rehearse=True)
    assert not memory.pick(None).rehearse


@pytest.mark.parametrize("text", ["", "[]", "{broken", '{"current": 7}', '{"current": "x"}', "[" * 100_000])
def test_a_damaged_memory_counts_as_none(memory, text):
    memory.folder.mkdir(parents=True)
    (memory.folder / "current.json").write_text(text)
    with pytest.raises(UsageError, match="no cluster file"):
        memory.pick(None)


@pytest.mark.parametrize("text", ["", "[]", '{"cluster": "a"}', '{"cluster": "a", "file": 1}', "[" * 100_000])
def test_a_damaged_entry_is_left_out(memory, tmp_path, text):
    memory.remember(file_in(tmp_path), LAPTOP, "a", rehearse=False)
    memory.remember(file_in(tmp_path), LAPTOP, "b", rehearse=False)
    (memory.folder / "b.cluster.json").write_text(text)
    assert [known.cluster for known in memory.known()] == ["a"]
    assert memory.current() is None


def test_without_an_xdg_folder_the_home_is_used(tmp_path):
    assert Memory({"HOME": str(tmp_path)}, tmp_path).folder == tmp_path / ".local/state/dplaunch/.operator"


def test_problems_of_the_engine_stand_at_their_line(tmp_path):
    text = LAPTOP.replace("router:", "kv_transfer: {connector: NoSuchConnector}\nrouter:")
    with pytest.raises(SpecError) as caught:
        load_cluster(Pick(file_in(tmp_path, text=text)))
    [problem] = [p for p in caught.value.problems if not p.warning]
    assert "NoSuchConnector" in problem.text + problem.source_line
    assert problem.line == text[: text.index("NoSuchConnector")].count("\n") + 1


def test_a_saved_plan_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        read_plan(tmp_path / "nothing.json")


KEY, FILE = SecretRef("env", "API_KEY"), SecretRef("file", "token.txt")


def test_secrets_are_read_from_the_environment_and_from_files_beside_the_cluster_file(tmp_path):
    file_in(tmp_path, "token.txt", "t0ken\n")
    plan = a_plan(a_process("decode-0", "n1", env={"TOKEN": FILE, "PLAIN": "x"}), api_key=KEY)
    assert read_secrets(plan, {"API_KEY": "k3y"}, tmp_path) == {KEY: "k3y", FILE: "t0ken"}


@pytest.mark.parametrize(("environ", "name"), [({}, "API_KEY"), ({"API_KEY": ""}, "API_KEY")])
def test_a_secret_that_is_not_set_is_named(environ, name, tmp_path):
    with pytest.raises(UsageError, match=name):
        read_secrets(a_plan(a_process("decode-0", "n1"), api_key=KEY), environ, tmp_path)


def test_a_secret_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"token\.txt"):
        read_secrets(a_plan(a_process("decode-0", "n1", env={"T": FILE})), {}, tmp_path)


def test_a_hook_finds_the_cluster_in_its_environment():
    plan = a_plan(a_process("decode-0", "n1"), hooks={"after_up": "echo $DPLAUNCH_HOOK_ENDPOINT"})
    assert run_hook(plan, "after_up", {"PATH": "/usr/bin:/bin"}) == "http://n1:8000\n"
    assert run_hook(plan, "before_up", {}) is None


def test_a_hook_that_fails_is_an_error_with_its_output():
    plan = a_plan(a_process("decode-0", "n1"), hooks={"before_up": "echo no disk >&2; exit 7"})
    with pytest.raises(DplaunchError, match="before_up exited with code 7") as caught:
        run_hook(plan, "before_up", {"PATH": "/usr/bin:/bin"})
    assert caught.value.detail == ("no disk",)


def test_every_example_says_in_its_first_line_what_it_is():
    assert len(list_presets()) >= 8
    assert all(len(about) > 20 for about in list_presets().values())


def test_hosts_move_with_everything_that_names_them():
    text = 'nodes:\n  - {name: "n[1-2]", host: "192.0.2.[1-2]"}\nmaster: 192.0.2.2\n'
    moved = Preset("x", text).on_hosts("192.0.2.9,192.0.2.4").text
    assert 'host: "192.0.2.9,192.0.2.4"' in moved
    assert moved.endswith("master: 192.0.2.4\n")


def test_hosts_are_dealt_over_several_entries():
    text = "nodes:\n  - {name: a, host: 192.0.2.1}\n  - {name: b, host: 192.0.2.2}\nrouter: {node: a}\n"
    moved = Preset("x", text).on_hosts("192.0.2.[7-8]").text
    assert '{name: a, host: "192.0.2.7"}' in moved
    assert '{name: b, host: "192.0.2.8"}' in moved


KNOWN_HOSTS = {"a.example": "192.0.2.1", "b.example": "192.0.2.2"}


def lookup(host):
    return KNOWN_HOSTS.get(host, "")


def test_host_names_come_with_their_addresses(tmp_path):
    preset = load_preset("deepseek-r1-a2-2node").on_hosts("a.example,b.example", lookup).named("Site_B")
    assert not preset.unresolved
    plan = load_cluster(Pick(file_in(tmp_path, text=preset.text))).plan
    assert plan.cluster == "Site_B"
    assert [(node.host, node.address) for node in plan.nodes] == list(KNOWN_HOSTS.items())


def test_an_address_that_is_not_known_is_left_for_the_user_to_write(tmp_path):
    preset = load_preset("deepseek-r1-a2-2node").on_hosts("a.example,c.example", lookup)
    assert preset.unresolved == ("c.example",)
    assert 'address: "192.0.2.1,ADDRESS-OF-c.example"' in preset.text
    with pytest.raises(SpecError, match="1 problem"):
        load_cluster(Pick(file_in(tmp_path, text=preset.text)))


def test_this_machine_needs_no_address_written():
    assert load_preset("laptop").on_hosts("localhost", lookup).text.count("address:") == 0


def test_a_loopback_address_is_none_that_other_nodes_could_use():
    assert look_up("localhost") == ""
    assert look_up("no such host") == ""


@pytest.mark.parametrize("name", ["", "two words", "-x", "x" * 64])
def test_a_name_that_no_cluster_can_have_is_refused(name):
    with pytest.raises(UsageError, match="not a valid name"):
        load_preset("laptop").named(name)


def test_the_plan_is_the_same_on_every_machine(tmp_path):
    path = file_in(tmp_path)
    first, second = (load_cluster(Pick(path)).plan for _ in range(2))
    assert json.dumps(first.revision) == json.dumps(second.revision)


def test_the_plan_carries_every_warning_of_its_file(tmp_path):
    text = LAPTOP.replace("host: localhost}", "host: localhost}\n  - {name: idle, host: 127.0.0.9}")
    cluster = load_cluster(Pick(file_in(tmp_path, text=text)))
    assert cluster.plan.warnings == ("nothing runs on idle",)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        *[("two words", "U+0020"), ("a\nX-Admin: 1", "U+000A"), ("a\rb", "U+000A"), ("schlüssel", "U+00FC")],
        *[("\ufeffkey", "U+FEFF"), ("key\n\n ", "U+0020"), ("key\x7f", "U+007F")],
    ],
)
def test_a_key_that_no_header_can_carry_is_refused_without_its_value(tmp_path, key, code):
    ref = SecretRef("file", "key.txt")
    file_in(tmp_path, "key.txt", key)
    with pytest.raises(UsageError, match=re.escape(code)) as caught:
        read_secrets(a_plan(a_process("decode-0", "n1"), api_key=ref), {}, tmp_path)
    assert key not in str(caught.value)


def test_the_line_break_of_windows_at_the_end_of_a_key_is_left_out(tmp_path):
    ref = SecretRef("file", "key.txt")
    (tmp_path / "key.txt").write_bytes(b"k3y\r\n")
    assert read_secrets(a_plan(a_process("decode-0", "n1"), api_key=ref), {}, tmp_path) == {ref: "k3y"}


def test_a_secret_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "token.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_secrets(a_plan(a_process("decode-0", "n1", env={"T": FILE})), {}, tmp_path)


def test_a_hook_that_leaves_a_daemon_ends_when_it_ends(tmp_path):
    waits = f"(cat {tmp_path}/pipe; echo late) & echo done"
    os.mkfifo(tmp_path / "pipe")
    plan = a_plan(a_process("decode-0", "n1"), hooks={"before_up": waits})
    assert run_hook(plan, "before_up", {"PATH": "/usr/bin:/bin"}) == "done\n"
    (tmp_path / "pipe").write_text("")  # lets the daemon end


def test_a_hook_that_asks_something_reads_nothing():
    plan = a_plan(a_process("decode-0", "n1"), hooks={"before_up": 'read answer; echo "[$answer]"'})
    assert run_hook(plan, "before_up", {"PATH": "/usr/bin:/bin"}) == "[]\n"
