"""The knobs of a rehearsal, read once from the environment (documented in the package)."""

from __future__ import annotations

from .narration import STAGES

PREFIX = "DPLAUNCH_REHEARSAL_"


class Knobs:
    """What a rehearsal engine is told to do wrong, and how fast it plays.

    Times are seconds except ``token_ms``. ``rank`` is the engine's data-parallel rank: with ONLY_RANK set,
    every other rank behaves well.
    """

    def __init__(self, env: dict[str, str], rank: int) -> None:
        self._env = env
        self._faulty = self._setting("ONLY_RANK", str(rank)) == str(rank)
        self.speed = self._number(self._setting("SPEED", "0.3"))
        self.token_ms = self._number(self._setting("TOKEN_MS", "2"))
        self.bind = self._setting("BIND")
        self.handshake = self._number(self._setting("HANDSHAKE_S", "300"))
        self.slow = self._number(self._fault("SLOW", "0"))
        self.crash_after = self._number(self._fault("CRASH_AFTER", "-1"))
        self.exit_code = int(self._number(self._fault("EXIT_CODE", "1")))
        self.crash_signal = self._fault("CRASH_SIGNAL").upper()
        self.hang = self._stage(self._fault("HANG").lower())
        self.never_ready = self._switch("NEVER_READY")
        self.ignore_term = self._switch("IGNORE_TERM")
        self.orphans = int(self._number(self._fault("ORPHANS", "0")))
        self.title = self._fault("TITLE")
        self.dead_group_health = int(self._number(self._fault("DEAD_GROUP_HEALTH", "200")))
        self.answer = self._fault("ANSWER").lower()
        self.first_fetch_fails = self._switch("FIRST_FETCH_FAILS")
        self.bad_kv_from = self._fault("BAD_KV_FROM")
        self.log_flood = self._number(self._fault("LOG_FLOOD", "0"))

    def _setting(self, name: str, default: str = "") -> str:
        return self._env.get(PREFIX + name) or default

    def _fault(self, name: str, default: str = "") -> str:
        return self._setting(name, default) if self._faulty else default

    def _switch(self, name: str) -> bool:
        return self._fault(name).lower() not in ("", "0", "false", "no")

    def _stage(self, name: str) -> str:
        if name and name not in STAGES:
            raise SystemExit(f"{PREFIX}HANG names no stage: {name!r} is none of {', '.join(STAGES)}")
        return name

    def _number(self, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise SystemExit(f"a rehearsal knob must be a number, not {text!r}: see {PREFIX}*") from None
