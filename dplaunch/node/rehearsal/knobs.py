"""The knobs that every stand-in has, read once from the environment (documented in the package)."""

from __future__ import annotations

PREFIX = "DPLAUNCH_REHEARSAL_"


class Knobs:
    """What a stand-in is asked to do wrong, and how fast it plays.

    Times are seconds except ``token_ms``. ``rank`` is the engine's data-parallel rank: with ONLY_RANK set,
    every other rank behaves well. ``stages`` are the names that HANG may take.
    """

    def __init__(self, env: dict[str, str], rank: int, stages: tuple[str, ...]) -> None:
        self._env = env
        self._faulty = self.setting("ONLY_RANK", str(rank)) == str(rank)
        self.speed = number(self.setting("SPEED", "0.3"))
        self.token_ms = number(self.setting("TOKEN_MS", "2"))
        self.bind = self.setting("BIND")
        self.requests = self.setting("REQUESTS")
        self.slow = number(self.fault("SLOW", "0"))
        self.crash_after = number(self.fault("CRASH_AFTER", "-1"))
        self.stuck_by = self.fault("STUCK_BY")
        self.exit_code = int(number(self.fault("EXIT_CODE", "1")))
        self.crash_signal = self.fault("CRASH_SIGNAL").upper()
        self.hang = self._stage(self.fault("HANG").lower(), stages)
        self.ignore_term = self.switch("IGNORE_TERM")
        self.orphans = int(number(self.fault("ORPHANS", "0")))
        self.title = self.fault("TITLE")
        self.answer = self.fault("ANSWER").lower()
        self.log_flood = number(self.fault("LOG_FLOOD", "0"))

    def setting(self, name: str, default: str = "") -> str:
        """A knob's text."""
        return self._env.get(PREFIX + name) or default

    def fault(self, name: str, default: str = "") -> str:
        """A knob's text on a rank that is to fail, ``default`` on every other."""
        return self.setting(name, default) if self._faulty else default

    def switch(self, name: str) -> bool:
        """Whether a fault is switched on."""
        return self.fault(name).lower() not in ("", "0", "false", "no")

    def _stage(self, name: str, stages: tuple[str, ...]) -> str:
        if name and name not in stages:
            raise SystemExit(f"{PREFIX}HANG: there is no stage {name!r}; use one of {', '.join(stages)}")
        return name


def number(text: str) -> float:
    """A knob's text as a number; ends the program when it is none."""
    try:
        return float(text)
    except ValueError:
        raise SystemExit(f"{PREFIX}*: cannot read {text!r} as a number") from None
