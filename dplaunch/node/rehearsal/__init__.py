"""Stand-ins for engines that need no accelerator: same command line, environment, log and failures.

Each engine's stand-in is a sub-package (``vllm``); what they share lies beside them: a small HTTP server
(``web``), JSON lines over TCP (``wire``), known answers (``answers``), knobs and the faults they ask for.
One process each, standard library only, about 15 MB.

Knobs of every stand-in, from its environment, all with the prefix ``DPLAUNCH_REHEARSAL_``:

=================== ==========================================================================================
SPEED               1 = about 6 s of start-up, 0 = at once (default 0.3)
TOKEN_MS            milliseconds per token (default 2)
BIND                listen on this address instead of the one in the arguments
REQUESTS            append a JSON line for each completion that is asked for to this file (see ``record``); a
                    relative path lies in the node folder
ONLY_RANK           the faults below befall only this data-parallel rank
=================== ==========================================================================================

Faults:

=================== ==========================================================================================
SLOW                seconds before the first token of each request
CRASH_AFTER         end so many seconds after the start, with EXIT_CODE (default 1) or by CRASH_SIGNAL (KILL)
STUCK_BY            from the first prompt with this word on nothing moves, and /health is good all the same
HANG                name of a start-up stage that is never passed (see the stand-in's ``stages``)
IGNORE_TERM         SIGTERM does nothing
ORPHANS             leave that many children, each in a session of its own
TITLE               change the process title (1 = VLLM::EngineCore), which wipes /proc/PID/environ
ANSWER              empty or garbage
LOG_FLOOD           lines per second
=================== ==========================================================================================
"""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Play the program that ``argv`` names, as typed (``vllm serve …``), until it ends; its exit code."""
    program, words = os.path.basename(argv[0]) if argv else "", argv[1:]
    if program == "vllm":
        from . import vllm  # noqa: PLC0415 - only the stand-in that was asked for

        code = vllm.main(words)
    elif program.startswith(("fastdeploy.", "fd-router")):
        from . import fastdeploy  # noqa: PLC0415

        code = fastdeploy.main(program, words)
    elif program in ("run_pa.py", "mindie_llm_server", "deploy_ac_job.py"):
        from . import mindie  # noqa: PLC0415

        code = mindie.main(program, words)
    elif program == "kubectl":
        from . import kubernetes  # noqa: PLC0415

        code = kubernetes.main(words)
    elif program == "redis-server":
        from . import redis  # noqa: PLC0415

        code = redis.main(words)
    elif program == "dplaunch-service":
        from . import service  # noqa: PLC0415

        code = service.main(words)
    else:
        sys.stderr.write(f"no stand-in plays {program or 'nothing'!r}\n")
        code = 2
    return code
