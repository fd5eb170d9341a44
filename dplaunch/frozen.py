"""``dataclass``, cheap to define: every start of the launcher defines some sixty frozen values.

The library compiles six methods anew for each class. Five are the same for all frozen values and stand here
once; what is compiled is ``__init__``. A type checker sees the library's own decorator, and ``fields``,
``replace`` and ``asdict`` take these classes as their own.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, frozen: bool, slots: bool, kw_only: bool = False):  # noqa: ANN201 - typed above
        """``dataclasses.dataclass`` for classes that are frozen and have slots."""
        if not (frozen and slots):
            raise TypeError("take dataclasses.dataclass for what is not frozen with slots")

        def decorate(kind: type) -> type:
            kind = dataclasses.dataclass(
                kind, init=False, repr=False, eq=False, slots=True, kw_only=kw_only, match_args=False
            )
            kind.__init__ = _init(kind)
            kind.__repr__, kind.__eq__, kind.__hash__ = _repr, _eq, _hash
            kind.__setattr__, kind.__delattr__ = _refuse, _refuse
            return kind

        return decorate


_OWN = object()
"""Stands for "make this instance one of its own" where a field has a factory."""


def _init(kind: Any) -> Any:
    """``__init__`` of a class with slots: each value goes into its slot, past ``__setattr__``."""
    known: dict[str, Any] = {"_OWN": _OWN}
    first: list[str] = ["self"]
    named: list[str] = []
    body: list[str] = []
    for field in dataclasses.fields(kind):
        name = field.name
        known[f"_set_{name}"] = getattr(kind, name).__set__
        default, value = "", name
        if field.default_factory is not dataclasses.MISSING:
            known[f"_make_{name}"] = field.default_factory
            default, value = "=_OWN", f"_make_{name}() if {name} is _OWN else {name}"
        elif field.default is not dataclasses.MISSING:
            known[f"_default_{name}"] = field.default
            default = f"=_default_{name}"
        (named if field.kw_only else first).append(name + default)
        body.append(f" _set_{name}(self, {value})\n")
    parameters = ", ".join([*first, *(["*", *named] if named else [])])
    exec(f"def __init__({parameters}):\n{''.join(body) or ' pass'}", known)  # noqa: S102 - names of fields
    return known["__init__"]


def _repr(self: Any) -> str:
    shown = (f"{name}={getattr(self, name)!r}" for name in _names(self.__class__, "repr"))
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _eq(self: Any, other: object) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return self is other or _compared(self) == _compared(other)


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _refuse(self: Any, name: str, *_: object) -> None:
    raise dataclasses.FrozenInstanceError(f"{type(self).__name__}.{name} cannot be changed")


def _compared(value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, name) for name in _names(value.__class__, "compare"))


@cache
def _names(kind: Any, where: str) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind) if getattr(field, where))


__all__ = ["dataclass"]
