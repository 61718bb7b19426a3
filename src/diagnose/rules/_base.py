"""What a rule is, and the register of them.

A rule is a function `history -> findings`, declared with `@rule`. Its docstring is its page: the first line
says the fault, the sections are those of SECTIONS. Its keyword arguments are its thresholds, which
`[tool.diagnose.rules.CODE]` may set. It reads the history and touches nothing else.

What explains what. A finding that merely follows from another is shown under that one:

- *Symptoms* say that training fails, not why: `loss-not-decreasing`, `loss-diverging`, and `update-too-small`,
  which also follows from everything that leaves no gradient. They go under every fault that brings them about.
- *Faults* are measured where they happen, and stay beside one another even where one may have led to the other
  (`update-too-large`, `exploding-gradient`, `dead-units`, `saturated-units`, `nan-or-inf` in one run that blew
  up): each is a fact with its own place and remedy, and which came first is for the reader to see from the steps.
- Exceptions, where it is beyond doubt: gradients that pile up explain updates and gradients that are too large;
  inputs that are too large explain updates, gradients and activations that are too large, for all of them grow with the
  inputs; without backward, nothing is updated; below dead or saturated units, gradients vanish, and so they do after
  updates that threw the units there; a loss that had been climbing before has made the updates large.

A cause cannot have begun after its symptom. Only what is said of the run as a whole (`overall`) has no beginning.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from diagnose.errors import RuleError
from diagnose.findings import Finding
from diagnose.history import QUANTITIES, History, Quantity

RuleFunction: TypeAlias = Callable[..., Iterator[Finding]]

SECTIONS: Final = (
    "What it does",
    "Why it matters",
    "How to fix",
    "Limits",
    "Source",
)


class NotRun(Exception):  # noqa: N818 (not an error: an answer)
    """Raised by a rule that cannot judge this run, with the reason: "needs an evaluation phase".

    For what `needs` cannot say. It is for what is lacking, not for what is well: a rule that has looked and found
    nothing yields nothing. What it has yielded before is lost.
    """


@dataclass(frozen=True)
class Rule:
    """A registered rule.

    Attributes:
        code: unique, kebab-case, names the fault.
        function: takes the history and the thresholds, yields findings; may raise NotRun.
        needs: quantities without which it cannot run; each must have been recorded at least once.
        explains: codes of the symptoms that this fault causes. A symptom that is found too is
            shown under this finding instead of beside it, unless it began before this did.
        overall: whether its findings speak of the run as a whole ("nothing was learned"), so that what
            causes them may have begun after their first step.
        thresholds: names and default values of the keyword arguments of `function`.
        since: version of the package that introduced it.
    """

    code: str
    function: RuleFunction
    needs: tuple[Quantity, ...]
    explains: tuple[str, ...]
    overall: bool
    since: str
    thresholds: dict[str, Any] = field(hash=False)

    @property
    def page(self) -> str:
        """The docstring, dedented: Markdown."""
        return inspect.getdoc(self.function) or ""

    @property
    def summary(self) -> str:
        """The page's first line."""
        return self.page.partition("\n")[0]

    def missing(self, history: History) -> tuple[Quantity, ...]:
        """The needed quantities of which nothing was recorded."""
        return tuple(quantity for quantity in self.needs if not history.scopes(quantity))


_REGISTER: dict[str, Rule] = {}
_BROKEN: dict[str, BaseException] = {}


def rule(
    code: str,
    *,
    needs: tuple[Quantity, ...] = (),
    explains: tuple[str, ...] = (),
    overall: bool = False,
    since: str = "0.1",
) -> Callable[[RuleFunction], RuleFunction]:
    """Registers the decorated function as the rule `code`.

    Raises:
        RuleError: the code is taken, is not kebab-case or is not the function's name; a needed
            quantity does not exist; a page section is missing; a threshold has no default.
    """

    def register(function: RuleFunction) -> RuleFunction:
        if code in _REGISTER:
            raise RuleError(f"rule {code!r} is registered twice: {_REGISTER[code].function.__module__}")
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code):
            raise RuleError(f"rule code {code!r} is not kebab-case")
        if function.__name__ != code.replace("-", "_"):
            raise RuleError(f"rule {code!r}: its function is named {function.__name__!r}")
        if unknown := set(needs) - set(QUANTITIES):
            raise RuleError(f"rule {code!r} needs unknown quantities: {sorted(unknown)}")
        page = inspect.getdoc(function) or ""
        if absent := [s for s in SECTIONS if f"## {s}" not in page]:
            raise RuleError(f"rule {code!r}: its page lacks the sections {absent}")
        _REGISTER[code] = Rule(code, function, needs, explains, overall, since, _thresholds(code, function))
        return function

    return register


def _thresholds(code: str, function: RuleFunction) -> dict[str, Any]:
    parameters = list(inspect.signature(function).parameters.values())
    for parameter in parameters[1:]:
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.default is parameter.empty:
            raise RuleError(f"rule {code!r}: {parameter.name!r} must be keyword-only, with a default")
    return {parameter.name: parameter.default for parameter in parameters[1:]}


def registered() -> dict[str, Rule]:
    """All rules by code, in alphabetical order, of the modules imported so far; see `rules.all_rules`."""
    return dict(sorted(_REGISTER.items()))


def plugin_failed(name: str, error: BaseException) -> None:
    """Remembers that the plugin `name` could not be loaded."""
    _BROKEN[name] = error


def broken_plugins() -> dict[str, str]:
    """What went wrong, for each plugin that could not be loaded; see `rules.all_rules`."""
    return {name: f"{type(error).__name__}: {error}" for name, error in _BROKEN.items()}
