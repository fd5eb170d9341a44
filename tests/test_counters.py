"""Prometheus text → sums."""

import pytest

from dplaunch.counters import family, total

PAGE = """\
# HELP toy:running Requests in work.
# TYPE toy:running gauge
toy:running{engine="0"} 2.0
toy:running{engine="1",model="a } b"} 3
toy:running_max{engine="0"} 90
toy:waiting 4 1700000000000
toy:tokens_total{source="own"} 1e3
toy:tokens_total{source="elsewhere"} 7.0
toy:tokens_total{source="elsewhere",engine="1"} 1.0
toy:odd{a="b"} NaN
toy:odd{a="c"} +Inf
toy:odd{a="d"}
toy:odd{a="e"} many
toy:odd{a="f"} 5
"""


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("toy:running", 5.0),
        ("toy:waiting", 4.0),
        ("toy:run", None),
        ("toy:tokens_total", 1008.0),
        ('toy:tokens_total{source="elsewhere"}', 8.0),
        ('toy:tokens_total{source="nowhere"}', 0.0),
        ('toy:missing{source="elsewhere"}', None),
        ("toy:odd", 5.0),
        ("# HELP toy:running Requests in work.", None),
    ],
)
def test_a_metric_is_summed_over_its_label_sets(metric, value):
    assert total(PAGE, metric) == value


def test_a_page_without_metrics_has_no_families():
    assert total("", "toy:running") is None
    assert total("<html>not found</html>", "toy:running") is None


@pytest.mark.parametrize(("metric", "name"), [("a:b_total", "a:b_total"), ('a:b_total{c="d"}', "a:b_total")])
def test_a_family_is_the_name_without_labels(metric, name):
    assert family(metric) == name
