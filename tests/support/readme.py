"""Run the command blocks of a Markdown text, in order, as its reader would.

A fenced block in ``console`` holds commands after ``$ `` and the output below each; one in ``sh`` or
``bash`` is a script. A fence that names a file (```` ```yaml cluster.yaml ````) is written to that file first.
A comment right above a fence says what the reader cannot see::

    <!-- test: env DPLAUNCH_REHEARSE=1 DPLAUNCH_YES=1 -->     in the environment of this block
    <!-- test: exit 2 -->                                     the last command ends so
    <!-- test: not run, it clones this very repository -->    with the reason

Shown output must come, line by line and in that order; other lines may come between. Numbers may
differ, so may the width of columns and rules; ``…`` stands for anything.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SHELLS = {"sh", "bash", "shell"}
FENCE = re.compile(r"^```(\S*) *(.*?)\s*$")
DIRECTIVE = re.compile(r"^<!-- test: (.*?) -->\s*$")
LIMIT = 120.0  # seconds for one command


@dataclass(frozen=True)
class Block:
    """One fence: its line in the text, language, the rest of its first line, content and directives."""

    line: int
    language: str
    name: str
    lines: tuple[str, ...]
    directives: tuple[str, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether it holds commands that are to be run."""
        return self.language in SHELLS | {"console"} and not self.told("not run")

    @property
    def reason(self) -> str:
        """Why its commands are not run; empty when they are, or when there are none."""
        return self.told("not run").lstrip(", ")

    def told(self, word: str) -> str:
        """What follows that word among the directives; ``,`` at least when it is there."""
        return next(
            (each.removeprefix(word).strip() or "," for each in self.directives if each.startswith(word)), ""
        )


@dataclass
class Step:
    """A command and the lines shown below it."""

    command: str
    shown: list[str] = field(default_factory=list)


def blocks(text: str) -> Iterator[Block]:
    """All fences of the text."""
    directives: list[str] = []
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if told := DIRECTIVE.match(line):
            directives.append(told[1])
        elif opening := FENCE.match(line):
            yield Block(number, opening[1], opening[2], _content(lines), tuple(directives))
            directives = []
        elif line.strip():
            directives = []


def _content(lines: Iterator[tuple[int, str]]) -> tuple[str, ...]:
    found = []
    for _, line in lines:
        if line.startswith("```"):
            break
        found.append(line)
    return tuple(found)


def steps(block: Block) -> list[Step]:
    """The commands of a block with what is shown below each."""
    if block.language in SHELLS:
        return [Step("set -e\n" + "\n".join(block.lines))]
    found: list[Step] = []
    for line in block.lines:
        if line.startswith("$ "):
            found.append(Step(line[2:]))
        elif found and not found[-1].shown and found[-1].command.endswith("\\"):
            found[-1].command += f"\n{line.removeprefix('> ')}"
        elif found and line.strip():
            found[-1].shown.append(line)
    return found


def run(text: str, folder: Path, env: Mapping[str, str]) -> list[str]:
    """Run every command block in that folder; what was not as the text says, one string each."""
    faults = []
    for block in blocks(text):
        if block.name and block.lines and not block.runs:
            (folder / block.name).write_text("\n".join(block.lines) + "\n")
        elif block.runs:
            faults += [f"line {block.line}: {fault}" for fault in _run_block(block, folder, env)]
    return faults


def _run_block(block: Block, folder: Path, env: Mapping[str, str]) -> Iterator[str]:
    extra = dict(pair.split("=", 1) for pair in block.told("env").split() if "=" in pair)
    todo = steps(block)
    for step in todo:
        code = int(block.told("exit") or 0) if step is todo[-1] else 0
        yield from _run_step(step, code, folder, {**env, **extra})


def _run_step(step: Step, code: int, folder: Path, env: Mapping[str, str]) -> Iterator[str]:
    try:
        done = subprocess.run(
            ["bash", "-c", step.command],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield f"{step.command!r} was not done after {LIMIT:g} s"
        return
    if done.returncode != code:
        yield f"{step.command!r} ended with {done.returncode}, not {code}, and said:\n{done.stdout}"
    if missing := not_shown(step.shown, done.stdout):
        yield f"{step.command!r} did not print {missing!r} (after what is shown above it), but:\n{done.stdout}"


def not_shown(shown: list[str], printed: str) -> str:
    """The first line shown that was not printed in its turn; empty when all were."""
    rest = iter([plain(line) for line in printed.splitlines()])
    for line in shown:
        if not any(re.fullmatch(pattern(line), candidate) for candidate in rest):
            return line
    return ""


def plain(line: str) -> str:
    """A line without what may differ between two runs: colours, figures, widths."""
    line = re.sub(r"\x1b\[[0-9;]*m", "", line)
    line = re.sub(r"\d+([.:]\d+)*", "0", line)
    return re.sub(r"([─━═])\1+", r"\1", " ".join(line.split()))


def pattern(line: str) -> str:
    """A shown line as a regular expression over plain lines."""
    return ".*".join(re.escape(part) for part in plain(line).split("…"))
