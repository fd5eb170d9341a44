import pytest

from dplaunch.engines.ascend import releases
from dplaunch.engines.versions import parse


@pytest.mark.parametrize(
    ("text", "vllm"),
    [
        ("0.9.1", "0.9.1"),
        ("0.10.1", "0.10.1.1"),
        ("0.10.1rc1", "0.10.1.1"),
        ("0.14.0rc1", "0.14.1"),
        ("0.23.0", "0.23.0"),
        ("0.23.0.post1", "0.23.0"),
        ("0.24.0", "0.24.0"),
        ("0.25.1rc1", "0.25.1"),
        ("0.10.0", None),
        ("0.9.2", None),
        ("nightly", None),
    ],
)
def test_releases_pair_with_a_vllm(text, vllm):
    found = releases.find(text)
    assert (found and found.vllm) == vllm


def test_releases_are_listed_in_order():
    parsed = [parse(release.version) for release in releases.RELEASES]
    assert parsed == sorted(parsed)


@pytest.mark.parametrize(("text", "is_a"), [("0.9.1", True), ("0.10.1rc1", False), ("0.23.0", False)])
def test_contract_a_is_older_than_0_10(text, is_a):
    assert releases.is_contract_a(text) is is_a
