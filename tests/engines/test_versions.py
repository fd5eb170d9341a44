import pytest

from dplaunch.engines import versions

KNOWN = ("0.9.1", "0.10.1rc1", "0.23.0")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("0.9.1", (0, 9, 1, versions.FINAL)),
        ("v0.11.0rc2", (0, 11, 0, 2)),
        ("2.0.RC1", (2, 0, 0, 1)),
        ("0.10", (0, 10, 0, versions.FINAL)),
        ("0.10.1.1", (0, 10, 1, versions.FINAL + 1)),
        ("0.7.3.post1", (0, 7, 3, versions.FINAL)),
        ("0.32.0+cpu", (0, 32, 0, versions.FINAL)),
        ("main", None),
        ("", None),
    ],
)
def test_parse(text, version):
    assert versions.parse(text) == version


def test_a_candidate_comes_before_its_release():
    assert versions.at_least("0.11.0", "0.11.0rc3")
    assert not versions.at_least("0.11.0rc3", "0.11.0")
    assert versions.at_least("0.10.1rc1", "0.10.1rc1")
    assert versions.at_least("0.100.0", "0.23.0")
    assert versions.at_least("main", "0.23.0")


def test_a_mended_release_comes_after_it_and_before_the_next():
    assert versions.at_least("0.10.1.1", "0.10.1")
    assert not versions.at_least("0.10.1.1", "0.10.2rc1")
    assert not versions.at_least("0.10.1", "0.10.1.1")


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("0.10.0", ("0.9.1", "0.10.1rc1")),
        ("0.8.5", ("0.9.1",)),
        ("9.9.9", ("0.23.0",)),
        ("x", ("0.23.0",)),
    ],
)
def test_neighbours_of_an_unknown_version(text, near):
    assert versions.neighbours(text, KNOWN) == near
