"""A guard leaves its session, a process its guard; each parent learns whether that worked.

A fork copies each page of memory that either side writes, and Python writes wherever it looks. So what a
guard needs is made before the fork, and little happens between one fork and the next.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys

from . import kernel, proc
from .store import Refused, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .shapes import Spec

BUNDLE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ)
_BLOCKED = (signal.SIGCHLD, signal.SIGTERM)


@contextlib.contextmanager
def signals_of_a_guard() -> Iterator[None]:
    """What is forked meanwhile has the signals of a guard from its first moment. In the main thread only."""
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in _IGNORED]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before:
            signal.signal(number, handler)


def detach(work: Callable[[int, bool], None], log: str) -> tuple[int, int]:
    """Fork a process that outlives us: its pid, and a pipe on which ``work`` reports once.

    ``work`` gets the pipe's other end and whether orphans below it stay with it. A traceback goes to ``log``.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    try:
        work(writing, _let_go(writing))
    except BaseException:
        _leave_note(log)
    finally:
        os._exit(0)


def _let_go(kept: int) -> bool:
    """Own session, no streams, no other descriptor (the session's lock!)."""
    os.setsid()
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if fd != kept:
            os.closerange(fd, fd + 1)  # ignores that the descriptor of the listing itself is closed
    null = os.open("/dev/null", os.O_RDWR)  # becomes 0
    os.set_inheritable(null, True)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.chdir("/")
    return kernel.become_guard()


def _leave_note(path: str) -> None:
    try:
        with open(path, "a") as sys.stderr:
            sys.excepthook(*sys.exc_info())
    except OSError:
        return


def spawn(spec: Spec, root: str, folder: str, env: dict[str, str]) -> tuple[int, int]:
    """Start the process of ``spec`` with this environment: pid and start time.

    Raises Refused when its exec failed.
    """
    path = os.path.join(folder, "log")
    try:
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise refusal(error, path) from error
    cwd = os.path.join(root, spec.get("cwd") or "")
    try:
        os.chdir(cwd)
    except OSError as error:
        text = f"{spec['name']}: its working folder {cwd} cannot be used: {error.strerror}"
        raise Refused("exec", text) from error
    try:
        pid = _exec(spec["argv"], env, log)
    except OSError as error:
        raise _refusal(spec, env, error) from error
    except (TypeError, ValueError, RuntimeError) as error:  # not words; a libc without setsid here
        raise Refused("exec", f"{spec['name']}: it cannot be started: {error}") from error
    finally:
        os.close(log)
        os.chdir("/")
    found = proc.read(pid, dead=True)
    return pid, found.start if found else 0


def _exec(argv: list[str], env: dict[str, str], log: int) -> int:
    """Its pid once the exec is done (vfork: the guard's memory is not copied). Raises OSError."""
    return os.posix_spawn(
        find(argv[0], env),
        argv,
        env,
        file_actions=[(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)],
        setsid=True,
        setsigmask=(),
        setsigdef=_IGNORED,
    )


def find(program: str, env: dict[str, str]) -> str:
    """The path of ``program`` by the PATH that it will get. Raises FileNotFoundError."""
    if "/" in program:
        return program
    folders = env.get("PATH", os.defpath).split(":")
    found = [path for path in (os.path.join(folder, program) for folder in folders) if os.path.isfile(path)]
    if not found:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return next((path for path in found if os.access(path, os.X_OK)), found[0])


def environment(spec: Spec, root: str) -> dict[str, str]:
    """The node's own environment, what the spec adds, its secrets, and the names that dplaunch sets."""
    ours = {"DPLAUNCH_BUNDLE": BUNDLE, "DPLAUNCH_ROOT": root, "DPLAUNCH_PROCESS": spec["name"]}
    return {**os.environ, **(spec.get("env") or {}), **(spec.get("secrets") or {}), **ours}


def _refusal(spec: Spec, env: dict[str, str], error: OSError) -> Refused:
    name, program = spec["name"], spec["argv"][0]
    if error.errno == errno.ENOENT:
        where = "" if "/" in program else f" in PATH={env.get('PATH', os.defpath)}"
        hint = "install it on the node, or let runtime.setup put its folder into PATH"
        return Refused("exec", f"{name}: {program} (or the interpreter it names) was not found{where}", hint)
    text = f"{name}: {program} cannot be executed: {error.strerror}"
    return Refused("exec", text, f"look at it on the node: ls -l {program}")
