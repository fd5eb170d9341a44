"""What documents write where a reader's own value belongs: ``xxx``, ``<your NIC>``, ``tcp://PIP:PORT``."""

from __future__ import annotations

import re

_ANYWHERE = re.compile(
    r"""(?<![A-Za-z0-9])[xX]{3,}(?![A-Za-z0-9])         # xxx
    | (?<![\w.])(?:[\dxX*]{1,3}\.){3}[xX*]{1,3}(?![\w.])  # 192.0.2.x
    | <[A-Za-z](?:[^<>|]*[^<>|\s])?>                     # <your template>
    | \{\{\s*[A-Za-z_][\w .-]*\}\}                       # {{ model }}
    | (?<![A-Za-z0-9])path[/_-]to(?![A-Za-z0-9])[\w/.-]*   # /path/to/model, /path_to_weight
    | (?<![A-Za-z0-9])[yY](?:our|OUR)[_-]\w+              # your_node1_ip
    | ://(?:[A-Z][A-Z0-9_]*(?![\w.])|[^/\s]*:[A-Z_]*PORT(?!\w))  # tcp://PIP:PORT
    | (?<!\w)(?:TO_?DO|FIX_?ME|TBD|CHANGE_?ME|REPLACE_?ME|PLACEHOLDER)(?!\w)""",
    re.VERBOSE,
)
_WHOLE = re.compile(
    r"(?:[A-Z][A-Z0-9]*_)*(?:IP|PIP|PORT|HOST|ADDR|ADDRESS|NIC|NIC_?NAME|IFNAME)\d*(?::[A-Z_]*PORT)?"
    r"|(?i:model[_-](?:path|name|dir)|local[_-]ip|nic[_-]name)|\.{3}|…"
)
_TOKEN = re.compile(r"<[a-z_]+>")


def placeholder(text: str, *, tokens: bool = False) -> str:
    """The first placeholder in a value; empty without one.

    ``tokens``: the value may hold a model's own words, such as ``<think>``.
    """
    if _WHOLE.fullmatch(text.strip()):
        return text.strip()
    for match in _ANYWHERE.finditer(text):
        if not tokens or not _TOKEN.fullmatch(match.group()):
            return match.group() if match.group()[0] in "<{" else _word_around(text, match)
    return ""


def _word_around(text: str, match: re.Match[str]) -> str:
    """``tcp://PIP:PORT`` rather than the part of it that is none of the reader's."""
    before = re.split(r"[\s'\"=,]", text[: match.start()])[-1]
    after = re.split(r"[\s'\",]", text[match.end() :])[0]
    return before + match.group() + after
