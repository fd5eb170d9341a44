"""What every test gets: ``until``, a state home of its own, and two rules.

With CI set a skip is a failure. A process that outlives the tests is a failure, and is ended.
"""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from leftovers import end, left_by
from waiting import until as wait_until


@pytest.fixture
def until():
    """``until(condition, deadline=10.0, interval=0.02)``: its first true value, or AssertionError."""
    return wait_until


@pytest.fixture
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state home, in the environment too."""
    home = tmp_path / "state"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    return home


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
