"""Versions of the software on all nodes, and the flags that an engine knows."""

from pathlib import Path

import pytest
from probing import bad, commands, findings, run, targets
from specs import GPU, cluster, four_p_four_d, serve

from dplaunch.model.check import Output
from dplaunch.model.cluster import Override, RoleSpec, RouterSpec, RuntimeSpec
from dplaunch.probes import engine_flags, versions

CAPTURES = Path(__file__).parent / "captures"


def read(name: str) -> str:
    return (CAPTURES / f"{name}.txt").read_text(errors="replace")


def three(version="0.23.0", **changes):
    role = serve(nodes=("n1", "n2", "n3"), dp=3, tp=16, expert_parallel=True)
    return targets(cluster(role, version=version, **changes))


SOUND = {
    "driver": read("version.info/driver_25.0.rc1.1"),
    "firmware": read("version.info/firmware_7.7.0.1.231"),
    "CANN": read("cann/toolkit_9.1.0"),
    "packages": read("packages/ascend_0.23.0"),
}


def judged(nodes=None, **changed):
    """Three sound nodes, of which the second has these outputs instead."""
    outputs = {"n1": SOUND, "n2": {**SOUND, **changed}, "n3": SOUND}
    return findings(versions.PROBE, nodes or three(), outputs)


def all_with(nodes=None, **outputs):
    return findings(versions.PROBE, nodes or three(), {f"n{i}": {**SOUND, **outputs} for i in (1, 2, 3)})


def test_a_release_as_it_was_made_is_ok(worded):
    worded("versions-as-released", judged())


@pytest.mark.parametrize("version", ["0.18.0", "0.9.1"])
def test_older_releases_too(version):
    cann = {"0.18.0": "version=8.5.1", "0.9.1": "version=8.2.RC1"}[version]
    here = three(version) if version != "0.9.1" else targets(cluster(serve(), version=version))
    assert bad(all_with(here, packages=read(f"packages/ascend_{version}"), CANN=cann)) == []


def test_packages_of_another_release_are_one_finding_that_names_them(worded):
    worded("versions-of-another-release", bad(judged(packages=read("packages/ascend_0.18.0"))))


def test_all_nodes_with_another_release_than_the_file_fold(worded):
    found = bad(all_with(three("0.18.0")))
    assert len({line.partition(": ")[2] for line in found}) == 1
    worded("versions-of-another-release-everywhere", found[:1])


def test_the_one_node_that_has_what_the_file_asks_for_is_not_an_outlier():
    old = {**SOUND, "packages": read("packages/ascend_0.18.0"), "CANN": "version=8.5.1"}
    found = findings(versions.PROBE, three("0.23.0"), {"n1": old, "n2": SOUND, "n3": old})
    assert [line.partition(":")[0] for line in found] == ["fail n1", "fail n2", "fail n3"]
    assert "vllm" not in found[1]


def test_another_cann_on_one_node(worded):
    worded("versions-another-cann", bad(judged(CANN=read("cann/toolkit_8.3.RC2"))))


def test_a_cann_the_release_was_not_made_with_is_a_warning_everywhere(worded):
    worded("versions-untested-cann", bad(all_with(CANN=read("cann/toolkit_8.3.RC2"))))
    assert bad(all_with(CANN="version=9.0.1")) == []


def test_another_driver_on_one_node_is_a_warning(worded):
    worded("versions-another-driver", bad(judged(driver=SOUND["driver"].replace("25.0.rc1.1", "25.2.0"))))


def test_firmware_outside_the_drivers_range_is_the_only_finding_about_it(worded):
    other = read("version.info/driver_24.1.rc2.2"), read("version.info/firmware_7.3.0.1.231")
    worded("versions-firmware-out-of-range", bad(judged(driver=other[0], firmware=other[1])))
    assert bad(all_with(driver=read("version.info/driver_25.3.rc1"))) == []


@pytest.mark.parametrize(
    ("version", "low", "high", "within"),
    [
        ("7.7.0.1.231", "7.0.0", "7.7.99", True),
        ("7.0.0", "7.0.0", "7.7.99", True),
        ("7.8.0.1", "7.0.0", "7.7.99", False),
        ("6.4.12", "7.0.0", "7.7.99", False),
        ("7.7.99.5", "7.0.0", "7.7.99", True),
    ],
)
def test_firmware_ranges(version, low, high, within):
    driver = f"Version=25.0\ncompatible_version_fw=[{low},{high}]\n"
    assert (bad(all_with(driver=driver, firmware=f"Version={version}")) == []) is within


def test_a_build_from_sources_is_a_warning(worded):
    worded("versions-built-from-sources", bad(judged(packages=read("packages/ascend_from_sources"))))


def test_nothing_installed(worded):
    worded("versions-nothing-installed", bad(judged(packages=read("packages/nothing_installed"))))


def test_a_container_without_the_firmwares_folder_is_fine():
    gone = Output(code=1, err="cat: /usr/local/Ascend/firmware/version.info: No such file or directory")
    assert bad(all_with(firmware=gone)) == []


def test_what_could_not_be_read_is_one_warning():
    hung = Output(problem="timed out after 30 s")
    gone = Output(code=1, err="no CANN toolkit in $ASCEND_TOOLKIT_HOME or /usr/local/Ascend")
    [line] = bad(judged(packages=hung, CANN=gone))
    assert line.startswith("warn n2: could not be read: ")
    assert "packages: timed out after 30 s" in line
    assert "CANN: printed 'no CANN toolkit in $ASCEND_TOOLKIT_HOME or /usr/local/Ascend'" in line


@pytest.mark.parametrize(
    ("file", "installed", "good"),
    [
        ("0.23.0", "0.23.0", True),
        ("0.23.0", "0.23.0.post1", True),
        ("0.23.0", "0.23.0rc1", False),
        ("0.10.1", "0.10.1rc1", True),
        ("0.20.2", "0.20.2rc1", True),
        ("0.99.0", "0.99.0", True),
        ("0.99.0", "0.23.0", False),
    ],
)
def test_which_installed_release_fits_the_file(file, installed, good):
    packages = f'{{"packages": {{"vllm-ascend": "{installed}"}}}}'
    found = " ".join(all_with(three(file), packages=packages))
    assert ("the cluster file" not in found) is good


def test_gpus_have_only_packages(worded):
    [one] = targets(cluster(serve(tp=8), kind="vllm", hardware=GPU))
    assert commands(versions.PROBE, one).keys() == {"packages"}
    outputs = {"n1": {"packages": read("packages/gpu_0.23.0")}}
    worded("versions-on-gpus", findings(versions.PROBE, [one], outputs))


def test_commands_go_to_nodes_with_real_engines_only():
    asked = [
        commands(probe, target).keys()
        for probe in (versions.PROBE, engine_flags.PROBE)
        for target in three()[:1]
    ]
    assert asked == [{"driver", "firmware", "packages", "CANN"}, {"help"}]
    for here in (targets(cluster(serve(), kind="rehearsal")), targets(cluster(serve()), rehearse=True)):
        assert not commands(versions.PROBE, here[0])
        assert not commands(engine_flags.PROBE, here[0])
    router_only = cluster(serve(nodes=("n2",)), router=RouterSpec(node="n1"))
    assert not commands(versions.PROBE, targets(router_only)[0])


def test_the_commands_for_versions_run_after_the_setup_lines(tmp_path):
    toolkit = tmp_path / "aarch64-linux"
    toolkit.mkdir()
    (toolkit / "ascend_toolkit_install.info").write_text(read("cann/toolkit_8.3.RC2"))
    setup = (f"export ASCEND_TOOLKIT_HOME='{tmp_path}'", "echo ready")
    [one, *_] = three(runtime=RuntimeSpec(setup=setup))
    outputs = {key: run(command) for key, command in commands(versions.PROBE, one).items()}
    facts = versions.PROBE.parse(one, outputs)
    assert (facts["CANN"], facts["vllm-ascend"]) == ("8.3.RC2", "")


# engine.flags
P_AND_D = [
    "--port",
    "--data-parallel-size",
    "--data-parallel-rank",
    "--data-parallel-address",
    "--data-parallel-rpc-port",
    "--tensor-parallel-size",
]


def test_flags_of_all_engines_of_a_node_are_looked_for_once():
    spec = four_p_four_d()
    prefill, decode = targets(spec)[0], targets(spec)[4]
    common = {
        *P_AND_D,
        "--enable-expert-parallel",
        "--kv-transfer-config",
        "--served-model-name",
        "--max-num-seqs",
        "--host",
        "--disable-access-log-for-endpoints",
        "--shutdown-timeout",
    }
    assert set(engine_flags.list_flags(prefill.plan.processes)) == {*common, "--enforce-eager"}
    decodes = engine_flags.list_flags(decode.plan.processes)
    assert (set(decodes), len(decodes)) == ({*common, "--speculative-config"}, len(common) + 1)


def test_flags_of_single_engines_are_looked_for_without_their_fields():
    odd = Override(args={"seed": 7, "compilation-config.level": 1, "revision": "-1s", "tokenizer": None})
    role = serve(dp=2, tp=8, expert_parallel=True)
    [one] = targets(cluster(role, overrides={"serve-1": odd}))
    found = {*engine_flags.list_flags(one.plan.processes)}
    assert {"--seed", "--compilation-config", "--revision"} <= found
    assert not found & {"--tokenizer", "--compilation-config.level"}


def helped(spec, *texts: str | Output):
    nodes = targets(spec)
    outputs = {node.name: {"help": text} for node, text in zip(nodes, texts, strict=False)}
    return findings(engine_flags.PROBE, nodes, outputs)


END = f"{engine_flags.END}\n"


@pytest.mark.parametrize("capture", ["serve_0.23.0_all", "serve_0.23.0_only_options"])
def test_an_engine_that_knows_all_flags(capture, worded):
    role = serve(dp=2, tp=8, expert_parallel=True, args={"max-num-seqs": 4})
    worded("flags-all-known", helped(cluster(role), read(f"vllm-help/{capture}") + END))


@pytest.mark.parametrize(
    ("version", "capture"),
    [("0.23.0", "serve_0.11.0_all"), ("0.11.0", "serve_0.9.1")],
)
def test_flags_that_came_later_or_went_are_named(version, capture, worded):
    role = serve(dp=2, tp=8, args={"enable-dbo": True})
    found = helped(cluster(role, version=version), read(f"vllm-help/{capture}") + END)
    worded(f"flags-of-{version}-with-{capture}", found)


def test_half_a_help_proves_nothing_about_flags():
    whole = read("vllm-help/serve_0.23.0_all")
    for text in (whole, read("vllm-help/cut_off"), read("vllm-help/serve_0.18.0_sections") + END, ""):
        [line] = helped(cluster(serve()), text)
        assert line.startswith("warn n1: could not be read: vllm serve --help")


def test_a_vllm_that_does_not_start_is_reported_with_its_last_line(worded):
    broken = Output(code=1, err=read("vllm-help/traceback"))
    missing = Output(code=127, err="bash: line 3: vllm: command not found\n", problem="not found")
    worded("flags-of-a-broken-vllm", helped(cluster(serve()), broken))
    [line] = helped(cluster(serve()), missing)
    assert line.endswith("vllm: command not found")


@pytest.mark.parametrize(
    ("version", "all_", "plain"),
    [
        ("0.23.0", "serve_0.23.0_all", "serve_0.18.0_sections"),
        ("0.9.1", "serve_0.9.1_search_for_all", "serve_0.9.1"),
    ],
)
def test_the_whole_help_is_asked_for_in_either_way(tmp_path, version, all_, plain):
    stub = tmp_path / "vllm"
    stub.write_text(
        "#!/bin/sh\necho INFO loading\n"
        f'case "$*" in "serve --help=all") cat {CAPTURES}/vllm-help/{all_}.txt;; '
        f'"serve --help") cat {CAPTURES}/vllm-help/{plain}.txt;; esac\n'
    )
    stub.chmod(0o755)
    role = RoleSpec(name="serve", nodes=("n1",))
    setup = (f"export PATH={tmp_path}:$PATH",)
    [one] = targets(cluster(role, version=version, runtime=RuntimeSpec(setup=setup)))
    output = run(commands(engine_flags.PROBE, one)["help"])
    assert engine_flags.PROBE.parse(one, {"help": output})["unknown"] == []
    assert run(commands(engine_flags.PROBE, three()[0])["help"]).code == 127
