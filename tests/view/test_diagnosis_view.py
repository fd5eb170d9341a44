from dataclasses import replace

from ranklogs import failing, following, quiet

from dplaunch.diagnose import Evidence, explained
from dplaunch.model.diagnosis import Diagnosis, Ended
from dplaunch.view import diagnosis as view

OUT = "(Worker_TP0 pid=9) ERROR 04-25 10:01:17 [multiproc_executor.py:559] RuntimeError: NPU out of memory."


def concluded(changed, ranks=8):
    evidence = Evidence()
    for rank in range(ranks):
        evidence.add(f"decode-{rank}", "n1", changed.get(rank, following(rank)))
    return evidence.conclude()


def test_the_first_failure_is_told_with_cause_remedy_and_source_and_the_rest_is_folded(draw):
    shown = draw(view.drawn(concluded({5: failing(5, [OUT])})), 200)
    assert shown.splitlines() == [
        "decode-5 on n1 failed first",
        f"  17 | {OUT}",
        "  cause:    device memory does not suffice",
        f"  remedy:   {explained('device-out-of-memory').remedy}",
        "  source:   torch and torch_npu allocators; vllm-ascend FAQ (`dplaunch explain device-out-of-memory`)",
        "follows from it:",
        "  hccl-function ×8: decode-[0-7]: a call of HCCL failed; the reason is the EI or EJ code beside it",
        "  ERR99999 ×8: decode-[0-7]: torch_npu's own code for a call that failed below it",
        "  engine-dead ×8: decode-[0-7]: the engine's core ended; the reason stands in another line of the same log",
        "  see-root-cause ×8: decode-[0-7]: the engine's core did not start; the reason stands above",
        "  start-failed ×8: decode-[0-7]: a process of the engine did not start; the reason stands below or above",
        "  connection-lost ×8: decode-[0-7]: another process of the group ended",
        "  EI0006 ×8: decode-[0-7]: another rank did not answer while connections were set up (HCCL_CONNECT_TIMEOUT)",
        "read: 8 logs, 225 lines",
    ]


def test_where_all_only_wait_the_silent_one_is_named(draw):
    shown = draw(view.drawn(concluded({5: quiet(5)})), 200)
    assert "suspect: decode-5 shows no error: look there first" in shown


def test_who_else_shows_it_is_folded(draw):
    shown = draw(view.drawn(concluded({n: failing(n, [OUT]) for n in (2, 3, 4)})), 200)
    assert "  also by:  decode-[3-4]" in shown


def test_an_unknown_error_is_shown_and_said_to_be_unknown(draw):
    shown = draw(
        view.drawn(concluded({5: failing(5, [OUT.replace("NPU out of memory", "the moon is full")])})), 200
    )
    assert shown.startswith(
        "decode-5 on n1 failed first, in a way that is not in the catalogue\n  17 | (Worker_TP0"
    )


def test_nothing_found_and_nothing_read_are_two_things(draw):
    assert (
        draw(view.drawn(concluded({0: quiet(0)}, ranks=1)), 80)
        == f"no failure in 1 log, {len(quiet(0))} lines"
    )
    assert draw(view.drawn(Diagnosis()), 200) == (
        "there is no log: nothing was started, or `down` has ended it (--previous reads it then)"
    )


def test_what_was_killed_without_a_word_is_no_success(draw):
    ends = tuple(Ended(f"decode-{n}", "n1", "killed by SIGKILL") for n in (0, 3))
    found = replace(concluded({0: quiet(0)}, ranks=1), ended=ends)
    assert draw(view.drawn(found), 200).splitlines() == [
        "decode-[0,3] on n1: killed by SIGKILL; no error is in its log",
        "  remedy:   see `dplaunch logs decode-0 -n 50`, and `dmesg` on n1: the kernel kills what takes too much memory",
        f"read: 1 log, {len(quiet(0))} lines",
    ]
    assert view.to_json(found)["found"]


def test_what_does_not_serve_is_named_where_no_log_tells(draw):
    found = replace(concluded({0: quiet(0)}, ranks=1), waiting=("decode-0", "decode-1"))
    assert draw(view.drawn(found), 200).splitlines()[1] == (
        "decode-[0-1] do not serve: loading, or stuck; `dplaunch logs decode-0 -n 50` shows where"
    )
    assert view.to_json(found)["waiting"] == ["decode-0", "decode-1"]


def test_what_ended_with_an_error_in_its_log_is_told_once(draw):
    found = replace(concluded({5: failing(5, [OUT])}), ended=(Ended("decode-5", "n1", "exited with code 1"),))
    assert "exited" not in draw(view.drawn(found), 200)


def test_many_others_are_cut_unless_all_are_wanted(draw):
    evidence = Evidence()
    for number in range(20):
        evidence.add(f"e-{chr(97 + number)}", "", [OUT.replace("NPU out of memory", f"moon {number}")])
    found = evidence.conclude()
    assert "… and 7 more; -v shows all" in draw(view.drawn(found), 200)
    assert "more; -v" not in draw(view.drawn(found, verbose=True), 200)


def test_the_json_has_stable_names():
    data = view.to_json(concluded({5: failing(5, [OUT])}))
    assert set(data) == {"found", "first", "others", "silent", "ended", "waiting", "logs", "lines"}
    assert set(data["first"]) == {
        "id", "kind", "cause", "remedy", "source", "process", "node", "line", "text", "processes", "count",
    }  # fmt: skip
    assert (data["found"], data["first"]["id"], data["first"]["kind"]) == (
        True,
        "device-out-of-memory",
        "cause",
    )
    assert view.to_json(Diagnosis())["first"] is None


def test_a_signature_is_explained_with_what_it_looks_like(draw):
    signature = explained("kv-module-path")
    shown = draw(view.explained(signature), 200).splitlines()
    assert shown[0] == "kv-module-path: kv_connector_module_path names a module that has moved"
    assert "  versions: vllm-ascend >= 0.15" in shown
    assert shown[-1].startswith("  | (EngineCore_DP0 pid=9) ERROR")
    assert set(view.signature_json(signature)) == {
        "id", "kind", "cause", "remedy", "source", "engines", "versions", "pattern", "excerpt",
    }  # fmt: skip
