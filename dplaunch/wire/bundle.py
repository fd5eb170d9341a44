"""What starts a guard session on a node: the bundle of node code, and the bytes a session opens with.

The contract is ``docs/guard-protocol.md``.
"""

from __future__ import annotations

import functools
import hashlib
import io
import threading
import zipfile
from pathlib import Path

from msgspec import Struct

from dplaunch.wire.lines import Opening, encode

BOOTSTRAP = (
    "import io;i=io.BufferedReader(io.FileIO(0,closefd=False),1);exec(i.read(int(i.readline())));boot(i)"
)
"""Free of single quotes, backslashes and !, so that every login shell passes it on unharmed. The buffer
of one byte never takes more from stdin than was asked for: what follows belongs to the guard."""

NODE = Path(__file__).parent.parent / "node"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time that a zip can store: the same sources make the same bytes."""


class Bundle(Struct, frozen=True):
    """The code that runs on nodes: a zip, its sha256, and how many bytes its files have."""

    sha: str
    data: bytes
    files: int


def bootstrap(python: str = "python3") -> tuple[str, ...]:
    """The command that starts a guard session."""
    return (python, "-I", "-S", "-c", BOOTSTRAP)


_PACKING = threading.Lock()


def bundle(root: Path = NODE) -> Bundle:
    """``guard/``, ``rehearsal/`` and ``__main__.py`` of ``root`` as one zip, packed once."""
    with _PACKING:
        return _pack(root)


@functools.cache
def _pack(root: Path) -> Bundle:
    paths = sorted(path for path in root.glob("*/**/*") if path.suffix in (".py", ".txt"))
    files = {f"{path.relative_to(root)}": path for path in paths}
    files["__main__.py"] = root / "main.py"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for name, path in sorted(files.items()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, path.read_bytes())
        size = sum(entry.file_size for entry in target.infolist())
    return Bundle(hashlib.sha256(packed.getvalue()).hexdigest(), packed.getvalue(), size)


@functools.cache
def _text(name: str) -> bytes:
    return (NODE / name).read_bytes()


def opening(cluster: str, node: str, state: str | None, code: Bundle) -> Opening:
    """What a session reads first: see ``docs/guard-protocol.md``."""
    boot, unpack = _text("boot.py"), _text("unpack.py")
    home = state.encode().hex() if state else "-"  # in hex it is one word, whatever it contains
    line = f"{home} {code.sha} {len(unpack)} {len(code.data)} {code.files}\n".encode()
    header = encode({"cluster": cluster, "node": node, "state": state})
    return Opening(f"{len(boot)}\n".encode() + boot + line + header, unpack + code.data)
