"""Start scripts of FastDeploy: a parent with all ranks of a node, its router, its scheduler on Redis."""

import pytest

from dplaunch.importer import Wanted, bring

PARENT = """python -m fastdeploy.router.launch --port 9000 --splitwise > router.log 2>&1 &
export FD_LOG_DIR="log_{role}"
export FD_ENABLE_MULTI_API_SERVER=1
nohup python -m fastdeploy.entrypoints.openai.multi_api_server --ports "8188,8189" --num-servers 2 \\
  --args --model /data/ERNIE-4.5-300B --served-model-name ernie --engine-worker-queue-port "6077,6078" \\
  --cache-queue-port "6177,6178" --tensor-parallel-size 4 --data-parallel-size 2 --max-num-seqs 64 \\
  --splitwise-role "{role}" --cache-transfer-protocol "rdma,ipc" --num-gpu-blocks-override 1000 \\
  --rdma-comm-ports "7671,7672,7673,7674,7675,7676,7677,7678" --pd-comm-port "2334,2335" \\
  --router "192.0.2.1:9000" > nohup.log 2>&1 &
"""
ON_REDIS = """export ENABLE_V1_KVCACHE_SCHEDULER=0
python -m fastdeploy.entrypoints.openai.api_server --model /data/E --port 8180 --metrics-port 8181 \\
  --engine-worker-queue-port "8182,8183" --tensor-parallel-size 4 --data-parallel-size 2 --max-model-len 1000 \\
  --scheduler-name splitwise --scheduler-host 192.0.2.9 --scheduler-port 6379 --scheduler-topic mine \\
  --scheduler-ttl 9000
"""
ALONE = "python -m fastdeploy.entrypoints.openai.api_server --model /data/E --port 8180 --tensor-parallel-size 8\n"

CASES = {
    "fastdeploy-router": {
        "192.0.2.1": PARENT.format(role="prefill"),
        "192.0.2.2": PARENT.format(role="decode"),
    },
    "fastdeploy-redis": {"192.0.2.1": ON_REDIS, "192.0.2.2": ON_REDIS},
    "fastdeploy-alone": {"192.0.2.1": ALONE},
}


@pytest.mark.parametrize("name", CASES)
def test_the_cluster_file_starts_the_same_but_for_what_is_explained(name, expect, request):
    files = tuple((host, f"{host}.sh") for host in CASES[name])
    found = bring(Wanted(files, version="2.5.0"), lambda path: CASES[name][path[:-3]])
    what = sorted({f"{one.what}: {one.why}" for one in found.differences})
    expect(request.path.parent / "cases" / f"{name}.txt", "\n".join((found.text, *what, "")))
    assert (found.engines, found.complete) == (len(CASES[name]), True)
