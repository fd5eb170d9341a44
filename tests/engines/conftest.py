from pathlib import Path

import pytest
from fakevllm import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Where a node's scripts run with a ``vllm`` that only tells how it was called."""
    return Stage(tmp_path)
