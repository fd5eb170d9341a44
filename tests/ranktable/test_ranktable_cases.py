"""Wrong tables: ``cases/NAME.json``, and in ``NAME.problems`` what ``ranktable --verify`` prints about them.

``pytest tests/ranktable --accept`` rewrites the second. The cluster has n1 and n2 with 192.0.0.1 and 192.0.0.2.
"""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from specs import nodes

from dplaunch.ranktable import Device, NodeDevices, Site, make_table, verify
from dplaunch.view.problems import render

CASES = Path(__file__).parent / "cases"
FILES = sorted(CASES.glob("*.json"))
SITE = Site(nodes=nodes(2), family="a2")


def site_of(text: str) -> Site:
    """What a table of this kind and version is for; n1 prefills and n2 decodes."""
    roles = {"prefill": ("n1",), "decode": ("n2",)}
    family = "a3" if "super_device_id" in text else "a2"
    return replace(SITE, family=family, roles=roles, transfer="fill_device_list" in text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_wrong_table_has_the_problems_of_its_case(expect, path):
    found = verify(path.read_text(), path.name, site_of(path.read_text()))
    keys = ", ".join(problem.key or "(the file)" for problem in found)
    expect(path.with_suffix(".problems"), f"{render(found)}\n\nkeys: {keys}\n")
    assert found


def test_every_text_has_its_case():
    assert [path for path in CASES.glob("*.problems") if not path.with_suffix(".json").exists()] == []


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_is_cut_out_of_a_table_is_a_problem_with_a_place_and_never_an_error(data):
    text = data.draw(st.sampled_from(FILES)).read_text()
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 40)))
    broken = (
        text[:begin] + data.draw(st.sampled_from(["", "null", "[]", "{}", "3", '"x"', "\t"])) + text[end:]
    )
    lines = broken.split("\n")
    for problem in verify(broken, "t.json", SITE):
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1


def test_a_version_that_is_not_that_of_the_hardware_is_a_warning():
    text = (CASES / "backups.json").read_text()
    found = verify(text, "t.json", SITE)
    assert [(one.key, one.warning) for one in found][-1] == ("version", True)


def test_without_a_cluster_file_the_rules_of_the_table_itself_hold():
    found = verify((CASES / "servers-unknown.json").read_text(), "t.json", None)
    assert [one.key for one in found] == ["server_list[0].server_id"]


def test_a_table_of_the_other_kind_is_a_warning():
    text = (CASES / "backups.json").read_text()
    [found, *_] = verify(text, "t.json", replace(SITE, family="a3", transfer=True))
    assert (found.line, found.warning) == (1, True)
    assert "LLMDataDist" in found.text


def a_table(servers: int, devices: int) -> str:
    """A table in which nothing else is wrong."""
    return make_table(
        [
            NodeDevices(
                name=f"n{server}",
                address=f"192.0.{server}.1",
                devices=tuple(Device(number=n, address=f"10.{server}.0.{n + 1}") for n in range(devices)),
            )
            for server in range(servers)
        ]
    )


@pytest.mark.parametrize(
    ("servers", "devices", "line", "text"),
    [
        (61, 1, '    "server_list":[', "there are 61 servers"),
        (2, 33, "        {", "this server has 33 devices"),
    ],
)
def test_more_than_readers_take_is_found_where_it_begins(servers, devices, line, text):
    made = a_table(servers, devices)
    first, *_ = verify(made, "t.json", None)
    assert (first.source_line, first.column) == (line, len(line))
    assert text in first.text


def test_a_file_that_nests_too_deep_is_one_problem():
    [found] = verify("[" * 100_000 + "]" * 100_000, "t.json", None)
    assert (found.line, found.column) == (1, 1)
    assert "too deep" in found.text
