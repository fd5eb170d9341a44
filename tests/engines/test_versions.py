import pytest

from dplaunch.engines import versions


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("0.9.1", (0, 9, 1, versions.FINAL)),
        ("v0.11.0rc2", (0, 11, 0, 2)),
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
    ("text", "vllm"),
    [
        ("0.9.1", "0.9.1"),
        ("0.10.1", "0.10.1.1"),
        ("0.10.1rc1", "0.10.1.1"),
        ("0.14.0rc1", "0.14.1"),
        ("0.23.0", "0.23.0"),
        ("0.10.0", None),
        ("0.9.2", None),
        ("nightly", None),
    ],
)
def test_releases_pair_with_a_vllm(text, vllm):
    found = versions.ascend_release(text)
    assert (found and found.vllm) == vllm


def test_releases_are_listed_in_order():
    parsed = [versions.parse(release.version) for release in versions.ASCEND_RELEASES]
    assert parsed == sorted(parsed)


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
    assert versions.neighbours(text, (r.version for r in versions.ASCEND_RELEASES)) == near


@pytest.mark.parametrize(("text", "is_a"), [("0.9.1", True), ("0.10.1rc1", False), ("0.23.0", False)])
def test_contract_a_is_older_than_0_10(text, is_a):
    assert versions.is_contract_a(text) is is_a
