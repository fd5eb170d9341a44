"""``python -m dprouter --members FILE …``."""

from __future__ import annotations

import os
import sys

from .server import serve
from .settings import parse

if __name__ == "__main__":
    sys.exit(serve(parse(sys.argv[1:], os.environ)))
