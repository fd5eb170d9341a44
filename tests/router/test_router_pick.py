"""Picking is a pure function: its rules, each by an example, and what holds for every snapshot."""

from hypothesis import given, settings
from hypothesis import strategies as st

from dplaunch.router.pick import Candidate, choose, load, open_groups

A = Candidate("p0", "prefill", "prefill/0")
B = Candidate("d0", "decode", "decode/0")
C = Candidate("d1", "decode", "decode/1")


def names(candidates, role="decode", turns=12, **how):
    """Who is chosen, over some turns."""
    found = [choose(candidates, role, turn=turn, **how) for turn in range(turns)]
    return {c.name if c else None for c in found}


def test_a_role_with_no_engines_has_no_choice():
    assert choose([A], "decode") is None
    assert choose([], "prefill") is None


def test_roles_are_not_mixed():
    assert names([A, B, C], "prefill") == {"p0"}


def test_one_member_that_does_not_serve_closes_its_whole_group():
    dead = Candidate("d2", "decode", "decode/0", serving=False)
    assert names([B, C, dead]) == {"d1"}
    assert open_groups([B, C, dead], "decode") == {"decode/1"}
    assert choose([B, dead], "decode") is None


def test_a_group_of_the_same_name_in_another_role_is_another_group():
    dead = Candidate("p", "prefill", "g", serving=False)
    assert names([Candidate("d", "decode", "g"), dead]) == {"d"}
    assert open_groups([Candidate("d", "decode", "g"), dead], "decode") == {"g"}


def test_the_fewest_outstanding_tokens_win():
    assert names([B._replace(tokens=101), C._replace(tokens=100)]) == {"d1"}


def test_requests_of_others_and_queued_ones_count_as_typical_ones():
    assert load(B._replace(tokens=5, foreign=2, waiting=3), 10) == 55
    assert load(B, 10) == 0
    assert names([B._replace(foreign=2), C._replace(tokens=15)], typical=10) == {"d1"}
    assert names([B._replace(waiting=1), C._replace(tokens=15)], typical=10) == {"d0"}


def test_without_a_typical_size_a_request_counts_one_token():
    assert names([B._replace(waiting=2), C._replace(tokens=2)]) == {"d0", "d1"}
    assert names([B._replace(waiting=2), C._replace(tokens=1.5)]) == {"d1"}


def test_ties_are_spread_by_turn():
    chosen = [choose([B, C], "decode", turn=turn).name for turn in range(4)]
    assert chosen == ["d0", "d1", "d0", "d1"]
    assert choose([B, C], "decode").name == "d0"


def test_round_robin_goes_through_all_whatever_their_load():
    seats = [B._replace(tokens=1e9), C, C._replace(name="d2", waiting=50)]
    chosen = [choose(seats, "decode", policy="round-robin", turn=turn).name for turn in range(4)]
    assert chosen == ["d0", "d1", "d2", "d0"]


def test_the_default_policy_is_tokens():
    assert names([B._replace(tokens=1), C]) == {"d1"}


def test_avoided_groups_are_taken_only_when_nothing_else_is_open():
    assert names([B, C._replace(tokens=9)], avoid={"decode/0"}) == {"d1"}
    assert names([B, C._replace(serving=False)], avoid={"decode/0"}) == {"d0"}
    assert names([B, C], avoid={"decode/0", "decode/1"}) == {"d0", "d1"}


def test_suspects_are_taken_only_when_nothing_else_is_open():
    assert names([B._replace(suspect=True), C._replace(tokens=9)]) == {"d1"}
    assert names([B._replace(suspect=True), C._replace(suspect=True)]) == {"d0", "d1"}
    assert names([B._replace(suspect=True), C], policy="round-robin") == {"d1"}


def test_a_suspect_not_tried_yet_comes_before_a_group_tried_in_vain():
    assert names([B, C._replace(suspect=True)], avoid={"decode/0"}) == {"d1"}


def test_a_candidate_serves_and_is_idle_unless_said_otherwise():
    assert Candidate("n", "decode", "g") == Candidate("n", "decode", "g", True, False, 0, 0, 0)


candidates = st.lists(
    st.builds(
        Candidate,
        name=st.uuids().map(str),
        role=st.sampled_from(["prefill", "decode"]),
        group=st.sampled_from(["a", "b", "c"]),
        serving=st.booleans(),
        suspect=st.booleans(),
        tokens=st.integers(0, 50),
        foreign=st.integers(0, 5),
        waiting=st.integers(0, 5),
    ),
    max_size=12,
)
policies = st.sampled_from(["tokens", "round-robin"])
avoids = st.sets(st.sampled_from(["a", "b", "c"]))
turns = st.integers(0, 1000)


@settings(max_examples=50, deadline=None)
@given(candidates, policies, turns, avoids)
def test_whoever_is_chosen_has_the_role_and_sits_in_a_group_that_serves_whole(seen, policy, turn, avoid):
    chosen = choose(seen, "decode", policy=policy, turn=turn, avoid=avoid)
    whole = [
        c
        for c in seen
        if c.role == "decode" and all(o.serving for o in seen if (o.role, o.group) == (c.role, c.group))
    ]
    assert (chosen in whole) if whole else chosen is None


@settings(max_examples=50, deadline=None)
@given(candidates, turns)
def test_nobody_better_was_passed_over(seen, turn):
    chosen = choose(seen, "decode", turn=turn, typical=7)
    if chosen is not None:
        rivals = [c for c in seen if c.role == "decode" and c.group in open_groups(seen, "decode")]
        assert (chosen.suspect, load(chosen, 7)) == min((c.suspect, load(c, 7)) for c in rivals)


@settings(max_examples=50, deadline=None)
@given(candidates, policies)
def test_over_enough_turns_every_equal_gets_its_share(seen, policy):
    level = [c._replace(tokens=0, foreign=0, waiting=0, suspect=False) for c in seen]
    seats = [c for c in level if c.role == "decode" and c.group in open_groups(level, "decode")]
    chosen = [choose(level, "decode", policy=policy, turn=turn) for turn in range(len(seats))]
    assert sorted(chosen) == sorted(seats)
