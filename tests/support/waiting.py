"""Waiting without sleeping: poll a condition until a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], deadline: float = 10.0, interval: float = 0.02) -> T:
    """Return the condition's first true value; AssertionError after ``deadline`` seconds without one."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        if time.monotonic() >= end:
            name = getattr(condition, "__qualname__", repr(condition))
            raise AssertionError(f"not within {deadline:g} s: {name}, last value {value!r}")
        time.sleep(interval)
    return value
