"""Every capture of hosts, software and weights is parsed, and gives what is in it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from specs import cluster, serve

from dplaunch.model.check import Output
from dplaunch.model.cluster import RuntimeSpec, SshSpec
from dplaunch.model.plan import NodePlan
from dplaunch.probes import disk, engine_flags, hosts, kernel, limits, memory, nic, proxy, versions, weights
from dplaunch.probes.probe import ProbeTarget

CAPTURES = Path(__file__).parent / "captures"
LO = [["lo", "127.0.0.1"], ["lo", "::1"]]
GIB = 1 << 30


def read(name: str) -> str:
    return (CAPTURES / name).read_text(errors="replace")


def brief(text: str):
    """Return a report with the number of its files instead of their list."""
    found = weights.parse_report(text)
    return {key: value for key, value in found.items() if key != "files" and value not in ("", 0, [])} | (
        {"listed": len(found["files"])} if "files" in found else {}
    )


def flags(text: str):
    """Return the number of flags, and whether three typical ones are among them."""
    found = engine_flags.parse_help(text)
    telling = ("--tensor-parallel-size", "--data-parallel-rank", "--enable-dbo")
    return len(found), *(flag in found for flag in telling)


IP = {
    "a2_bond_with_vlan": [*LO, ["bond0", "192.0.2.21"], ["bond0.100", "203.0.113.21"]],
    "a3_two_networks": [
        *LO,
        ["enp66s0f0", "192.0.2.11"],
        ["enp66s0f0", "fe80::2ef0:5dff:fe00:11"],
        ["enp66s0f1", "198.51.100.11"],
        ["docker0", "172.17.0.1"],
    ],
    "binary": [["eth0", "192.0.2.71"]],
    "busybox_usage": [],
    "colours": [["eth0", "192.0.2.81"]],
    "container_veth": [*LO, ["eth0", "192.0.2.31"]],
    "cut_off": [
        *LO,
        ["enp66s0f0", "192.0.2.11"],
        ["enp66s0f0", "fe80::2ef0:5dff:fe00:11"],
        ["enp66s0f1", "198.5"],
    ],
    "loopback_only": LO,
    "point_to_point": [*LO, ["tun0", "192.0.2.51"], ["eth0", "198.51.100.51"]],
    "same_address_twice": [*LO, ["eth0", "192.0.2.41"], ["eth1", "192.0.2.41"]],
    "without_iproute": [["lo", "127.0.0.1"], ["eth0", "192.0.2.61"], ["eth1", "198.51.100.61"]],
}
DF = {
    "binary": {},
    "cut_off": {},
    "header_only": {},
    "localised": {"total": 21003583488, "free": 10417152000, "mount": "/"},
    "model_on_nfs": {"total": 109951162777600, "free": 43980465111040, "mount": "/data/weights"},
    "mount_with_spaces": {"total": 4 << 40, "free": 3 << 40, "mount": "/mnt/model share"},
    "overlay_in_container": {"total": 1920443875328, "free": 899952869376, "mount": "/"},
    "root_reserve_eaten": {"total": 21003583488, "free": 0, "mount": "/"},
    "shm_docker_default": {"total": 64 << 20, "free": 64 << 20, "mount": "/dev/shm"},
    "shm_filled_up": {"total": 64 * GIB, "free": 416 << 20, "mount": "/dev/shm"},
    "shm_host": {"total": 810125623296, "free": 810125537280, "mount": "/dev/shm"},
    "state_full": {"total": 52710309888, "free": 0, "mount": "/var"},
    "state_nearly_full": {"total": 52710309888, "free": 3 * GIB, "mount": "/"},
    "state_nvme": {"total": 959233654784, "free": 479196086272, "mount": "/"},
}
MEMINFO = {
    "a2_idle": {"total": 1621254995968, "available": 1549185056768},
    "a3_held_by_others": {"total": 2164143489024, "available": 154864189440},
    "a3_idle": {"total": 2164143489024, "available": 2069858025472},
    "absurd_numbers": {},
    "binary": {},
    "cut_off": {},
    "old_kernel": {},
    "small_machine": {"total": 16777216000, "available": 6 * GIB},
}
NONE = limits.UNLIMITED


def ulimit(soft, hard, locked, processes, capabilities=None):
    found = {"soft_files": soft, "open_files": hard, "locked": locked, "processes": processes}
    return found if capabilities is None else {**found, "capabilities": capabilities}


ULIMIT = {
    "binary": {},
    "busybox_sh": {"soft_files": 1024, "open_files": 1048576, "locked": NONE},
    "cut_off": {"soft_files": 1024, "open_files": 5242},
    "docker_default": ulimit(1048576, 1048576, 8192, NONE, 0xA80425FB),
    "no_capabilities_shown": ulimit(65535, 65535, NONE, 1029383),
    "root_on_host": ulimit(1024, 524288, 8192, 8253952, 0x1FFFFFFFFFF),
    "user_as_shipped": ulimit(1024, 4096, 64, 4096, 0),
    "user_ready_for_this": ulimit(1048576, 1048576, NONE, NONE, 0),
}
UNAME = {
    "binary": {},
    "colours": {"release": "5.15.0-25-generic", "machine": "aarch64"},
    "cut_off": {},
    "openeuler_arm": {"release": "5.10.0-216.0.0.115.oe2203sp4.aarch64", "machine": "aarch64"},
    "other_system": {},
    "ubuntu_arm": {"release": "5.15.0-25-generic", "machine": "aarch64"},
    "ubuntu_x86": {"release": "6.8.0-51-generic", "machine": "x86_64"},
}
PROXY = "http://proxy.example.com:3128"
ENV = {
    "emptied": {"proxies": {"all_proxy": "socks5://127.0.0.1:1080"}, "no_proxy": ["*"]},
    "hostile": {"proxies": {"http_proxy": "proxy:1\ufffd"}, "no_proxy": ["999.1.2.3/40", "192.0.2.0/x"]},
    "no_proxy_at_all": {"proxies": {}, "no_proxy": []},
    "only_no_proxy": {"proxies": {}, "no_proxy": ["localhost", "127.0.0.1"]},
    "proxy_sparing_a_network": {
        "proxies": {"http_proxy": PROXY, "HTTP_PROXY": PROXY},
        "no_proxy": ["localhost", "127.0.0.1", "192.0.2.0/24"],
    },
    "proxy_with_password": {
        "proxies": {"http_proxy": PROXY, "https_proxy": PROXY},
        "no_proxy": ["localhost", "127.0.0.1", ".example.com"],
    },
}
DRIVER = {
    "binary": {},
    "driver_24.1.rc2.2": {"driver": "24.1.rc2.2", "firmware_ranges": [["7.0.0", "7.2.99"]]},
    "driver_25.0.rc1.1": {"driver": "25.0.rc1.1", "firmware_ranges": [["7.0.0", "7.7.99"]]},
    "driver_25.3.rc1": {
        "driver": "25.3.rc1",
        "firmware_ranges": [["6.4.0", "6.4.99"], ["7.0.0", "8.9.9"]],
    },
    "driver_crlf": {"driver": "25.0.rc1.1", "firmware_ranges": [["7.0.0", "7.7.99"]]},
    "driver_cut_off": {"driver": "25.0.rc1.1", "firmware_ranges": []},
    "driver_old_without_range": {"driver": "23.0.3", "firmware_ranges": []},
    "empty_version": {},
}
FIRMWARE = {
    "binary": {},
    "empty_version": {},
    "firmware_7.3.0.1.231": {"firmware": "7.3.0.1.231"},
    "firmware_7.7.0.1.231": {"firmware": "7.7.0.1.231"},
}
CANN = {
    "binary": {},
    "cut_off": {},
    "not_there": {},
    "setup_talks_first": {"CANN": "8.5.1"},
    "toolkit_8.2.RC1_x86": {"CANN": "8.2.RC1"},
    "toolkit_8.3.RC2": {"CANN": "8.3.RC2"},
    "toolkit_9.1.0": {"CANN": "9.1.0"},
    "toolkit_9.2.0-beta.2": {"CANN": "9.2.0-beta.2"},
    "version.cfg_8.0.0": {"CANN": "8.0.0"},
}


ASKED = ("vllm", "vllm-ascend", "torch", "torch_npu", "transformers", "mooncake")


def packages(text: str):
    return versions.parse_packages(text, ASKED)


def installed(*found: str, **more: str):
    """In the order of ``ASKED``; what is left out is not installed."""
    return {**dict.fromkeys(ASKED, ""), **dict(zip(ASKED, found, strict=False)), **more}


PACKAGES = {
    "ascend_0.18.0": installed(
        "0.18.0+empty", "0.18.0", "2.9.0+cpu", "2.9.0.post1+gitb1a2c3d", "4.57.1", "0.3.9"
    ),
    "ascend_0.23.0": installed(
        "0.23.0+empty", "0.23.0", "2.10.0+cpu", "2.10.0.post4", "4.57.6", "0.3.11.post1"
    ),
    "ascend_0.9.1": installed("0.9.1+empty", "0.9.1", "2.5.1", "2.5.1.post1", "4.52.4"),
    "ascend_from_sources": installed(
        "0.23.0+empty", "0.1.dev1+g0f1c2d3", "2.10.0+cpu", "2.10.0.post4", "4.57.6"
    ),
    "cut_off": {},
    "deep": {},
    "gpu_0.23.0": installed("0.23.0", torch="2.10.0+cu130", transformers="4.57.6"),
    "no_packages": {},
    "nothing_installed": installed(),
    "setup_talks_first": installed("0.11.0", "0.11.0", "2.7.1", "2.7.1.post1", "4.55.2"),
    "wrong_kinds": installed("", "0.23.0"),
}
HELP = {
    "binary": (0, False, False, False),
    "colours": (47, True, True, True),
    "cut_off": (28, False, False, False),
    "mentions_only": (0, False, False, False),
    "no_library": (0, False, False, False),
    "serve_0.11.0_all": (51, True, True, False),
    "serve_0.18.0_sections": (0, False, False, False),
    "serve_0.23.0_all": (59, True, True, True),
    "serve_0.23.0_only_options": (59, True, True, True),
    "serve_0.9.1": (46, True, False, False),
    "serve_0.9.1_search_for_all": (4, False, False, False),
    "traceback": (0, False, False, False),
}


def folder(count, amount, digest, **more):
    return {"folder": True, "count": count, "bytes": amount, "digest": digest, "listed": count, **more}


WEIGHTS = {
    "binary": {},
    "config_not_json": folder(7, 6381, "a2a34548e7930f15", config="unreadable"),
    "cut_off": {},
    "deepseek_sha256": folder(13, 25439, "eef27c937ae7bedd", experts=256, contents="eef27c937ae7bedd"),
    "deepseek_whole": folder(13, 25439, "f6dc908d39826c2a", experts=256),
    "dense_qwen3": folder(7, 6436, "7b1f2db076af9c8b"),
    "experts_as_list": folder(7, 6462, "8f4e3764e5e6c8eb", experts=64),
    "experts_in_text_config": folder(7, 6524, "5ccb21f2cd1635e4", experts=128),
    "gguf_file": {"count": 1, "bytes": 400, "digest": "dd1c751dffd6b85d", "listed": 1},
    "index_not_json": folder(
        7, 6341, "ae57ae3cf65873f0", experts=256, bad_indices=["model.safetensors.index.json"]
    ),
    "mixtral": folder(7, 6463, "16f361f1708e1dd7", experts=8),
    "no_config": folder(6, 6372, "b492a352821c7c2c", config="missing"),
    "no_folder": {"problem": "/data/nothing/here does not exist"},
    "no_weights": folder(4, 124, "efe3f8051a694f09", experts=256),
    "not_allowed": {"problem": "/data/model cannot be read: Permission denied"},
    "shard_cut_off": folder(
        13,
        24739,
        "5af0c70ef067138e",
        experts=256,
        broken=[["model-00005-of-00008.safetensors", 2408, 3108]],
        broken_count=1,
    ),
    "shard_is_a_web_page": folder(
        9,
        9725,
        "687613b536ae0871",
        experts=256,
        broken=[["model-00002-of-00004.safetensors", 26, 0]],
        broken_count=1,
    ),
    "shard_missing_no_index": folder(
        6,
        6340,
        "8632841630d0a98c",
        experts=256,
        missing=["model-00003-of-00003.safetensors"],
        missing_count=1,
    ),
    "traceback": {},
    "two_shards_missing": folder(
        11,
        19223,
        "bf2d3d027ee3ce6f",
        experts=256,
        missing=["model-00004-of-00008.safetensors", "model-00007-of-00008.safetensors"],
        missing_count=2,
    ),
    "wrong_kinds": {
        "folder": True,
        "count": 2,
        "bytes": 10,
        "digest": "d",
        "bad_indices": ["b"],
        "listed": 1,
    },
}
READINGS = (
    ("ip", nic.parse_interfaces, IP),
    ("df", disk.parse_df, DF),
    ("meminfo", memory.parse_meminfo, MEMINFO),
    ("ulimit", limits.parse_limits, ULIMIT),
    ("uname", kernel.parse_uname, UNAME),
    ("env", proxy.parse_environment, ENV),
    ("version.info", versions.parse_driver, DRIVER),
    ("version.info", versions.parse_firmware, FIRMWARE),
    ("cann", versions.parse_cann, CANN),
    ("packages", packages, PACKAGES),
    ("vllm-help", flags, HELP),
    ("weights", brief, WEIGHTS),
)
CASES = [
    (f"{place}/{name}.txt", reader, value) for place, reader, all_ in READINGS for name, value in all_.items()
]


@pytest.mark.parametrize(("name", "reader", "value"), CASES, ids=[f"{c[0]}-{c[1].__name__}" for c in CASES])
def test_a_capture_gives_what_is_in_it(name, reader, value):
    assert reader(read(name)) == value


def test_every_capture_is_read():
    places = {place for place, _, _ in READINGS}
    there = {f"{place}/{path.name}" for place in places for path in (CAPTURES / place).iterdir()}
    assert there == {name for name, _, _ in CASES}


def target() -> ProbeTarget:
    spec = cluster(serve())
    plan = NodePlan(
        name="n1",
        host="h1",
        address="192.0.0.1",
        ssh=SshSpec(),
        runtime=RuntimeSpec(),
        files=(),
        processes=(),
    )
    return ProbeTarget(spec=spec, node=spec.nodes[0], plan=plan)


KEYS = {
    "host.python": ("python",),
    "host.router": ("package",),
    "host.nic": ("interfaces",),
    "host.kernel": ("uname",),
    "host.limits": ("limits",),
    "host.memory": ("meminfo",),
    "host.disk": ("state", "shm", "model"),
    "host.proxy": ("proxies",),
    "engine.versions": ("driver", "firmware", "CANN", "packages"),
    "engine.flags": ("help",),
    "model.weights": ("weights",),
}
PROBES = {probe.name: probe for probe in (*hosts.PROBES, hosts.make_weights_probe())}
ALL_CAPTURES = [read(name) for name in sorted({name for name, _, _ in CASES})]
SCRAPS = st.sampled_from(ALL_CAPTURES).flatmap(
    lambda text: st.tuples(st.integers(0, len(text)), st.text(max_size=20)).map(
        lambda cut: text[: cut[0]] + cut[1] + text[cut[0] + len(cut[1]) :]
    )
)
ANYTHING = st.text(max_size=200) | SCRAPS
OUTPUTS = st.builds(
    Output,
    code=st.none() | st.sampled_from([0, 1, 2, 127, -9]),
    out=ANYTHING,
    err=st.text(max_size=40),
    problem=st.sampled_from(["", "not found", "timed out after 10 s"]),
)


def test_every_probe_has_a_name_of_its_own():
    assert PROBES.keys() == KEYS.keys()
    assert len(PROBES) == len(hosts.PROBES) + 1


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(KEYS)), st.data())
def test_no_parser_and_no_judgement_raises(name, data):
    probe, here = PROBES[name], target()
    outputs = {key: data.draw(OUTPUTS) for key in KEYS[name]}
    facts = probe.parse(here, outputs)
    found = list(probe.judge([here], {"n1": facts}))
    assert found
    assert all(finding.text and "\x1b" not in finding.text for finding in found)


@pytest.mark.parametrize("name", KEYS)
def test_a_tool_that_hangs_is_a_warning_with_the_reason(name):
    probe, here = PROBES[name], target()
    outputs = {key: Output(problem="timed out after 10 s") for key in KEYS[name]}
    found = list(probe.judge([here], {"n1": probe.parse(here, outputs)}))
    assert [finding.level.value for finding in found] == ["warn"]
    assert "timed out after 10 s" in found[0].text


@pytest.mark.parametrize("name", KEYS)
def test_a_node_that_never_replied_has_no_findings(name):
    found = list(PROBES[name].judge([target()], {}))
    assert [finding for finding in found if finding.level.value in ("warn", "fail")] == []
