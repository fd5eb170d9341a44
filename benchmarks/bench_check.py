"""What preflight costs on 64 hosts, against what the slowest of them reports itself, and within ``up``.

One sshd plays all hosts (127.0.1.N), on this machine. Their NPU tools are stubs that wait and do not compute:
as many calls as on an Atlas A3 with 16 devices, each as long as asked for.

    python benchmarks/bench_check.py [--hosts 64] [--wait 0.2] [--rounds 3]

check         the whole of ``check``, from command to findings     ≤ 1.5 × the slowest node's own time
quick part    what ``up`` asks first, as a share of the start phase  ≤ 0.25

Exit 1: one was missed.
"""

import argparse
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "tests/support")]

from bench_fanout import MEMORY, on_hosts, run_ours  # noqa: E402
from npustub import NpuStub  # noqa: E402 - found through the line above
from sshd import LoopbackSshd  # noqa: E402

BARS = {"check / slowest node": 1.5, "quick part / start phase": 0.25}
PROCESSES = 16


def measure(sshd: LoopbackSshd, rounds: int, wait: float) -> dict[str, list[float]]:
    for number in sshd.numbers:
        stub = NpuStub(sshd.home(number), "a3", number).install()
        for tool in ("npu-smi", "hccn_tool"):
            stub.delay(tool, "", wait)
    for verb in ("start", "stop"):  # unpacks the bundle: the first session ever is not what is measured
        run_ours(sshd, verb, PROCESSES)
    found: dict[str, list[float]] = {name: [] for name in BARS}
    for _ in range(rounds):
        whole = run_ours(sshd, "check", PROCESSES, "vllm-ascend")
        found["check / slowest node"].append(whole["answered"] / whole["slowest_node"])
        start = run_ours(sshd, "start-checked", PROCESSES)
        found["quick part / start phase"].append(start["phases"]["check"] / start["phases"]["start"])
        run_ours(sshd, "stop", PROCESSES)
        print(
            f"check {whole['answered']:.2f} s, slowest node {whole['slowest_node']:.2f} s; "
            f"check in up {start['phases']['check']:.2f} s, start {start['phases']['start']:.2f} s"
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="preflight on many hosts")
    parser.add_argument("--hosts", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wait", type=float, default=0.2, help="seconds that a stub tool waits")
    parser.add_argument("--place", default=MEMORY, help="folder for the hosts' homes")
    given = parser.parse_args()
    found = on_hosts(given.hosts, lambda sshd: measure(sshd, given.rounds, given.wait), given.place)
    good = True
    for name, values in found.items():
        middle = statistics.median(values)
        good &= middle <= BARS[name]
        verdict = "ok" if middle <= BARS[name] else "MISSED"
        print(f"{name:26} {middle:.3f} ({min(values):.3f}-{max(values):.3f})  bar {BARS[name]:g}  {verdict}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
