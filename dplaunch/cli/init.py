"""``dplaunch init``: a starting file from one of the shipped examples."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from dplaunch.cli.verb import Invocation, option
from dplaunch.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from dplaunch.workspace.presets import Preset

_Answer = TypeVar("_Answer")


def _complete_preset(incomplete: str) -> list[str]:
    from dplaunch.workspace.presets import list_presets

    return [name for name in list_presets() if name.startswith(incomplete)]


Example = Annotated[
    str | None,
    option(
        "--preset",
        metavar="EXAMPLE",
        help="Start from this example (default: ask).",
        autocompletion=_complete_preset,
    ),
]
Name = Annotated[
    str | None,
    option(
        "--name",
        metavar="NAME",
        help="Name the cluster; clusters that share nodes need different names (default: ask).",
    ),
]
Hosts = Annotated[
    str | None,
    option("--hosts", metavar="RANGE", help="Use these hosts, e.g. 10.0.0.[1-8] or h1,h2,h3 (default: ask)."),
]
Out = Annotated[Path, option("--out", "-O", help="Write to this file.")]
Force = Annotated[bool, option("--force", help="Overwrite an existing file.")]


def init(
    call: Invocation,
    preset: Example = None,
    name: Name = None,
    hosts: Hosts = None,
    out: Out = Path("cluster.yaml"),
    force: Force = False,
) -> ExitCode:
    """Write a starting cluster file from a shipped example, with your hosts in it."""
    from dplaunch.ranges import fold
    from dplaunch.workspace.presets import load_preset

    if out.exists() and not force:
        raise UsageError(
            f"{out} already exists", hint="choose another name with -O, or overwrite it with --force"
        )
    chosen = _choose(call) if preset is None else load_preset(preset)
    chosen = _place(call, chosen) if hosts is None else chosen.on_hosts(hosts)
    chosen = _name(call, chosen) if name is None else chosen.named(name)
    out.write_text(chosen.text, encoding="utf-8")
    if chosen.unresolved:
        missing = fold(chosen.unresolved)
        call.screen.warn(f"this machine finds no address for {missing}; write it into `nodes` of {out}")
    done = f"wrote {out}; edit it, then run `dplaunch plan {out}` and `dplaunch up --rehearse {out}`"
    call.screen.present(
        done,
        {
            "file": str(out),
            "preset": chosen.example,
            "cluster": chosen.cluster,
            "unresolved": list(chosen.unresolved),
        },
    )
    return ExitCode.DONE


def _choose(call: Invocation) -> Preset:
    """Ask for an example, by its number or its name."""
    from dplaunch.workspace.presets import list_presets, load_preset

    if not _can_ask(call):
        raise UsageError(
            "--preset is missing, and without a terminal no question can be asked",
            hint="dplaunch init --preset laptop",
        )
    known = list_presets()
    for number, (name, about) in enumerate(known.items(), 1):
        call.screen.say(f"{number:3}  {name}: {about}")
    numbers = {str(number): name for number, name in enumerate(known, 1)}
    return _ask(call, "Which example? (number or name)", lambda word: load_preset(numbers.get(word, word)))


def _place(call: Invocation, chosen: Preset) -> Preset:
    if not _can_ask(call):
        return chosen
    question = f"Your {chosen.size} hosts, as in 10.0.0.[1-8] or h1,h2? (Enter: {chosen.hosts})"
    return _ask(call, question, lambda word: chosen.on_hosts(word) if word else chosen)


def _name(call: Invocation, chosen: Preset) -> Preset:
    """Ask for the cluster's name: clusters of one name replace each other on nodes that they share."""
    if not _can_ask(call):
        call.screen.say(f"the cluster is called {chosen.cluster}, as in the example; --name changes that")
        return chosen
    question = f"The cluster's name? (Enter: {chosen.cluster})"
    return _ask(call, question, lambda word: chosen.named(word) if word else chosen)


def _can_ask(call: Invocation) -> bool:
    return not call.yes and sys.stdin.isatty() and sys.stderr.isatty()


def _ask(call: Invocation, question: str, read: Callable[[str], _Answer]) -> _Answer:
    """Ask until the answer can be read; what is wrong with it is printed at once."""
    while True:
        call.screen.say(question)
        line = sys.stdin.readline()
        if not line:
            raise UsageError("cancelled: nothing was written")
        try:
            return read(line.strip())
        except UsageError as error:
            call.screen.fail(error)
