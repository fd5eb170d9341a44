"""Text → data and places: aliases, merges, odd line ends, bombs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dplaunch.errors import Problem, SpecError
from dplaunch.nearest import did_you_mean, nearest
from dplaunch.spec.document import DEEPEST, MOST_VALUES, Reading, read
from dplaunch.spec.finding import Finding, Place, counted, dotted
from dplaunch.spec.syntax import MOST_OPENINGS, encoding_hint


def document(text, reading=lambda _path: Reading.ANY):
    return read(text, "c.yaml", reading)


def place(text, path, **more):
    problem = document(text).problem(Finding(path, "!", **more))
    return problem.line, problem.column


def test_every_key_and_value_has_its_place():
    text = "a: 1\nb:\n  - c: x\n    d: [1, 22]\n  - |\n    text\n"
    assert place(text, ("a",)) == (1, 4)
    assert place(text, ("a",), at_key=True) == (1, 1)
    assert place(text, ("b",)) == (3, 3)
    assert place(text, ("b", 0, "d")) == (4, 8)
    assert place(text, ("b", 0, "d", 1)) == (4, 12)
    assert place(text, ("b", 0, "d", 1), at_key=True) == (4, 12)
    assert place(text, ("b", 1)) == (5, 5)
    assert place(text, ()) == (1, 1)


def test_what_is_not_there_is_placed_at_the_nearest_key_above_it():
    text = "a: 1\nb:\n  c: {d: 1}\n"
    assert place(text, ("b", "c", "x")) == (3, 3)
    assert place(text, ("b", "x", "y", 3)) == (2, 1)
    assert place(text, ("x",)) == (1, 1)
    assert place(text, ("b", "c"), place=Place(9, 9)) == (9, 9)


def test_a_problem_carries_all_that_a_view_needs():
    found = document("a: 1\nb:\n  c:   2   # why\n").problem(
        Finding(("b", "c"), "is wrong", "try 3", warning=True)
    )
    assert found == Problem(
        text="is wrong",
        file="c.yaml",
        line=3,
        column=8,
        key="b.c",
        source_line="  c:   2   # why",
        hint="try 3",
        warning=True,
    )


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028"])
def test_lines_end_as_yaml_says(end):
    found = document(f"a: 1{end}b: 22{end}").problem(Finding(("b",), "!"))
    assert (found.line, found.column, found.source_line) == (2, 4, "b: 22")


def test_columns_count_characters_and_a_byte_order_mark_is_not_one_of_the_file():
    assert place("\ufeffä: 1\nöö: {ü: 1}\n", ("öö", "ü")) == (2, 9)


def test_a_place_past_the_last_line_has_no_source_line():
    assert document("a: 1").problem(Finding((), "!", place=Place(2, 1))).source_line == ""
    assert document("a: 1").problem(Finding((), "!", place=Place(1, 1))).source_line == "a: 1"


def test_scalars_are_read_as_the_path_wants_them():
    kinds = {"v": Reading.VALUE, "w": Reading.WRITTEN, "a": Reading.ANY}
    text = "v: [true, 0x10, 1_0, 1.5, x, 2024-01-01, False, 0b11, +7, 1.e+3]\n"
    found = document(text + "w: [true, 010, '', ~x]\na: [null, ~, 1]\n", lambda path: kinds[path[0]])
    assert found.data["v"] == [True, 16, 10, 1.5, "x", "2024-01-01", False, 3, 7, 1000.0]
    assert found.data["w"] == ["true", "010", "", "~x"]
    assert found.data["a"] == [None, None, 1]
    assert [type(item) for item in found.data["v"]][:4] == [bool, int, int, float]
    assert found.findings == ()


def test_an_alias_stands_for_the_whole_value_wherever_it_is_used():
    found = document("a: &x {b: [1]}\nc: *x\nd: [*x, *x]\n")
    assert found.data == {"a": {"b": [1]}, "c": {"b": [1]}, "d": [{"b": [1]}, {"b": [1]}]}
    assert found.findings == ()
    assert found.problem(Finding(("c", "b"), "!")).line == 1


def test_a_merge_gives_way_to_own_keys_and_the_first_of_several_wins():
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {c: 3, <<: [*x, *y], d: 4}\nw: {<<: *y, c: 5}\n"
    found = document(text)
    assert found.data["z"] == {"a": 1, "b": 1, "c": 3, "d": 4}
    assert found.data["w"] == {"b": 2, "c": 5}
    assert found.findings == ()
    assert [found.problem(Finding(("z", key), "!")).line for key in "abcd"] == [1, 1, 3, 3]
    assert document('a: {"<<": 1}').data == {"a": {"<<": 1}}


def test_a_merge_into_itself_is_found():
    (finding,) = document("a: &x {<<: *x, b: 1}\n").findings
    assert (finding.path, "itself" in finding.text) == (("a",), True)


def test_values_nest_to_a_limit():
    most = DEEPEST - 1
    assert document("a: " + "[" * most + "]" * most).findings == ()
    (finding,) = document("a: " + "[" * (most + 2) + "]" * (most + 2)).findings
    assert (finding.path, str(DEEPEST) in finding.text) == (("a", *[0] * DEEPEST), True)


def refusal(text):
    with pytest.raises(SpecError) as error:
        document(text)
    (problem,) = error.value.problems
    assert problem.file == "c.yaml"
    return problem


def refused(text):
    return refusal(text).text


def test_aliases_of_aliases_do_not_fill_the_memory():
    exactly = "a: [" + "x, " * (MOST_VALUES - 1) + "]"
    assert str(MOST_VALUES) in refused(exactly)
    assert len(document("a: [" + "x, " * (MOST_VALUES - 2) + "]").data["a"]) == MOST_VALUES - 2


def test_a_text_that_would_overflow_the_parser_is_not_tried():
    openings = (
        "[" * 8000 + "{" * 8000,
        *(opening * (MOST_OPENINGS + 1) for opening in ("[", "{", "- ", "? ")),
    )
    assert all("too many" in refused(text) for text in openings)
    assert "too many" not in refused("[" * MOST_OPENINGS)


@settings(deadline=None)
@given(st.text(st.sampled_from("a:[]{}-&*#'\" \n\t,1!<|>%@?~"), max_size=60))
def test_any_text_is_a_document_or_one_problem(text):
    try:
        found = document(text)
    except SpecError as error:
        (problem,) = error.problems
        assert problem.line <= text.count("\n") + 1
    else:
        assert isinstance(found.data, dict)
        for finding in found.findings:
            assert 1 <= found.problem(finding).line <= len(found.lines)


def test_the_words_around_findings():
    assert dotted(("nodes", 0, "env", "A")) == "nodes[0].env.A"
    assert dotted(()) == ""
    assert nearest("dpp", ["pp", "dp", "ports"]) == "dp"
    assert nearest("Groups", ["groups"]) == "groups"
    assert nearest("HTTP", ["Http"]) == "Http"
    assert nearest("xports", ["xparts", "ports"]) == "ports"
    assert nearest("xyz", ["groups"]) == ""
    assert did_you_mean("grups", ["groups", "dp"], "known") == "did you mean 'groups'?"
    assert did_you_mean("xyz", ["groups", "dp"], "known") == "known"
    assert (counted(1, "node"), counted(2, "node"), counted(0, "node")) == ("1 node", "2 nodes", "0 nodes")


def test_a_character_that_no_file_can_hold_is_named_at_its_place():
    problem = refusal("x: 1\ncluster: \ud800  \n")
    assert (problem.line, problem.column, "U+D800" in problem.text) == (2, 10, True)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# a file\n  - a list  \n", "  - a list"),
        ("a: [1, 2\nb: 3\n", "b: 3"),
        ("a: 1\n  b: \a \n", "  b: \a"),
    ],
)
def test_what_cannot_be_read_is_shown_as_it_stands(text, line):
    assert refusal(text).source_line == line


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n"])
def test_what_holds_no_keys_is_told_with_the_files_name(text):
    assert refused(text)


@pytest.mark.parametrize(("encoding", "named"), [("gbk", "-f gbk"), ("utf-16", "-f utf-16"), ("latin-1", "")])
def test_a_file_of_another_encoding_gets_the_command_that_converts_it(encoding, named):
    data = "model: é" if encoding == "latin-1" else "model: 模型"
    with pytest.raises(UnicodeDecodeError) as caught:
        data.encode(encoding).decode()
    hint = encoding_hint(caught.value)
    assert "save it as UTF-8" in hint
    assert (f"iconv {named} -t utf-8" in hint) == bool(named)


def test_a_byte_order_mark_and_quoted_punctuation_are_no_mistake(load):
    assert not load(
        '\ufeffcluster: c\nengine: {kind: rehearsal}\nmodel: "模型：一" # 注释，\n'
        "nodes: [{name: n1, host: 192.0.2.1}]\nroles: {serve: {nodes: n1}}\n"
    ).warnings
