"""The process that stands for pods which another program made: their logs are its log, its health is theirs.

``python3 -I -S BUNDLE pods --kind KIND --job NAME --pods N --listen HOST:PORT … -- KUBECTL WORDS``

It runs as long as the job is there. Everything about the pods is asked through kubectl.
"""

from __future__ import annotations

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Follow the pods until the job is gone, or until SIGTERM; the exit code."""
    from .follow import run  # noqa: PLC0415 - only where it is used

    return run(argv)
