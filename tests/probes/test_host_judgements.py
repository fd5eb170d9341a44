"""What probes of hosts say, node by node."""

from dataclasses import replace
from pathlib import Path

import pytest
from probing import bad, commands, findings, run, targets
from specs import cluster, nodes, serve

from dplaunch.model.check import Output
from dplaunch.model.cluster import RouterSpec, RuntimeSpec, WeightsSpec
from dplaunch.probes import disk, kernel, limits, memory, nic, proxy, python

CAPTURES = Path(__file__).parent / "captures"


def read(name: str) -> str:
    return (CAPTURES / f"{name}.txt").read_text(errors="replace")


def three(**changes):
    """Three nodes with an engine each."""
    role = serve(nodes=("n1", "n2", "n3"), dp=3, tp=16, expert_parallel=True)
    return targets(cluster(role, **changes))


def on_all(key, *texts: str | Output):
    """n1, n2 … → what the command of this key gave there."""
    return {f"n{i}": {key: text} for i, text in enumerate(texts, 1)}


# host.python
GOOD = '{"python": "3.11.13", "aiohttp": true}\n'
NO_AIOHTTP = '{"python": "3.11.13", "aiohttp": false}\n'


def test_a_python_that_runs_is_named_with_its_version():
    said = findings(python.PROBE, three(), on_all("python", "setup says hello\n" + GOOD, GOOD, GOOD))
    assert said == [f"ok n{i}: python3 is Python 3.11.13" for i in (1, 2, 3)]


def test_only_the_routers_node_needs_aiohttp():
    here = three(router=RouterSpec(node="n2"))
    said = findings(python.PROBE, here, on_all("python", NO_AIOHTTP, NO_AIOHTTP, NO_AIOHTTP))
    assert bad(said) == ["fail n2: the router cannot start: python3 has no aiohttp"]
    here = three(router=RouterSpec(node="n2", kind="vllm-router"))
    assert bad(findings(python.PROBE, here, on_all("python", NO_AIOHTTP, NO_AIOHTTP, NO_AIOHTTP))) == []


def test_a_python_that_does_not_run_or_is_another_is_found():
    missing = Output(code=127, err="bash: line 1: exec: python3.11: not found\n", problem="not found")
    old = '{"python": "3.9.2", "aiohttp": true}'
    here = three(runtime=RuntimeSpec(python="python3.11"))
    assert bad(findings(python.PROBE, here, on_all("python", GOOD, missing, GOOD))) == [
        "fail n2: python3.11 does not run: bash: line 1: exec: python3.11: not found"
    ]
    assert bad(findings(python.PROBE, here, on_all("python", GOOD, GOOD, old))) == [
        "warn n3: python3.11 is Python 3.9.2, on the other nodes 3.11.13"
    ]


def test_python_is_asked_after_the_setup_lines():
    [one, *_] = three(runtime=RuntimeSpec(setup=("export X='a b'", 'echo "$X"')))
    output = run(commands(python.PROBE, one)["python"])
    facts = python.PROBE.parse(one, {"python": output})
    assert output.out.startswith("a b\n{")
    assert facts["python"].startswith("3.")


# host.nic
def with_addresses(*addresses: str, nic=None):
    found = tuple(
        replace(node, address=address, nic=nic) for node, address in zip(nodes(3), addresses, strict=True)
    )
    return three(nodes=found)


def addresses_of(*held: tuple[str, str]):
    """``ip -o addr show`` with these ``name address``."""
    lines = [
        f"{i}: {name}    inet {address}/24 scope global {name}" for i, (name, address) in enumerate(held)
    ]
    return "1: lo    inet 127.0.0.1/8 scope host lo\n" + "\n".join(lines)


HERE = with_addresses("192.0.2.1", "192.0.2.2", "192.0.2.3")
FINE = [addresses_of(("eth0", f"192.0.2.{i}"), ("eth1", f"198.51.100.{i}")) for i in (1, 2, 3)]


def test_the_interface_is_found_by_address():
    assert findings(nic.PROBE, HERE, on_all("interfaces", *FINE)) == [
        f"ok n{i}: the address is on eth0" for i in (1, 2, 3)
    ]
    facts = nic.PROBE.parse(HERE[0], {"interfaces": Output(code=0, out=FINE[0])})
    assert facts["nic"] == "eth0"


def test_an_address_that_no_interface_carries_comes_with_candidates():
    wrong = addresses_of(("eth0", "192.0.2.77"), ("eth1", "198.51.100.2"), ("docker0", "169.254.1.1"))
    facts = {"n2": nic.PROBE.parse(HERE[1], {"interfaces": Output(code=0, out=wrong)})}
    [finding] = nic.PROBE.judge(HERE, facts)
    assert (finding.level.value, finding.node) == ("fail", "n2")
    assert finding.text == "no interface carries 192.0.2.2"
    assert finding.remedy.endswith("eth0 has 192.0.2.77, eth1 has 198.51.100.2")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("eth1", "fail n1: eth1 does not carry 192.0.2.1: eth0 does"),
        ("ib0", "fail n1: there is no interface ib0 to carry 192.0.2.1: eth0 does"),
        ("eth0", "ok n1: the address is on eth0"),
    ],
)
def test_a_given_interface_must_carry_the_address(given, text):
    here = with_addresses("192.0.2.1", "192.0.2.2", "192.0.2.3", nic=given)
    assert findings(nic.PROBE, here, on_all("interfaces", FINE[0])) == [text]


def test_two_interfaces_with_the_address_need_a_choice():
    twice = read("ip/same_address_twice").replace("192.0.2.41", "192.0.2.1")
    assert findings(nic.PROBE, HERE, on_all("interfaces", twice)) == [
        "fail n1: several interfaces carry 192.0.2.1: eth0, eth1"
    ]
    here = with_addresses("192.0.2.1", "192.0.2.2", "192.0.2.3", nic="eth1")
    assert findings(nic.PROBE, here, on_all("interfaces", twice)) == ["ok n1: the address is on eth1"]


def test_a_loopback_address_is_good_only_where_all_are_here():
    here = with_addresses("127.0.0.1", "192.0.2.2", "192.0.2.3")
    assert bad(findings(nic.PROBE, here, on_all("interfaces", *FINE))) == [
        "fail n1: 127.0.0.1 is a loopback address, which no other node can reach"
    ]
    here = with_addresses("127.0.0.1", "127.0.0.2", "127.9.9.3")
    said = findings(nic.PROBE, here, on_all("interfaces", *[read("ip/loopback_only")] * 3))
    assert said == [f"ok n{i}: the address is on lo" for i in (1, 2, 3)]


def test_the_listing_works_here_with_ip_and_without(tmp_path):
    command = commands(nic.PROBE, HERE[0])["interfaces"]
    assert ["lo", "127.0.0.1"] in nic.interfaces(run(command).out)
    for tool in ("sh", "python3"):
        (tmp_path / tool).symlink_to(Path("/usr/bin") / tool)
    assert ["lo", "127.0.0.1"] in nic.interfaces(run(command, PATH=str(tmp_path)).out)


# host.kernel
def test_the_odd_kernel_is_named():
    arm, other = read("uname/openeuler_arm"), read("uname/ubuntu_arm")
    release = "5.10.0-216.0.0.115.oe2203sp4.aarch64 aarch64"
    assert findings(kernel.PROBE, three(), on_all("uname", arm, arm, other)) == [
        f"ok n1: {release}",
        f"ok n2: {release}",
        f"warn n3: the kernel is 5.15.0-25-generic aarch64, on the other nodes {release}",
    ]


# host.limits
@pytest.mark.parametrize(
    ("capture", "texts"),
    [
        ("root_on_host", []),
        ("user_ready_for_this", []),
        ("no_capabilities_shown", []),
        (
            "docker_default",
            ["warn n1: a process may lock only 8192 KiB of memory, transfers between devices lock more"],
        ),
        (
            "user_as_shipped",
            [
                "warn n1: a process may open only 4096 files: too few for engines under load",
                "warn n1: a process may lock only 64 KiB of memory, transfers between devices lock more",
                "warn n1: the user may start only 4096 processes and threads",
            ],
        ),
    ],
)
def test_limits_that_are_too_low(capture, texts):
    said = findings(limits.PROBE, three(), on_all("limits", read(f"ulimit/{capture}")))
    assert bad(said) == texts
    assert len(said) == max(1, len(texts))


def test_without_devices_no_memory_is_locked():
    here = targets(cluster(serve(), kind="rehearsal"))
    assert bad(findings(limits.PROBE, here, on_all("limits", read("ulimit/docker_default")))) == []


def test_limits_are_read_here():
    output = run(commands(limits.PROBE, HERE[0])["limits"])
    facts = limits.PROBE.parse(HERE[0], {"limits": output})
    assert {"open_files", "locked", "processes", "capabilities"} <= facts.keys()


# host.memory
def test_the_node_with_much_less_memory_is_named():
    idle, held = read("meminfo/a3_idle"), read("meminfo/a3_held_by_others")
    assert findings(memory.PROBE, three(), on_all("meminfo", idle, held, idle)) == [
        "ok n1: 1.9 TiB of 2.0 TiB memory available",
        "warn n2: 144 GiB of 2.0 TiB memory available, most nodes have 1.9 TiB",
        "ok n3: 1.9 TiB of 2.0 TiB memory available",
    ]


def test_memory_for_the_engines_of_a_node():
    here = targets(cluster(serve(dp=16)))
    [line] = findings(memory.PROBE, here, on_all("meminfo", read("meminfo/small_machine")))
    assert line == "warn n1: 6.0 GiB of 16 GiB memory available, its engines will want 16 GiB or more"
    here = targets(cluster(serve(dp=16), kind="rehearsal"))
    assert bad(findings(memory.PROBE, here, on_all("meminfo", read("meminfo/small_machine")))) == []


# host.disk
def rooms(state="state_nvme", shm="shm_host", **more):
    return {"n1": {"state": read(f"df/{state}"), "shm": read(f"df/{shm}"), **more}}


@pytest.mark.parametrize(
    ("state", "shm", "texts"),
    [
        ("state_nvme", "shm_host", ["ok n1: free: state 446 GiB, shm 754 GiB"]),
        (
            "state_full",
            "shm_host",
            ["fail n1: only 0 KiB free on /var, where state and logs are written"],
        ),
        (
            "state_nearly_full",
            "shm_host",
            ["warn n1: only 3.0 GiB free on /, where state and logs are written"],
        ),
        (
            "overlay_in_container",
            "shm_docker_default",
            ["warn n1: all of /dev/shm is 64 MiB, too little for engines with several workers"],
        ),
        ("state_nvme", "shm_filled_up", ["warn n1: only 416 MiB of 64 GiB free in /dev/shm"]),
    ],
)
def test_room(state, shm, texts):
    assert findings(disk.PROBE, three(), rooms(state, shm)) == texts


def test_room_of_the_model_is_told():
    [line] = findings(disk.PROBE, three(), rooms(model=read("df/model_on_nfs")))
    assert line.endswith(", model 40.0 TiB")


def test_room_is_asked_of_what_is_there_already(tmp_path):
    [one] = targets(cluster(serve(), weights=WeightsSpec(path=f"{tmp_path}/not/yet")))
    asked = commands(disk.PROBE, one)
    state = f"{tmp_path}/state/to/be made"
    outputs = {key: run(command, HOME="/nowhere", XDG_STATE_HOME=state) for key, command in asked.items()}
    facts = disk.PROBE.parse(one, outputs)
    assert facts.keys() == {"state", "shm", "model"}
    assert facts["state"]["total"] == facts["model"]["total"]
    home = run(asked["state"], HOME="/nowhere/at/all")
    assert disk.room(home.out)["mount"] == "/"


def test_a_rehearsal_needs_room_for_state_alone():
    [one] = targets(cluster(serve(), kind="rehearsal"))
    assert commands(disk.PROBE, one).keys() == {"state"}


# host.proxy
def test_a_proxy_that_would_get_the_nodes_traffic():
    said = findings(proxy.PROBE, HERE, on_all("proxies", read("env/proxy_with_password"), "", ""))
    assert said == [
        (
            "warn n1: http_proxy, https_proxy set, and no_proxy does not spare 192.0.2.1, 192.0.2.2, 192.0.2.3; "
            "engines and router start without it, but whatever else calls them from there goes through the proxy"
        ),
        "ok n2: no proxy in the environment",
        "ok n3: no proxy in the environment",
    ]


@pytest.mark.parametrize("capture", ["proxy_sparing_a_network", "emptied"])
def test_a_proxy_that_spares_the_nodes(capture):
    [line] = findings(proxy.PROBE, HERE, on_all("proxies", read(f"env/{capture}")))
    assert line.startswith("ok n1: ")
    assert line.endswith("set, and no_proxy spares the nodes")


@pytest.mark.parametrize(
    ("entries", "spared"),
    [
        (["192.0.2.1"], True),
        (["*"], True),
        (["192.0.2.0/24"], True),
        (["192.0.2.128/25", "10.0.0.0/8"], False),
        (["192.0.2"], False),
        ([".2.1"], False),
        (["192.0.2.0/x"], False),
        (["fd00::/8"], False),
        ([], False),
    ],
)
def test_what_no_proxy_spares(entries, spared):
    assert proxy.spares(entries, "192.0.2.1") is spared


def test_only_proxies_of_the_environment_are_asked_for():
    command = commands(proxy.PROBE, HERE[0])["proxies"]
    output = run(command, HTTPS_PROXY="http://p:1", SECRET="no_proxy=x", no_proxy="a")
    assert sorted(output.out.split()) == ["HTTPS_PROXY=http://p:1", "no_proxy=a"]
    assert run(command).code == 0
