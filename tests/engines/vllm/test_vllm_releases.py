import pytest

from dplaunch.engines.versions import parse
from dplaunch.engines.vllm import releases


def test_releases_are_listed_in_order():
    parsed = [parse(version) for version in releases.RELEASES]
    assert None not in parsed
    assert parsed == sorted(set(parsed))


@pytest.mark.parametrize("version", ["0.10.0", "0.18.0", "v0.23.0", "0.32.0+cpu", "0.33.0.post1", "0.33.0"])
def test_a_release_that_is_known_needs_no_word(version):
    assert list(releases.check(version)) == []


@pytest.mark.parametrize(
    ("version", "like"),
    [
        ("0.34.0", "0.33.0"),
        ("0.33.1", "0.33.0"),
        ("1.0.0", "0.33.0"),
        ("0.20.5", "0.20.2"),
        ("0.18.0rc1", "0.17.1"),
    ],
)
def test_any_other_is_taken_for_the_release_before_it_and_the_warning_names_it(version, like):
    [problem] = releases.check(version)
    assert (problem.key, problem.warning) == ("engine.version", True)
    assert version in problem.text
    assert problem.text.endswith(f"as for {like}")


@pytest.mark.parametrize("version", ["", "main", "0.9.1"])
def test_what_has_no_ranks_is_an_error(version):
    [problem] = releases.check(version)
    assert (problem.key, problem.warning) == ("engine.version", False)
