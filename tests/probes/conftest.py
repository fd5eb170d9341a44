from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

CASES = Path(__file__).parent / "cases"


@pytest.fixture
def worded(expect: Callable[[Path, str], None]) -> Callable[[str, Iterable[str]], None]:
    """``worded(name, findings)``: these findings, one a line, are what ``cases/NAME.txt`` holds."""

    def compare(name: str, findings: Iterable[str]) -> None:
        expect(CASES / f"{name}.txt", "".join(f"{finding}\n" for finding in findings))

    return compare
