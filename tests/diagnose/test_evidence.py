import pytest
from ranklogs import failing, following, quiet

from dplaunch.diagnose import Evidence, catalogue
from dplaunch.model.diagnosis import LineKind

RANKS = 64
AFTER = [following(rank) for rank in range(RANKS)]
SIGNATURES = catalogue()


def concluded(logs, ahead=None):
    evidence = Evidence(ahead)
    for process, (node, lines) in logs.items():
        evidence.add(process, node, lines)
    return evidence.conclude()


def group(changed):
    """64 ranks of which all show consequences, but those that are given."""
    return {f"decode-{n}": (f"n{n // 16}", changed.get(n, AFTER[n])) for n in range(RANKS)}


@pytest.mark.parametrize(
    ("place", "signature"), [pytest.param(n * 29 % RANKS, s, id=s.id) for n, s in enumerate(SIGNATURES)]
)
def test_one_rank_has_the_cause_and_63_have_only_consequences(place, signature):
    found = concluded(group({place: failing(place, signature.excerpt)}))
    assert found.first is not None
    last = signature.kind in (LineKind.EMPTY, LineKind.WARNING)
    sightings = (found.first, *found.others) if last else (found.first,)
    seen = next(s for s in sightings if s.signature is signature)
    assert (seen.process, seen.node) == (f"decode-{place}", f"n{place // 16}")
    assert seen.text in {line.strip() for line in signature.excerpt}
    assert "EI0006" in {s.signature.id for s in (found.first, *found.others) if s.signature}
    assert found.silent == ()


def test_an_error_without_a_signature_is_found_among_consequences():
    unknown = (
        "(Worker_DP9_EP9 pid=9) ERROR 04-25 10:01:17 [multiproc_executor.py:596] ValueError: the moon is full"
    )
    found = concluded(
        group({9: failing(9, [unknown, "(Worker_DP9_EP9 pid=9) ERROR 04-25 10:01:17 [x.py:5]   File a"])})
    )
    assert (found.first.kind, found.first.process, found.first.text) == (
        LineKind.UNKNOWN,
        "decode-9",
        unknown,
    )


def test_where_all_only_wait_the_silent_rank_is_suspected():
    found = concluded(group({17: quiet(17)}) | {"prefill-0": ("n9", quiet(0)), "router": ("n9", [])})
    assert found.first.follows
    assert found.first.process == "decode-0"
    assert found.silent == ("decode-17",)


def test_where_all_wait_for_each_other_none_is_suspected():
    found = concluded(group({}))
    assert found.first.follows
    assert found.silent == ()


def test_nothing_is_found_where_nothing_failed():
    found = concluded({f"decode-{n}": ("n1", quiet(n)) for n in range(4)})
    assert (found.first, found.others, found.processes) == (None, (), 4)
    assert found.lines == 4 * len(quiet(0))
    assert concluded({}).first is None


def test_equal_failures_are_folded_and_counted():
    out = ["ERROR 04-25 10:01:1{} [x.py:1] RuntimeError: NPU out of memory."]
    logs = {f"decode-{n}": ("n1", [out[0].format(9 - n)] * 2) for n in range(3)}
    first = concluded(logs).first
    assert first.processes == ("decode-2", "decode-1", "decode-0")
    assert (first.count, first.number) == (6, 1)


def test_a_clock_that_is_ahead_is_set_right():
    logs = {
        "a-0": ("fast", ["ERROR 04-25 10:05:00 [x.py:1] RuntimeError: NPU out of memory"]),
        "a-1": ("good", ["ERROR 04-25 10:01:00 [x.py:1] EI0008 versions"]),
    }
    assert concluded(logs).first.process == "a-1"
    assert concluded(logs, {"fast": 300.0}).first.process == "a-0"


def test_what_failed_before_new_year_came_first():
    old = ["ERROR 12-31 23:59:50 [x.py:1] RuntimeError: NPU out of memory"]
    new = ["ERROR 01-01 00:00:10 [x.py:1] EI0008 versions"]
    assert concluded({"a-0": ("n1", new), "a-1": ("n2", old)}).first.process == "a-1"
    assert concluded({"a-0": ("n1", old), "a-1": ("n2", new)}).first.process == "a-0"


def test_a_line_without_a_clock_is_as_old_as_the_line_before_it():
    logs = {
        "a-0": ("n", ["INFO 04-25 10:05:00 [x.py:1] fine", "RuntimeError: NPU out of memory"]),
        "a-1": ("n", ["INFO 04-25 10:01:00 [x.py:1] fine", "EI0008: versions"]),
    }
    assert concluded(logs).first.process == "a-1"


def test_a_log_that_never_came_to_a_clock_failed_first():
    logs = {
        "a-0": ("n", ["ERROR 04-25 10:01:00 [x.py:1] RuntimeError: NPU out of memory"]),
        "a-1": ("n", ["vllm: error: unrecognized arguments: --x"]),
    }
    assert concluded(logs).first.process == "a-1"


def test_canns_own_clock_counts_before_that_of_the_log():
    late = "ERROR 04-25 10:09:00 [x.py:1] EI0009: [PID: 7] 2026-04-25-10:01:00.119.066 Transport init error"
    logs = {
        "a-0": ("n", ["ERROR 04-25 10:02:00 [x.py:1] RuntimeError: NPU out of memory"]),
        "a-1": ("n", [late]),
    }
    assert concluded(logs).first.process == "a-1"


def test_within_one_second_the_more_telling_line_is_the_earlier():
    logs = {
        "a-0": ("n", ["ERROR 04-25 10:01:00 [x.py:1] RuntimeError: Connection closed by peer"]),
        "a-1": ("n", ["ERROR 04-25 10:01:00 [x.py:1] Worker proc VllmWorker-0 died unexpectedly, bye"]),
    }
    found = concluded(logs)
    assert found.first.process == "a-1"
    assert found.silent == ()


def test_the_frames_of_a_traceback_explain_nothing():
    lines = [
        "Traceback (most recent call last):",
        '  File "/usr/lib/error: x.py", line 3, in f',
        "    raise ValueError('error: ' + text)",
        "ERROR 04-25 10:01:00 [core.py:1] ",
        "ERROR 04-25 10:01:00 [core.py:1]     ^^^^^^",
    ]
    assert concluded({"a": ("n", lines)}).first is None


def test_the_first_record_counts_and_its_exception_more_than_its_message():
    lines = ["ERROR a", "ValueError: b", "ERROR c", "goodbye"]
    found = concluded({"a": ("n", lines)})
    assert (found.first.text, [one.text for one in found.others]) == ("ValueError: b", ["ERROR c"])
    found = concluded({"a": ("n", ["ERROR 04-25 10:01:00 [x.py:1] a", "ERROR 04-25 10:03:00 [x.py:1] c"])})
    assert (found.first.sentence, [one.sentence for one in found.others]) == ("a", ["c"])


def test_a_node_knows_better_than_a_log_whether_an_engine_serves():
    evidence = Evidence()
    evidence.add("serve-0", "n1", ["ERROR 04-25 10:01:00 [x.py:1] RuntimeError: the moon is full"])
    assert evidence.conclude().failed
    served = evidence.conclude(serving=["serve-0"])
    assert (served.failed, served.first.survived) == (False, True)
    logged = ["INFO:     Application startup complete.", "ERROR 04-25 10:02:00 [x.py:1] the moon is full"]
    evidence.add("serve-1", "n1", logged)
    assert not evidence.conclude(serving=["serve-0"]).failed
    assert evidence.conclude(serving=["serve-0"], ended=["serve-1"]).first.process == "serve-1"


def test_what_spoils_requests_counts_although_the_engine_serves_on():
    evidence = Evidence()
    evidence.add(
        "decode-0", "n1", ["ERROR 04-25 10:01:00 [x.py:1] RuntimeError: Mooncake transfer failed, ret: -1"]
    )
    assert evidence.conclude(serving=["decode-0"]).failed


def test_an_unknown_error_of_a_native_library_counts_unless_the_engine_only_started_then():
    native = "E20260425 10:01:17.4 112112 pool.cpp:52] cannot map fabric memory of segment 3"
    started, served = (
        "INFO:     Application startup complete.",
        'INFO:  - "POST /v1/completions HTTP/1.1" 200 OK',
    )
    assert concluded({"a-0": ("n", [started, native, served])}).failed
    assert not concluded({"a-0": ("n", [native, started, served])}).failed


def test_a_line_before_the_first_clock_is_no_earlier_than_another_log_may_be():
    ucx = "[1777104077.340123] [n1:4242 :0] tcp_ep.c:118 UCX  ERROR cannot map memory of segment 3"
    logs = {
        "a-0": ("n", [ucx, "INFO 04-25 10:05:00 [x.py:1] fine"]),
        "a-1": ("n", ["ERROR 04-25 10:01:00 [x.py:1] RuntimeError: the moon is full"]),
    }
    assert concluded(logs).first.process == "a-1"


def test_an_unknown_error_long_after_a_consequence_is_no_part_of_it():
    lost = "ERROR 04-25 10:01:00 [x.py:1] RuntimeError: Connection closed by peer"
    soon, late = (
        f"ERROR 04-25 {at} [x.py:1] ValueError: the moon is full" for at in ("10:01:09", "11:01:00")
    )
    assert concluded({"a-0": ("n", [lost, soon])}).first.signature.id == "connection-lost"
    assert concluded({"a-0": ("n", [lost, late])}).first.signature is None


def test_a_process_waits_while_another_compiles_and_fails_by_itself_then():
    busy = "WARNING 04-25 10:01:00 [x.py:1] No available shared memory broadcast block found in 60 seconds."
    fault = "ERROR 04-25 10:01:30 [x.py:1] ValueError: the moon is full"
    assert concluded({"a-0": ("n", [busy, fault])}).first.signature is None


def test_a_warning_is_the_cause_where_it_explains_what_failed():
    warning = "[W425 10:00:27.650991133 ProcessGroupGloo.cpp:524] Warning: Unable to resolve hostname to a (local) address. Using the loopback address as fallback."
    mesh = "ERROR 04-25 10:09:00 [x.py:1] RuntimeError: Gloo connectFullMesh failed with timed out waiting"
    assert not concluded({"a-0": ("n", [warning])}).failed
    assert concluded({"a-0": ("n", [warning]), "a-1": ("n", [mesh])}).first.signature.id == "gloo-loopback"


def test_lines_may_come_in_pieces():
    evidence = Evidence()
    for line in failing(3, ["RuntimeError: NPU out of memory"]):
        evidence.add("decode-3", "n1", [line])
        evidence.add("decode-4", "n1", ["INFO fine"])
    assert evidence.conclude().first.number == len(quiet(3)) + 1
