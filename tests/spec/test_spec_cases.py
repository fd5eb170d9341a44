"""Wrong cluster files: ``cases/NAME.yaml``, and in ``NAME.problems`` what ``validate`` prints and the keys in its JSON.

``pytest tests/spec --accept`` rewrites the second.
"""

from pathlib import Path

import pytest

from dplaunch.view.problems import render

CASES = Path(__file__).parent / "cases"


def gone(path):
    raise FileNotFoundError(2, "No such file or directory", path)


@pytest.mark.parametrize(
    "path", sorted(CASES.rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_a_wrong_file_has_the_problems_of_its_case(problems, expect, path):
    found = problems(path.read_text(), gone, path.name)
    keys = ", ".join(problem.key or "(the file)" for problem in found)
    expect(path.with_suffix(".problems"), f"{render(found)}\n\nkeys: {keys}\n")
    assert found


def test_every_text_has_its_case():
    assert [path for path in CASES.rglob("*.problems") if not path.with_suffix(".yaml").exists()] == []
