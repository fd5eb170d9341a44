"""What ``validate`` answers to whole cluster files, scripts included: ``mistakes/NAME.yaml`` and ``NAME.problems``."""

from pathlib import Path

import pytest

from dplaunch import plan, spec
from dplaunch.errors import SpecError
from dplaunch.view.problems import render

MISTAKES = Path(__file__).parent / "mistakes"


def read(name):
    return (MISTAKES / name).read_bytes().decode()


@pytest.mark.parametrize("path", sorted(MISTAKES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_mistaken_cluster_gets_all_its_problems_at_once(expect, path):
    with pytest.raises(SpecError) as caught:
        spec.load(path.read_text(), path.name, read_file=read, check=plan.check)
    expect(path.with_suffix(".problems"), f"{render(caught.value.problems)}\n")
