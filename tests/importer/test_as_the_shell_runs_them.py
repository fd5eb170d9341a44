"""The scripts are run by bash with a stub in the engine's place; what it gets is what ``import`` reads.

So the differences that ``import`` lists are those to what the original scripts really start.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from dplaunch.importer import Wanted, bring, read

STUB = """#!/bin/bash
printf '%s\\0' "$@" > "$RECORDED/$$.argv"
exec env -0 > "$RECORDED/$$.env"
"""
OF_THE_SHELL = {"_", "SHLVL", "PWD", "OLDPWD", "RECORDED", "PATH", "LC_CTYPE"}

FIRST_TEMPLATE = """#!/bin/sh
nic_name="eth7"
local_ip="xxxx"
export HCCL_IF_IP=$local_ip GLOO_SOCKET_IFNAME=$nic_name   # two at once
export OMP_PROC_BIND=false
export HCCL_BUFFSIZE=%(buffer)s
export VLLM_DP_SIZE=$1
export VLLM_DP_MASTER_IP=$2
export VLLM_DP_MASTER_PORT=$3
export VLLM_DP_RANK_LOCAL=$4
export VLLM_DP_RANK=$5
export VLLM_DP_SIZE_LOCAL=$7
export VLLM_USE_MODELSCOPE="True"
export VLLM_WORKER_MULTIPROC_METHOD="fork"
export VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED=1
# one command
vllm serve vllm-ascend/DeepSeek-R1-W8A8 \\
--host 0.0.0.0 --port $6 \\
--tensor-parallel-size %(tp)s \\
--enable-expert-parallel --seed 1024 \\
--served-model-name deepseek_r1 \\
--max-num-seqs %(seqs)s --gpu-memory-utilization 0.9 --trust-remote-code %(eager)s \\
--speculative-config '{"num_speculative_tokens": 1, "method":"deepseek_mtp"}' \\
--kv-transfer-config \\
'{"kv_connector": "MooncakeConnectorV1", "kv_role": "%(part)s",
"kv_parallel_size": "1", "kv_port": "20001", "engine_id": "0"}' \\
--additional-config '{"enable_weight_nz_layout":true}'
"""
CONSTANTS = """import os, threading
dp_size = {size} # total number of DP engines
dp_size_local = {local}
dp_rank_start = {start}
dp_ip = "{master}" # of the group's master
dp_port = 13395
engine_port = 9000
def run_command(dp_rank_local, dp_rank, engine_port_):
    command = f"bash ./run_dp_template.sh {{dp_size}} {{dp_ip}} {{dp_port}} {{dp_rank_local}} {{dp_rank}} {{engine_port_}} {{dp_size_local}}"
    os.system(command)
threads = [threading.Thread(target=run_command, args=(i, dp_rank_start + i, engine_port + i)) for i in range(dp_size_local)]
for thread in threads: thread.start()
"""
PROXY = """python load_balance_proxy_server_example.py --port 8000 --host 0.0.0.0 \\
--prefiller-hosts 192.0.0.1 192.0.0.2 192.0.0.3 192.0.0.4 --prefiller-hosts-num 2 2 2 2 \\
--prefiller-ports 9000 9000 9000 9000 --prefiller-ports-inc 2 2 2 2 \\
--decoder-hosts 192.0.0.5 192.0.0.6 192.0.0.7 192.0.0.8 --decoder-hosts-num 16 16 16 16 \\
--decoder-ports 9000 9000 9000 9000 --decoder-ports-inc 16 16 16 16
"""

LATER_TEMPLATE = """export HCCL_IF_IP=your_ip_here
export VLLM_LOGGING_LEVEL="info"
export OMP_NUM_THREADS=10
export LD_LIBRARY_PATH=/opt/mooncake:$LD_LIBRARY_PATH
export ASCEND_RT_VISIBLE_DEVICES=$1
extra="--max-num-seqs 16 --max-model-len 8192"
options=(--trust-remote-code
  --served-model-name dsv3)
vllm serve /data/DeepSeek-V3 --host 0.0.0.0 --port $2 \\
    --data-parallel-size $3 --data-parallel-rank ${4} \\
    --data-parallel-address $5 --data-parallel-rpc-port $6 --tensor-parallel-size "$7" \\
    --enable-expert-parallel --quantization ascend $extra "${options[@]}" \\
    --speculative-config '{"num_speculative_tokens": 1, "method":"mtp"}' 2>&1 | tee /dev/null
"""
ARGUMENTS = """import argparse, subprocess
parser = argparse.ArgumentParser()
for name in ("dp-size", "tp-size", "dp-size-local", "dp-rank-start"):
    parser.add_argument(f"--{name}", type=int, default={"tp-size": 1, "dp-rank-start": 0}.get(name, -1))
parser.add_argument("--dp-address")
parser.add_argument("--dp-rpc-port")
parser.add_argument("--vllm-start-port", type=int, default=9000)
args = parser.parse_args()
for i in range(args.dp_size_local if args.dp_size_local > 0 else args.dp_size):
    devices = ",".join(str(d) for d in range(i * args.tp_size, (i + 1) * args.tp_size))
    subprocess.run(["bash", "./run_dp_template.sh", devices, str(args.vllm_start_port + i), str(args.dp_size),
                    str(args.dp_rank_start + i), args.dp_address, args.dp_rpc_port, str(args.tp_size)], check=True)
"""
BY_HAND = """set -e
source /usr/local/Ascend/set_env.sh
export HCCL_BUFFSIZE=1024
MODEL=/data/Qwen3-235B-A22B
for i in {0..1}; do
  port=$((9000 + i))
  ASCEND_RT_VISIBLE_DEVICES=$((i * 8)),$((i * 8 + 1)) nohup vllm serve $MODEL -tp 2 --port "$port" \\
    --data-parallel-size=4 --data-parallel-rank $((RANK_START + i)) \\
    --data-parallel-address ${MASTER:-192.0.2.1} --data-parallel-rpc-port 12345 \\
    --served-model-name qwen3 qwen --no-enable-prefix-caching > /dev/null 2>&1 &
done
wait
"""


class Rig:
    """A folder for each host, and what runs there records."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bin = root / "bin"
        self.put("bin/vllm", STUB).chmod(0o755)
        self.put("bin/source", "")
        (self.bin / "python").symlink_to(sys.executable)
        self.starts: list[tuple[str, str]] = []

    def put(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def start(self, host: str, name: str, text: str) -> None:
        """A file that is run on a host."""
        self.put(name, text)
        self.starts.append((host, name))

    def recorded(self) -> list[tuple[str, tuple[str, ...], dict[str, str]]]:
        """Run everything: host, arguments and environment of each start."""
        found = []
        for number, (host, name) in enumerate(self.starts):
            folder = self.root / f"recorded{number}"
            folder.mkdir()
            path = self.root / name
            env = {"PATH": f"{self.bin}:{os.environ['PATH']}", "RECORDED": str(folder)}
            program = "python" if path.suffix == ".py" else "bash"
            subprocess.run(
                [program, path.name], cwd=path.parent, env=env, check=True, capture_output=True, timeout=60
            )
            for argv in folder.glob("*.argv"):
                words = argv.read_text().split("\0")[:-1]
                pairs = argv.with_suffix(".env").read_text().split("\0")[:-1]
                found.append((host, tuple(words), dict(pair.split("=", 1) for pair in pairs)))
        return found

    def wanted(self, *more: str, version: str = "") -> Wanted:
        files = [(host, str(self.root / name)) for host, name in self.starts]
        return Wanted(
            (*files, *(("", str(self.put(f"more{n}.sh", text))) for n, text in enumerate(more))),
            version=version,
        )


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def eight_nodes(rig):
    """The eight nodes of vLLM-Ascend's document on large-scale expert parallelism, for 0.9.1."""
    sides = {
        "p": {"buffer": 256, "tp": 8, "seqs": 4, "eager": "--enforce-eager", "part": "kv_producer"},
        "d": {"buffer": 1024, "tp": 1, "seqs": 28, "eager": "", "part": "kv_consumer"},
    }
    for side, values in sides.items():
        rig.put(f"{side}/run_dp_template.sh", FIRST_TEMPLATE % values)
    for n in range(4):
        alone = CONSTANTS.format(size=2, local=2, start=0, master=f"192.0.0.{n + 1}")
        rig.start(f"192.0.0.{n + 1}", f"p/launch_dp_program_{n}.py", alone)
    for n in range(4):
        one = CONSTANTS.format(size=64, local=16, start=16 * n, master="192.0.0.5")
        rig.start(f"192.0.0.{n + 5}", f"d/launch_dp_program_{n}.py", one)
    return rig.wanted(PROXY)


def readme(rig, arguments):
    rig.put("run_dp_template.sh", LATER_TEMPLATE)
    rig.put("launch_online_dp.py", ARGUMENTS)
    for n, words in enumerate(arguments):
        line = f"python launch_online_dp.py --dp-size 4 --tp-size 4 {words} --dp-address x.x.x.x --dp-rpc-port 12342"
        rig.start(f"192.0.2.{n + 1}", f"start{n}.sh", f"{line}\n")
    return rig.wanted(version="0.23.0")


def one_node(rig):
    """The first example of the launcher's README."""
    return readme(rig, ["--dp-size-local 4 --dp-rank-start 0"])


def two_nodes(rig):
    """The second one."""
    return readme(rig, ["--dp-size-local 2", "--dp-size-local 2 --dp-rank-start 2"])


def by_hand(rig):
    """A loop of one's own."""
    for n in range(2):
        rig.start(
            f"192.0.2.{n + 1}",
            f"start{n}.sh",
            f"RANK_START={n * 2}\n" + BY_HAND.replace("source", "true source"),
        )
    return rig.wanted(version="0.23.0")


CASES = {"eight-nodes": eight_nodes, "one-node": one_node, "two-nodes": two_nodes, "by-hand": by_hand}


@pytest.fixture(params=CASES)
def case(request):
    return request.param


def text_of(path):
    return Path(path).read_text()


def as_recorded(value):
    """A value of a node's environment that is empty there."""
    return value.replace("${LD_LIBRARY_PATH}", "").replace("$$", "$")


def test_every_start_is_read_as_the_shell_carries_it_out(rig, case):
    wanted = CASES[case](rig)
    launches = read(wanted, text_of).launches
    recorded = rig.recorded()
    assert Counter((one.host, ("serve", *one.words)) for one in launches) == Counter(
        (host, words) for host, words, _ in recorded
    )
    env = {
        (one.host, one.words): {name: as_recorded(text) for name, text in one.env.items()} for one in launches
    }
    for host, words, there in recorded:
        assert env[host, words[1:]] == {
            name: text for name, text in there.items() if name not in OF_THE_SHELL
        }


def test_the_cluster_file_starts_the_same_but_for_what_is_explained(rig, case, expect):
    found = bring(CASES[case](rig), text_of)
    what = sorted({f"{one.what}: {one.why}" for one in found.differences})
    text = found.text.replace(str(rig.root), "…")
    expect(Path(__file__).parent / "cases" / f"{case}.txt", "\n".join((text, *what, "")))
    assert found.complete
    assert found.engines == {"eight-nodes": 72, "one-node": 4, "two-nodes": 4, "by-hand": 4}[case]
