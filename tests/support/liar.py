"""A node's ``python3``, between its guard session and the launcher: it damages what the session says.

Run as ``liar.py LIE PYTHON ARGUMENT…``. LIE is a file ``{"node", "seed", "rate", "pids"}``, read at each start;
without it, and on every other node, nothing is changed.
"""

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from dice import Dice

STUB = """#!/bin/sh
case "$1 $2 $3" in
"-I -S -c") exec {python} -IS {liar} {lie} {python} "$@" ;;
*) exec {python} "$@" ;;
esac
"""


def install(folder: Path, lie: Path) -> None:
    """Put such a ``python3`` into a folder that is to be first in PATH."""
    stub = folder / "python3"
    stub.write_text(STUB.format(python=sys.executable, liar=Path(__file__), lie=lie))
    stub.chmod(0o755)


def main(lie: Path, argv: list[str]) -> int:
    """Pass everything on; of the node that lies with damage, at the rate that the lie names."""
    told = json.loads(lie.read_text()) if lie.exists() else {}
    dice = Dice(told.get("seed", 0), tuple(told.get("pids", ())))
    session = subprocess.Popen(argv, stdout=subprocess.PIPE)
    lies = False
    for line in session.stdout or ():
        if told and b'"hello"' in line:
            lies = Path(json.loads(line)["root"]).name == told["node"]
        spoilt = lies and b'"beat"' not in line and dice.random() < told["rate"]
        try:
            sys.stdout.buffer.write(dice.spoil_line(line) if spoilt else line)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            break
    return session.wait()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
