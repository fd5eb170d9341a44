"""Stand-ins for MindIE LLM (``run_pa.py``, a rank of a job; the service's daemon) and MindIE Motor's script.

Ranks find one another by the rank table, as HCCL does: rank 0 listens on its server's address, at 60000 (or
HCCL_IF_BASE_PORT) plus the number of its device, and the others connect. They wait HCCL_CONNECT_TIMEOUT
seconds for each other, 120 unless the environment has another number.

Its own knobs (those of every stand-in: see the package above):

=================== ==========================================================================================
DEVICES             how many devices this machine has: then none serves two ranks, and none beyond exists
CONNECT_S           seconds that ranks wait for each other, in place of HCCL_CONNECT_TIMEOUT
=================== ==========================================================================================

Model folders are not looked for: they lie on the real nodes.
"""

from __future__ import annotations

__all__ = ["main"]


def main(program: str, words: list[str]) -> int:
    """Play ``run_pa.py`` or the daemon until it ends; the exit code."""
    if program == "run_pa.py":
        from . import run_pa  # noqa: PLC0415 - only what was asked for

        return run_pa.main(words)
    if program == "deploy_ac_job.py":
        from . import motor  # noqa: PLC0415

        return motor.main()
    from . import server  # noqa: PLC0415

    return server.main(words)
