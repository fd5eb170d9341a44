import os
import subprocess

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dplaunch import render

VALUES = st.text(
    st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12
) | st.sampled_from(
    [
        "'",
        '"',
        "$(id)",
        "`id`",
        "\n",
        "\\",
        "$$",
        "${",
        "$HOME",
        "!x",
        "*",
        "~",
        "é✓",
        '{"a": "b\'c"}',
        "a;b",
        "-x",
        "",
    ]
)
NAMES = ("SET_ONE", "SET_TWO", "UNSET")
NODE = {"SET_ONE": "one $(x) \" ' ${SET_TWO}", "SET_TWO": "two\nlines"}


def spoken_by_bash(words, env=None):
    """What bash makes of words, each as it will stand in a script."""
    script = "".join(f"printf '%s\\0' {word}\n" for word in words)
    environ = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **(env or {})}
    done = subprocess.run(
        ["bash", "-u", "-c", script], capture_output=True, check=True, env=environ, timeout=20
    )
    return [part.decode() for part in done.stdout.split(b"\0")[:-1]]


@settings(max_examples=12, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=60))
def test_any_value_survives_as_a_shell_word(values):
    assert spoken_by_bash([render.sh(value) for value in values]) == values


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.lists(VALUES | st.sampled_from([(name,) for name in NAMES]), max_size=5), min_size=1, max_size=40
    )
)
def test_env_values_expand_references_on_the_node_and_nothing_else(entries):
    texts = [
        "".join(p.replace("$", "$$") if isinstance(p, str) else f"${{{p[0]}}}" for p in parts)
        for parts in entries
    ]
    meant = ["".join(p if isinstance(p, str) else NODE.get(p[0], "") for p in parts) for parts in entries]
    assert spoken_by_bash([render.sh_env(text) for text in texts], NODE) == meant


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("expandable_segments:True", "expandable_segments:True"),
        ("/opt/x:${LD_LIBRARY_PATH}", '"/opt/x:${LD_LIBRARY_PATH-}"'),
        ("cost: $$5", "'cost: $5'"),
        ("$${A}", "'${A}'"),
        ("$HOME", "'$HOME'"),
        ('${A}$$`"\\', '"${A-}\\$\\`\\"\\\\"'),
        ("", "''"),
    ],
)
def test_env_values_read_well(text, word):
    assert render.sh_env(text) == word


def test_json_keeps_unicode():
    assert render.to_json({"a": ["é", True]}) == '{"a": ["é", true]}'


def test_a_comment_cannot_leave_its_line():
    assert render.comment("one\nrm -rf /\r\x0btwo") == "one rm -rf / two"


def test_a_template_that_names_what_is_missing_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        render.render("vllm/run_dp_template.sh.j2", {})


def test_templates_and_examples_are_found_beside_the_package():
    assert (render.templates_root() / "vllm-ascend" / "contract_b.sh.j2").is_file()
    assert (render.clusters_root() / "laptop.yaml").is_file()
