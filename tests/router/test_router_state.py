"""What the router knows of engines: health, proof, counts. A clock of the test's own."""

import pytest

from dplaunch.router.members import Entry, Membership
from dplaunch.router.state import SUSPECT_SECONDS, State


def a_state(*entries: Entry, flow="alone"):
    now = [100.0]
    state = State(clock=lambda: now[0])
    state.apply(Membership(entries or (Entry("s0", "serve", "serve/0", "http://a:1"),), "1", flow=flow))
    return state, now, state.members


def of_state(state):
    return Entry("s0", "serve", "serve/0", "http://a:1", state)


def stepped(*steps: str):
    """The state that one engine is in at last: in the file, or after its health was ``good`` or ``bad``."""
    state, now, known = a_state(of_state(steps[0]))
    for step in steps[1:]:
        now[0] += 1
        if step == "good":
            state.well(known["s0"], now[0])
        elif step == "bad":
            state.failed(known["s0"], "gone")
        elif step == "proved":
            state.prove([known["s0"]], now[0])
        else:
            state.apply(Membership((of_state(step),)))
    return known["s0"].state


@pytest.mark.parametrize(
    ("steps", "last"),
    [
        (["serving", "good"], "serving"),
        (["serving", "bad", "good"], "serving"),  # it was starting when the router was
        (["serving", "good", "bad", "good"], "proving"),
        (["serving", "good", "bad", "bad", "good", "proved"], "serving"),
        (["serving", "good", "bad", "draining", "serving"], "proving"),
        (["serving", "good", "draining", "serving"], "serving"),
        (["serving", "good", "bad", "good", "held", "good", "serving"], "serving"),
        (["held", "good"], "held"),
        (["held", "good", "proved"], "held"),
        (["held", "good", "serving"], "serving"),
        (["held", "good", "proved", "proving"], "proving"),
        (["proving", "good"], "proving"),
        (["proving", "good", "proved"], "serving"),
        (["proving", "good", "proved", "proving"], "serving"),
        (["proving", "good", "proved", "bad", "good"], "proving"),
        (["proving", "serving"], "serving"),
        (["serving", "good", "proving"], "proving"),
        (["draining", "good", "proving", "good"], "proving"),
        (["draining", "good", "serving"], "proving"),
    ],
)
def test_an_engines_state_is_the_files_and_whether_it_is_proved(steps, last):
    assert stepped(*steps) == last


def test_an_engine_that_is_lost_puts_its_whole_group_in_doubt_and_no_other():
    entries = [Entry(f"s{n}", "serve", f"serve/{n // 2}", f"http://a:{n}") for n in range(4)]
    state, now, known = a_state(*entries)
    for member in known.values():
        state.well(member, 100.0)
    state.failed(known["s0"], "gone")
    assert [member.state for member in known.values()] == ["proving", "proving", "serving", "serving"]
    assert state.unproved() == {}, "it is not alive as a whole"
    now[0] = 101.0
    state.well(known["s0"], 101.0)
    assert state.unproved() == {"serve/0": [known["s0"], known["s1"]]}
    state.prove([known["s1"]], 101.0)
    assert state.unproved() == {"serve/0": [known["s0"]]}
    assert state.choose("serve").entry.group == "serve/1"


def test_an_answer_to_what_was_asked_before_the_loss_proves_nothing():
    state, now, known = a_state()
    state.well(known["s0"], 100.0)
    now[0] = 105.0
    state.failed(known["s0"], "gone")
    state.prove([known["s0"]], 104.0)
    assert known["s0"].state == "proving"


def test_a_broken_connection_alone_puts_nothing_in_doubt():
    state, _, known = a_state()
    state.well(known["s0"], 100.0)
    state.lost(known["s0"], "reset")
    assert not state.ready()
    state.well(known["s0"], 100.0)
    assert state.ready()


def test_an_engine_is_out_until_a_health_check_begun_after_its_loss_is_good():
    state, now, known = a_state()
    assert not state.ready()
    assert state.well(known["s0"], 100.0)
    assert state.ready()
    now[0] = 105.0
    assert state.lost(known["s0"], "reset")
    assert not state.lost(known["s0"], "reset")
    assert not state.well(known["s0"], 104.9)
    assert not state.ready()
    assert state.well(known["s0"], 105.1)
    assert state.choose("serve") is known["s0"]


def test_a_good_answer_forgets_slow_ones():
    state, _, known = a_state()
    state.well(known["s0"], 100)
    assert [state.slow(known["s0"], "slow") for _ in range(2)] == [False, False]
    state.well(known["s0"], 100)
    assert [state.slow(known["s0"], "slow") for _ in range(3)] == [False, False, True]


def test_an_error_makes_an_engine_suspect_for_a_while():
    state, now, known = a_state()
    state.erred(known["s0"])
    assert state.candidates("serve")[0].suspect
    now[0] += SUSPECT_SECONDS
    assert not state.candidates("serve")[0].suspect


def test_counts_are_given_back_however_a_request_ends():
    state, _, known = a_state()

    def fail():
        with state.lease(known["s0"], 0.1), state.lease(known["s0"], 0.2):
            assert (known["s0"].requests, known["s0"].tokens) == (2, pytest.approx(0.3))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (known["s0"].requests, known["s0"].tokens) == (0, 0.0)


def test_an_answered_request_counts_as_long_as_its_kv_may_be_fetched():
    state, _, known = a_state()
    one = known["s0"]
    with state.lease(one, 8.0) as lease:
        assert (one.requests, one.working, one.tokens) == (1, 1, 8.0)
        lease.answered()
        assert (one.requests, one.working, one.tokens) == (1, 0, 0.0)
        lease.end()
        lease.end()
        assert (one.requests, one.working, one.tokens) == (0, 0, 0.0)
    assert (one.requests, one.working, one.tokens) == (0, 0, 0.0)


def test_requests_this_router_sent_are_not_counted_twice():
    state, _, known = a_state()
    state.figures(known["s0"], running=5, waiting=2, own=4)
    assert state.candidates("serve")[0][-2:] == (3, 2)
    state.figures(known["s0"], running=1, waiting=0, own=4)
    assert state.candidates("serve")[0][-2:] == (0, 0)


def test_a_new_members_file_keeps_what_is_known_of_an_engine_at_the_same_address():
    state, _, known = a_state()
    one = known["s0"]
    state.well(one, 100)
    state.apply(Membership((Entry("s0", "serve", "serve/1", "http://a:1", "draining"),)))
    assert state.members["s0"] is one
    assert one.entry.group == "serve/1"
    state.apply(Membership((Entry("s0", "serve", "serve/1", "http://a:2"),)))
    assert not state.members["s0"].alive


def test_a_prefill_engine_alone_needs_a_decode_engine_too():
    state, _, known = a_state(Entry("p", "prefill", "g", "http://a:1"), flow="pull")
    state.well(known["p"], 100)
    assert (state.needed, state.ready()) == (("prefill", "decode"), False)


def test_draining_the_last_open_group_is_noticed_at_once():
    state, _, known = a_state()
    state.well(known["s0"], 100)
    assert state.ready()
    state.apply(Membership((Entry("s0", "serve", "serve/0", "http://a:1", "draining"),)))
    assert not state.ready()
    assert state.choose("serve") is None
