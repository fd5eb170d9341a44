"""Dual-batch overlap of vllm-ascend: a variable until 0.10.2rc1, and nothing since."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from specs import cluster, four_p_four_d, serve

from dplaunch import plan
from dplaunch.engines import adapter
from dplaunch.engines.ascend.releases import RELEASES
from dplaunch.model.cluster import DboSpec, Override

VARIABLE = "VLLM_ASCEND_ENABLE_DBO"
BY_HAND = {VARIABLE: "1"}
MTP = {"speculative-config": {"method": "deepseek_mtp", "num_speculative_tokens": 1}}
ON = DboSpec()
HAVE_IT = ("0.9.1", "0.10.1rc1", "0.10.2rc1")


def one(version="0.9.1", dbo=ON, overrides=None, **role):
    return cluster(serve(dbo=dbo, **{"tp": 16, **role}), version=version, overrides=overrides or {})


def by_hand(version, **role):
    return one(version, dbo=None, env=BY_HAND, **role)


def problems(spec):
    found = adapter("vllm-ascend").check(spec)
    return [p for p in found if "overlap" in p.text or "never splits" in p.text or "threshold" in p.text]


def words(spec):
    return "\n".join(
        f"{'warning' if p.warning else 'error'} {p.key}: {p.text}\n  help: {p.hint}\n  source: {p.source}"
        for p in adapter("vllm-ascend").check(spec)
    )


CASES = {
    "after the last version": one("0.11.0"),
    "today": one("0.23.0"),
    "with MTP": one(args=MTP),
    "with MTP of one engine": one(overrides={"serve-0": Override(args=MTP)}),
    "with MTP, by hand": by_hand("0.9.1", args=MTP),
    "thresholds": one(dbo=DboSpec(decode_token_threshold=64, prefill_token_threshold=512)),
    "switched twice": one(env=BY_HAND),
    "steps too small": one("0.10.2rc1", args={"max-num-batched-tokens": 255}),
    "one request a step": one("0.10.2rc1", args={"max-num-seqs": 1}),
    "steps too small, by hand": by_hand("0.10.2rc1", args={"max-num-batched-tokens": 255}),
    "without effect, by hand": by_hand("0.11.0"),
}


def test_everything_that_vllm_ascend_refuses_or_never_does_has_its_words(expect):
    assert all(map(words, CASES.values()))
    text = "\n".join(f"{name}\n{words(spec)}\n" for name, spec in CASES.items())
    expect(Path(__file__).parent / "cases" / "dbo.txt", text)


@pytest.mark.parametrize("version", HAVE_IT)
def test_versions_that_have_it_are_given_the_variable_and_no_flag(version):
    command = plan.commands(one(version))["serve-0"]
    assert command.env[VARIABLE] == "1"
    assert not [word for word in command.argv if "dbo" in word or "all2all" in word]
    assert VARIABLE not in plan.commands(one(version, dbo=None))["serve-0"].env


@pytest.mark.parametrize("version", [r.version for r in RELEASES])
def test_every_release_has_it_or_refuses_it(version):
    refused = [p.key for p in problems(one(version)) if not p.warning]
    assert refused == ([] if version in HAVE_IT else ["roles.serve.dbo"])
    assert bool(plan.overlaps(one(version))) is (version in HAVE_IT)


@pytest.mark.parametrize("version", HAVE_IT[1:])
def test_after_0_9_1_it_goes_with_speculation(version):
    assert problems(one(version, args=MTP)) == []
    assert problems(by_hand(version, args=MTP)) == []


@pytest.mark.parametrize("version", HAVE_IT)
def test_steps_of_decode_are_never_split(version):
    given = four_p_four_d(version)
    prefill, decode = (replace(role, dbo=ON, args={}) for role in given.roles)
    found = problems(replace(given, roles=(prefill, decode)))
    assert [(p.warning, p.key) for p in found] == [(True, "roles.decode.dbo")]


def test_a_switch_that_is_off_is_no_switch():
    assert problems(one(dbo=None, env={VARIABLE: "0"}, args=MTP)) == []


@pytest.mark.parametrize(
    ("version", "kind", "level"),
    [
        ("0.9.1", "deepseek_v3", None),
        ("0.9.1", "qwen3_moe", "error"),
        ("0.10.2rc1", "qwen3_moe", "warning"),
        ("0.10.2rc1", "deepseek_v2", None),
        ("0.9.1", "", None),
    ],
)
def test_models_other_than_deepseek_are_found_in_their_weights(version, kind, level):
    judge = adapter("vllm-ascend").weights
    found = [p for p in judge(one(version), {"model_type": kind}) if "overlap" in p.text]
    assert ["warning" if p.warning else "error" for p in found] == ([level] if level else [])
    assert not any("overlap" in p.text for p in judge(one(version, dbo=None), {"model_type": kind}))


def test_the_plan_has_the_thresholds_of_the_code():
    args = {"max-num-batched-tokens": 65536}
    found = plan.overlaps(one(args=args))["serve"]
    assert [steps.describe() for steps in found.steps] == [
        "steps with prefill: from 256 to 65536 tokens",
        "steps of decode only: never",
    ]
    assert found.parts == 2
    assert all(figure in " ".join(found.conditions) for figure in ("64", "40 to 60 %", "0.1"))
    assert "2 ranks" in plan.overlaps(one(dp=2, tp=8))["serve"].conditions[-1]
