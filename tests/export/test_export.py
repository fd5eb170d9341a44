"""Scrape configurations and dashboards of the shipped clusters. Wording: ``cases`` (``pytest --accept``)."""

import json
from pathlib import Path

import pytest
import yaml
from drawn import metrics_of, panels_of

from dplaunch import plan, spec
from dplaunch.engines import adapter
from dplaunch.errors import UsageError
from dplaunch.export import dump, grafana, prometheus
from dplaunch.node.rehearsal.vllm.counters import Counters
from dplaunch.node.rehearsal.vllm.counters import prometheus as served
from dplaunch.render import clusters_root

CASES = Path(__file__).parent / "cases"
WITHOUT = {"deepseek-r1-mindie-motor", "ernie-gpu-offline", "ernie-gpu-offline-tp", "llama2-70b-atb-2node"}
"""Jobs, and what MindIE's own program deploys."""


def exported(text, name="cluster.yaml"):
    """The scrape configuration and the dashboard of a cluster file, as texts."""
    found = spec.load(text, name, read_file=lambda path: Path(path).read_text()).spec
    metrics = adapter(found.engine.kind).metrics(found)
    planned = plan.build(found)
    return prometheus(planned, metrics), dump(grafana(planned, metrics))


def example(name):
    path = clusters_root() / f"{name}.yaml"
    return exported(path.read_text(), str(path))


def condensed(dashboard):
    """A line for each panel, and one for each of its expressions."""
    lines = [f"{panel['title']} [{panel['type']}]" for panel in dashboard["panels"]]
    drawn = [
        "\n".join(f"  {target['legendFormat']}: {target['expr']}" for target in panel.get("targets", ()))
        for panel in dashboard["panels"]
    ]
    return "\n".join(filter(None, (line for pair in zip(lines, drawn, strict=True) for line in pair))) + "\n"


@pytest.mark.parametrize("name", ["deepseek-r1-a3-pool", "ernie-gpu-pd", "ernie-gpu-redis"])
def test_the_files_of_an_example_are_those_of_its_case(name, expect):
    scrape, dashboard = example(name)
    expect(CASES / f"{name}.prometheus.yml", scrape)
    expect(CASES / f"{name}.panels", condensed(json.loads(dashboard)))


@pytest.mark.parametrize("name", sorted({path.stem for path in clusters_root().glob("*.yaml")} - WITHOUT))
def test_every_example_gives_files_that_prometheus_and_grafana_can_read(name):
    scrape, dashboard = example(name)
    jobs = yaml.safe_load(scrape)["scrape_configs"]
    groups = [group for job in jobs for group in job["static_configs"]]
    places = [target for group in groups for target in group["targets"]]
    assert len({job["job_name"] for job in jobs}) == len(jobs)
    assert len(set(places)) == len(places) == len(groups)
    assert all(isinstance(value, str) for group in groups for value in group["labels"].values())
    board = json.loads(dashboard)
    panels = board["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    assert {panel["datasource"]["uid"] for panel in panels_of(board)} == {"${datasource}"}
    assert board["templating"]["list"][0]["type"] == "datasource"
    corners = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(corners)) == len(corners)


@pytest.mark.parametrize("name", sorted(WITHOUT))
def test_where_nothing_serves_metrics_that_is_the_error(name):
    with pytest.raises(UsageError, match="serves metrics"):
        example(name)


def test_processes_without_a_server_are_left_out():
    scrape, _ = example("deepseek-gpu-internal")
    [_, job] = yaml.safe_load(scrape)["scrape_configs"]
    assert [group["labels"]["rank"] for group in job["static_configs"]] == ["0-15"]


TWO = """\
cluster: two
engine: {kind: vllm, version: "%s"}
hardware: cpu
model: m
nodes: [{name: a, host: a, address: "%s"}]
roles: {serve: {nodes: a}}
"""


def test_an_ipv6_address_is_in_brackets():
    scrape, _ = exported(TWO % ("0.32.0", "2001:db8::1"))
    assert "targets: ['[2001:db8::1]:9000']" in scrape


def test_a_port_for_metrics_alone_keeps_the_brackets():
    text = TWO.replace("hardware: cpu", "hardware: gpu-8").replace("vllm", "fastdeploy")
    scrape, _ = exported(text % ("2.3.0", "2001:db8::1"))
    assert "targets: ['[2001:db8::1]:9200']" in scrape


def test_with_a_key_the_comments_have_the_lines_for_it():
    scrape, _ = exported(TWO % ("0.32.0", "192.0.2.1") + "api_key: {from_env: KEY}\n")
    assert "credentials_file" in scrape
    assert "authorization" not in json.dumps(yaml.safe_load(scrape))


@pytest.mark.parametrize("version", ["0.10.2", "0.11.0", "0.32.0"])
def test_each_release_is_asked_for_the_names_that_it_has(version):
    _, dashboard = exported(TWO % (version, "192.0.2.1"))
    every_name_is_served(dashboard, tuple(map(int, version.split("."))))


def test_the_oldest_release_is_asked_for_the_names_of_its_time():
    _, dashboard = example("deepseek-r1-a3-dbo-v0.9.1")
    every_name_is_served(dashboard, (0, 9, 1))


def every_name_is_served(dashboard, release):
    page = served(Counters(1), "m", range(1), 0.0, release)
    drawn = {name for name in metrics_of(json.loads(dashboard)) if not name.startswith("dprouter_")}
    assert len(drawn) == 8
    assert {name for name in drawn if f"# TYPE {name} " not in page} == set()
