"""Template and finished values → text. Undefined names are errors; nothing is decided here.

The one place that finds ``templates/`` and ``clusters/``: beside the package in a checkout, inside it
in an installed wheel.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2

_PACKAGE = Path(__file__).parent
_REFERENCE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SPECIAL = re.compile(r'([\\"`$])')


def templates_root() -> Path:
    """The folder with one subfolder of templates per engine."""
    return _shipped("templates")


def clusters_root() -> Path:
    """The folder with the example cluster files."""
    return _shipped("clusters")


def docs_root() -> Path:
    """The folder with the documents that verbs read."""
    return _shipped("docs")


def _shipped(name: str) -> Path:
    installed = _PACKAGE / f"_{name}"
    return installed if installed.is_dir() else _PACKAGE.parent / name


def render(template: str, context: Mapping[str, object]) -> str:
    """The text of ``template`` (a path below ``templates_root()``) for these values.

    Raises jinja2.UndefinedError when the template names what the context lacks.
    """
    return _environment().get_template(template).render(context).rstrip("\n") + "\n"


def fill(text: str, context: Mapping[str, object]) -> str:
    """A user's own template, which may compute but reaches nothing else, for these values.

    Raises ValueError with a sentence where it cannot be filled in.
    """
    import jinja2.sandbox  # noqa: PLC0415 - as below

    environment = jinja2.sandbox.SandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.filters["json"] = to_json
    try:
        return environment.from_string(text).render(context)
    except (jinja2.TemplateError, TypeError) as error:
        line = getattr(error, "lineno", None)
        raise ValueError(f"{error} (line {line})" if line else str(error)) from error


def sh(value: object) -> str:
    """One shell word that means exactly ``value``, whatever characters it holds (NUL cannot be in one)."""
    return shlex.quote(str(value))


def sh_words(values: Iterable[object]) -> str:
    """Several shell words."""
    return " ".join(sh(value) for value in values)


def sh_env(value: str) -> str:
    """One shell word for a value of ``env``.

    ``${NAME}`` is the node's value when the script runs (unset is empty), ``$$`` a dollar, all else itself.
    """
    if not any(match.group(1) for match in _REFERENCE.finditer(value)):
        return sh(value.replace("$$", "$"))
    return f'"{_double_quoted(value)}"'


def _double_quoted(value: str) -> str:
    parts, end = [], 0
    for match in _REFERENCE.finditer(value):
        parts.append(_SPECIAL.sub(r"\\\1", value[end : match.start()]))
        parts.append(f"${{{match.group(1)}-}}" if match.group(1) else r"\$")
        end = match.end()
    return "".join((*parts, _SPECIAL.sub(r"\\\1", value[end:])))


def comment(value: object) -> str:
    """Text that stays on its comment line."""
    return " ".join(str(value).split())


def to_json(value: Any) -> str:
    """JSON on one line, unicode kept."""
    return json.dumps(value, ensure_ascii=False)


def _compiled() -> jinja2.BytecodeCache | None:
    """Compiled templates lie beside compiled Python, each under a hash of its text.

    Compiling them again takes as long as planning eight nodes. ``None`` where the package cannot be written.
    """
    import jinja2  # noqa: PLC0415 - as below

    class Kept(jinja2.FileSystemBytecodeCache):
        def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
            with suppress(OSError):  # a full disk costs time, nothing else
                super().dump_bytecode(bucket)

    folder = _PACKAGE / "__pycache__"
    return Kept(str(folder)) if os.access(folder, os.W_OK) else None


@cache
def _environment() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415 - verbs that render nothing do not pay for it

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_root()),
        bytecode_cache=_compiled(),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - shell, not HTML: the filters quote
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "sh": sh,
        "words": sh_words,
        "shenv": sh_env,
        "json": to_json,
        "comment": comment,
    }
    return environment
