"""Forks: the guard off its session, the process off its guard. Each says whether it got where it should."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys

from . import kernel, proc
from .store import Refused, refusal, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

BUNDLE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ)
_BLOCKED = (signal.SIGCHLD, signal.SIGTERM)


def detach(work: Callable[[int], None], log: str) -> tuple[int, int]:
    """Fork a process that outlives us: its pid, and a pipe on which ``work`` says one thing.

    ``work`` gets the pipe's other end; a traceback goes to ``log``.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    try:
        _let_go(writing)
        work(writing)
    except BaseException:
        _leave_note(log)
    finally:
        os._exit(0)


def _let_go(kept: int) -> None:
    """Own session, no stream, no descriptor (the session's lock!), no signal but ours."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if fd != kept:
            os.closerange(fd, fd + 1)  # does not mind that the listing's own is closed
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3):
        if fd != null:
            os.dup2(null, fd)
    os.chdir("/")
    kernel.become_guard()


def _leave_note(path: str) -> None:
    try:
        with open(path, "a") as sys.stderr:
            sys.excepthook(*sys.exc_info())
    except OSError:
        return


def spawn(spec: dict[str, Any], root: str, folder: str) -> tuple[int, int]:
    """Start the process of ``spec``: pid and start time. Raises Refused when its exec failed."""
    path = os.path.join(folder, "log")
    try:
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise refusal(error, path) from error
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(spec, root, log, writing)
    os.close(writing)
    os.close(log)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    found = proc.read(pid, dead=True)
    if said:
        os.waitpid(pid, 0)
        raise _exec_refusal(spec, root, json.loads(said))
    return pid, found.start if found else 0


def _become(spec: dict[str, Any], root: str, log: int, pipe: int) -> NoReturn:
    """In the child: exec, or say why not through the pipe, which an exec closes."""
    step = "start"
    try:
        os.setsid()
        for number in _IGNORED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.dup2(log, 1)
        os.dup2(log, 2)
        step = "chdir"
        os.chdir(working_folder(spec, root))
        step = "exec"
        argv = spec["argv"]
        os.execvpe(argv[0], argv, environment(spec, root))  # noqa: S606 - a list of words needs no shell
    except OSError as error:
        write_all(pipe, json.dumps({"step": step, "errno": error.errno}).encode())
    except BaseException as error:
        write_all(pipe, json.dumps({"step": step, "errno": errno.EINVAL, "text": repr(error)}).encode())
    finally:
        os._exit(127)


def working_folder(spec: dict[str, Any], root: str) -> str:
    """``cwd`` of the spec, relative to the node folder, which it is by default."""
    return os.path.join(root, spec.get("cwd") or "")


def environment(spec: dict[str, Any], root: str) -> dict[str, str]:
    """The node's own, what the spec adds, its secrets, and who it is."""
    ours = {"DPLAUNCH_BUNDLE": BUNDLE, "DPLAUNCH_ROOT": root, "DPLAUNCH_PROCESS": spec["name"]}
    return {**os.environ, **(spec.get("env") or {}), **(spec.get("secrets") or {}), **ours}


def _exec_refusal(spec: dict[str, Any], root: str, said: dict[str, Any]) -> Refused:
    name, program = spec["name"], spec["argv"][0]
    why = said.get("text") or os.strerror(said["errno"])
    if said["step"] == "chdir":
        return Refused(
            "exec", f"{name}: its working folder {working_folder(spec, root)} cannot be used: {why}"
        )
    if said["errno"] == errno.ENOENT:
        path = environment(spec, root).get("PATH", "")
        where = "" if "/" in program else f" in PATH={path}"
        hint = "install it on the node, or let runtime.setup put its folder into PATH"
        return Refused("exec", f"{name}: {program} (or the interpreter it names) was not found{where}", hint)
    return Refused("exec", f"{name}: {program} cannot be executed: {why}", f"ls -l {program}, on the node")
