"""What the fault tests share: three machines for a module, and the rule that every test leaves them empty."""

from collections.abc import Iterator

import pytest
from faulty import Site
from lab import Lab


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Lab(3) as lab:
        yield Site(lab)


@pytest.fixture
def nothing_is_left(site: Site) -> Iterator[None]:
    """Mended before, looked at afterwards: no process on any host, nobody holds the lock."""
    site.mend()
    yield
    site.clean()
