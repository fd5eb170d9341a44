import pytest

from dplaunch.engines.flags import plain, words


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (True, ("--k",)),
        (False, ()),
        (None, ()),
        (1024, ("--k", "1024")),
        (0.9, ("--k", "0.9")),
        ("x y", ("--k", "x y")),
        ("", ("--k", "")),
        (-1, ("--k", "-1")),
        ("-x", ("--k=-x",)),
        ("-", ("--k=-",)),
        ((1, "two", True), ("--k", "1", "two", "true")),
        ({"a": (1, {"b": None})}, ("--k", '{"a": [1, {"b": null}]}')),
        (({"a": "é"},), ("--k", '[{"a": "é"}]')),
    ],
)
def test_a_flag_as_words(value, said):
    assert words("k", value) == said


def test_plain_unfolds_all_the_way_down():
    assert plain({"a": ({"b": (1,)},)}) == {"a": [{"b": [1]}]}
