"""Completion in the shells themselves, those that are installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BASH = """
source <(dplaunch completion bash)
COMP_WORDS=(dplaunch logs dec) COMP_CWORD=2
$(complete -p dplaunch | sed 's/.*-F \\([^ ]*\\) .*/\\1/') dplaunch
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
compdef() { asked=$1 }
_arguments() { print -l ${=1//[^a-z0-9-]/ } }
source <(dplaunch completion zsh)
words=(dplaunch logs dec) CURRENT=3
$asked
"""
FISH = """
dplaunch completion fish | source
complete -C 'dplaunch logs dec'
"""
SHELLS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shutil.which(shell)])
def test_a_shell_completes_the_targets_of_the_current_cluster(laptop, shell):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [shell, "-c", SHELLS[shell]],
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        cwd=laptop.folder,
        start_new_session=True,  # a shell may stop the group it runs in
    )
    assert done.stdout.split() == ["decode", "decode-0", "decode-1", "decode-2", "decode-3"], done.stderr


def test_the_names_of_the_examples_are_completed():
    asked = {"_DPLAUNCH_COMPLETE": "complete_bash", "COMP_WORDS": "dplaunch init --preset script"}
    done = subprocess.run(
        [Path(sys.executable).with_name("dplaunch")],
        env={**os.environ, **asked, "COMP_CWORD": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["script"]
