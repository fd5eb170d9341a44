from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dplaunch.ranges import families, fold, grouped, ranges


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        ([], ""),
        (["router"], "router"),
        (["n1", "n2", "n3", "n7"], "n[1-3,7]"),
        ([f"decode-{n}" for n in range(16)] + ["prefill-0"], "decode-[0-15],prefill-0"),
        (["n10", "n9", "n9", "n8"], "n[8-10]"),
        (["n08", "n09", "n10"], "n[08-10]"),
        (["n1", "n01", "n2"], "n[1-2],n01"),
        (["192.0.0.1", "192.0.0.2"], "192.0.0.[1-2]"),
        (["a1.example.com", "a2.example.com"], "a[1-2].example.com"),
        (["rack1-n5", "rack2-n5", "rack3-n5"], "rack[1-3]-n5"),
        (["r1-n1", "r1-n2", "r2-n1", "r2-n2"], "r1-n[1-2],r2-n[1-2]"),
    ],
)
def test_folds_names(names, folded):
    assert fold(names) == folded


def test_families_keep_the_order_of_first_appearance():
    assert families(["z", "b2", "a1", "b1", "a9"]) == ("z", "b[1-2]", "a[1,9]")


def test_ranges_are_ascending_and_each_number_once():
    assert ranges([3, 1, 2, 2, 8]) == "1-3,8"
    assert ranges([]) == ""


NUMBERS = ("", "0", "1", "2", "02", "9", "10", "010")


def _expand(word: str) -> set[str]:
    found = re.fullmatch(r"(.*?)\[([\d,-]+)\](.*)", word)
    if not found:
        return {word}
    head, spans, tail = found.groups()
    names = set()
    for span in spans.split(","):
        low, _, high = span.partition("-")
        width = len(low) if low.startswith("0") and len(low) > 1 else 0
        names |= {f"{head}{n:0{width}}{tail}" for n in range(int(low), int(high or low) + 1)}
    return names


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*map(st.sampled_from, (("a", "b"), NUMBERS, ("", "-x"), NUMBERS))), max_size=20))
def test_no_name_is_lost_and_none_invented(parts):
    names = ["".join(part) for part in parts]
    folded = families(names)
    assert set().union(*map(_expand, folded)) == set(names)


def test_what_has_one_key_goes_together_in_order_of_appearance():
    assert list(grouped([("b", 1), ("a", 2), ("b", 3)]).items()) == [("b", [1, 3]), ("a", [2])]
