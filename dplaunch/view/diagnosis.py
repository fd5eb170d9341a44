"""What failed first, why and what to do; then, folded, what only follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.text import Text

from dplaunch.model.diagnosis import Diagnosis, EndedProcess, LineKind, Sighting, Signature
from dplaunch.ranges import fold
from dplaunch.view import style
from dplaunch.words import plural

_VERDICTS = {
    LineKind.CAUSE: "failed first",
    LineKind.UNKNOWN: "failed first, in a way that is not in the catalogue",
    LineKind.GENERIC: "failed; its log does not show why",
    LineKind.CONSEQUENCE: "shows no cause of its own: another process failed first",
    LineKind.EMPTY: "failed; its log does not show why",
    LineKind.WARNING: "logged a warning",
}
_SURVIVED = "logged an error, but serves"
_REST = (
    ((LineKind.CAUSE, LineKind.UNKNOWN), "also seen"),
    ((LineKind.GENERIC, LineKind.CONSEQUENCE, LineKind.EMPTY), "follows from it"),
    ((LineKind.WARNING,), "warnings, and errors of engines that serve"),
)
_LISTED = 12
"""Lines of each kind; ``verbose``: all of them."""


def render(found: Diagnosis, *, verbose: bool = False) -> Text:
    """The verdict, the line, cause and remedy, and the rest folded by signature."""
    read = f"{plural(found.processes, 'log')}, {plural(found.lines, 'line')}"
    if not found.processes:
        nothing = "No logs yet: nothing has been started since the last `down`."
        return Text(f"{nothing} Use --previous for the run before.", style.WARN)
    if not found.failed:
        calm = Text(f"no failure in {read}", style.GOOD)
        verdict = _verdict(found.first) if found.first else []
        rest = _rest("also seen:", list(found.others), len(found.others) if verbose else _LISTED)
        return style.lines(calm, *verdict, *rest, *_restarted(found), *_waiting(found))
    first, mute = found.first, _mute(found.unexplained)
    verdict = _verdict(first) if first else []
    if first and (first.follows or first.survived) and found.unexplained:
        # the cause ended without an error in its log
        parts = [*mute, *verdict]
    else:
        parts = [*verdict, *_suspects(found), *mute]
    parts += _waiting(found)
    for kinds, title in _REST:
        some = [sighting for sighting in found.others if sighting.kind in kinds]
        parts += _rest(f"{title}:", some, len(some) if verbose else _LISTED)
    return style.lines(*parts, *_restarted(found), Text(f"read: {read}", style.DIM))


def render_signature(signature: Signature) -> Text:
    """Everything known about a signature."""
    excerpt = [Text.assemble(("  | ", style.DIM), style.plain(line)) for line in signature.excerpt]
    versions = [_aside("versions", signature.versions)] if signature.versions else []
    engines = ", ".join(signature.engines)
    return style.lines(
        Text.assemble((signature.id, style.HEAD), f": {signature.cause}"),
        _remedy(signature),
        _aside("source", signature.source),
        _aside("engines", engines),
        *versions,
        Text("looks like:"),
        *excerpt,
    )


def to_json(found: Diagnosis) -> dict[str, Any]:
    """``{found, first, others, silent, ended, waiting, restarted, logs, lines}``.

    ``first`` is null where no log shows a cause.
    """
    return {
        "found": found.failed,
        "first": None if found.first is None else _sighting_json(found.first),
        "others": [_sighting_json(sighting) for sighting in found.others],
        "silent": list(found.silent),
        "ended": [{"process": one.process, "node": one.node, "how": one.how} for one in found.ended],
        "waiting": list(found.waiting),
        "restarted": [
            {"process": log.process, "launches": log.launches, "began": log.began} for log in found.restarted
        ],
        "logs": found.processes,
        "lines": found.lines,
    }


def signature_json(signature: Signature) -> dict[str, Any]:
    """``{id, kind, cause, remedy, source, engines, versions, pattern, excerpt}``."""
    return {
        "id": signature.id,
        "kind": signature.kind.name.lower(),
        "cause": signature.cause,
        "remedy": signature.remedy,
        "source": signature.source,
        "engines": list(signature.engines),
        "versions": signature.versions,
        "pattern": signature.pattern,
        "excerpt": list(signature.excerpt),
    }


def _verdict(first: Sighting) -> list[Text]:
    node = f" on {first.node}" if first.node else ""
    colour = style.WARN if first.kind is LineKind.WARNING else style.BAD
    verdict = _SURVIVED if first.survived else _VERDICTS[first.kind]
    who = Text.assemble((first.process, style.HEAD), f"{node} ", (verdict, colour))
    line = Text.assemble((f"  {first.number} | ", style.DIM), style.plain(first.text))
    parts = [who, line]
    if first.signature is None:
        parts.append(_aside("cause", first.sentence))
        parts.append(_aside("source", "the line itself; the catalogue has no entry for it"))
    else:
        parts += [_aside("cause", first.signature.cause), _remedy(first.signature)]
        parts.append(_aside("source", f"{first.signature.source} (`dplaunch explain {first.signature.id}`)"))
    if len(first.processes) > 1:
        parts.append(_aside("also by", fold(first.processes[1:])))
    return parts


def _remedy(signature: Signature) -> Text:
    return Text.assemble(("  remedy:   ", style.NAME), signature.remedy)


def _suspects(found: Diagnosis) -> list[Text]:
    if not found.silent:
        return []
    names = Text.assemble((fold(found.silent), style.HEAD), " shows no error: look there first")
    return [Text.assemble(("suspect: ", style.WARN), names)]


def _mute(ended: Sequence[EndedProcess]) -> Iterable[Text]:
    """What ended without an error in its log, equal endings together."""
    for how in dict.fromkeys(one.how for one in ended):
        same = [one for one in ended if one.how == how]
        names, nodes = fold(one.process for one in same), fold(one.node for one in same)
        yield Text.assemble(
            (names, style.HEAD), f" on {nodes}: ", (how, style.BAD), "; its log shows no error"
        )
        logs = f"`dplaunch logs {same[0].process} -n 50`"
        look = f"see {logs}, and `dmesg` on {nodes}: the kernel kills what takes too much memory"
        yield _aside("remedy", f"{look}; `dplaunch up` starts it and its group again")


def _waiting(found: Diagnosis) -> list[Text]:
    """What may be stuck: a process that hangs logs no error."""
    if not found.waiting:
        return []
    more = f": loading, or stuck; `dplaunch logs {found.waiting[0]} -n 50` shows where"
    verb = "does" if len(found.waiting) == 1 else "do"
    return [Text.assemble((fold(found.waiting), style.HEAD), (f" {verb} not serve", style.WARN), more)]


def _restarted(found: Diagnosis) -> Iterable[Text]:
    """Logs that hold several launches: what the earlier ones show is not judged."""
    for log in found.restarted:
        text = (
            f"the log holds {log.launches} launches; only the last one, from line {log.began} on, is judged"
        )
        yield Text.assemble((log.process, style.HEAD), ": ", text)


def _rest(title: str, sightings: list[Sighting], most: int) -> Iterable[Text]:
    if sightings:
        yield Text(title)
        yield from (_folded(sighting) for sighting in sightings[:most])
    if len(sightings) > most:
        yield Text(f"  … and {len(sightings) - most} more; -v shows all", style.DIM)


def _folded(sighting: Sighting) -> Text:
    """``  EI0006 ×63: decode-[0-16,18-63]: another rank did not answer …``."""
    names = Text(fold(sighting.processes), style.NAME)
    cause = sighting.signature.cause if sighting.signature else style.plain(sighting.sentence)
    what = sighting.signature.id if sighting.signature else "unknown"
    times = f" ×{sighting.count}" if sighting.count > 1 else ""
    return Text.assemble(f"  {what}{times}: ", names, f": {cause}")


def _aside(word: str, text: str) -> Text:
    return Text.assemble((f"  {word + ':':<10}", style.DIM), style.plain(text))


def _sighting_json(sighting: Sighting) -> dict[str, Any]:
    known = sighting.signature
    return {
        "id": known.id if known else None,
        "kind": sighting.kind.name.lower(),
        "cause": known.cause if known else sighting.sentence,
        "remedy": known.remedy if known else None,
        "source": known.source if known else None,
        "process": sighting.process,
        "node": sighting.node,
        "line": sighting.number,
        "text": sighting.text,
        "sentence": sighting.sentence,
        "processes": list(sighting.processes),
        "count": sighting.count,
    }
