"""What the scripts of one host start. No script is run: each is read command by command, as a shell would.

Positional arguments and variables are followed, and loops over known words are gone through. Whatever only a
shell can find out (conditions, functions, the output of commands) is noted with its line.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from dplaunch.engines.script.reading import Command, Word, commands
from dplaunch.errors import UsageError
from dplaunch.importer.expand import Scope, items, literal
from dplaunch.importer.programs import Calls, calls, read_proxy
from dplaunch.importer.source import ReadFile, Source
from dplaunch.model.imported import Launch

_ASSIGNED = re.compile(r"([A-Za-z_]\w*)(\+?)=(.*)", re.DOTALL)
_REDIRECTED = re.compile(r"(?:\d*|&)(?:>>?|<)(?P<to>&?\S*)")
_SERVER = re.compile(r"(?:vllm|fastdeploy)\.entrypoints\.\S+")
_ROUTER = re.compile(r"fastdeploy\.(?:golang_)?router\.launch")
_COMMAND = re.compile(r"\$\(|`")
_CLOSES = {"if": "fi", "for": "done", "while": "done", "until": "done", "select": "done", "case": "esac"}
_LEADING = ("do", "then", "else", "{", "!")
_WRAPPERS = ("nohup", "exec", "time", "command", "env", "setsid")
_QUIET = (
    *("echo", "printf", "sleep", "wait", "true", ":", "exit", "return", "date", "ls", "pwd", "set"),
    "}",
)
_FILES = ("mkdir", "touch", "rm", "cat", "tail", "tee")
_CONDITIONS = ("[", "[[", "test")
_SETUP = "runtime.setup takes shell lines that run before every engine"
_DEEPEST = 6


class _Script(Struct, frozen=True):
    """A script while it is read: its name, and how deep it was called."""

    name: str
    depth: int = 0
    rank: str = ""
    """For messages: what it was called for."""

    def at(self, word: Word) -> str:
        return f"{self.name} line {word.line}{self.rank}"


class Shell:
    """Reads the scripts of one host into a ``Source``."""

    def __init__(self, host: str, source: Source, read_file: ReadFile) -> None:
        self._host, self._source, self._read_file = host, source, read_file
        self._folder = ""
        self._handlers: Mapping[str, Callable[[list[Word], Scope, _Script], None]] = {
            **dict.fromkeys(("export", "readonly", "local", "declare", "typeset"), self._export),
            **dict.fromkeys(("source", "."), self._sourced),
            **dict.fromkeys(("bash", "sh"), self._script),
            "unset": self._unset,
            "cd": self._enter,
            "set": self._option,
        }

    def read(self, text: str, path: str, scope: Scope) -> None:
        """Read one script from ``path``."""
        name, self._folder = posixpath.basename(path), posixpath.dirname(path)
        self._walk(_split(list(commands(text))), scope, _Script(name))
        if scope.unmet:
            raise UsageError(
                f"{name} takes arguments ({scope.unmet[0]} …), which another program gives it",
                hint="import what calls it: a launcher in Python, or a script with its command line",
            )

    def run_program(self, path: str, arguments: Sequence[str], scope: Scope) -> None:
        """Read a launcher written in Python, and every call of a template that it makes."""
        self._folder = posixpath.dirname(path)
        script = _Script(posixpath.basename(path))
        self._python(
            [Word("python", 1), Word(script.name, 1), *(Word(a, 1) for a in arguments)], scope, script
        )

    def _walk(self, all_of_it: list[Command], scope: Scope, script: _Script) -> None:
        at, before = 0, ""
        while at < len(all_of_it):
            command = all_of_it[at]
            word = command.words[0]
            if word.text in _CLOSES or word.text == "function" or word.text.endswith("()"):
                end = _block_end(all_of_it, at)
                self._block(all_of_it[at : end + 1], scope, script)
                at, before = end + 1, all_of_it[min(end, len(all_of_it) - 1)].end
                continue
            if before == "|":
                self._piped(command, script)
            elif before == "||" or (before == "&&" and all_of_it[at - 1].words[0].text in _CONDITIONS):
                self._conditional(command, script)
            else:
                self._command(command, scope, script)
            at, before = at + 1, command.end

    def _block(self, block: list[Command], scope: Scope, script: _Script) -> None:
        words = block[0].words
        if [words[0].text, *(word.text for word in words[2:3])] == ["for", "in"]:
            through = items(scope, words[3:])
            if through is not None:
                for item in through:
                    scope.assign(words[1].text, item)
                    self._walk(block[1:-1], scope, script)
                return
        what = f"`{' '.join(literal(word.text) for word in words[:8])} …`"
        text = f"{what} was not followed: what it does depends on more than the script's text"
        self._source.leave(
            script.at(words[0]), text, "write the values that it ends with into the cluster file"
        )

    def _conditional(self, command: Command, script: _Script) -> None:
        if command.words[0].text not in _QUIET:
            text = f"`{_text(command.words)}` depends on a condition, and was not followed"
            self._source.leave(script.at(command.words[0]), text)

    def _piped(self, command: Command, script: _Script) -> None:
        text = f"output goes through `{_text(command.words)}`: dplaunch keeps every engine's log itself"
        self._source.leave(script.at(command.words[0]), text, "`dplaunch logs`", matters=False)

    def _command(self, command: Command, scope: Scope, script: _Script) -> None:
        words = _without_redirections(command.words)
        if command.listed:
            scope.lists.setdefault(command.listed, []).extend(
                text for word in words for text in scope.words(word)
            )
            return
        given: dict[str, str] = {}
        while words and (words[0].text in _WRAPPERS or _ASSIGNED.fullmatch(words[0].text)):
            if match := _ASSIGNED.fullmatch(words[0].text):
                given[match[1]] = (scope.values.get(match[1], "") if match[2] else "") + scope.text(match[3])
            words = words[1:]
        if not words:
            for name, value in given.items():
                scope.assign(name, value)
            return
        values, exported = {**scope.values, **given}, {**scope.exported, **given}
        inner = Scope(values, exported, scope.lists, scope.arguments, scope.unmet)
        self._run(words, inner if given else scope, script)

    def _run(self, words: list[Word], scope: Scope, script: _Script) -> None:
        serve = _find_serve(words)
        name = scope.text(words[0].text)
        handler = self._handlers.get(name)
        if serve:
            self._launch(words, serve, scope, script)
        elif handler:
            handler(words, scope, script)
        elif name.endswith(".sh"):
            self._script([words[0], *words], scope, script)
        elif re.fullmatch(r"(?:.*/)?python[\d.]*", name) or name.endswith(".py"):
            self._python(words if not name.endswith(".py") else [words[0], *words], scope, script)
        elif name in _FILES:
            text = f"`{_text(words)}` is not part of the cluster file"
            self._source.leave(script.at(words[0]), text, matters=False)
        elif name not in _QUIET and name not in _CONDITIONS:
            self._source.leave(script.at(words[0]), f"`{_text(words)}` was not carried over", _SETUP)

    def _launch(self, words: list[Word], serve: int, scope: Scope, script: _Script) -> None:
        prefix = [word for word in words[:serve] if not _is_engine(word.text)]
        if prefix:
            text = f"the engine is started through `{_text(prefix)}`, which was not carried over"
            self._source.leave(script.at(prefix[0]), text)
        given = tuple(literal(text) for word in words[serve:] for text in scope.words(word))
        known = {name: value for name, value in scope.exported.items() if not _COMMAND.search(value)}
        env = {name: value.replace("\x00", "$$") for name, value in known.items()}
        launch = Launch(self._host, given, env, script.at(words[serve - 1]), program=words[serve - 1].text)
        self._source.launches.append(launch)

    def _export(self, words: list[Word], scope: Scope, script: _Script) -> None:
        exports = words[0].text == "export" or any(word.text == "-x" for word in words)
        for word in words[1:]:
            if match := _ASSIGNED.fullmatch(word.text):
                value = self._known(match[1], scope.text(match[3]), word, script)
                scope.assign(match[1], value, export=exports, more=bool(match[2]))
            elif exports:
                scope.export(word.text)

    def _unset(self, words: list[Word], scope: Scope, script: _Script) -> None:
        del script
        for word in words[1:]:
            scope.unset(word.text)

    def _known(self, name: str, value: str, word: Word, script: _Script) -> str:
        if _COMMAND.search(value):
            text = f"{name} is the output of a command, `{literal(value)}`: only its node knows it"
            hint = "dplaunch finds addresses and interfaces itself; write other values into env"
            self._source.leave(
                script.at(word), text, hint, matters=not name.endswith(("_IP", "_IFNAME", "IP"))
            )
        return value

    def _option(self, words: list[Word], scope: Scope, script: _Script) -> None:
        del scope
        if any(word.text in ("-a", "--") for word in words):
            self._source.leave(script.at(words[0]), f"`{_text(words)}` was not followed")

    def _enter(self, words: list[Word], scope: Scope, script: _Script) -> None:
        del script
        to = scope.text(words[1].text) if len(words) > 1 else ""
        self._folder = posixpath.normpath(posixpath.join(self._folder, to))

    def _sourced(self, words: list[Word], scope: Scope, script: _Script) -> None:
        path = scope.text(words[1].text) if len(words) > 1 else ""
        text = self._text_of(path) if not path.startswith("/") else None
        if text is not None and script.depth < _DEEPEST:
            inner = _Script(posixpath.basename(path), script.depth + 1, script.rank)
            self._walk(_split(list(commands(text))), scope, inner)
        elif (line := f"source {path}") not in self._source.setup:
            self._source.setup.append(line)

    def _script(self, words: list[Word], scope: Scope, script: _Script) -> None:
        given = [text for word in words[1:] for text in scope.words(word)]
        while given and given[0].startswith("-") and given[0] != "-c":
            given.pop(0)
        self._call(given, scope, script, words[0])

    def _call(self, given: list[str], scope: Scope, script: _Script, word: Word, rank: str = "") -> None:
        text = self._text_of(given[0]) if given else None
        if text is None or script.depth >= _DEEPEST:
            reason = f"`{' '.join(('bash', *given))}` was not followed: the script cannot be read"
            self._source.leave(
                script.at(word), reason, "paths start at the folder of the script that calls it"
            )
            return
        inner = Scope(dict(scope.exported), dict(scope.exported), {}, tuple(given[1:]))
        name = posixpath.basename(given[0])
        called = _Script(name, script.depth + 1, rank or script.rank)
        self._walk(_split(list(commands(text))), inner, called)

    def _python(self, words: list[Word], scope: Scope, script: _Script) -> None:
        given = [literal(text) for word in words[1:] for text in scope.words(word)]
        if proxy := read_proxy(given, self._host, script.at(words[0])):
            self._source.proxies.append(proxy)
            return
        if given[:1] == ["-m"] and _ROUTER.fullmatch(given[1]):
            text = f"{given[1]}: the router is part of the cluster file, and dplaunch starts it"
            self._source.leave(script.at(words[0]), text, matters=False)
            return
        found: Calls | None = calls(given, self._text_of(given[0]) if given else None)
        if found is None:
            text = f"`{_text(words)}` was not followed"
            self._source.leave(script.at(words[0]), text, "it is not a launcher that dplaunch knows")
            return
        for note in found.notes:
            self._source.leave(script.at(words[0]), note, matters=False)
        for rank, arguments in found.calls:
            self._call([*arguments], scope, script, words[0], f", rank {rank} on {self._host}")

    def _text_of(self, path: str) -> str | None:
        try:
            return self._read_file(posixpath.normpath(posixpath.join(self._folder, path)))
        except (OSError, UnicodeDecodeError):
            return None


def _is_engine(text: str) -> bool:
    return bool(re.fullmatch(r"(?:\S*/)?(?:vllm|python[\d.]*)|serve|-m|\S+\.entrypoints\.\S+", text))


def _find_serve(words: list[Word]) -> int:
    """Where the words of an engine begin; 0 where the command starts none."""
    for index, word in enumerate(words):
        before = words[index - 1].text if index else ""
        if (word.text == "serve" and before.endswith("vllm")) or _SERVER.fullmatch(word.text):
            return index + 1
    return 0


def _text(words: Sequence[Word]) -> str:
    return literal(" ".join(word.text for word in words))


def _split(found: list[Command]) -> list[Command]:
    """Each of ``do``, ``then`` and the like as a command of its own."""
    apart: list[Command] = []
    for command in found:
        words = command.words
        while len(words) > 1 and words[0].text in _LEADING:
            apart.append(Command(words[:1], "", ";"))
            words = words[1:]
        apart.append(Command(words, command.listed, command.end))
    return [command for command in apart if command.words[0].text not in ("do", "then", "{", "!")]


def _block_end(found: list[Command], start: int) -> int:
    """The command that closes the block that begins at ``start``."""
    first = found[start].words[0].text
    closing = _CLOSES.get(first, "}")
    depth = 0
    for at in range(start, len(found)):
        words = [word.text for word in found[at].words]
        depth += _CLOSES.get(words[0]) == closing or (closing == "}" and (at == start or "{" in words))
        depth -= words[0] == closing
        if not depth:
            return at
    return len(found) - 1


def _without_redirections(words: list[Word]) -> list[Word]:
    kept, skip = [], False
    for word in words:
        match = None if word.quoted else _REDIRECTED.fullmatch(word.text)
        if skip:
            skip = False
        elif match:
            skip = not match["to"]
        else:
            kept.append(word)
    return kept
