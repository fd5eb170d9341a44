"""Dual-batch overlap of vLLM: what switches it on, what refuses it, and which steps it splits."""

from pathlib import Path

import pytest
from specs import CPU, GPU, cluster, nodes, serve

from dplaunch import plan
from dplaunch.engines import adapter
from dplaunch.model.cluster import DboSpec, KvTransferSpec, Override, RoleSpec

ON = DboSpec()
V2 = {"VLLM_USE_V2_MODEL_RUNNER": "1"}
MTP = {"speculative-config": {"method": "mtp", "num_speculative_tokens": 1}}


def one(version="0.23.0", hardware=GPU, overrides=None, **role):
    """A role of 8 ranks with expert parallelism, and overlap unless ``role`` changes it."""
    given = serve(**{"dp": 8, "expert_parallel": True, "dbo": ON, **role})
    machines = nodes(1, devices=len(hardware.devices))
    return cluster(
        given, kind="vllm", version=version, hardware=hardware, nodes=machines, overrides=overrides or {}
    )


def split(version="0.23.0", **changes):
    """Prefill and decode with overlap."""
    both = [
        RoleSpec(name=name, nodes=(node,), dp=8, expert_parallel=True, dbo=ON, **changes.get(name, {}))
        for name, node in (("prefill", "n1"), ("decode", "n2"))
    ]
    transfer = KvTransferSpec(connector="NixlConnector")
    return cluster(
        *both, kind="vllm", version=version, hardware=GPU, nodes=nodes(2, devices=8), kv_transfer=transfer
    )


def started(spec, name):
    """What the engine's command says of overlap: flags with values, and the variable."""
    command = plan.commands(spec)[name]
    flags = [word for word in command.argv if "dbo" in word or "all2all" in word]
    values = [command.argv[command.argv.index(flag) + 1] for flag in flags if flag != "--enable-dbo"]
    return flags, values, command.env.get("VLLM_ALL2ALL_BACKEND")


def test_each_role_gets_the_flag_and_the_back_end_for_its_steps():
    flags = ["--enable-dbo", "--all2all-backend"]
    assert started(split(), "prefill-0") == (flags, ["deepep_high_throughput"], None)
    assert started(split(), "decode-0") == (flags, ["deepep_low_latency"], None)
    assert started(one(), "serve-0") == (flags, ["deepep_low_latency"], None)


def test_before_0_13_the_back_end_is_a_variable():
    assert started(one("0.11.0"), "serve-0") == (["--enable-dbo"], [], "deepep_low_latency")


def test_thresholds_of_the_file_are_passed_on():
    thresholds = DboSpec(decode_token_threshold=64, prefill_token_threshold=1024)
    flags, values, _ = started(one(dbo=thresholds), "serve-0")
    assert flags[1:3] == ["--dbo-decode-token-threshold", "--dbo-prefill-token-threshold"]
    assert values[:2] == ["64", "1024"]


def test_a_back_end_of_the_file_wins():
    args = {"all2all-backend": "deepep_high_throughput"}
    assert started(one(args=args), "serve-0")[1] == ["deepep_high_throughput"]


def test_it_is_off_unless_the_role_has_it():
    assert started(one(dbo=None), "serve-0") == ([], [], None)
    assert plan.overlaps(one(dbo=None)) == {}


def with_backend(name, version="0.23.0"):
    return one(version, args={"all2all-backend": name})


def nobody_splits(**role):
    return one(**{"args": {"max-num-batched-tokens": 511, "max-num-seqs": 15, **MTP}, **role})


CASES = {
    "before the first version": one("0.10.0"),
    "on a CPU": one(hardware=CPU),
    "one rank": one(dp=1),
    "no experts apart": one(expert_parallel=False),
    "another back end": with_backend("allgather_reducescatter"),
    "another back end of one engine": one(overrides={"serve-3": Override(args={"all2all-backend": "pplx"})}),
    "another back end by variable": one("0.11.0", env={"VLLM_ALL2ALL_BACKEND": "naive"}),
    "nixl_ep too early": with_backend("nixl_ep"),
    "runner V2 too early": one(env=V2),
    "runner V2 with MTP": one("0.33.0", env=V2, args=MTP),
    "runner V2 with LoRA and pp": one("0.33.0", env=V2, args={"enable-lora": True}, dp=4, pp=2),
    "pcp": one("0.33.0", dp=4, pcp=2),
    "steps too small": nobody_splits(),
}


def refusals(spec):
    found = [p for p in adapter("vllm").check(spec) if "overlap" in p.text or "never splits" in p.text]
    return "\n".join(
        f"{'warning' if p.warning else 'error'} {p.key}: {p.text}\n  help: {p.hint}\n  source: {p.source}"
        for p in found
    )


def test_everything_that_vllm_refuses_or_never_does_has_its_words(expect):
    text = "\n".join(f"{name}\n{refusals(spec)}\n" for name, spec in CASES.items())
    assert all(refusals(spec) for spec in CASES.values())
    expect(Path(__file__).parent / "cases" / "dbo.txt", text)


@pytest.mark.parametrize(
    "spec",
    [
        one(),
        one("0.11.0"),
        one("0.33.0"),
        split(),
        with_backend("nixl_ep", "0.33.0"),
        one(args=MTP),
        one("0.33.0", env=V2),
        one(env={"VLLM_USE_V2_MODEL_RUNNER": "0"}),
        one(overrides={"node:n2": Override(env=V2)}),
        nobody_splits(args={"max-num-batched-tokens": 512, "max-num-seqs": 15}),
        nobody_splits(args={"max-num-batched-tokens": 511, "max-num-seqs": 16, **MTP}),
        nobody_splits(dbo=DboSpec(prefill_token_threshold=511)),
    ],
)
def test_what_vllm_takes_has_no_problem(spec):
    assert refusals(spec) == ""


def test_the_steps_that_are_split_follow_from_thresholds_and_the_largest_steps():
    args = {"max-num-batched-tokens": 8192, "max-num-seqs": 16, **MTP}
    found = plan.overlaps(one(args=args))["serve"]
    assert [steps.describe() for steps in found.steps] == [
        "steps with prefill: from 512 to 8192 tokens",
        "steps of decode only: from 32 to 32 tokens",
    ]
    assert found.parts == 2
    assert "8 ranks" in found.conditions[0]


def test_prefill_and_decode_have_steps_of_one_kind_each():
    kinds = {role: [s.kind for s in found.steps] for role, found in plan.overlaps(split()).items()}
    assert kinds == {"prefill": ["with prefill"], "decode": ["of decode only"]}


def test_where_the_engine_decides_there_is_no_upper_bound():
    (prefill, decode) = plan.overlaps(one())["serve"].steps
    assert (prefill.most, decode.most) == (None, None)
    assert prefill.describe() == "steps with prefill: from 512 tokens on"


def test_a_plan_can_be_rehearsed():
    assert plan.build(one(), rehearse=True).rehearsal
