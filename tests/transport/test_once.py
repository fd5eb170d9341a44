import threading

import pytest

from dplaunch.transport.once import Once


def test_many_ask_one_makes():
    once, made, gate = Once(), [], threading.Event()

    def make():
        gate.wait(5)
        made.append(1)
        return "value"

    found = []
    threads = [threading.Thread(target=lambda: found.append(once.get("key", make))) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(5)
    assert (found, made) == (["value"] * 8, [1])


def test_a_failure_is_forgotten_so_that_the_next_one_tries_again():
    once = Once()
    with pytest.raises(ZeroDivisionError):
        once.get("key", lambda: 1 / 0)
    assert once.get("key", lambda: 7) == 7


def test_what_is_no_longer_valid_is_made_anew():
    once = Once()
    assert once.get("key", lambda: 1) == 1
    assert once.get("key", lambda: 2, valid=lambda value: value > 1) == 2


def test_close_closes_what_can_be_closed(tmp_path):
    once, file = Once(), (tmp_path / "f").open("w")
    once.get("file", lambda: file)
    once.get("text", lambda: "no close")
    once.close()
    assert file.closed
