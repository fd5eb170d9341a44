from __future__ import annotations

import pytest

from dplaunch.errors import (
    DplaunchError,
    HostError,
    Interrupted,
    LockedError,
    NotReadyError,
    Problem,
    SpecError,
)
from dplaunch.view import errors, problems

UNKNOWN_KEY = Problem(
    "unknown key `mastr`",
    "cluster.yaml",
    41,
    5,
    "roles.decode.mastr",
    "    mastr: 192.0.0.5",
    "did you mean `master`?",
)
IGNORED = Problem("ignored by 0.23.0", "cluster.yaml", 7, 3, "x", '  "FOO BAR": 1', warning=True)


def on_lines(*names: str, word: str = "host", key: str = "host") -> tuple[Problem, ...]:
    """The same mistake at every one of these hosts, each on a line of its own."""
    return tuple(
        Problem(
            f"the address of {name} is '{name}.example', which is neither IPv4 nor IPv6",
            "c.yaml",
            number + 5,
            12,
            key=f"nodes[{number}].{key}",
            source_line=f"  - {{name: {name}, {word}: {name}.example}}",
            hint=f"add address: the IP address of {name}",
        )
        for number, name in enumerate(names)
    )


def test_one_mistake_on_many_lines_is_one_problem(golden):
    numbered = on_lines(*(f"h{number}" for number in range(1, 65)))
    named = on_lines(
        *[
            "alpha",
            "beta",
            "gamma",
            "delta",
            "epsilon",
            "zeta",
            "eta",
            "theta",
            "iota",
            "kappa",
            "lambda",
            "my",
        ]
    )
    golden("problems-of-64-lines", problems.render((*numbered[:3], IGNORED, *numbered[3:])).plain)
    golden("problems-of-12-names", problems.render(named).plain)


def test_two_lines_or_other_keys_are_problems_of_their_own():
    found = on_lines("h1", "h2"), (*on_lines("h1", "h2"), *on_lines("h3", "h4", key="address"))
    assert [problems.render(each).plain.count(": error: ") for each in found] == [2, 4]


def test_problems_look_as_compilers_draw_them(golden):
    golden("problems", problems.render((UNKNOWN_KEY, IGNORED)).plain)


def test_a_problem_without_a_place_has_no_snippet(golden):
    missing = Problem("there is no such file", "nix.yaml", hint="dplaunch init")
    golden("problem-without-a-place", problems.render((missing,)).plain)


def test_a_source_is_a_last_line_and_stands_in_json(golden):
    sourced = Problem("x", "c.yaml", 3, 1, "k", "k: 1", "remove it", source="PR #1", warning=True)
    golden("problem-with-a-source", problems.render((sourced,)).plain)
    assert problems.to_json(sourced)["source"] == "PR #1"
    assert problems.to_json(UNKNOWN_KEY)["source"] == ""


def test_warnings_are_yellow_and_errors_red():
    spans = problems.render((UNKNOWN_KEY, IGNORED)).spans
    assert {str(span.style) for span in spans} >= {"yellow", "bold red"}


@pytest.mark.parametrize(
    ("line", "column", "caret"),
    [
        ("\tkey: 1", 2, "\t^^^"),
        ("模型: 值", 5, "      ^^"),
        ("a: [1, 2", 9, "        ^"),
        ("short", 90, "     ^"),
    ],
)
def test_the_caret_stands_below_its_word(line, column, caret):
    drawn = problems.render((Problem("x", "f", 1, column, source_line=line),)).plain.split("\n")
    assert drawn[1] == f"  1 | {line}"
    assert drawn[2] == f"    | {caret}"


@pytest.mark.parametrize("column", [1, 60, 150, 400])
def test_a_long_line_is_shown_around_the_column(column):
    line = "".join(chr(ord("a") + n % 26) for n in range(400))
    drawn = problems.render((Problem("x", "f", 1, column, source_line=line),), 80).plain.split("\n")
    assert len(drawn[1]) <= 80
    assert drawn[1][drawn[2].index("^")] == line[column - 1]


def test_a_valid_file_says_what_it_would_be(golden, big_plan):
    golden("valid", problems.verdict(big_plan, ()).plain)
    golden("valid-with-a-warning", problems.verdict(big_plan, (IGNORED,)).plain)
    assert problems.verdict_json((IGNORED,))["problems"][0]["severity"] == "warning"


def test_an_error_is_a_sentence_its_lines_and_a_hint(golden):
    error = DplaunchError("decode-3 exited", hint="dplaunch logs decode-3", detail=("\x1b[31mOOM\x1b[0m",))
    golden("error", errors.render(error).plain)


def test_a_host_error_always_names_its_node():
    assert errors.render(HostError("n3", "connection refused")).plain == "error: n3: connection refused"
    assert errors.render(HostError("n3", "n3 refused")).plain == "error: n3 refused"
    assert errors.render(HostError("n3", "n31 refused")).plain == "error: n3: n31 refused"


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (DplaunchError("x"), "failed", 1),
        (HostError("n3", "x"), "host", 3),
        (NotReadyError("x"), "not-ready", 4),
        (LockedError("x"), "locked", 6),
        (Interrupted("x"), "interrupted", 130),
    ],
)
def test_errors_as_json(error, kind, code):
    body = errors.to_json(error)["error"]
    assert (body["kind"], body["exit_code"], body["text"]) == (kind, code, "x")
    assert body["node"] == ("n3" if kind == "host" else None)


def test_a_bad_file_as_json_carries_its_problems():
    body = errors.to_json(SpecError((UNKNOWN_KEY, IGNORED)))["error"]
    assert (body["kind"], body["exit_code"]) == ("spec", 2)
    assert [(p["line"], p["column"], p["severity"]) for p in body["problems"]] == [
        (41, 5, "error"),
        (7, 3, "warning"),
    ]


def test_a_bad_file_is_drawn_with_all_its_problems():
    wrong = (UNKNOWN_KEY, IGNORED)
    assert errors.render(SpecError(wrong)).plain == problems.render(wrong).plain
