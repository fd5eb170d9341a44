"""Every command of README.md and of the pages under docs does what the page says. Needs the set-up environment (`make setup`)."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import readme

from dplaunch.errors import ExitCode

ROOT = Path(__file__).parents[2]


@pytest.fixture
def env(tmp_path: Path, state_home: Path) -> dict[str, str]:
    """A reader's shell: the environment's programs first, a home and a state of its own, no colours."""
    return {
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "COLUMNS": "110",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(state_home),
    }


PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]


@pytest.fixture
def alone():
    """The pages use the same ports: who else runs them on this machine waits here for its turn."""
    with Path(tempfile.gettempdir(), "dplaunch-pages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.whole
@pytest.mark.skipif(not shutil.which("curl"), reason="the page asks with curl, which is not installed")
@pytest.mark.parametrize("page", PAGES)
def test_every_command_block_of_a_page(tmp_path, state_home, env, alone, page):
    (tmp_path / "clusters").symlink_to(ROOT / "clusters")
    try:
        faults = readme.run((ROOT / page).read_text(), tmp_path, env)
    finally:
        # The page takes its clusters down; after a fault it may not have come to that.
        while (state_home / "dplaunch" / ".operator" / "current.json").exists():
            subprocess.run(["dplaunch", "down", "-y"], cwd=tmp_path, env=env, timeout=60, check=True)
    assert not faults, "\n\n".join(faults)


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_leaves_out_has_a_reason(page):
    blocks = list(readme.blocks((ROOT / page).read_text()))
    assert [block.line for block in blocks if block.told("not run") == ","] == []


def test_the_readme_is_short_and_runs_most_of_its_commands():
    text = (ROOT / "README.md").read_text()
    blocks = list(readme.blocks(text))
    assert len(text.splitlines()) <= 120
    assert sum(len(readme.steps(block)) for block in blocks if block.runs) > 6


def test_the_chinese_readme_has_the_same_commands():
    first, second = (readme.blocks((ROOT / name).read_text()) for name in ("README.md", "README.zh-CN.md"))
    assert [commands(block) for block in second] == [commands(block) for block in first]


def commands(block):
    """What a reader types and sees; remarks behind a # are in the page's language."""
    return block.language, [line.partition("  #")[0].rstrip() for line in block.lines]


DOCUMENTS = {
    "audit": "audit",
    "diagnose": "diagnosis",
    "lock": "lock",
    "ls": "clusters",
    "status": "status",
    "test": "pairs",
    "up --dry-run": "actions",
}
"""Command → the golden file of its document."""


@pytest.mark.parametrize("command", DOCUMENTS)
def test_the_reference_lists_every_key_of_a_document(command):
    text = (ROOT / "docs" / "reference.md").read_text()
    listed = re.search(rf"^\| `{command}` \| (.*)$", text, re.MULTILINE)[1]
    document = json.loads((ROOT / "tests" / "view" / "golden" / f"{DOCUMENTS[command]}.json").read_text())
    assert set(document) <= set(re.findall(r"`(\w+)`", listed))


def test_the_reference_lists_every_exit_code():
    rows = re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE)
    assert [int(code) for code in rows] == sorted(ExitCode)


@pytest.mark.parametrize("page", [*PAGES, "README.zh-CN.md", "CONTRIBUTING.md"])
def test_every_link_of_a_page_leads_to_a_file(page):
    for target in re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text()):
        assert target.startswith("https://") or (ROOT / page).parent.joinpath(target).exists(), target


SAMPLE = """
# A sample

```yaml greeting.yaml
hello: world
```

```console
$ cat greeting.yaml
hello: world
$ printf '%s\\n' one \\
>   two three
one
…
three
```

<!-- test: env NAME=you -->
```sh
test "$NAME" = you
echo kept > file
```

<!-- test: exit 3 -->
```console
$ cat file; echo "took 17.5 s ━━━━ 3 of 8"; exit 3
kept
took 2 s ━━ 1 of …
```

<!-- test: not run, nobody has one -->
```console
$ npu-smi info
```

```json
{"no": "command"}
```
"""


def test_a_true_text_passes(tmp_path, env):
    assert readme.run(SAMPLE, tmp_path, env) == []


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("hello: world\n$", "hello: moon\n$", r"line 8: .*did not print 'hello: moon'"),
        ("one\n…\nthree", "three\none", r"line 8: .*did not print 'one' \(after"),
        ("NAME=you", "NAME=me", r"line 19: .*ended with 1, not 0"),
        ("exit 3 -->", "exit 2 -->", r"line 25: .*ended with 3, not 2"),
        ("1 of …", "1 of … more", r"line 25: .*did not print 'took 2 s"),
        ("not run, nobody has one", "env X=1", r"line 32: .*ended with 127, not 0"),
    ],
)
def test_an_untrue_text_is_found_out(tmp_path, env, right, wrong, fault):
    assert right in SAMPLE
    faults = readme.run(SAMPLE.replace(right, wrong), tmp_path, env)
    assert faults
    assert re.match(fault, faults[0], re.DOTALL), faults[0]


def test_each_block_is_read_as_it_stands():
    found = list(readme.blocks(SAMPLE))
    assert [block.language for block in found] == ["yaml", "console", "sh", "console", "console", "json"]
    assert [block.runs for block in found] == [False, True, True, True, False, False]
    assert found[4].reason == "nobody has one"


def test_a_comment_belongs_to_the_next_fence_only():
    text = "<!-- test: exit 1 -->\n\n```sh\nfalse\n```\n<!-- test: exit 2 -->\nwords\n```sh\ntrue\n```\n"
    assert [block.directives for block in readme.blocks(text)] == [("exit 1",), ()]
