from msgspec.structs import replace
from ranklogs import failing, following, quiet

from dplaunch.diagnose import Evidence, explain
from dplaunch.model.diagnosis import Diagnosis, EndedProcess
from dplaunch.view import diagnosis as view

OUT = "(Worker_TP0 pid=9) ERROR 04-25 10:01:17 [multiproc_executor.py:559] RuntimeError: NPU out of memory."


def concluded(changed, ranks=8):
    evidence = Evidence()
    for rank in range(ranks):
        evidence.add(f"decode-{rank}", "n1", changed.get(rank, following(rank)))
    return evidence.conclude()


def test_the_first_failure_has_cause_remedy_and_source_and_the_rest_is_folded(draw, golden):
    golden("diagnosis", draw(view.render(concluded({5: failing(5, [OUT])})), 200))


def test_where_all_only_wait_the_silent_one_is_named(draw, golden):
    golden("diagnosis-suspect", draw(view.render(concluded({5: quiet(5)})), 200))


def test_who_else_shows_it_is_folded(draw, golden):
    found = concluded({n: failing(n, [OUT]) for n in (2, 3, 4)})
    golden("diagnosis-of-three", draw(view.render(found), 200))


def test_an_unknown_error_is_shown_and_said_to_be_unknown(draw, golden):
    unknown = OUT.replace("NPU out of memory", "the moon is full")
    golden("diagnosis-unknown", draw(view.render(concluded({5: failing(5, [unknown])})), 200))


def test_nothing_found_and_nothing_read_are_two_things(draw, golden):
    golden("diagnosis-without-failure", draw(view.render(concluded({0: quiet(0)}, ranks=1)), 80))
    golden("diagnosis-without-logs", draw(view.render(Diagnosis()), 200))


def test_what_was_killed_without_a_word_is_no_success(draw, golden):
    ends = tuple(EndedProcess(f"decode-{n}", "n1", "killed by SIGKILL") for n in (0, 3))
    found = replace(concluded({0: quiet(0)}, ranks=1), ended=ends)
    golden("diagnosis-killed", draw(view.render(found), 200))
    assert view.to_json(found)["found"]


def test_what_was_killed_comes_before_an_error_that_its_router_got_over(draw):
    line = "2026-04-25 10:01:17,340 WARNING decode-3 is out: /health cannot be asked ([Errno 111] Connection refused)"
    evidence = Evidence()
    evidence.add("router", "n1", (line,))
    evidence.add("decode-3", "n2", ())
    found = evidence.conclude(serving=["router"], ended=["decode-3"])
    shown = draw(
        view.render(replace(found, ended=(EndedProcess("decode-3", "n2", "killed by SIGKILL"),))), 200
    )
    assert shown.startswith("decode-3 on n2: killed by SIGKILL")
    assert "router on n1" in shown


def test_what_does_not_serve_is_named_where_no_log_tells(draw, golden):
    found = replace(concluded({0: quiet(0)}, ranks=1), waiting=("decode-0", "decode-1"))
    golden("diagnosis-waiting", draw(view.render(found), 200))
    assert view.to_json(found)["waiting"] == ["decode-0", "decode-1"]


def test_what_ended_with_an_error_in_its_log_is_told_once(draw):
    found = replace(
        concluded({5: failing(5, [OUT])}), ended=(EndedProcess("decode-5", "n1", "exited with code 1"),)
    )
    assert "exited" not in draw(view.render(found), 200)


def test_many_others_are_cut_unless_all_are_wanted(draw):
    evidence = Evidence()
    for number in range(20):
        evidence.add(f"e-{chr(97 + number)}", "", [OUT.replace("NPU out of memory", f"moon {number}")])
    found = evidence.conclude()
    short, long = (draw(view.render(found, verbose=verbose), 200) for verbose in (False, True))
    assert ("7 more" in short, "7 more" in long) == (True, False)
    assert len(long.splitlines()) == len(short.splitlines()) + 6


def test_an_engine_that_serves_did_not_fail_whatever_it_logged(draw, golden):
    evidence = Evidence()
    evidence.add("decode-0", "n1", [OUT.replace("NPU out of memory", "the moon is full")])
    expired = "WARNING 04-25 10:01:17 [nixl.py:1] Releasing expired KV blocks for request cmpl-1"
    evidence.add("prefill-0", "n1", [expired])
    found = evidence.conclude(serving=["decode-0", "prefill-0"])
    golden("diagnosis-serving", draw(view.render(found), 200))
    assert not view.to_json(found)["found"]


def test_of_several_launches_in_a_log_only_the_last_is_judged(draw, golden):
    banner = "(APIServer pid={0}) INFO 04-25 10:0{0}:00 [api_server.py:1] vLLM API server version 0.23.0"
    later = OUT.replace("NPU out of memory", "the moon is full").replace("pid=9", "pid=10")
    lines = [banner.format(1), OUT, banner.format(2), later]
    evidence = Evidence()
    evidence.add("decode-0", "n1", lines)
    golden("diagnosis-restarted", draw(view.render(evidence.conclude()), 200))


def test_the_json_has_stable_names(golden):
    golden("diagnosis", view.to_json(concluded({5: failing(5, [OUT])}, ranks=6)))
    assert view.to_json(Diagnosis())["first"] is None


def test_a_signature_is_explained_with_what_it_looks_like(draw, golden):
    signature = explain("kv-module-path")
    golden("signature", draw(view.render_signature(signature), 200))
    golden("signature", view.signature_json(signature))
