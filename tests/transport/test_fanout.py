import threading
import time

from dplaunch.errors import HostError
from dplaunch.transport import fan_out


def test_every_item_has_its_value_in_order():
    outcomes = fan_out(["c", "a", "b"], str.upper, deadline=5.0)
    assert [(item, outcome.value) for item, outcome in outcomes.items()] == [
        ("c", "C"),
        ("a", "A"),
        ("b", "B"),
    ]
    assert not any(outcome.error for outcome in outcomes.values())


def test_an_error_hides_no_other_item():
    def work(name):
        if name == "bad":
            raise HostError(name, "bad is down")
        return name

    outcomes = fan_out(["good", "bad", "fine"], work, deadline=5.0)
    assert str(outcomes["bad"].error) == "bad is down"
    assert (outcomes["good"].value, outcomes["fine"].value) == ("good", "fine")


def test_a_dead_host_holds_up_neither_the_others_nor_the_end():
    forever = threading.Event()

    def work(name):
        if name.startswith("dead"):
            forever.wait(30)
        return name

    began = time.monotonic()
    outcomes = fan_out(["dead1", "dead2", "n3", "n4", "n5"], work, workers=2, deadline=0.3)
    forever.set()
    assert time.monotonic() - began < 2.0
    assert [outcomes[n].value for n in ("n3", "n4", "n5")] == ["n3", "n4", "n5"]
    assert outcomes["dead2"].error.node == "dead2"
    assert outcomes["dead2"].error.text == "dead2 did not finish within 0.3 s"


def test_no_more_than_workers_at_a_time():
    lock, now, most = threading.Lock(), [0], [0]
    step = threading.Barrier(3)

    def work(_):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        step.wait(5)
        with lock:
            now[0] -= 1

    outcomes = fan_out(range(9), work, workers=3, deadline=10.0)
    assert (most[0], [o.error for o in outcomes.values()]) == (3, [None] * 9)


def test_nothing_to_do_is_done():
    assert fan_out([], str, deadline=1.0) == {}
