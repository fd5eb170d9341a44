"""Rung 3: one real sshd for all tests of a worker that ask for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sshd import LoopbackSshd


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackSshd]:
    """Hosts 127.0.1.1 … 127.0.1.16, each with a home of its own."""
    folder: Path = tmp_path_factory.mktemp("sshd")
    with LoopbackSshd(folder, hosts=16) as server:
        yield server
