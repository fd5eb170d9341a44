"""A stand-in for ``vllm serve`` that needs no accelerator: same command line, environment, failures.

It meets its data-parallel group over real TCP, writes vLLM-Ascend's start-up lines, answers vLLM's OpenAI API
with known answers (the prompt's own words), hands KV from prefill to decode over a real connection, and
dies as the real engine does. One process, standard library only, about 15 MB.

Settings, from its environment, all with the prefix ``DPLAUNCH_REHEARSAL_``:

=================== ==========================================================================================
VERSION             the vLLM release it stands for (default 0.23.0): flags, contract and messages follow
SPEED               1 = about 6 s of start-up, 0 = at once (default 0.3)
TOKEN_MS            milliseconds per token (default 2)
BIND                listen on this address instead of ``--host``
HANDSHAKE_S         seconds a rank waits for rank 0 (default 300, as in the engine)
DEVICES             how many devices this machine has: then none serves two engines, and none beyond exists
ONLY_RANK           the faults below befall only this data-parallel rank
=================== ==========================================================================================

Faults:

=================== ==========================================================================================
SLOW                seconds before the first token of each request
CRASH_AFTER         end so many seconds after the start, with EXIT_CODE (default 1) or by CRASH_SIGNAL (KILL)
HANG                name of a start-up stage that is never passed (see ``narration``)
NEVER_READY         an error in a worker, and then neither ready nor gone
IGNORE_TERM         SIGTERM does nothing
ORPHANS             leave that many children, each in a session of its own
TITLE               change the process title (1 = VLLM::EngineCore), which wipes /proc/PID/environ
DEAD_GROUP_HEALTH   what /health says when another rank died while this one was idle: 200 (default, as the
                    engine does until the next request), or 503, and then the process ends
FIRST_FETCH_FAILS   the first KV fetch from each prefill engine fails, as seen with NIXL
BAD_KV_FROM         HOST:PORT of a prefill engine's KV side channel, or its HOST: what is fetched from there
                    is garbage, and the answer is 200 all the same
ANSWER              empty or garbage
LOG_FLOOD           lines per second
=================== ==========================================================================================

What it does not play: ``--headless``, hybrid load balancing, the DP supervisor, layer-wise KV transfer and
``--config`` files. Asked for one of these it says so and ends. Model paths and rank tables are not looked
for: they lie on the real nodes.
"""

from __future__ import annotations

import os
import sys

from .arguments import USAGE, UsageError, parse
from .engine import Engine
from .failure import FatalError, tell
from .flags import known, version
from .knobs import Knobs
from .log import ERR, OUT, Log, write
from .machine import Site
from .parallel import rank_hint
from .settings import Settings

__all__ = ["main"]

DEFAULT_VERSION = "0.23.0"


def main(argv: list[str]) -> int:
    """Play ``vllm serve …`` (argv as typed, ``vllm`` first) until it ends; returns the exit code."""
    env = dict(os.environ)
    named = env.get("DPLAUNCH_REHEARSAL_VERSION") or DEFAULT_VERSION
    words = argv[1:] if argv and os.path.basename(argv[0]) == "vllm" else argv
    if words[:1] in (["--version"], ["-v"]):
        write(OUT, named)
        return 0
    if words[:1] != ["serve"]:
        write(
            ERR,
            f"usage: vllm [-h] [-v] {{serve}} ...\nvllm: error: invalid choice: {' '.join(words) or 'none'}",
        )
        return 2
    if "--help" in words or "-h" in words:
        _help(version(named))
        return 0
    return _serve(words[1:], env, named)


def _serve(words: list[str], env: dict[str, str], named: str) -> int:
    release = version(named)
    try:
        arguments = parse(words, release)
    except UsageError as fault:
        write(ERR, f"{USAGE}\n{fault}")
        return 2
    rank = rank_hint(arguments, env)
    log = Log(release, rank)
    knobs = Knobs(env, rank)
    site = Site(env, release)
    try:
        settings = Settings(arguments, knobs, site, named)
    except FatalError as failure:
        tell(log, failure)
        return failure.code
    sys.stdout.flush()
    return Engine(settings, knobs, site, log).run()


def _help(release: tuple[int, ...]) -> None:
    write(OUT, USAGE + "\n\npositional arguments:\n  model_tag\n\noptions:")
    for name in sorted(known(release)):
        write(OUT, f"  --{name}")
