"""Reads one log line: the head that its library writes before each message, and the message itself.

Python's loggers, glog, CANN, HCCL, NCCL, UCX and NVSHMEM write heads of different shapes. An error is
recognised by that shape, so that one which no signature knows is reported with the library's own sentence.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from dplaunch.stamp import split_speaker

_CLOCK = r"(?:\d{4}-)?\d\d-\d\d[ T-]\d\d:\d\d:\d\d[\d.,:]*(?:Z|[+-]\d\d:?\d\d)?"
_WORD = r"ERROR|FATAL|CRITICAL|WARNING|WARN|INFO|DEBUG|TRACE|EVENT"
_SOURCE = r"(?:\[[\w./-]+(?::\d+)?\] ?|[\w./-]+\.py(?:\[line:\d+\]|:\d+)[:\]]? ?|[\w.<>]+:[\w.<>]+:\d+ - )?"
_HEADS = tuple(
    re.compile(pattern)
    for pattern in (
        # vLLM, uvicorn, FastDeploy: ERROR 04-25 10:01:17 [core.py:790] …
        rf"(?P<level>{_WORD})\b:? *(?:{_CLOCK} *)?(?:\d+ +)?{_SOURCE}",
        # logging, loguru, spdlog: 2026-04-25 10:01:17,340 | ERROR | …; [2026-04-25 10:01:17.340] [error] …
        (
            rf"\[?{_CLOCK}\]?[ |-]*(?:\[[^\]]{{0,30}}\] ?|[\w.]+ (?:- )?){{0,4}}?"
            rf"\[?(?P<level>{_WORD}|error|critical)\b\]?[ :|-]*{_SOURCE}"
        ),
        # glog, absl, torch: E0425 10:01:17.412760 112112 transport.cpp:836] …
        (
            r"(?:\[rank\d+\]:)?\[?(?P<level>[EFWI])(?:\d{4})?\d{3,4} \d\d:\d\d:\d\d\.\d+ +"
            r"(?:\d+ +)?[\w./+-]+:\d+\] ?(?:Warning: )?"
        ),
        # CANN and HCCL: [ERROR] HCCL(4242,python3):2026-04-25-10:01:17.340.123 [ranktable.cc:88] …
        rf"\[(?P<level>{_WORD})\] ?\w+\(\d+,[^)]*\): ?[\d.:-]+ ?(?:\[[^\]]*\] ?)?(?:\[?\d+\]? ?)?",
        # torch_npu: [ERROR] 2026-04-25-10:01:17 (PID:4242, Device:0, RankID:-1) …
        r"\[(?P<level>ERROR|WARNING)\] [\d.:-]+ \(PID:[^)]*\) ",
        r"\[(?P<level>ERROR|[Ee]rror)\]:? ?",
        # UCX: [1745569277.340123] [n1:4242 :0] tcp_ep.c:118 UCX ERROR …
        r"\[\d+\.\d+\] +\[[^\]]*\] +[\w.]+:\d+ +UCX +(?P<level>FATAL|ERROR|WARN|DIAG|INFO) +",
        # NCCL, whose errors are of level WARN: n1:4242:4300 [0] misc/socket.cc:484 NCCL WARN …
        (
            r"(?:\[[^\]]*\] )?[\w.-]+:\d+:\d+ (?:\[[\w-]+\] )?(?:[\w./]+:\d+ )?"
            r"(?P<nccl>NCCL )?(?P<level>WARN|ERROR|INFO) (?:[\w./]+:\d+ )?"
        ),
        # NVSHMEM: …/transport/ibgda/ibgda.cpp:2234: NULL value …
        r"\S+\.(?:cpp|cu|cc|c|h):(?:[\w:]+:)?\d+: (?P<level>non-zero status: \d+|NULL value|[Ee]rror)[ :]*",
        # CANN's table of errors: EE1001: [PID: 4242] 2026-04-25-10:01:17.673.064 …; Config_Error(EI0016): …
        (
            r"(?:\[PID: ?\d+\] ?[\d.:-]+ ?)?(?:\w+\()?(?P<level>E[A-Z0-9]\d{4})\)?: ?"
            r"(?:\[PID: ?\d+\] ?)?(?:\d{4}-[\d.:-]+ )?"
        ),
        # C++, Rust, Python's interpreter
        r"\s*(?P<level>what\(\)): *",
        r"thread '[^']*'(?: \(\d+\))? (?P<level>panicked) at [^\s:]+[\d:]*\s*",
        r"(?P<level>Fatal Python error): ",
    )
)
"""The heads of lines; ``level`` is what the library calls the kind of line."""
_LOGGER = re.compile(rf"(?:{_WORD})\b|\[?{_CLOCK}")
_CALM = {"WARNING", "WARN", "INFO", "DEBUG", "TRACE", "EVENT", "DIAG", "W", "I"}
_CODE = re.compile(r"E[A-Z0-9]\d{4}")
_DEPTH = 3
"""Heads within each other: vLLM logs what torch_npu wrote, which quotes CANN."""
_SAYS_ERROR = re.compile(
    r"\b(?:ERROR|FATAL|CRITICAL)\b|error: |Assertion .*failed|^\S+: line \d+: "
    r'|"level": ?"(?:error|fatal)"'
)
_EXCEPTION = re.compile(r"[\w.]*(?:Error|Exception)(?:: |$)")


class Reading(NamedTuple):
    """What a line says."""

    head: str
    """What the outermost library wrote before its message: equal in all lines of one record."""
    sentence: str
    level: str
    """As its library writes it; empty for a line without a head."""
    code: str
    """An error code of CANN: ``EE1001``."""

    @property
    def is_calm(self) -> bool:
        """Its library calls it a warning, or less."""
        return self.level in _CALM

    @property
    def is_native(self) -> bool:
        """A native library wrote it, not one of Python's loggers."""
        return bool(self.head) and not _LOGGER.match(self.head)

    @property
    def is_exception(self) -> bool:
        """It is the last line of a Python traceback, going by its name."""
        return bool(_EXCEPTION.match(self.sentence))

    @property
    def is_error(self) -> bool:
        """Its head or its words call it an error."""
        return not self.is_calm and (
            bool(self.level) or self.is_exception or bool(_SAYS_ERROR.search(self.sentence))
        )


def read(message: str) -> Reading:
    """Return the parts of a line from which the names of processes were removed."""
    sentence, head, level, code = message, "", "", ""
    for _ in range(_DEPTH):
        found = next((match for head in _HEADS if (match := head.match(sentence))), None)
        if found is None:
            break
        named = "ERROR" if "nccl" in found.re.groupindex and found["level"] == "WARN" else found["level"]
        code = code or (named if _CODE.fullmatch(named) else "")
        level = level or named
        head = head or found[0]
        sentence = sentence[found.end() :]
    return Reading(head, sentence, level, code)


def read_message(line: str) -> str:
    """Return the message of a line, without process, time, level and place."""
    return read(split_speaker(line)[1]).sentence.strip()
