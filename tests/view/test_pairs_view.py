"""What ``test`` shows: a matrix while it fits, folded beyond, failures and what they have in common."""

import pytest

from dplaunch.model.proof import Answer, Moved, Odd, Pair, Proof
from dplaunch.view import pairs as drawing


def proof(prefills=2, decodes=3, wrong=(), **fields):
    pairs = tuple(
        (
            Pair((f"prefill-{p}", f"decode-{d}"), (f"n{p}", f"n{5 + d}")),
            Answer(wrong="answered 200 with garbage: '!!!!'") if (p, d) in wrong else Answer(seconds=0.01 * (d + 1), text=" Rome"),
        )
        for p in range(prefills)
        for d in range(decodes)
    )  # fmt: skip
    good = Answer(seconds=0.2, text=" Rome")
    moved = tuple(Moved(f"decode-{d}", f"n{5 + d}", 190.0) for d in range(decodes))
    basic = {"pairs": pairs, "total": len(pairs), "router": (good, good), "moved": moved}
    return Proof(**{**basic, **fields})


MATRIX = """\
c: passed: 6 of 6 pairs answer right, the router too, KV came to 3 of 3 decode engines
PREFILL    decode-0  decode-1  decode-2
prefill-0  10 ms     20 ms     30 ms
prefill-1  10 ms     20 ms     30 ms"""


def test_a_few_pairs_are_a_matrix(draw):
    assert draw(drawing.drawn("c", proof()), 100) == MATRIX


FAILED = """\
c: FAILED: 4 of 6 pairs answer right, the router does not, KV came to 2 of 3 decode engines
PREFILL    decode-0  decode-1  decode-2
prefill-0  10 ms     20 ms     FAILED
prefill-1  10 ms     20 ms     FAILED
FAILED prefill-0 → decode-2: answered 200 with garbage: '!!!!'
FAILED prefill-1 → decode-2: answered 200 with garbage: '!!!!'
FAILED router, a streamed request: answered 200 with empty text
FAILED decode-1 on n6: computed its prompts itself: no KV came from prefill
ODD ONE decode-2 on n7 is in every failed pair and in no good one
note prefill-0 → decode-0 was cold
hint: dplaunch logs decode-2 prefill-0 -n 50"""


def test_what_failed_is_told_with_what_it_has_in_common(draw):
    found = proof(
        wrong={(0, 2), (1, 2)},
        router=(Answer(text="Rome"), Answer(wrong="answered 200 with empty text")),
        moved=(Moved("decode-0", "n5", 9.0), Moved("decode-1", "n6", 0.0), Moved("decode-2", "n7", 9.0)),
        odd=Odd("engine", "decode-2", "n7"),
        notes=("prefill-0 → decode-0 was cold",),
    )
    assert draw(drawing.drawn("c", found), 100) == FAILED


FOLDED = """\
c: FAILED: 23 of 24 pairs answer right (of 99; --all asks through all), the router too, KV came to 12 of 12 decode engines
PREFILL    DECODE         GOOD   FASTEST  SLOWEST
prefill-0  decode-[0-11]  12/12  10 ms    120 ms
prefill-1  decode-[0-11]  11/12  10 ms    110 ms
FAILED prefill-1 → decode-11: answered 200 with garbage: '!!!!'
hint: dplaunch logs decode-11 prefill-1 -n 50"""


def test_many_pairs_are_a_row_per_prefill_engine(draw):
    assert draw(drawing.drawn("c", proof(decodes=12, wrong={(1, 11)}, total=99)), 130) == FOLDED


def test_many_failures_of_a_kind_are_a_line_per_prefill_engine(draw):
    text = draw(drawing.drawn("c", proof(decodes=12, wrong={(1, d) for d in range(12)})), 130)
    assert "prefill-1  decode-[0-11]  0/12   -        -" in text
    assert text.count("FAILED prefill-1 → decode-[0-11]: answered 200 with garbage") == 1


def test_verbose_is_a_row_per_pair_with_its_answer(draw):
    lines = draw(drawing.drawn("c", proof(wrong={(0, 1)}), verbose=1), 100).split("\n")
    assert lines[1:4] == [
        "PAIR                  TIME    ANSWER",
        "prefill-0 → decode-0  10 ms    Rome",
        "prefill-0 → decode-1  FAILED",
    ]


def test_engines_that_stand_alone_share_a_row(draw):
    alone = tuple((Pair((f"serve-{n}",), ("n1",)), Answer(seconds=1.5)) for n in range(3))
    text = draw(drawing.drawn("c", proof(pairs=alone, total=3, moved=())))
    assert text.split("\n")[0] == "c: passed: 3 of 3 engines answer right, the router too"
    assert text.split("\n")[2].split() == ["serve-[0-2]", "3/3", "1.50", "s", "1.50", "s"]


def test_where_no_pair_can_be_chosen_there_is_no_table(draw):
    text = draw(drawing.drawn("c", proof(pairs=(), total=0, moved=(), notes=("it pairs them itself",))))
    assert text == "c: passed: the router answers right\nnote it pairs them itself"


def test_a_node_may_be_the_odd_one(draw):
    text = draw(drawing.drawn("c", proof(odd=Odd("node", "n7", "n7"))), 100)
    assert "ODD ONE an engine on n7 is in every failed pair and in no good one" in text


@pytest.mark.parametrize(("grown", "moved"), [(None, None), (0.0, False), (9.0, True)])
def test_the_json_schema_is_stable(grown, moved):
    value = drawing.to_json(proof(prefills=1, decodes=1, moved=(Moved("decode-0", "n5", grown),)))
    answer = {"ok": True, "seconds": 0.01, "text": " Rome", "problem": None, "first_problem": None}
    router = {**answer, "seconds": 0.2}
    assert value == {
        "ok": moved is not False,
        "total": 1,
        "pairs": [{"engines": ["prefill-0", "decode-0"], "nodes": ["n0", "n5"], **answer}],
        "router": [{"stream": False, **router}, {"stream": True, **router}],
        "kv": [{"engine": "decode-0", "node": "n5", "grown": grown, "moved": moved}],
        "odd": None,
        "notes": [],
    }
