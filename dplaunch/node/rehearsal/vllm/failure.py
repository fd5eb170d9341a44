"""How an engine dies: which process logs what, and the exit code."""

from __future__ import annotations

from .log import API, CORE, Log


class FatalError(Exception):
    """An end of the engine with the real one's last words; ``text`` is the exception line.

    ``who`` raised it: an exception in the core is logged there, and the server follows with its
    own generic line.
    """

    def __init__(self, text: str, *, who: str = API, code: int = 1) -> None:
        super().__init__(text)
        self.text = text
        self.who = who
        self.code = code


class Stopped(Exception):  # noqa: N818 - no error: the way out on a signal
    """SIGTERM or SIGINT: end in good order."""


def report(log: Log, failure: FatalError) -> None:
    """Log the failure as the engine would."""
    if failure.who == CORE:
        log.error(
            CORE,
            "core.py:708",
            f"EngineCore failed to start.\nTraceback (most recent call last):\n{failure.text}",
        )
        text = (
            "RuntimeError: Engine core initialization failed. See root cause above. "
            f"Failed core proc(s): {{'{CORE}_DP{log.rank}': 1}}"
        )
        log.traceback(API, text)
    else:
        log.traceback(API, failure.text)
