"""The words of ``docs/architecture.md``, where each is defined once: what ``explain group`` prints."""

from __future__ import annotations

import re
from functools import cache

from dplaunch.render import docs_root

_ROW = re.compile(r"^\| (?P<words>[a-z, -]+) \| (?P<meaning>.+) \|$", re.MULTILINE)


@cache
def words() -> dict[str, str]:
    """Every word and the meaning beside it; words of one row share it."""
    page = (docs_root() / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("\n## Words\n")[2].partition("\n## ")[0]
    rows = [match for match in _ROW.finditer(table) if match["words"] != "word"]
    return {
        word: f"{match['words']}: {match['meaning']}" for match in rows for word in match["words"].split(", ")
    }
