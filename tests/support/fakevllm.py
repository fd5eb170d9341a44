"""Run a plan's scripts with programs that only say how they were called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from dplaunch.model.plan import NodePlan, Process

TELLER = f"""#!{sys.executable} -IS
import json, os, sys
print(json.dumps({{"argv": sys.argv, "env": dict(os.environ)}}))
"""


@dataclass(frozen=True)
class Ran:
    """What a script did. ``argv`` without the program; ``env`` as the program saw it."""

    code: int
    out: str
    err: str

    @property
    def argv(self) -> list[str]:
        return json.loads(self.out)["argv"][1:]

    @property
    def env(self) -> dict[str, str]:
        return json.loads(self.out)["env"]

    def option(self, name: str) -> str:
        """The word after ``--name``."""
        return self.argv[self.argv.index(f"--{name}") + 1]


class Stage:
    """A folder with fake programs and the files of a node."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "node"
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True, exist_ok=True)
        self.program("vllm", TELLER)

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def put(self, node: NodePlan) -> None:
        for file in node.files:
            path = self.root / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text, encoding="utf-8")
            path.chmod(file.mode)

    def run(self, process: Process, *, path: str | None = None, **env: str) -> Ran:
        """Run a process's command in the node's folder, as its guard would."""
        whole = {"PATH": path or f"{self.bin}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", **env}
        done = subprocess.run(
            process.argv, cwd=self.root, env=whole, capture_output=True, text=True, check=False, timeout=20
        )
        return Ran(done.returncode, done.stdout, done.stderr)
