"""``signal`` and ``socket`` as C has them.

Their Python halves put every number into an enum: loading those takes longer than all else that a session
does, and touching them makes each guard copy its own part of the memory that they share.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # what signal is made of: typeshed leaves it out
import _socket as socket

__all__ = ["SIGNALS", "signal", "socket"]

SIGNALS: dict[str, int] = {
    name: number
    for name, number in sorted(vars(signal).items())
    if name.startswith("SIG") and "_" not in name and isinstance(number, int)
}
"""``SIGTERM`` → 15, every signal of this machine; of two names of one the usual comes first."""
