"""What all verbs share: their common options, and how their outcome becomes an exit code.

A verb is a function of a ``Invocation`` and its own options that returns an ``ExitCode``. ``verb`` gives it
the common options, so that each is defined once and means the same everywhere.
"""

from __future__ import annotations

import copy
import functools
import inspect
import os
import sys
from collections.abc import Callable, Collection
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, get_origin

import typer
from msgspec import Struct

from dplaunch.errors import DplaunchError, ExitCode, Interrupted, UsageError

if TYPE_CHECKING:  # rich and all below it are loaded by the verb that runs, not by `--help`
    from dplaunch.model.plan import Place, Plan
    from dplaunch.view.screen import Screen

option = functools.partial(typer.Option, show_envvar=False)
"""An option of a verb. Each can be set as DPLAUNCH_VERB_OPTION, which the main help explains once."""

CLUSTER_HELP = (
    "Use this cluster file (default: DPLAUNCH_CLUSTER, else the current cluster, else ./cluster.yaml)."
)


class Form(str, Enum):
    """How results are written."""

    TEXT = "text"
    JSON = "json"


class Invocation(Struct, frozen=True):
    """One invocation of a verb."""

    screen: Screen
    file: str | None = None
    yes: bool = False
    rehearse: bool = False

    def agree(self, question: str) -> bool:
        """Ask before something that runs would stop. Raises UsageError without a terminal."""
        if self.yes:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(
                f"{question} Without a terminal this cannot be asked",
                hint="use -y to continue without being asked",
            )
        return self.screen.ask(question, sys.stdin)


def describe_cluster(plan: Plan, places: Collection[Place]) -> str:
    """What a question is about: ``deepseek-r1 (production, 73 processes on 8 nodes: n[1-8])``."""
    from dplaunch.ranges import fold
    from dplaunch.words import plural

    nodes = sorted({node for node, _ in places})
    kind = "" if plan.rehearsal else "production, "
    where = f"{plural(len(nodes), 'node')}: {fold(nodes)}"
    return f"{plan.title} ({kind}{plural(len(places), 'process')} on {where})"


Argument = Annotated[
    str | None, typer.Argument(metavar="CLUSTER.yaml", help=CLUSTER_HELP, show_default=False)
]
Option = Annotated[str | None, option("--file", "-f", help=CLUSTER_HELP, show_default=False)]
LongOption = Annotated[str | None, option("--file", help=CLUSTER_HELP, show_default=False)]
Output = Annotated[Form, option("--output", "-o", help="Print text, or one JSON document.")]
Yes = Annotated[bool, option("--yes", "-y", help="Assume yes (default: ask before anything stops).")]
Rehearse = Annotated[
    bool,
    option(
        "--rehearse", help="Run the same plan on this machine with simulated engines; no node is contacted."
    ),
]
Quiet = Annotated[bool, option("--quiet", "-q", help="Print results and errors only.")]
Verbose = Annotated[
    int,
    option(
        "--verbose",
        "-v",
        count=True,
        metavar="",
        show_default=False,
        help="Print one row per engine and more.",
    ),
]

COMMON: dict[str, tuple[Any, Any]] = {
    "cluster_file": (Option, None),
    "output": (Output, Form.TEXT),
    "yes": (Yes, False),
    "rehearse": (Rehearse, False),
    "quiet": (Quiet, False),
    "verbose": (Verbose, 0),
}
"""Parameter name → (annotation, default)."""

CLUSTER = frozenset({"cluster_file", "rehearse"})
"""Common options that mean nothing to a verb that is about no cluster."""


def verb(
    function: Callable[..., ExitCode],
    *,
    targets: bool = False,
    short_file: bool = True,
    asks: bool = False,
    hide: Collection[str] = (),
) -> Callable[..., None]:
    """``function(call, **own options)`` as a typer command.

    Without ``targets`` the file may also be the last argument. ``short_file=False`` leaves -f to the verb.
    Scripts may add a common option to any verb; the help leaves out those in ``hide``, and -y unless the
    verb ``asks``.
    """
    # typer reads a command's parameters from its signature, and has no way to add some that many commands
    # share. So this one is put together: the verb's own first, then the common ones.
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    own = [_parameter(p.name, p.annotation, p.default) for p in own]
    shared = dict(COMMON)
    if not short_file:
        shared["cluster_file"] = (LongOption, None)
    first = [] if targets else [_parameter("cluster", Argument, None)]

    def run(**given: Any) -> None:
        common = {name: given.pop(name) for name in shared}
        common["cluster_file"] = given.pop("cluster", None) or common["cluster_file"]
        raise typer.Exit(carry_out(common, lambda call: function(call, **given)))

    hidden = {*hide, *(() if asks else ("yes",))}
    common = [_shared(name, *kind, hidden=name in hidden) for name, kind in shared.items()]
    parameters = [*own, *first, *common]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # read by typer
    run.__annotations__ = {}
    run.__doc__ = function.__doc__
    run.__name__ = function.__name__
    return run


def carry_out(common: dict[str, Any], work: Callable[[Invocation], ExitCode]) -> int:
    """Run a verb and print its error, if any. Returns the exit code."""
    from dplaunch.view.screen import Screen

    screen = Screen(
        sys.stdout,
        sys.stderr,
        json=common["output"] is Form.JSON,
        quiet=common["quiet"],
        verbose=common["verbose"],
        environ=os.environ,
    )
    call = Invocation(screen, common["cluster_file"], common["yes"], common["rehearse"])
    try:
        return int(work(call))
    except DplaunchError as error:
        screen.fail(error)
        return int(error.exit_code)
    except KeyboardInterrupt:
        screen.fail(Interrupted("interrupted; nothing was changed"))
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has seen enough (`| head`): this is not an error, not at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.DONE)
    except OSError as error:
        # A file the user named (--save, -O, --collect), or the place their output goes to.
        place = error.filename or "the output"
        screen.fail(UsageError(f"{place} cannot be written: {error.strerror}", hint="choose another path"))
        return int(ExitCode.USAGE)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    if get_origin(annotation) is Annotated and annotation.__origin__ is bool:
        flag = copy.copy(annotation.__metadata__[0])
        flag.metavar = ""  # the help of an option without a value names no type
        annotation = Annotated[bool, flag]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _shared(name: str, annotation: Any, default: Any, *, hidden: bool) -> inspect.Parameter:
    """A common option, in a panel of its own below the verb's."""
    kind, shown = annotation.__origin__, copy.copy(annotation.__metadata__[0])
    shown.rich_help_panel, shown.hidden = "Common options", hidden
    return _parameter(name, Annotated[kind, shown], default)
