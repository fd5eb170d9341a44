"""Names of environment variables that are nearly right."""

from __future__ import annotations

import pytest
from specs import A3, GPU, cluster, serve

from dplaunch.engines import adapter
from dplaunch.engines.ascend.switches import ASCEND
from dplaunch.engines.vllm import env_names, lint
from dplaunch.engines.vllm.switches import ENV


def meant(name, kind="vllm-ascend"):
    spec = cluster(serve(env={name: "1"}), kind=kind, hardware=A3 if kind == "vllm-ascend" else GPU)
    found = [p for p in adapter(kind).check(spec) if p.hint.startswith("did you mean")]
    assert all((p.warning, p.key) == (True, f"roles.serve.env.{name}") for p in found)
    return "".join(p.hint.removeprefix("did you mean ").removesuffix("?") for p in found)


@pytest.mark.parametrize(
    ("written", "right"),
    [
        ("HCCL_BUFSIZE", "HCCL_BUFFSIZE"),
        ("VLLM_ASCEND_ENABLE_FLASHCOM1", "VLLM_ASCEND_ENABLE_FLASHCOMM1"),
        ("VLLM_USE_MODEL_SCOPE", "VLLM_USE_MODELSCOPE"),
        ("HCCL_CONNECT_TIMOUT", "HCCL_CONNECT_TIMEOUT"),
        ("PYTORCH_NPU_ALOC_CONF", "PYTORCH_NPU_ALLOC_CONF"),
        ("NCLL_DEBUG", "NCCL_DEBUG"),
        ("VLLM_LOGING_LEVEL", "VLLM_LOGGING_LEVEL"),
        ("OMP_NUM_THREAD", "OMP_NUM_THREADS"),
    ],
)
def test_a_slip_of_the_pen_is_found(written, right):
    assert meant(written) == right
    assert meant(right) == ""


@pytest.mark.parametrize(
    "name", ["MY_OWN_SETTING", "NCCL_P3P_LEVEL2", "HCCL_SOMETHING_NEW", "VLLM_MY_PLUGIN", "FOO"]
)
def test_other_names_are_the_users_business(name):
    assert meant(name) == ""


def test_gpus_are_looked_at_too():
    assert meant("VLLM_ENABLE_V1_MULTIPROCESING", "vllm") == "VLLM_ENABLE_V1_MULTIPROCESSING"


def test_no_switch_of_the_tables_is_taken_for_another():
    engine = lint.Engine("vllm-ascend", "0.23.0", ASCEND)
    names = {row.name for row in ASCEND if row.kind == ENV}
    assert [name for name in names if list(env_names.judge(name, engine))] == []
