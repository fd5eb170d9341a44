"""When a guard looks at what was born on its machine."""

import pytest

from dplaunch.node.guard.proc import worth_a_look


@pytest.mark.parametrize(
    ("cost", "waited", "crowded", "worth"),
    [
        (0.001, 2.0, False, True),
        (0.001, 2.0, True, True),  # a trifle
        (0.001, 0.5, False, False),
        (0.050, 10.0, False, False),
        (0.050, 31.0, False, True),
        (0.050, 31.0, True, False),
        (0.050, 301.0, True, True),
        (9.0, float("inf"), True, True),  # whatever it costs
    ],
)
def test_looking_at_births_costs_a_share_and_gives_way(cost, waited, crowded, worth):
    assert worth_a_look(cost, waited, waited * 0.001, 30.0, crowded=crowded) is worth
