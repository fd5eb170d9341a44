"""A stand-in for ``vllm serve``.

It meets its data-parallel group over real TCP, writes vLLM-Ascend's start-up lines, answers vLLM's OpenAI API
with known answers (the prompt's own words), hands KV from prefill to decode over a real connection, and
dies as the real engine does.

Its own knobs (those of every stand-in: see the package above):

=================== ==========================================================================================
VERSION             the vLLM release it stands for (default 0.23.0): flags, contract and messages follow
HANDSHAKE_S         seconds a rank waits for rank 0 (default 300, as in the engine)
SOURCE_TIMEOUT_S    seconds that a decode engine waits for a prefill engine which it never reached before
                    (default: as in the engine, 5 with NIXL, 3.2 with Mooncake)
DEVICES             how many devices this machine has: then none serves two engines, and none beyond exists
=================== ==========================================================================================

Its own faults:

=================== ==========================================================================================
NEVER_READY         an error in a worker, and then neither ready nor gone
DEAD_GROUP_HEALTH   what /health answers when another rank died while this one was idle: 200 (default, as the
                    engine does until the next request), or 503, and then the process ends
FIRST_FETCH_FAILS   the first KV fetch from each prefill engine fails, as seen with NIXL
SLOW_PULL           seconds that the pull of a prompt's KV takes; the prefill engine holds it until then
BAD_KV_FROM         HOST:PORT of a prefill engine's KV side channel, or its HOST: what is fetched from there
                    is garbage, and the answer is 200 all the same
=================== ==========================================================================================

Several ranks in one process are one engine to it: it has a process for each core, and one queue.

What it does not play: ``--config`` files. Asked for one it logs that and ends. Model paths and rank tables
are not looked for: they lie on the real nodes.
"""

from __future__ import annotations

import os
import sys

from .arguments import USAGE, Arguments, UsageError, parse
from .engine import Engine
from .failure import FatalError, report
from .flags import known, version
from .knobs import Knobs
from .log import API, ERR, OUT, Log, write
from .machine import Machine
from .parallel import guess_rank
from .settings import Settings
from .supervisor import FLAG, Supervisor

__all__ = ["main"]

DEFAULT_VERSION = "0.23.0"


def main(words: list[str]) -> int:
    """Play ``vllm WORDS…`` until it ends; returns the exit code."""
    env = dict(os.environ)
    name = env.get("DPLAUNCH_REHEARSAL_VERSION") or DEFAULT_VERSION
    if words[:1] in (["--version"], ["-v"]):
        write(OUT, name)
        return 0
    if words[:1] != ["serve"]:
        wrong = f"invalid choice: {' '.join(words) or 'none'}"
        write(ERR, f"usage: vllm [-h] [-v] {{serve}} ...\nvllm: error: {wrong}")
        return 2
    if "--help" in words or "-h" in words:
        _write_help(version(name))
        return 0
    return _serve(words[1:], env, name)


def _serve(words: list[str], env: dict[str, str], name: str) -> int:
    release = version(name)
    try:
        arguments = parse(words, release)
    except UsageError as fault:
        write(ERR, f"{USAGE}\n{fault}")
        return 2
    if arguments.get(FLAG, False):
        return _supervise(arguments, env, name)
    return _play(arguments, env, name)


def _supervise(arguments: Arguments, env: dict[str, str], name: str) -> int:
    release = version(name)
    log = Log(release)
    try:
        supervisor = Supervisor(arguments, env, release, log)
    except FatalError as failure:
        report(log, failure)
        return failure.code
    knobs = Knobs(env, guess_rank(arguments, env))
    return supervisor.run(knobs, lambda own, share, server: _play(own, share, name, server))


def _play(arguments: Arguments, env: dict[str, str], name: str, server: str = API) -> int:
    """One process with its ranks; ``server`` is what its log calls it."""
    release = version(name)
    rank = guess_rank(arguments, env)
    log = Log(release, rank, server)
    knobs = Knobs(env, rank)
    machine = Machine(env, release)
    try:
        settings = Settings(arguments, knobs, machine, name)
    except FatalError as failure:
        report(log, failure)
        return failure.code
    sys.stdout.flush()
    return Engine(settings, knobs, machine, log).run()


def _write_help(release: tuple[int, ...]) -> None:
    write(OUT, USAGE + "\n\npositional arguments:\n  model_tag\n\noptions:")
    for name in sorted(known(release)):
        write(OUT, f"  --{name}")
