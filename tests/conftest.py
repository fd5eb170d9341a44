"""What every test gets: ``until``, ``expect``, a state home of its own, and three rules.

With CI set a skip is a failure. A process that outlives the tests is a failure, and is ended.
Exact wording stands in files: ``pytest --accept`` writes what the product prints now, and CI refuses that option.
"""

import compileall
import gc
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dice import Dice
from leftovers import end, left_by
from waiting import until as wait_until

from dplaunch import engines
from dplaunch.node.unpack import unpack
from dplaunch.wire.bundle import bundle


@pytest.fixture
def until():
    """``until(condition, deadline=10.0, interval=0.02)``: its first true value, or AssertionError."""
    return wait_until


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept", action="store_true", help="rewrite expected texts with what is printed now")
    parser.addoption(
        "--seed", type=int, default=None, help="of what is tried at random; another one each time"
    )
    parser.addoption("--rounds", type=int, default=100, help="how often something is tried at random")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("accept") and _in_ci():
        raise pytest.UsageError("--accept would make every text right, and CI is set")


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> Dice:
    """Chance, by ``--seed``; a test that fails prints which it was."""
    seed = request.config.getoption("seed")
    seed = random.randrange(1 << 32) if seed is None else seed
    print(f"--seed {seed}")  # noqa: T201 - pytest shows it where the test fails
    return Dice(seed)


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How often something is tried at random, by ``--rounds``."""
    return request.config.getoption("rounds")


@pytest.fixture
def expect(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """``expect(file, text)``: the text is what the file holds, or with ``--accept`` becomes it."""

    def compare(file: Path, text: str) -> None:
        if request.config.getoption("accept"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        expected = file.read_text() if file.exists() else "(no such file)"
        assert text == expected, f"{file.name} holds another text; if the new one is right: pytest --accept"

    return compare


@pytest.fixture
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state home, in the environment too."""
    home = tmp_path / "state"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def lib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What earlier starts left on a node: the bundle unpacked, its byte code compiled.

    The commands of the README meet a node that nobody has used yet.
    """
    folder = tmp_path_factory.mktemp("node") / "lib"
    unpack(bundle().data, str(folder / bundle().sha))
    compileall.compile_dir(folder, quiet=1)
    return folder


@pytest.fixture
def toys() -> Iterator[None]:
    """Two engines that only tests know: ``toy`` and ``toy-job``."""
    from tests.engines.toy.engine import Toy, ToyJob  # noqa: PLC0415 - few tests need them

    made = {kind.facts.kind: kind for kind in (Toy, ToyJob)}
    for kind, adapter in made.items():
        engines.register(kind, adapter)
    yield
    for kind in made:
        engines.unregister(kind)


@pytest.fixture(scope="session", autouse=True)
def _nothing_of_the_user_is_touched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No flag of the user's shell reaches a test, and no test writes below the user's home.

    The state home is also what the processes of a test are known by: children inherit it. This machine's
    ``python3`` is the one that runs the tests, not a version manager's wrapper, which costs more than a guard.
    """
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("DPLAUNCH_")]:
            patch.delenv(name)
        patch.delenv("TERM", raising=False)  # rich draws no live picture on a dumb terminal
        patch.setenv("XDG_STATE_HOME", str(base / "state"))
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        yield
    left = left_by(base)
    end(left)
    if left:
        pytest.fail(
            "processes outlived the tests (they were ended now):\n" + "\n".join(map(str, left)), pytrace=False
        )


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Nothing that is imported or collected is ever garbage: the collector does not look at it, then or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("lab"):
            item.add_marker(pytest.mark.skip(reason="the lab needs root"))


def _in_ci() -> bool:
    return bool(os.environ.get("CI"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    return _skip_is_failure(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    report = yield
    return _skip_is_failure(report)


def _skip_is_failure(report):
    if _in_ci() and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and CI is set: {report.longrepr}"
    return report
