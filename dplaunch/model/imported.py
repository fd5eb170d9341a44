"""What ``import`` found in another launcher's files, beside the cluster file that it made of them."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from dplaunch.errors import Problem


class Left(Struct, frozen=True):
    """Something that the cluster file does not hold; ``matters``: engines may run differently without it."""

    where: str
    text: str
    hint: str = ""
    matters: bool = True


class Launch(Struct, frozen=True):
    """One process of an engine as the source starts it.

    ``words`` follow the program's name, the model first. In ``env``, ``${NAME}`` is known on the node only.
    """

    host: str
    words: tuple[str, ...]
    env: Mapping[str, str]
    where: str
    role: str = ""
    """Prefill or decode, where the source says which."""
    program: str = "serve"
    """The word that the others follow: ``serve``, or a Python module."""


class Difference(Struct, frozen=True):
    """What engines of the cluster file get otherwise than in the source; None: not at all.

    ``why`` is empty where nothing explains it.
    """

    engines: tuple[str, ...]
    what: str
    theirs: str | None
    ours: str | None
    why: str = ""


class Imported(Struct, frozen=True):
    """The cluster file, and everything that has to be known about it."""

    text: str
    engines: int
    """Processes of engines that were compared."""
    differences: tuple[Difference, ...] = ()
    left: tuple[Left, ...] = ()
    problems: tuple[Problem, ...] = ()
    """Errors and warnings of the cluster file itself."""

    @property
    def complete(self) -> bool:
        """Whether the cluster file is valid and starts what the source starts."""
        wrong = any(not problem.warning for problem in self.problems)
        unexplained = any(not difference.why for difference in self.differences)
        return not wrong and not unexplained and not any(one.matters for one in self.left)
