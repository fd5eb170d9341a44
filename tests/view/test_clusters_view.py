"""The list of clusters."""

from dplaunch.view import clusters
from dplaunch.view.clusters import ClusterRow

ROWS = (
    ClusterRow(
        cluster="deepseek-r1", rehearsal=False, file="/srv/deepseek.yaml", current=True, state="outage",
        nodes=("n1", "n2", "n3", "n8"), url="http://192.0.2.1:8080", unreached=("n8",),
    ),
    ClusterRow(
        cluster="qwen", rehearsal=True, file="/srv/qwen.yaml", current=False, state="serving",
        nodes=("n1",), url="http://127.72.49.1:8080",
    ),
    ClusterRow(
        cluster="glm", rehearsal=False, file="/srv/glm.yaml", current=False, state="unknown",
        problem="2 problems in the cluster file",
    ),
)  # fmt: skip


def test_every_cluster_has_a_row_with_its_kind_and_what_is_wrong_stands_below(draw, golden):
    golden("clusters", draw(clusters.render(ROWS), 120))
    golden("clusters", clusters.to_json(ROWS))


def test_where_no_cluster_is_known_the_next_command_is_named(draw, golden):
    golden("clusters-none", draw(clusters.render(())))
