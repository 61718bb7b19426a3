"""The pytest plugin: options, the marker, fixtures. What they do is in `diagnose.testing`.

It is loaded into every pytest of an environment that has torch-diagnose, so it does nothing until a test uses it, and
imports nothing heavy by then. Whatever it has to say of a test travels in the test's report, as the user property
"diagnose": so it reaches the main process from the workers of pytest-xdist.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from diagnose.testing import ASSERTIONS

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from diagnose.testing._record import TestRecord
    from diagnose.testing._watched import WatchedTest
    from diagnose.watching import Watch

MARKER: Final = (
    "diagnose(fail_on='warning', ignore=[], select=[], schedule='seeded'): watch the training in this test, and fail "
    "it if something is found that is as severe as fail_on ('error', 'warning', 'info' or 'never')"
)

_WATCHED: Final[pytest.StashKey[WatchedTest]] = pytest.StashKey()
_RECORD: Final[pytest.StashKey[TestRecord]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("diagnose", "faults of training (torch-diagnose)")
    group.addoption(
        "--diagnose-report",
        metavar="DIR",
        type=Path,
        help="write what was found, a JSON file for each test that trains or asserts, and an index",
    )
    group.addoption(
        "--diagnose-all",
        action="store_true",
        help="watch the training in each test, as if all were marked with @pytest.mark.diagnose",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    if not hasattr(config, "workerinput"):  # else the main process collects what the workers send
        config.pluginmanager.register(_Collector(config), "diagnose-collector")


# ---------------------------------------------------------------------- fixtures


@pytest.fixture
def watch(request: pytest.FixtureRequest) -> Iterator[Watch]:
    """A running `diagnose.watch`: `watch.findings`, `watch.history`. What it finds does not fail the test."""
    watched = _watched(request.node)
    watched.start()
    yield watched.watch
    watched.stop()


def _fixture(name: str) -> Callable[..., Any]:
    def assertion() -> Callable[..., Any]:
        from diagnose import testing

        function: Callable[..., Any] = getattr(testing, name)
        return function

    assertion.__doc__ = f"The function `diagnose.testing.{name}`."
    return pytest.fixture(assertion, name=name, scope="session")


globals().update({f"_{name}": _fixture(name) for name in ASSERTIONS})


# ---------------------------------------------------------------------- around each test


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    from diagnose.testing._record import TestRecord, opened, pytest_command

    record = TestRecord(item.nodeid, pytest_command(_shortest_name(item)), item.path.parent)
    item.stash[_RECORD] = record
    with opened(record):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begins anew, for a test may be run once more; reports wrong arguments of the marker before it runs."""
    if (record := item.stash.get(_RECORD, None)) is not None:
        record.clear()
    if _WATCHED in item.stash:
        del item.stash[_WATCHED]
    if _is_marked(item):
        _watched(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    if not _is_marked(item) and _WATCHED not in item.stash:
        return (yield)
    watched = _watched(item)
    watched.start()
    try:
        result = yield
    finally:
        watched.stop()
    if _is_marked(item) and (message := watched.failure()):
        watched.told = True
        pytest.fail(message, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    record = item.stash.get(_RECORD, None)
    if record is None:
        return report
    if call.when == "call":
        record.wall_s = call.duration
    watched = item.stash.get(_WATCHED, None)
    if watched is not None and watched.ended:
        record.watched = watched.to_json()
        if call.when == "call" and report.failed and not watched.told and (text := watched.described()):
            report.sections.append(("diagnose", text))
    if record.used:
        from diagnose.testing._results import PROPERTY, packed

        kept = [entry for entry in report.user_properties if entry[0] != PROPERTY]
        report.user_properties = [*kept, (PROPERTY, packed(record))]
    return report


def _shortest_name(item: pytest.Item) -> str:
    """The name of the test as it is typed in the folder in which pytest was called."""
    file, separator, name = item.nodeid.partition("::")
    with contextlib.suppress(ValueError):  # another drive
        file = os.path.relpath(item.config.rootpath / file, item.config.invocation_params.dir)
    return f"{file}{separator}{name}"


def _is_marked(item: pytest.Item) -> bool:
    return item.config.getoption("diagnose_all") or item.get_closest_marker("diagnose") is not None


def _watched(item: pytest.Item) -> WatchedTest:
    """The watch of a test, one for its marker and its fixture."""
    if _WATCHED not in item.stash:
        from diagnose.errors import ConfigError
        from diagnose.testing._watched import WatchedTest

        markers = [(marker.args, marker.kwargs) for marker in item.iter_markers("diagnose")]
        mistake = ""
        try:
            item.stash[_WATCHED] = WatchedTest(markers)
        except ConfigError as error:
            mistake = str(error)
        if mistake:
            pytest.fail(mistake, pytrace=False)
    return item.stash[_WATCHED]


# ---------------------------------------------------------------------- after all tests


class _Collector:
    """Takes what the reports bring, writes it and sums it up; in the main process only."""

    def __init__(self, config: pytest.Config) -> None:
        self.directory: Path | None = None
        self.results: Any = None
        if config.getoption("diagnose_report") is not None:
            self.directory = config.invocation_params.dir / config.getoption("diagnose_report")
            from diagnose.errors import RunDirectoryError

            try:
                self._results()
            except RunDirectoryError as error:
                raise pytest.UsageError(f"--diagnose-report: {error}") from None

    def _results(self) -> Any:
        if self.results is None:
            from diagnose.testing._results import Results

            self.results = Results(self.directory)
        return self.results

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == "diagnose" and isinstance(value, str):
                outcome: str = report.outcome
                if hasattr(report, "wasxfail"):
                    outcome = "xfailed" if outcome == "skipped" else "xpassed"
                self._results().add(report.nodeid, report.when, outcome, value)

    def pytest_sessionfinish(self) -> None:
        if self.results is not None:
            self.results.finish()

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        if self.results is None or not (lines := self.results.summary()):
            return
        terminalreporter.section("diagnose")
        for line in lines:
            terminalreporter.line(line)
