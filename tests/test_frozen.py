import dataclasses
from dataclasses import field

import pytest

from dplaunch.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """A place."""

    x: int
    y: int = 2
    seen: list[str] = field(default_factory=list, repr=False, compare=False)

    @property
    def sum(self) -> int:
        return self.x + self.y


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """First what has a default."""

    size: int = 1
    name: str


def test_values_go_where_the_library_would_put_them():
    point = Point(1)
    assert (point.x, point.y, point.seen, point.sum) == (1, 2, [], 3)
    assert Point(1, y=5).y == 5
    assert Point(1, seen=["a"]).seen == ["a"]
    assert Named(name="n") == Named(size=1, name="n")
    with pytest.raises(TypeError):
        Named(1, "n")
    with pytest.raises(TypeError, match="x"):
        Point()
    with pytest.raises(TypeError, match="z"):
        Point(1, z=3)


def test_each_has_its_own_of_what_a_factory_makes():
    assert Point(1).seen is not Point(1).seen


def test_equal_by_value_and_class_and_only_in_what_is_compared():
    assert Point(1) == Point(1, 2, ["a"])
    assert Point(1) != Point(2)
    assert Point(1) != (1, 2)
    assert Point(1).__eq__("x") is NotImplemented
    assert len({Point(1), Point(1, 2, ["a"]), Point(2)}) == 2


def test_nothing_changes():
    point = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match=r"Point\.x"):
        point.x = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del point.x
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError)):
        point.z = 2
    assert not hasattr(point, "__dict__")


def test_the_library_takes_them_as_its_own():
    assert dataclasses.is_dataclass(Point)
    assert dataclasses.replace(Point(1), y=7) == Point(1, 7)
    assert dataclasses.asdict(Named(name="n")) == {"size": 1, "name": "n"}
    assert repr(Point(1)) == "Point(x=1, y=2)"


def test_what_is_not_frozen_is_the_librarys():
    with pytest.raises(TypeError, match=r"dataclasses\.dataclass"):
        dataclass(frozen=False, slots=True)


def test_a_class_may_have_no_values():
    @dataclass(frozen=True, slots=True)
    class Nothing:
        """Nothing."""

    assert Nothing() == Nothing()
