"""What ``test`` shows: a matrix while it fits, folded beyond, failures and what they have in common."""

import pytest

from dplaunch.model.proof import Answer, KvGrowth, OddOneOut, Pair, Proof
from dplaunch.model.summary import Cause
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
    kv_growth = tuple(KvGrowth(f"decode-{d}", f"n{5 + d}", 190.0) for d in range(decodes))
    basic = {"pairs": pairs, "total": len(pairs), "router": (good, good), "kv_growth": kv_growth}
    return Proof(**{**basic, **fields})


def test_a_few_pairs_are_a_matrix(draw, golden):
    golden("pairs", draw(drawing.render("c", proof()), 100))


def test_what_failed_is_listed_with_what_it_has_in_common(draw, golden):
    found = proof(
        wrong={(0, 2), (1, 2)},
        router=(Answer(text="Rome"), Answer(wrong="answered 200 with empty text")),
        kv_growth=(
            KvGrowth("decode-0", "n5", 9.0),
            KvGrowth("decode-1", "n6", 0.0),
            KvGrowth("decode-2", "n7", 9.0),
        ),
        odd_one_out=OddOneOut("engine", "decode-2", "n7"),
        notes=("prefill-0 → decode-0 was cold",),
    )
    golden("pairs-failed", draw(drawing.render("c", found), 100))


def test_many_pairs_are_a_row_per_prefill_engine(draw, golden):
    golden("pairs-many", draw(drawing.render("c", proof(decodes=12, wrong={(1, 11)}, total=99)), 130))


def test_many_failures_of_a_kind_are_a_line_per_prefill_engine(draw, golden):
    found = proof(decodes=12, wrong={(1, d) for d in range(12)})
    golden("pairs-many-failed", draw(drawing.render("c", found), 130))


def test_verbose_is_a_row_per_pair_with_its_answer(draw, golden):
    golden("pairs-verbose", draw(drawing.render("c", proof(wrong={(0, 1)}), verbose=1), 100))


def test_engines_that_stand_alone_share_a_row(draw, golden):
    alone = tuple((Pair((f"serve-{n}",), ("n1",)), Answer(seconds=1.5)) for n in range(3))
    golden("pairs-alone", draw(drawing.render("c", proof(pairs=alone, total=3, kv_growth=()))))


def test_where_no_pair_can_be_chosen_there_is_no_table(draw, golden):
    found = proof(pairs=(), total=0, kv_growth=(), notes=("it pairs them itself",))
    golden("pairs-none", draw(drawing.render("c", found)))


def test_a_node_may_be_the_odd_one(draw, golden):
    golden("pairs-odd-node", draw(drawing.render("c", proof(odd_one_out=OddOneOut("node", "n7", "n7"))), 100))


@pytest.mark.parametrize(("grown", "moved"), [(None, None), (0.0, False), (9.0, True)])
def test_moved_unmoved_and_uncounted_kv_differ_in_the_json(grown, moved):
    value = drawing.to_json(proof(prefills=1, decodes=1, kv_growth=(KvGrowth("decode-0", "n5", grown),)))
    assert value["ok"] is (moved is not False)
    assert value["kv"] == [{"engine": "decode-0", "node": "n5", "grown": grown, "moved": moved}]


def test_the_json_schema_is_stable(golden):
    golden("pairs", drawing.to_json(proof(prefills=1, decodes=1)))


def test_what_is_broken_besides_is_named_instead_of_a_suspect(draw, golden):
    cause = Cause(process="decode-7", node="d1", how="killed by SIGKILL", ago=12.0)
    found = proof(wrong={(0, 2), (1, 2)}, odd_one_out=OddOneOut("engine", "decode-2", "n7"))
    golden("pairs-cause", draw(drawing.render("c", found, cause), 100))
    assert drawing.to_json(found, cause)["cause"]["remedy"] == "run `dplaunch up`"


def test_where_words_say_nothing_that_is_noted(draw, golden):
    golden("pairs-unjudged", draw(drawing.render("c", proof(prefills=1, decodes=1, judged=False)), 100))
