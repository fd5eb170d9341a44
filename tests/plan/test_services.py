"""Services, jobs, Redis and files of nodes, as planned; their scripts are run with programs that only tell."""

import json

import pytest
from fakevllm import TELLER, Stage
from msgspec.structs import replace
from specs import cluster, serve

from dplaunch import plan
from dplaunch.errors import SpecError
from dplaunch.model.cluster import FileSpec, RedisSpec, SecretRef, ServiceSpec
from dplaunch.model.plan import Ready

MASTER = ServiceSpec(
    name="mooncake",
    node="n1",
    command=("mooncake_master", "--port", "50088", "--at", "${DPLAUNCH_ADDRESS}", "a b"),
    env={"GLOG_v": "1", "KEY": SecretRef("env", "KEY")},
    ports=(50088,),
    ready="tcp",
    ready_at=50088,
)
JOB = ServiceSpec(name="fetch", node="n1", command=("true",), ready="exit")
REDIS = RedisSpec(host="192.0.0.1", node="n1", password=SecretRef("env", "PASSWORD"))


def built(**changes):
    return plan.build(cluster(serve(), router=None, **changes))


def process(planned, name):
    return next(one for one in planned.processes if one.name == name)


def test_a_service_runs_its_words_with_its_environment_and_no_proxy(tmp_path):
    stage, planned = Stage(tmp_path), built(services=(MASTER,))
    stage.put(planned.nodes[0])
    stage.program("mooncake_master", TELLER)
    ran = stage.run(process(planned, "mooncake"), http_proxy="x", KEY="secret")
    assert (ran.code, ran.argv) == (0, ["--port", "50088", "--at", "192.0.0.1", "a b"])
    assert (ran.env["GLOG_v"], ran.env["KEY"]) == ("1", "secret")
    assert "http_proxy" not in ran.env
    assert all("secret" not in file.text for file in planned.nodes[0].files)


def test_redis_gets_its_password_on_stdin(tmp_path):
    stage, planned = Stage(tmp_path), built(redis=REDIS)
    stage.put(planned.nodes[0])
    stage.program("redis-server", '#!/bin/sh\necho "$@" > told; cat >> told\n')
    assert stage.run(process(planned, "redis"), DPLAUNCH_REDIS_PASSWORD="a 'b").code == 0
    words = "- --port 6379 --bind 192.0.0.1 --protected-mode no --save  --appendonly no"
    assert (stage.root / "told").read_text() == f"{words}\nrequirepass a 'b\n"


def test_redis_that_runs_elsewhere_is_not_started():
    planned = built(redis=RedisSpec(host="192.0.2.9"))
    assert "redis" not in [one.name for one in planned.processes]


def test_what_is_needed_first_starts_first_and_the_rest_after_the_engines():
    late = replace(MASTER, name="late", ports=(1,), ready_at=1, before=False)
    planned = built(services=(MASTER, late, JOB))
    engines = [one for one in planned.processes if one.kind == "engine"]
    assert {one.after for one in engines} == {("mooncake", "fetch")}
    assert process(planned, "late").after == tuple(one.name for one in engines)
    assert (process(planned, "fetch").kind, process(planned, "fetch").ready) == ("job", Ready("exit"))
    assert not process(planned, "fetch").restarts


@pytest.mark.parametrize(
    ("changes", "urls", "ready"),
    [
        ({}, ["tcp://192.0.0.1:50088"], Ready()),
        ({"ready": "http", "ready_by": "/up"}, ["http://192.0.0.1:50088"], Ready()),
        ({"ready": "line", "ready_by": "up$"}, [], Ready("line", "up$")),
        ({"ready": "started"}, [], Ready()),
    ],
)
def test_a_service_is_ready_in_its_own_way(changes, urls, ready):
    found = process(built(services=(replace(MASTER, **changes),)), "mooncake")
    assert ([one.url for one in found.endpoints], found.ready) == (urls, ready)


def test_its_ports_are_no_engines():
    taken = replace(MASTER, ports=(9000,), ready_at=9000)
    with pytest.raises(SpecError) as caught:
        built(services=(taken,))
    (problem,) = caught.value.problems
    assert "wanted by both mooncake and serve-0" in problem.text
    assert "services.mooncake.ports" in problem.hint


def test_files_come_with_their_values_and_restart_what_reads_them():
    text = "{{ node.address }} {{ services.mooncake.address }}:{{ services.mooncake.ports[0] }} {{ nodes | json }}"
    one = FileSpec(path="my.conf", nodes=("n1",), text=text, template=True, mode=0o640, owner="root")
    planned = built(services=(MASTER,), files=(one, FileSpec(path="/etc/x", nodes=("n1",), text="x")))
    files = {file.path: file for file in planned.nodes[0].files}
    mine = files["files/my.conf"]
    address, where, nodes = mine.text.split(" ", 2)
    assert (address, where, mine.mode, mine.owner) == ("192.0.0.1", "192.0.0.1:50088", 0o640, "root")
    assert {"name": "n1", "address": "192.0.0.1"} in json.loads(nodes)
    assert files["/etc/x"].text == "x"
    other = built(services=(MASTER,), files=(one, FileSpec(path="/etc/x", nodes=("n1",), text="y")))
    for name in ("serve-0", "mooncake"):
        assert process(planned, name).fingerprint != process(other, name).fingerprint


@pytest.mark.parametrize("text", ["{{ nope }}", "{% if %}", "{{ node.address.__class__.__mro__ }}"])
def test_a_template_that_cannot_be_filled_in_is_a_problem_of_its_key(text):
    with pytest.raises(SpecError) as caught:
        built(files=(FileSpec(path="x", nodes=("n1",), text=text, template=True),))
    assert [problem.key for problem in caught.value.problems] == ["files[0].template"]


def test_a_rehearsal_has_stand_ins_and_touches_nothing_outside_its_folder():
    files = (FileSpec(path="/etc/x", nodes=("n1",), text="x", owner="root"),)
    spec = cluster(
        serve(), router=None, services=(MASTER, JOB), redis=RedisSpec(host="192.0.2.9"), files=files
    )
    planned = plan.build(spec, rehearse=True)
    found = {file.path: file for file in planned.nodes[0].files}
    assert (found["files/etc/x"].owner, found["files/etc/x"].text) == ("", "x")
    script = found["services/mooncake/run_service.sh"].text
    assert "exec dplaunch-service 50088 mooncake_master --port" in script
    assert "exec dplaunch-service job true" in found["services/fetch/run_service.sh"].text
    assert process(planned, "redis").endpoints[0].url.startswith("tcp://127.")
    assert {"bin/dplaunch-service", "bin/redis-server"} <= found.keys()
