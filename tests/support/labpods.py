"""What tests on a real Kubernetes share: this machine's Python in pods, and a log that is followed."""

import signal
import subprocess
import sys
from pathlib import Path

DPLAUNCH = Path(sys.executable).parent / "dplaunch"
PREFIXES = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()} - {Path("/usr")}
"""Where this Python lies: the pods run it."""
MOUNTS = sorted({"/usr", "/lib", "/lib64", *map(str, PREFIXES)})


def follow(*words: str) -> str:
    """The first line of a log that is followed until Ctrl-C."""
    with subprocess.Popen([DPLAUNCH, "logs", *words, "-f"], stdout=subprocess.PIPE, text=True) as followed:
        line = followed.stdout.readline()
        followed.send_signal(signal.SIGINT)
        followed.communicate(timeout=20)
    assert followed.returncode == 130
    return line
