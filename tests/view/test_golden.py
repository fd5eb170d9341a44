"""Every golden text is asked for by a test."""

from pathlib import Path


def test_no_golden_text_is_left_over():
    here = Path(__file__).parent
    asked = "\n".join(path.read_text() for path in here.glob("test_*.py"))
    names = {path.stem for path in (here / "golden").iterdir()} - {"picture-80", "picture-200"}
    assert [name for name in sorted(names) if f'"{name}"' not in asked] == []
