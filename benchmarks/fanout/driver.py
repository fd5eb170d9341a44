"""One verb over many hosts with nothing but the transport and the wire: what ``bench.py`` measures.

python driver.py start|status|stop SSH_CONFIG HOST,HOST,… PROCESSES
"""

import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dplaunch import wire
from dplaunch.model.cluster import RuntimeSpec, SshSpec
from dplaunch.model.plan import NodePlan, Process, StopStep
from dplaunch.transport import Options, connect, fan_out


def node(host: str) -> NodePlan:
    return NodePlan(
        name=host, host=host, address=host, ssh=SshSpec(), runtime=RuntimeSpec(), files=(), processes=()
    )


def process(host: str, number: int) -> Process:
    return Process(
        name=f"p-{number}",
        kind="service",
        role="bench",
        group=f"p-{number}",
        node=host,
        argv=("sleep", "1000"),
        stop=(StopStep("KILL", 5.0),),
    )


def request(verb: str, where: NodePlan, count: int) -> dict[str, Any]:
    processes = [process(where.host, number) for number in range(count)]
    fields: dict[str, dict[str, Any]] = {
        "start": wire.start_request(where, processes, {}),
        "observe": {"health": False},
        "stop": {"names": [p.name for p in processes], "grace": None, "ports": False},
    }
    return {"id": 1, "verb": verb, **fields[verb]}


def session(verb: str, host: str, count: int, options: Options) -> Mapping[str, Any]:
    """Connect, ask once, read the one reply."""
    where = node(host)
    reached = connect(where, options=options)
    try:
        stream = reached.stream(wire.bootstrap())
        wire.greet(stream, host, "bench", None)
        stream.send(wire.encode(request(verb, where, count)))
        return next(m for line in stream.lines() if "ok" in (m := wire.decode(line)))
    finally:
        reached.close()


def seen(verb: str, reply: Mapping[str, Any]) -> int:
    """How many processes the reply vouches for."""
    if verb == "observe":
        return sum(p["state"] == "running" for p in reply["processes"])
    return sum(bool(r.get("ok", True)) for r in reply.get("results", ()))


def main() -> int:
    name, config, hosts, count = sys.argv[1], sys.argv[2], sys.argv[3].split(","), int(sys.argv[4])
    verb = "observe" if name == "status" else name
    options, began = Options(ssh_config=config), time.monotonic()
    outcomes = fan_out(hosts, lambda host: session(verb, host, count, options), deadline=60.0)
    errors = [str(outcome.error) for outcome in outcomes.values() if outcome.error]
    total = sum(seen(verb, outcome.value) for outcome in outcomes.values() if outcome.value)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures = {"walk": time.monotonic() - began, "rss_mb": usage.ru_maxrss / 1024, "processes": total}
    print(json.dumps(figures))
    sys.stdout.flush()
    expected = total == len(hosts) * count or name == "status"
    if errors or not expected:
        sys.stderr.write("\n".join([f"{total} of {len(hosts) * count} processes", *errors]) + "\n")
    os._exit(1 if errors or not expected else 0)


if __name__ == "__main__":
    main()
