"""``n[1-8]`` → names, and back through fold."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dplaunch.errors import ExitCode
from dplaunch.ranges import RangeError, expand, fold


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", "n1"),
        ("n[1-3]", "n1 n2 n3"),
        ("n[3]", "n3"),
        ("n[1-2,5]", "n1 n2 n5"),
        ("n[5,1-2]x", "n5x n1x n2x"),
        ("n[ 1 - 2 ]", None),
        ("n[1, 2]", "n1 n2"),
        ("192.0.2.[9-11]", "192.0.2.9 192.0.2.10 192.0.2.11"),
        ("n[08-11]", "n08 n09 n10 n11"),
        ("n[0-1]", "n0 n1"),
        ("n[00-1]", "n00 n01"),
        ("n[98-101]", "n98 n99 n100 n101"),
        ("n[099-100]", "n099 n100"),
        ("r[1-2]n[3-4]", "r1n3 r1n4 r2n3 r2n4"),
        ("a[1-2],b", "a1 a2 b"),
        ("b, a[1,2] ,c", "b a1 a2 c"),
        (" n1 ", "n1"),
    ],
)
def test_a_range_stands_for_its_names_in_order(text, names):
    if names is None:
        with pytest.raises(RangeError):
            expand(text)
    else:
        assert expand(text) == tuple(names.split())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a name is empty"),
        ("  ", "a name is empty"),
        ("a,,b", "'a,,b' has a name missing"),
        (",", "',' has a name missing"),
        ("n[1-3", "'n[1-3' has a bracket without its partner"),
        ("n1-3]", "'n1-3]' has a bracket without its partner"),
        ("n[[1]]", "'n[[1]]' has a bracket without its partner"),
        ("n[]", "'n[]' needs numbers in its brackets, as in n[1-4] or n[1-3,5]"),
        ("n[a-b]", "'n[a-b]' needs numbers in its brackets, as in n[1-4] or n[1-3,5]"),
        ("n[1-]", "'n[1-]' needs numbers in its brackets, as in n[1-4] or n[1-3,5]"),
        ("n[1,]", "'n[1,]' needs numbers in its brackets, as in n[1-4] or n[1-3,5]"),
        ("n[-1]", "'n[-1]' needs numbers in its brackets, as in n[1-4] or n[1-3,5]"),
        ("n[3-1]", "'n[3-1]' counts backwards, from 3 to 1"),
        ("n[1-010]", "'n[1-010]' counts from 1 to 010: write both with equally many digits"),
        ("n[1-4097]", "'n[1-4097]' stands for more than 4096 names"),
        ("n[1-100][1-100]", "'n[1-100][1-100]' stands for more than 4096 names"),
        ("n[1-4000],m[1-97]", "'m[1-97]' stands for more than 4096 names"),
    ],
)
def test_what_is_no_range_says_why(text, why):
    with pytest.raises(RangeError) as error:
        expand(text)
    assert error.value.text == why
    assert error.value.exit_code == ExitCode.USAGE


def test_the_most_names_are_4096():
    assert len(expand("n[1-4096]")) == 4096
    assert len(expand("n[1-4000],m[1-96]")) == 4096
    assert len(expand("n[0-63][0-63]")) == 4096


names = st.from_regex(r"[a-z]{0,2}[0-9]{1,3}([.-][a-z]?[0-9]{0,2})?", fullmatch=True)


@settings(max_examples=30, deadline=None)
@given(st.lists(names, min_size=1, max_size=30, unique=True))
def test_expand_undoes_fold(given_names):
    assert sorted(expand(fold(given_names))) == sorted(given_names)


@settings(max_examples=60, deadline=None)
@given(low=st.integers(0, 2000), count=st.integers(1, 300), width=st.integers(1, 5))
def test_a_span_counts_up_and_keeps_its_width(low, count, width):
    first, last = str(low).zfill(width), str(low + count - 1).zfill(width)
    found = expand(f"n[{first}-{last}]")
    assert len(found) == count
    assert [int(name[1:]) for name in found] == list(range(low, low + count))
    assert {len(name[1:]) for name in found} == {max(width, len(str(n))) for n in range(low, low + count)}


@settings(deadline=None)
@given(st.text(st.sampled_from("n[]1-,0 "), max_size=12))
def test_any_text_is_expanded_or_refused(text):
    try:
        found = expand(text)
    except RangeError:
        return
    assert found
    assert not any("[" in name or "]" in name or "," in name for name in found)


def test_a_zero_alone_pads_nothing_and_a_leading_one_does():
    assert expand("n[0-2]") == ("n0", "n1", "n2")
    assert expand("n[9-10]") == ("n9", "n10")
    assert expand("n[00-01]") == ("n00", "n01")
