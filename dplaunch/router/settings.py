"""What the command line and the environment say."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Everything that can be set. Times in seconds; a ``request_timeout`` of 0 means no limit."""

    members: str
    host: str = "0.0.0.0"
    port: int = 8000
    workers: int = 1
    policy: str = "tokens"
    model: str = ""
    request_timeout: float = 0.0
    """From the first byte of a request to the last one of its answer."""
    header_timeout: float = 10.0
    """From accepting a connection to the end of its first request's headers."""
    idle_timeout: float = 60.0
    """From the end of an answer to the end of the next request's headers on its connection."""
    body_timeout: float = 60.0
    """To read a request's body."""
    max_body: int = 64 * 1024 * 1024
    """Bytes of a request's body."""
    max_bodies: int = 512 * 1024 * 1024
    """Bytes of all large bodies that a worker holds at a time; others wait, for ``body_timeout`` at most."""
    health_interval: float = 1.0
    health_timeout: float = 1.0
    connect_timeout: float = 2.0
    stuck_after: float = 6.0
    """Without any movement in an engine while requests wait for it; more where their prompts are long."""
    grace: float = 25.0
    """After SIGTERM, for streams to finish."""
    worker_timeout: float = 10.0
    """After which a worker whose event loop stands still is ended and started again."""
    log_level: str = "info"
    handover: str = ""
    """Path of the socket on which a router that takes over from this one asks; empty: none can."""
    takes_over: str = ""
    """File to make when this router has taken over from the one that runs; empty: it starts alone."""
    keys: str = ""
    """File of clients' keys, by name; empty: there are none but the cluster's own."""
    api_key: str = ""
    """Asked from clients and given to engines as a Bearer token; empty means open."""

    @property
    def authorization(self) -> dict[str, str]:
        """The header that engines ask for, where there is a key."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}


def parse(argv: Sequence[str], env: Mapping[str, str]) -> Settings:
    """Settings from ``argv``; the key comes from ``DPROUTER_API_KEY``, where no ``ps`` shows it.

    ``DPLAUNCH_TAKES_OVER`` is set by a guard that starts this router beside the one that runs.

    Raises ``SystemExit`` (2) with argparse's own sentence when an argument is wrong.
    """
    chosen = vars(_parser().parse_args(argv))
    for name in ("max_body", "max_bodies"):
        chosen[name] = int(chosen[name] * 1024 * 1024)
    return Settings(
        **chosen, api_key=env.get("DPROUTER_API_KEY", ""), takes_over=env.get("DPLAUNCH_TAKES_OVER", "")
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dprouter", description="Prefill/decode router of dplaunch.")
    parser.add_argument("--members", required=True, help="JSON file of the engines, watched for changes")
    parser.add_argument("--keys", default="", help="JSON file of clients' keys, watched for changes")
    parser.add_argument("--handover", default="", help="socket for the router that takes over from this one")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=_positive(int), default=1, help="processes that share the port")
    parser.add_argument("--policy", choices=("tokens", "round-robin"), default="tokens")
    parser.add_argument("--model", default="", help="served model's name, for /members")
    parser.add_argument("--max-body", type=_positive(float), default=64.0, help="MB of a request's body")
    parser.add_argument("--max-bodies", type=_positive(float), default=512.0, help="MB of all large bodies")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    _add_times(parser)
    return parser


def _add_times(parser: argparse.ArgumentParser) -> None:
    positive = _positive(float)
    parser.add_argument("--request-timeout", type=float, default=0.0, help="seconds in all; 0: no limit")
    parser.add_argument("--header-timeout", type=positive, default=10.0, help="seconds for first headers")
    parser.add_argument("--idle-timeout", type=positive, default=60.0, help="seconds for the next headers")
    parser.add_argument("--body-timeout", type=positive, default=60.0, help="seconds to read a body")
    parser.add_argument("--health-interval", type=positive, default=1.0)
    parser.add_argument("--health-timeout", type=positive, default=1.0)
    parser.add_argument("--connect-timeout", type=positive, default=2.0)
    parser.add_argument("--stuck-after", type=positive, default=6.0, help="seconds without movement")
    parser.add_argument(
        "--worker-timeout", type=positive, default=10.0, help="seconds a worker may be silent"
    )
    parser.add_argument("--grace", type=float, default=25.0, help="seconds for streams after SIGTERM")


class _positive:  # noqa: N801 - reads as a type where argparse names it
    """An argument type: a number above 0."""

    def __init__(self, kind: type[int | float]) -> None:
        self._kind = kind

    def __call__(self, text: str) -> float:
        value = self._kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value
