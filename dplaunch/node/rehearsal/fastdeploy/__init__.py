"""A stand-in for FastDeploy's servers and routers.

``multi_api_server`` starts a server for each rank as a real child process; the first of them holds the
engine, and all end with it. Servers listen on every port that they are given, write FastDeploy's lines to the
console and to the same files below FD_LOG_DIR, register with the router, and answer the OpenAI API with known
answers. Prefill hands a prompt over to decode by a connection to its port for that. As with the engine,
SIGTERM ends the parent alone, and the end of a child is not noticed by it.

``offline`` is imported by an offline program as its ``LLM``, whose workers are a process of their own.

With the splitwise scheduler one server holds all ranks: each reports to Redis, and takes requests there.

A fault of its own is UNREGISTERED, numbers of ranks that do not report to Redis; others are those of every
stand-in, see the package above. ONLY_RANK counts servers of a node from 0. What it does not play: worker
processes of their own, shared memory, and a router's policies (it takes turns).
"""

from __future__ import annotations

import os

__all__ = ["PROGRAMS", "main"]

SERVER = "fastdeploy.entrypoints.openai.api_server"
SERVERS = "fastdeploy.entrypoints.openai.multi_api_server"
ROUTERS = ("fastdeploy.router.launch", "fastdeploy.golang_router.launch", "fd-router")
WORKER = "fastdeploy.worker"
PROGRAMS = (SERVER, SERVERS, *ROUTERS, WORKER)
"""What it plays."""


def main(program: str, words: list[str]) -> int:
    """Play one of ``PROGRAMS`` until it ends; returns the exit code."""
    env = dict(os.environ)
    if program == SERVERS:
        from .parent import run as run_parent  # noqa: PLC0415 - only what plays this program

        return run_parent(words, env)
    if program == SERVER:
        from .server import run as run_server  # noqa: PLC0415

        return run_server(words, env)
    if program == WORKER:
        from .offline import run_worker  # noqa: PLC0415

        return run_worker(env)
    from .router import run as run_router  # noqa: PLC0415

    return run_router(words, env)
