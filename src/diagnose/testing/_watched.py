"""The training in a test, watched because of its marker `diagnose` or its fixture `watch`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, get_args

from diagnose.config import ScheduleName, nearest
from diagnose.errors import ConfigError
from diagnose.report import Report
from diagnose.testing._record import project_config
from diagnose.testing._verdict import Verdict, at_or_above, described, failure, headline
from diagnose.watching import Watch, watch

LEVELS: Final = ("error", "warning", "info", "never")

Marker = tuple[Sequence[Any], Mapping[str, Any]]


class WatchedTest:
    """One test.

    Args:
        markers: positional and keyword arguments of its markers, the nearest one first: its `fail_on` and `schedule`
            win, and the codes to ignore of all of them count.

    Attributes:
        watch: of all that trains in the test; it may be started, stopped and asked at any time.
        report: what it has found, once it has stopped.
        told: whether the findings are the test's failure already.
        fail_on: the least severity of a finding that fails the test, or "never".

    Raises:
        ConfigError: a marker has wrong arguments, or `[tool.diagnose]` has a mistake.
    """

    def __init__(self, markers: Sequence[Marker]) -> None:
        given: dict[str, Any] = {}
        ignore: list[str] = []
        for args, kwargs in markers:
            options = _checked(args, kwargs)
            ignore += options.pop("ignore", ())
            given = {**options, **given}
        config = project_config()
        # A project that fails its runs at a level means its tests as well; "never" is what nobody has chosen.
        self.fail_on = given.get("fail_on", "warning" if config.fail_on == "never" else config.fail_on)
        try:
            config = config.override(
                ignore=(*config.ignore, *ignore),
                select=tuple(given["select"]) if "select" in given else None,
                # No clock: the same steps are looked at in every run of the test.
                schedule=given.get("schedule", "seeded"),
                tensorboard=False,
                live=False,
            )
        except ConfigError as error:
            raise ConfigError(f"@pytest.mark.diagnose: {error}") from None
        self.report: Report | None = None
        self.told = False
        self.watch: Watch = watch(config=replace(config, run_dir=None), summary=False)

    def start(self) -> None:
        self.watch.start()

    def stop(self) -> None:
        self.watch.stop()
        self.report = self.report or self.watch.report()

    @property
    def ended(self) -> bool:
        return self.report is not None

    def failure(self) -> str:
        """The message with which the test fails, "" if it does not."""
        if self.fail_on == "never" or self.report is None:
            return ""
        findings = at_or_above(self.report.findings, self.fail_on)
        if not findings:
            return ""
        title = f"diagnose: {headline(findings, self.fail_on)} in {self.report.run.steps} watched steps"
        return failure(title, Verdict(None, "", findings, True, self.report))

    def described(self) -> str:
        """What else is known of a test that has failed by itself; "" if nothing is."""
        return "\n".join(described(self.report.findings, self.report)) if self.report is not None else ""

    def to_json(self) -> dict[str, Any] | None:
        """The report of the watch, as other programs get it; None before it has ended."""
        return self.report.to_json() if self.report is not None else None


def _checked(args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of one marker.

    Raises:
        ConfigError: they are wrong.
    """
    mark = "@pytest.mark.diagnose"
    if args:
        raise ConfigError(f"{mark} takes keyword arguments only, got {args[0]!r}. Write {mark}(fail_on=...).")
    for name, value in kwargs.items():
        if name not in _OPTIONS:
            known = ", ".join(_OPTIONS)
            raise ConfigError(
                f"{mark}({name}={value!r}): there is no such argument.{nearest(name, _OPTIONS)}\nThere are: {known}."
            )
        words = _OPTIONS[name]
        if words and value not in words:
            hint = nearest(value, words) if isinstance(value, str) else ""
            raise ConfigError(f"{mark}({name}={value!r}): has to be one of {', '.join(map(repr, words))}.{hint}")
        if not words and not _are_codes(value):
            raise ConfigError(f"{mark}({name}={value!r}): has to be a list of codes, such as ['dead-units'].")
    return dict(kwargs)


_OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "fail_on": LEVELS,
    "ignore": (),
    "select": (),
    "schedule": get_args(ScheduleName),
}


def _are_codes(value: object) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(isinstance(code, str) for code in value)
