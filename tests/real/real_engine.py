"""Every form of data parallelism with the real vLLM on CPUs, over SSH, on two machines of the lab. Needs root.

`make test-real` runs it, `make test` does not. What was measured is printed with `-rP`.
"""

import os
import signal
import time
from collections.abc import Iterator

import pytest
from lab import Lab
from realengine import ROUTER, START, TOLD, Answer, RealSite, Watch

SINGLE = "  serve: {nodes: n1}"
FORMS = {
    "external": "  serve: {nodes: 'n[1-2]', dp: 2, ep: true}",
    "internal": "  serve: {nodes: 'n[1-2]', lb: internal, dp: 2, ep: true, args: {api-server-count: 1}}",
    "hybrid": "  serve: {nodes: 'n[1-2]', lb: hybrid, dp: 4, ep: true, args: {api-server-count: 1}}",
    "supervisor": "  serve: {nodes: 'n[1-2]', lb: supervisor, dp: 4, ep: true}",
}
"""Two ranks on two machines; four where a machine with one rank would be another form. One API server behind each
port: of several, one that hangs takes no connection, the others do, and clients notice nothing."""
LAST_RANK = {"external": 1, "internal": 1, "hybrid": 3, "supervisor": 3}
SPLIT = """\
  prefill: {nodes: n1}
  decode: {nodes: 'n[1-2]', dp: 2, ep: true}
kv_transfer: {connector: NixlConnector}"""
SERVER = r"VLLM::APIServer|vllm serve (?!.*--headless)"
"""One that answers requests: with several behind a port, one of these."""
PROMPTS = ("The quick brown fox", "short", "one two three four five six", "0123456789" * 9)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(2, disk="2g") as lab:
        yield lab


@pytest.fixture(scope="module")
def reference(lab: Lab) -> dict[str, Answer]:
    """What one server without any parallelism answers."""
    site = RealSite(lab)
    site.write(SINGLE)
    site.up()
    answers = {prompt: site.complete(prompt) for prompt in PROMPTS}
    site.down()
    return answers


@pytest.fixture
def site(lab: Lab) -> Iterator[RealSite]:
    site = RealSite(lab)
    yield site
    site.mend()


def agree(site: RealSite, reference: dict[str, Answer], urls: list[tuple[str, int]]) -> None:
    """Every rank gives the reference's tokens; engines take turns among the ranks of an endpoint."""
    equal = asked = 0
    for prompt, wanted in reference.items():
        for url, times in urls:
            for _ in range(times):
                found = site.complete(prompt, url)
                assert wanted.agrees(found), (prompt, url, wanted, found)
                equal, asked = equal + (wanted.tokens == found.tokens), asked + 1
    print(f"{equal} of {asked} answers equal, the others at near-ties")  # noqa: T201 - a measurement


def strike(watch: Watch, name: str, pid: int, kind: signal.Signals) -> str:
    """Send a signal to a process; the sentence that the operator got within ten seconds."""
    os.kill(pid, kind)
    seconds, seen = watch.wait(lambda seen: seen["state"] in ("degraded", "outage"), TOLD)
    print(f"{name}: {seen['state']} after {seconds:.1f} s, {seen['cause']}")  # noqa: T201 - a measurement
    return str(seen["cause"])


def hang(watch: Watch, name: str, pid: int) -> None:
    """Stop a process until that is reported, and let it continue: the router opens the group by itself."""
    try:
        strike(watch, f"{name} hangs", pid, signal.SIGSTOP)
    finally:
        os.kill(pid, signal.SIGCONT)
    serves(watch)


def serves(watch: Watch) -> None:
    watch.wait(lambda seen: seen["state"] == "serving", 120.0)


@pytest.mark.parametrize("form", FORMS)
def test_a_form_answers_as_one_server_does_and_what_fails_in_it_is_reported(site, reference, form):
    site.write(FORMS[form])
    began = time.monotonic()
    site.up()
    print(f"{form}: proved twice after {time.monotonic() - began:.0f} s")  # noqa: T201 - a measurement
    agree(site, reference, [*site.endpoints(), (ROUTER, 1)])
    with site.watch() as watch:
        serves(watch)
        hang(watch, "an API server", site.find(SERVER)[1].pid)
        _, rank = site.find(f"VLLM::EngineCore_DP{LAST_RANK[form]}")
        with site.traffic():
            hang(watch, "a rank", rank.pid)
        strike(watch, "a rank is killed", rank.pid, signal.SIGKILL)
    site("up", "-y", timeout=START)
    with site.watch() as watch:
        serves(watch)
        host, server = site.find(SERVER)
        cause = strike(watch, "an API server is killed", server.pid, signal.SIGKILL)
        assert f"n{host.number}" in cause
    site.down()


def test_prefill_hands_its_kv_to_two_decode_ranks(site, reference):
    site.write(SPLIT)
    site.up()
    agree(site, reference, [(ROUTER, 2)])
    site.down()
