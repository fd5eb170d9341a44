"""Every flag that dplaunch writes for vLLM, asked of the real vLLM's own parser. `make test-real` runs it."""

import json
import os
import re
import subprocess
from pathlib import Path

from dplaunch import plan, spec
from dplaunch.render import clusters_root

PYTHON = Path(__file__).parents[2] / ".real" / "venv" / "bin" / "python"
OFFLINE = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}


def command_lines():
    """Of all examples for vLLM, written for the version that is installed; without ``vllm serve``."""
    for path in sorted(clusters_root().glob("*.yaml")):
        text = path.read_text()
        if re.search(r"kind: vllm\b(?!-)", text):
            newest = re.sub(r'(kind: vllm, version: )"[^"]*"', r'\1"0.32.0"', text)
            found = spec.load(newest, str(path), read_file=str).spec
            yield from ([*command.argv[2:]] for command in plan.commands(found).values())


def test_the_engines_own_parser_takes_every_flag():
    done = subprocess.run(
        [PYTHON, Path(__file__).parent / "kit" / "parse.py"],
        input=json.dumps(list(command_lines())),
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
        env={**os.environ, **OFFLINE},
    )
    assert done.returncode == 0, done.stderr[-2000:]
