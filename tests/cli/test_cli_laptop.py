"""The whole job on this machine: real guards, rehearsal engines, the real router."""

import json
import os
import re
import socket
import urllib.request
from pathlib import Path

import pytest
import yaml
from drawn import metrics_of

pytestmark = pytest.mark.whole


def ask(endpoint, model, **fields):
    body = {"model": model, "messages": [{"role": "user", "content": "one two three"}], **fields}
    request = urllib.request.Request(
        f"{endpoint}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read().decode()


def pids(status):
    return {p["name"]: p["pid"] for p in status["processes"]}


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_up_ask_look_read_again_restart_down(laptop, until):
    up = laptop.json("up")
    assert up["ready"]
    assert up["changed"]
    seen = laptop.json("status")
    assert seen["state"] == "serving"
    assert len(seen["processes"]) == 7

    assert "one two three" in json.loads(ask(up["endpoint"], up["model"]))["choices"][0]["message"]["content"]
    every_metric_that_the_dashboard_draws_is_served_where_prometheus_looks(laptop)
    stream = ask(up["endpoint"], up["model"], stream=True)
    assert stream.rstrip().endswith("data: [DONE]")

    logs = laptop("logs", "decode-3", "-n", "5").stdout
    assert logs.count("\n") == 5
    assert "Application startup complete" in laptop("logs", "decode-3", "--grep", "startup complete").stdout
    laptop("logs", "all", "--collect", "all-logs")
    assert len(list((laptop.folder / "all-logs").rglob("*.log"))) == 7

    again = laptop.json("up")
    assert not again["changed"]
    assert pids(laptop.json("status")) == pids(seen)

    laptop("restart", "decode-3", "-y")
    after = pids(laptop.json("status"))
    same = {name for name, pid in pids(seen).items() if after[name] == pid}
    assert same == {"prefill-0", "prefill-1", "decode-0", "decode-1", "router"}

    trail = [(entry["verb"], entry["result"]) for entry in laptop.json("audit")["entries"]]
    assert trail[:3] == [("up", "began"), ("up", "ready"), ("up", "proved")]
    assert trail[3:] == [("restart", "began"), ("restart", "ready")]

    # decode-[2-3] were restarted: they have a run before; the last walk is that restart
    start = laptop.json("analyze", "--html", "start.html")
    assert {engine["name"] for engine in start["engines"]} == set(pids(seen)) - {"router"}
    assert all(engine["total"] is not None for engine in start["engines"])
    assert [times["role"] for times in start["stages"] if times["before"] is not None][-1] == "decode"
    assert (start["walk"]["verb"], start["walk"]["started"]) == ("restart", 2)
    assert "decode-3" in (laptop.folder / "start.html").read_text()

    down = laptop.json("down", "-y")
    assert down["clean"]
    assert "nothing runs" in laptop("analyze", "-f", "cluster.yaml", code=1).stdout
    assert not any(alive(pid) for pid in after.values())
    assert laptop.json("status", "cluster.yaml", code=1)["state"] == "down"
    with pytest.raises(OSError, match="refused"):
        ask(up["endpoint"], up["model"])


def every_metric_that_the_dashboard_draws_is_served_where_prometheus_looks(laptop):
    jobs = yaml.safe_load(laptop("export", "prometheus").stdout)["scrape_configs"]
    pages = [
        page(job, target) for job in jobs for group in job["static_configs"] for target in group["targets"]
    ]
    assert len(pages) == 7
    served = [set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)) for text in pages]
    drawn = metrics_of(laptop.json("export", "grafana"))
    of_router = {name for name in drawn if name.startswith("dprouter_")}
    assert of_router <= served[0]
    assert drawn - of_router
    assert all(drawn - of_router <= names for names in served[1:])


def page(job, target):
    url = f"{job['scheme']}://{target}{job['metrics_path']}"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def test_up_mends_what_died_restarts_what_changed_and_stops_what_is_gone(laptop, until):
    endpoint = laptop.json("up")["endpoint"]
    an_engine_that_dies_is_seen_and_up_mends_its_group(laptop, until)
    a_changed_file_restarts_only_what_changed(laptop)
    a_role_that_shrinks_is_stopped_and_the_router_forgets_it(laptop, endpoint)
    laptop("down", "-y")


def an_engine_that_dies_is_seen_and_up_mends_its_group(laptop, until):
    before = pids(laptop.json("status"))
    os.kill(before["decode-0"], 9)
    until(lambda: not alive(before["decode-0"]))
    seen = laptop.json("status", code=5)
    assert seen["state"] == "degraded"
    # what is left of its group is stopped: that needs a yes
    assert "-y" in laptop("up", code=2).stderr
    laptop("up", "-y")
    after = pids(laptop.json("status"))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"decode-0", "decode-1"}


def a_changed_file_restarts_only_what_changed(laptop):
    before = pids(laptop.json("status"))
    text = (laptop.folder / "cluster.yaml").read_text()
    laptop.write("cluster.yaml", text + "\noverrides: {prefill-0: {env: {A_NEW_ONE: x}}}\n")
    plan = laptop.json("up", "--dry-run")
    touched = {a["process"] for a in plan["actions"] if a["change"] != "keep"}
    assert "prefill-0" in touched
    assert "decode-0" not in touched
    laptop("up", "-y")
    after = pids(laptop.json("status"))
    assert before["decode-0"] == after["decode-0"]
    assert before["prefill-0"] != after["prefill-0"]


def a_role_that_shrinks_is_stopped_and_the_router_forgets_it(laptop, endpoint):
    text = (laptop.folder / "cluster.yaml").read_text()
    assert text.count("groups: 2                # two DP groups") == 1
    laptop.write("cluster.yaml", text.replace("groups: 2                # two DP groups", "groups: 1 #"))
    shown = laptop("up", "--dry-run").stdout
    assert "not in the file" in shown
    laptop("up", "-y")
    seen = laptop.json("status")
    assert seen["state"] == "serving"
    assert {p["name"] for p in seen["processes"] if p["role"] == "decode"} == {"decode-0", "decode-1"}
    members = json.loads(urllib.request.urlopen(endpoint + "/members", timeout=5).read())["members"]
    assert {m["name"] for m in members} == {"prefill-0", "prefill-1", "decode-0", "decode-1"}


def test_up_tells_what_changed_since_it_was_saved(laptop, state_home):
    laptop("check", "--save")
    laptop("up")
    assert "--save" not in laptop("restart", "decode-0", "-y").stderr
    laptop("down", "-y")
    [saved] = state_home.glob("dplaunch/*/laptop/fingerprint.json")
    text = saved.read_text()
    then = json.loads(text)
    then["values"]["host.kernel.release"] = "5.10.0"
    saved.write_text(json.dumps(then))
    lines = laptop("up").stderr.splitlines()
    [(place, line)] = [(n, line) for n, line in enumerate(lines) if "--save" in line]
    assert f"laptop: host.kernel release was 5.10.0 on {then['day']} and is " in line
    [loaded] = [n for n, line in enumerate(lines) if "load: done" in line]
    assert place < loaded
    saved.write_text(text)
    laptop("down", "-y")
    assert "host.kernel" not in laptop("up").stderr
    laptop("down", "-y")


def test_an_engine_that_exits_with_code_0_fails_up_and_nothing_is_left(ranks, monkeypatch):
    monkeypatch.setenv("DPLAUNCH_REHEARSAL_CRASH_AFTER", "0.1")
    monkeypatch.setenv("DPLAUNCH_REHEARSAL_EXIT_CODE", "0")
    monkeypatch.setenv("DPLAUNCH_REHEARSAL_NEVER_READY", "1")
    result = ranks("up", code=1)
    assert "exited with code 0" in result.stderr
    assert ranks.json("status", code=1)["state"] == "down"


def test_a_port_that_is_taken_is_named_with_who_holds_it(pair):
    with socket.socket() as taken:
        port = pair.json("plan")["router"]["port"]
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("0.0.0.0", port))
        taken.listen()
        result = pair("up", code=1)
    assert str(port) in result.stderr
    assert str(os.getpid()) in result.stderr
    assert pair.json("status", code=1)["state"] == "down"


def test_a_slow_one_is_named_when_time_is_up(ranks, monkeypatch):
    monkeypatch.setenv("DPLAUNCH_REHEARSAL_NEVER_READY", "1")
    result = ranks("up", "--timeout", "2s", code=4)
    assert "not ready after 2 s" in result.stderr
    assert ranks.json("status", code=1)["state"] == "down"
