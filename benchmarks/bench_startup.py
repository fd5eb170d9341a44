"""How long a user waits before anything happens, as ratios within one run.

``--help`` against a bare typer app with as many verbs; ``plan`` of eight nodes against importing what it
stands on. Runs alternate, medians are compared. Neither may import paramiko.

The bar of ``plan`` is held against the bare import statement. rich and pydantic load next to nothing until a
name is used, so the ratio to importing the names we use is shown beside it, without a bar.

Everything is compiled once, as in an installation: PYTHONDONTWRITEBYTECODE, which would have our modules
compiled anew at each start while the installed libraries are not, is taken out of the environment.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dplaunch.cli.app import app

ROOT = Path(__file__).parent.parent
DPLAUNCH = str(Path(sys.executable).parent / "dplaunch")
CLUSTER = str(ROOT / "clusters" / "deepseek-r1-a3-4p4d.yaml")
USED = (
    "import typer, yaml, jinja2; from pydantic import BaseModel; "
    "from rich.console import Console; from rich.table import Table; from rich.live import Live"
)
LIBRARIES = "import typer, rich, yaml, jinja2, pydantic"
ROUNDS = 15
BARS = {"--help": 1.3, "plan": 2.0}


def bare_app(verbs: int) -> str:
    """A typer app with as many verbs as ours, that do nothing."""
    begin = "import typer\napp = typer.Typer(add_completion=False, pretty_exceptions_enable=False)\n"
    verb = '@app.command()\ndef verb{}() -> None:\n    """Does nothing."""\n'
    return begin + "".join(verb.format(number) for number in range(verbs)) + "app()\n"


def seconds(argv: list[str]) -> float:
    around = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True, env={**around, "COLUMNS": "100"})
    return time.perf_counter() - start


def ratio(name: str, ours: list[str], theirs: list[str]) -> float:
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS + 1)][1:]
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{name:8} {mine * 1000:6.0f} ms against {other * 1000:6.0f} ms: ratio {mine / other:.2f}", end="")
    return mine / other


def within(name: str, ours: list[str], theirs: list[str]) -> bool:
    good = ratio(name, ours, theirs) <= BARS[name]
    print(f", bar {BARS[name]} {'ok' if good else 'OVER'}")
    return good


def imports_paramiko(argv: list[str]) -> bool:
    run = "try:\n    from dplaunch.cli import main; main()\nexcept SystemExit: pass\n"
    code = f"import sys; sys.argv = {argv!r}\n{run}sys.exit('paramiko' in sys.modules)"
    return (
        subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode != 0
    )


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(bare_app(len(app.registered_commands)), encoding="utf-8")
        good = within("--help", [DPLAUNCH, "--help"], [sys.executable, str(bare), "--help"])
        good &= within("plan", [DPLAUNCH, "plan", CLUSTER], [sys.executable, "-c", LIBRARIES])
        ratio("(used)", [DPLAUNCH, "plan", CLUSTER], [sys.executable, "-c", USED])
        print(" of importing the names that we use")
    for argv in (["dplaunch", "--help"], ["dplaunch", "plan", CLUSTER]):
        loaded = imports_paramiko(argv)
        good &= not loaded
        print(f"{argv[1]:8} imports paramiko: {'YES' if loaded else 'no'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
