"""The way from text to ``ClusterSpec``: read, validate, resolve, judge; every problem reported at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dplaunch.engines import EngineFacts, facts, kinds
from dplaunch.errors import Problem, SpecError
from dplaunch.model.cluster import ClusterSpec
from dplaunch.spec import rules
from dplaunch.spec.document import Document, read
from dplaunch.spec.finding import Finding, KeyPath
from dplaunch.spec.flags import computed, twins
from dplaunch.spec.locate import locate
from dplaunch.spec.mend import broken_by, mend
from dplaunch.spec.problems import validate
from dplaunch.spec.resolve import beside, resolve
from dplaunch.spec.rules.rule import Case
from dplaunch.spec.schema import File, reading

ReadFile = Callable[[str], str]
"""Path → text; raises ``OSError`` or ``UnicodeDecodeError``."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A cluster that can be planned, and what is suspicious about it."""

    spec: ClusterSpec
    warnings: tuple[Problem, ...] = ()
    document: Document | None = field(default=None, repr=False, compare=False)

    def locate(self, problem: Problem) -> Problem:
        """A problem that another room found, at the place of its ``key`` in the file."""
        return locate(self.document, problem) if self.document else problem


def load(text: str, path: str, *, read_file: ReadFile) -> Loaded:
    """What the cluster file ``text`` means; ``path``, where it came from, is for messages and relative paths.

    ``read_file`` reads the script of an engine that runs the user's own. Raises ``SpecError`` with every
    problem, in file order, warnings too.
    """
    document = read(text, path, reading)
    file, wrong = validate(document.data)
    known = {finding.path for finding in document.findings}
    wrong = (*wrong, *twins(document.data), *computed(document.data, _engine(document.data)))
    found = (*document.findings, *(finding for finding in wrong if finding.path not in known))
    broken = broken_by(found)
    if file is None:
        file, cut = mend(document.data, found)
        broken |= cut
    return _judge(document, file, found, broken, read_file)


def _engine(data: Mapping[str, Any]) -> EngineFacts | None:
    """What the engine is that the file names; None where it names none."""
    engine = data.get("engine")
    kind = engine.get("kind") if isinstance(engine, Mapping) else None
    return facts(kind) if isinstance(kind, str) and kind in kinds() else None


def _judge(
    document: Document,
    file: File,
    found: tuple[Finding, ...],
    broken: frozenset[KeyPath],
    read_file: ReadFile,
) -> Loaded:
    script, unread = _script(file, document.file, read_file)
    spec = resolve(file, document.file, script)
    found = (*found, *unread, *rules.check(Case(file, spec), broken))
    problems = _problems(document, found)
    if all(problem.warning for problem in problems):
        return Loaded(spec, problems, document)
    raise SpecError(problems)


def _script(file: File, source: str, read_file: ReadFile) -> tuple[str | None, tuple[Finding, ...]]:
    """The user's own script, or why it cannot be had."""
    if "path" not in facts(file.engine.kind).needs or file.engine.path is None:
        return None, ()
    path = beside(source, file.engine.path)
    try:
        return read_file(path), ()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        text = f"the script {path} cannot be read: {reason}"
        return None, (Finding(("engine", "path"), text, "paths start at the cluster file's folder"),)


def _problems(document: Document, found: Iterable[Finding]) -> tuple[Problem, ...]:
    """In file order."""
    return tuple(sorted(map(document.problem, found), key=lambda problem: (problem.line, problem.column)))
