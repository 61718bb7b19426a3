"""What became of one test: the assertions that it made and the training that was watched. Plain data, no torch.

The pytest plugin opens a record around each test, and what is asserted in the test writes into it. So the plain
functions of `diagnose.testing` need not know of pytest, and are told of in its reports all the same.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from diagnose.config import Config
    from diagnose.findings import Finding


@dataclass(frozen=True)
class Asserted:
    """One assertion that was made.

    Attributes:
        name: of the function.
        passed: whether it held.
        summary: one line with the key number.
        findings: what it found, of any severity.
        wall_s: seconds that it took.
    """

    name: str
    passed: bool
    summary: str
    findings: tuple[Finding, ...] = ()
    wall_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "passed": self.passed,
            "summary": self.summary,
            "findings": [finding.to_json() for finding in self.findings],
            "wall_s": self.wall_s,
        }


@dataclass
class TestRecord:
    """One test, as it runs.

    Attributes:
        name: how the test is called, as pytest names it.
        rerun: the command that runs it again, and nothing else.
        folder: where the search for `[tool.diagnose]` begins.
        watched: the report of the training that was watched, as JSON; None if none was.
        asserted: in the order in which they were made.
        wall_s: seconds of the test itself.
    """

    __test__ = False  # no class of tests, whatever its name says

    name: str
    rerun: str
    folder: Path
    watched: dict[str, Any] | None = None
    asserted: list[Asserted] = field(default_factory=list)
    wall_s: float = 0.0

    @property
    def used(self) -> bool:
        """Whether there is anything to tell."""
        return self.watched is not None or bool(self.asserted)

    def clear(self) -> None:
        """Forgets what it has noted, as the test begins anew."""
        self.watched, self.wall_s = None, 0.0
        self.asserted.clear()

    def to_json(self) -> dict[str, Any]:
        return {
            "test": self.name,
            "rerun": self.rerun,
            "wall_s": self.wall_s,
            "watched": self.watched,
            "assertions": [asserted.to_json() for asserted in self.asserted],
        }


# A test of a pytest plugin runs a pytest in its own process: the innermost test is the one that asserts.
_open: Final[list[TestRecord]] = []


@contextmanager
def opened(record: TestRecord) -> Iterator[None]:
    """A context in which assertions write into `record`."""
    _open.append(record)
    try:
        yield
    finally:
        _open.remove(record)


def note(asserted: Asserted) -> None:
    """Writes into the innermost open record, if there is one."""
    if _open:
        _open[-1].asserted.append(asserted)


def rerun_command() -> str:
    """The command that runs the current test again; "" outside of pytest."""
    if _open:
        return _open[-1].rerun
    # Set by pytest itself: "tests/test_a.py::test_b (call)".
    name, _, _ = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")
    return pytest_command(name) if name else ""


def pytest_command(name: str) -> str:
    """What to type to run the test of that name."""
    return f"pytest {shlex.quote(name)}"


def project_config() -> Config:
    """The options of `[tool.diagnose]` nearest to the test, or to the current folder outside of pytest.

    Raises:
        ConfigError: the file has a mistake.
    """
    from diagnose.config import load_config

    return load_config(_open[-1].folder if _open else Path.cwd())
