"""The way from text to ``ClusterSpec``: read, validate, resolve, judge; every problem reported at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from dplaunch.engines import EngineFacts, facts, kinds
from dplaunch.errors import Problem, SpecError
from dplaunch.model.cluster import ClusterSpec
from dplaunch.spec import rules
from dplaunch.spec.document import Document, read
from dplaunch.spec.finding import Finding, KeyPath, dotted
from dplaunch.spec.flags import computed, twins
from dplaunch.spec.locate import locate
from dplaunch.spec.mend import broken_by, mend, touches
from dplaunch.spec.problems import validate
from dplaunch.spec.resolve import beside, resolve
from dplaunch.spec.rules.rule import Case
from dplaunch.spec.schema import File, reading
from dplaunch.spec.syntax import encoding_hint
from dplaunch.spec.unfilled import unfilled

ReadFile = Callable[[str], str]
"""Path → text; raises ``OSError`` or ``UnicodeDecodeError``."""

Check = Callable[[ClusterSpec], Iterable[Problem]]
"""What is wrong with a cluster beyond its file: key paths, no positions."""

_CHECKED = (
    *("engine.**", "model", "nodes", "nodes.*", "hardware.**", "kv_transfer.**"),
    *("ports.**", "roles", "router.**", "overrides", "services.**", "jobs.**", "redis.**", "files.**"),
    *(f"nodes.*.{key}" for key in ("name", "host", "address", "devices")),
    *(
        f"roles.*.{key}"
        for key in ("nodes", "groups", "dp", "tp", "pp", "pcp", "dcp", "ep", "master", "ports.**")
    ),
)
"""Keys that such a check cannot do without: it would only repeat what is wrong with them."""


class Loaded(Struct, frozen=True):
    """A cluster that can be planned, and what is suspicious about it."""

    spec: ClusterSpec
    warnings: tuple[Problem, ...] = ()


def load(text: str, path: str, *, read_file: ReadFile, check: Check = lambda _: ()) -> Loaded:
    """What the cluster file ``text`` means; ``path``, where it came from, is for messages and relative paths.

    ``read_file`` reads the user's own scripts and files beside it; ``check`` finds what only other
    rooms can judge. Raises ``SpecError`` with every problem, in file order, warnings too.
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
    texts, unread = _texts(file, path, read_file)
    spec = resolve(file, path, texts)
    found = (*found, *unread, *rules.check(Case(file, spec), broken))
    left = tuple(document.problem(finding) for finding in unfilled(document.data))
    at = {(problem.line, problem.column) for problem in left}
    others = (
        *(document.problem(finding) for finding in (*document.slips, *found)),
        *_checked(document, spec, broken | broken_by(found), check),
    )
    # what else is wrong with a placeholder only follows from it
    problems = (*left, *(problem for problem in others if (problem.line, problem.column) not in at))
    if any(not problem.warning for problem in problems):
        raise SpecError(_sorted(problems))
    return Loaded(spec, _sorted(problems))


def _engine(data: Mapping[str, Any]) -> EngineFacts | None:
    """What the engine is that the file names; None where it names none."""
    engine = data.get("engine")
    kind = engine.get("kind") if isinstance(engine, Mapping) else None
    return facts(kind) if isinstance(kind, str) and kind in kinds() else None


def _checked(
    document: Document, spec: ClusterSpec, broken: frozenset[KeyPath], check: Check
) -> Iterator[Problem]:
    """What ``check`` finds, each at its place, as far as it does not only follow from what is broken."""
    if touches(broken, _CHECKED):
        return
    spoilt = {dotted(path) for path in broken}
    for problem in check(spec):
        if problem.key not in spoilt:
            yield locate(document, problem)


def _texts(file: File, source: str, read_file: ReadFile) -> tuple[dict[str, str], tuple[Finding, ...]]:
    """The user's own scripts and files by what the file calls them, and why some cannot be had."""
    texts: dict[str, str] = {}
    unread: list[Finding] = []
    for key, written in _named(file):
        path = beside(source, written)
        try:
            texts[written] = read_file(path)
            continue
        except OSError as error:
            reason, hint = error.strerror, "paths start at the cluster file's folder"
        except UnicodeDecodeError as error:
            reason, hint = "it is not UTF-8 text", encoding_hint(error)
        what = {"path": "script", "rank_table": "rank table"}.get(str(key[-1]), "file")
        unread.append(Finding(key, f"the {what} {path} cannot be read: {reason}", hint))
    return texts, tuple(unread)


def _named(file: File) -> Iterator[tuple[KeyPath, str]]:
    """What lies beside the cluster file, with the keys that name it."""
    if "path" in facts(file.engine.kind).needs:
        if file.engine.path is not None:
            yield ("engine", "path"), file.engine.path
        for name, role in file.roles.given().items():
            if role.path is not None:
                yield ("roles", name, "path"), role.path
    table = file.engine.rank_table
    if table and facts(file.engine.kind).takes_rank_table and not table.startswith("/"):
        yield ("engine", "rank_table"), table
    for number, one in enumerate(file.files):
        for key in ("source", "template"):
            written = getattr(one, key)
            if written is not None:
                yield ("files", number, key), written


def _sorted(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """In file order, each once: an entry of ``defaults`` is checked for every role."""
    first = {(problem.line, problem.column, problem.text): problem for problem in problems}
    return tuple(sorted(first.values(), key=lambda problem: (problem.line, problem.column)))
