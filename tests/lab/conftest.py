"""What tests of the lab share: machines for a module, and the rule that every fault test leaves them empty."""

from collections.abc import Iterator

import pytest
from faulty import Site
from fleetlab import CheckedLab
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


@pytest.fixture(scope="module")
def ascend() -> Iterator[Lab]:
    """Eight machines, which ``a2`` or ``a3`` dresses: the tests of one family come after those of the other."""
    with Lab(8, disk="8g") as lab:
        yield lab


@pytest.fixture(scope="module")
def a2(ascend: Lab) -> CheckedLab:
    return CheckedLab(ascend, "a2")


@pytest.fixture(scope="module")
def a3(ascend: Lab) -> CheckedLab:
    return CheckedLab(ascend, "a3")
