"""What probes of hosts find, node by node."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from probing import bad, commands, findings, run, targets
from specs import cluster, nodes, serve

from dplaunch.model.check import Output
from dplaunch.model.cluster import RouterSpec, RuntimeSpec, WeightsSpec
from dplaunch.probes import disk, hosts, kernel, limits, memory, nic, npu, proxy, python, router_python

CAPTURES = Path(__file__).parent / "captures"


def read(name: str) -> str:
    return (CAPTURES / f"{name}.txt").read_text(errors="replace")


def three(**changes):
    """Three nodes with an engine each."""
    role = serve(nodes=("n1", "n2", "n3"), dp=3, tp=16, expert_parallel=True)
    return targets(cluster(role, **changes))


def test_no_probe_minds_that_no_node_was_reached():
    for probe in (*hosts.PROBES, *npu.PROBES, npu.make_ping_probe(True), hosts.make_weights_probe()):
        assert list(probe.judge((), {})) == [], probe.name


def on_all(key, *texts: str | Output):
    """n1, n2 … → the output of the command with this key there."""
    return {f"n{i}": {key: text} for i, text in enumerate(texts, 1)}


# host.python
GOOD = '{"python": "3.11.13"}\n'


def test_a_python_that_runs_is_named_with_its_version(worded):
    found = findings(python.PROBE, three(), on_all("python", "setup says hello\n" + GOOD, GOOD, GOOD))
    worded("python-good", found)


def test_only_the_routers_node_needs_aiohttp(worded):
    outputs = on_all("package", '{"found": false}', '{"found": false}', '{"found": false}')
    here = three(router=RouterSpec(node="n2"))
    assert [bool(list(commands(router_python.PROBE, target))) for target in here] == [False, True, False]
    worded("router-without-aiohttp", bad(findings(router_python.PROBE, here, {"n2": outputs["n2"]})))
    foreign = three(router=RouterSpec(node="n2", kind="vllm-router"))
    assert not any(commands(router_python.PROBE, target) for target in foreign)


def test_up_asks_for_what_the_router_needs_before_it_starts_anything():
    assert router_python.PROBE.quick


def test_a_python_that_does_not_run_is_one_finding_of_the_routers_node():
    missing = Output(code=127, err="bash: line 1: exec: python3: not found\n", problem="not found")
    here = three(router=RouterSpec(node="n2"))
    found = [
        *bad(findings(python.PROBE, here, on_all("python", GOOD, missing, GOOD))),
        *bad(findings(router_python.PROBE, here, {"n2": {"package": missing}})),
    ]
    assert len(found) == 1


def test_a_python_that_does_not_run_or_is_another_is_found(worded):
    missing = Output(code=127, err="bash: line 1: exec: python3.11: not found\n", problem="not found")
    old = '{"python": "3.9.2"}'
    here = three(runtime=RuntimeSpec(python="python3.11"))
    worded("python-missing", bad(findings(python.PROBE, here, on_all("python", GOOD, missing, GOOD))))
    worded("python-of-another-version", bad(findings(python.PROBE, here, on_all("python", GOOD, GOOD, old))))


def test_python_runs_after_the_setup_lines():
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


def test_the_interface_is_found_by_address(worded):
    worded("nic-found-by-address", findings(nic.PROBE, HERE, on_all("interfaces", *FINE)))
    facts = nic.PROBE.parse(HERE[0], {"interfaces": Output(code=0, out=FINE[0])})
    assert facts["nic"] == "eth0"


def test_an_address_that_no_interface_carries_comes_with_candidates():
    wrong = addresses_of(("eth0", "192.0.2.77"), ("eth1", "198.51.100.2"), ("docker0", "169.254.1.1"))
    facts = {"n2": nic.PROBE.parse(HERE[1], {"interfaces": Output(code=0, out=wrong)})}
    [finding] = nic.PROBE.judge(HERE, facts)
    assert (finding.level.value, finding.node) == ("fail", "n2")
    assert finding.text == "no interface carries 192.0.2.2"
    assert finding.remedy.endswith("eth0 has 192.0.2.77, eth1 has 198.51.100.2")


@pytest.mark.parametrize("given", ["eth1", "ib0", "eth0"])
def test_a_given_interface_must_carry_the_address(given, worded):
    here = with_addresses("192.0.2.1", "192.0.2.2", "192.0.2.3", nic=given)
    worded(f"nic-given-as-{given}", findings(nic.PROBE, here, on_all("interfaces", FINE[0])))


def test_two_interfaces_with_the_address_need_a_choice(worded):
    twice = read("ip/same_address_twice").replace("192.0.2.41", "192.0.2.1")
    worded("nic-twice", findings(nic.PROBE, HERE, on_all("interfaces", twice)))
    here = with_addresses("192.0.2.1", "192.0.2.2", "192.0.2.3", nic="eth1")
    assert bad(findings(nic.PROBE, here, on_all("interfaces", twice))) == []


def test_a_loopback_address_is_good_only_where_all_are_here(worded):
    here = with_addresses("127.0.0.1", "192.0.2.2", "192.0.2.3")
    worded("nic-loopback-among-others", bad(findings(nic.PROBE, here, on_all("interfaces", *FINE))))
    here = with_addresses("127.0.0.1", "127.0.0.2", "127.9.9.3")
    found = findings(nic.PROBE, here, on_all("interfaces", *[read("ip/loopback_only")] * 3))
    worded("nic-loopback-everywhere", found)


def test_the_listing_works_here_with_ip_and_without(tmp_path):
    command = commands(nic.PROBE, HERE[0])["interfaces"]
    assert ["lo", "127.0.0.1"] in nic.parse_interfaces(run(command).out)
    for tool in ("sh", "python3"):
        (tmp_path / tool).symlink_to(Path("/usr/bin") / tool)
    assert ["lo", "127.0.0.1"] in nic.parse_interfaces(run(command, PATH=str(tmp_path)).out)


# host.kernel
def test_the_kernel_that_differs_is_named(worded):
    arm, other = read("uname/openeuler_arm"), read("uname/ubuntu_arm")
    worded("kernel-of-one-node", findings(kernel.PROBE, three(), on_all("uname", arm, arm, other)))


# host.limits
@pytest.mark.parametrize(
    ("capture", "count"),
    [
        ("root_on_host", 0),
        ("user_ready_for_this", 0),
        ("no_capabilities_shown", 0),
        ("docker_default", 1),
        ("user_as_shipped", 3),
    ],
)
def test_limits_that_are_too_low(capture, count, worded):
    found = findings(limits.PROBE, three(), on_all("limits", read(f"ulimit/{capture}")))
    assert len(bad(found)) == count
    worded(f"limits-{capture}", found)


def test_without_devices_no_memory_is_locked():
    here = targets(cluster(serve(), kind="rehearsal"))
    assert bad(findings(limits.PROBE, here, on_all("limits", read("ulimit/docker_default")))) == []


def test_limits_are_read_here():
    output = run(commands(limits.PROBE, HERE[0])["limits"])
    facts = limits.PROBE.parse(HERE[0], {"limits": output})
    assert {"open_files", "locked", "processes", "capabilities"} <= facts.keys()


# host.memory
def test_the_node_with_much_less_memory_is_named(worded):
    idle, held = read("meminfo/a3_idle"), read("meminfo/a3_held_by_others")
    worded("memory-of-one-node", findings(memory.PROBE, three(), on_all("meminfo", idle, held, idle)))


def test_memory_for_the_engines_of_a_node(worded):
    small = on_all("meminfo", read("meminfo/small_machine"))
    worded("memory-for-engines", findings(memory.PROBE, targets(cluster(serve(dp=16))), small))
    here = targets(cluster(serve(dp=16), kind="rehearsal"))
    assert bad(findings(memory.PROBE, here, small)) == []


# host.disk
def rooms(state="state_nvme", shm="shm_host", **more):
    return {"n1": {"state": read(f"df/{state}"), "shm": read(f"df/{shm}"), **more}}


@pytest.mark.parametrize(
    ("state", "shm", "level"),
    [
        ("state_nvme", "shm_host", "ok"),
        ("state_full", "shm_host", "fail"),
        ("state_nearly_full", "shm_host", "warn"),
        ("overlay_in_container", "shm_docker_default", "warn"),
        ("state_nvme", "shm_filled_up", "warn"),
    ],
)
def test_too_little_space_is_found(state, shm, level, worded):
    found = findings(disk.PROBE, three(), rooms(state, shm))
    assert [line.split()[0] for line in found] == [level]
    worded(f"disk-{state}-{shm}", found)


def test_the_space_of_the_model_is_reported():
    [line] = findings(disk.PROBE, three(), rooms(model=read("df/model_on_nfs")))
    assert line.endswith(", model 40.0 TiB")


def test_space_is_looked_for_in_the_nearest_existing_folder(tmp_path):
    [one] = targets(cluster(serve(), weights=WeightsSpec(path=f"{tmp_path}/not/yet")))
    asked = commands(disk.PROBE, one)
    state = f"{tmp_path}/state/to/be made"
    outputs = {key: run(command, HOME="/nowhere", XDG_STATE_HOME=state) for key, command in asked.items()}
    facts = disk.PROBE.parse(one, outputs)
    assert facts.keys() == {"state", "shm", "model"}
    assert facts["state"]["total"] == facts["model"]["total"]
    home = run(asked["state"], HOME="/nowhere/at/all")
    assert disk.parse_df(home.out)["mount"] == "/"


def test_a_rehearsal_needs_space_for_its_state_only():
    [one] = targets(cluster(serve(), kind="rehearsal"))
    assert commands(disk.PROBE, one).keys() == {"state"}


# host.proxy
def test_a_proxy_that_would_get_the_nodes_traffic(worded):
    found = findings(proxy.PROBE, HERE, on_all("proxies", read("env/proxy_with_password"), "", ""))
    worded("proxy-without-exceptions", found)


@pytest.mark.parametrize("capture", ["proxy_sparing_a_network", "emptied"])
def test_a_proxy_with_an_exception_for_the_nodes(capture, worded):
    worded(f"proxy-{capture}", findings(proxy.PROBE, HERE, on_all("proxies", read(f"env/{capture}"))))


@pytest.mark.parametrize(
    ("entries", "covered"),
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
def test_what_no_proxy_covers(entries, covered):
    assert proxy.covers(entries, "192.0.2.1") is covered


def test_only_the_proxies_of_the_environment_are_read():
    command = commands(proxy.PROBE, HERE[0])["proxies"]
    output = run(command, HTTPS_PROXY="http://p:1", SECRET="no_proxy=x", no_proxy="a")
    assert sorted(output.out.split()) == ["HTTPS_PROXY=http://p:1", "no_proxy=a"]
    assert run(command).code == 0
