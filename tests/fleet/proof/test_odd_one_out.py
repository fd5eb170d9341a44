"""What failed pairs have in common, and what a proof notes that is no failure."""

import pytest
from plans import a_plan, a_process

from dplaunch.fleet.proof.odd_one_out import explain_odd_one, find_notes, find_odd_one
from dplaunch.model.proof import Answer, KvGrowth, OddOneOut, Pair


def pair(prefill, decode):
    return Pair((f"prefill-{prefill}", f"decode-{decode}"), (f"p{prefill // 2}", f"d{decode // 2}"))


@pytest.mark.parametrize(
    ("failed", "odd"),
    [
        ([(0, 3)], None),
        ([(0, 3), (1, 3), (2, 3), (3, 3)], OddOneOut("engine", "decode-3", "d1")),
        ([(2, d) for d in range(4)], OddOneOut("engine", "prefill-2", "p1")),
        ([(p, d) for p in range(4) for d in (2, 3)], OddOneOut("node", "d1", "d1")),
        ([(p, d) for p in (0, 1) for d in range(4)], OddOneOut("node", "p0", "p0")),
        ([(0, 0), (1, 1)], None),  # no end in common
        ([(0, 3), (1, 3)], None),  # decode-3 answers others right
    ],
)
def test_the_odd_one_is_in_every_failed_pair_and_in_no_good_one(failed, odd):
    every = {(p, d) for p in range(4) for d in range(4)}
    good = [pair(*one) for one in sorted(every - set(failed))]
    assert find_odd_one([pair(*one) for one in failed], good) == odd


def test_two_ends_in_common_are_two_suspects():
    assert find_odd_one([pair(0, 0), pair(0, 0)], [pair(1, 1)]) is None


def test_where_nothing_passes_there_is_no_suspect():
    assert find_odd_one([pair(0, d) for d in range(4)], []) is None


def test_the_odd_one_comes_with_the_address_whose_nic_to_look_at():
    plan = a_plan(a_process("decode-3", "n5"))
    engine = explain_odd_one(OddOneOut("engine", "decode-3", "n5"), plan)
    assert engine.startswith("decode-3 on n5")
    assert engine.endswith("NIC of n5")
    assert explain_odd_one(OddOneOut("node", "n5", "n5"), plan).startswith("an engine on n5")


def test_cold_pairs_are_one_note():
    answers = {pair(0, d): Answer(text="Rome", first="answered 500: x") for d in range(2)}
    answers[pair(0, 2)] = Answer(wrong="answered 500: y", first="answered 500: x")
    [note] = find_notes(answers, [])
    assert "prefill-0 → decode-[0-1]" in note
    assert "answered 500: x" in note


def test_a_believable_answer_that_differs_is_a_note_and_the_majority_is_right():
    answers = {pair(0, d): Answer(text="Rome") for d in range(3)} | {pair(0, 3): Answer(text="Roma")}
    [note] = find_notes(answers, [])
    assert note.startswith("prefill-0 → decode-3 answered 'Roma', 3 pairs 'Rome'")


def test_what_no_engine_counts_is_not_provable_and_no_failure():
    moved = [
        KvGrowth("decode-0", "n1", None),
        KvGrowth("decode-1", "n1", None),
        KvGrowth("decode-2", "n1", 9.0),
    ]
    [note] = find_notes({}, moved)
    assert "decode-[0-1]" in note
    assert not any(one.wrong for one in moved)
