"""How an advisor's answer is held against the measured truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from benchmarks.gap_scenarios.scenario import VARIANTS, Case, Scenario, Variant
from benchmarks.gap_scenarios.truths import Truth
from diagnose.stats.intervals import Interval, wilson

Advisor: TypeAlias = Callable[..., Any]
Grade: TypeAlias = Literal["right", "acceptable", "wrong", "forbidden", "silent", "error"]
GRADES: tuple[Grade, ...] = ("right", "acceptable", "wrong", "forbidden", "silent", "error")


@dataclass(frozen=True)
class Judgement:
    """What an advisor said about a scenario, and what it is worth.

    Attributes:
        grade: of the first recommendation; "silent" without one, "error" where the advisor raised.
        forbidden: advice anywhere in the list that must not be given.
        names_right: whether the first recommendation, if right, names a hyperparameter whose change was right; None
            where it names none or the right change is of no hyperparameter.
        right: what would have been.
        tellable: the variant gives enough to find the cause.
        detail: of an error.
    """

    scenario: str
    family: str
    order: int
    variant: Variant
    verdict: str
    codes: tuple[str, ...]
    grade: Grade
    forbidden: tuple[str, ...]
    names_right: bool | None
    right: tuple[str, ...]
    tellable: bool
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def judge(scenario: Scenario, truth: Truth, case: Case, variant: Variant, advisor: Advisor) -> Judgement:
    """The grade of an advisor's answer in one variant."""
    tellable = VARIANTS.index(variant) >= VARIANTS.index(scenario.tells)
    right = tuple(sorted(truth.right))
    about = (scenario.name, scenario.family, scenario.order, variant)
    try:
        answer = advisor(None, **case.arguments(variant))
    except Exception as error:  # whatever it is, it is the advisor's answer
        return Judgement(*about, "", (), "error", (), None, right, tellable, f"{type(error).__name__}: {error}")
    recommendations = list(answer.recommendations)
    codes = tuple(str(each.code) for each in recommendations)
    return Judgement(
        *about,
        str(answer.verdict),
        codes,
        grade_of(codes, truth),
        tuple(code for code in codes if code in truth.forbidden),
        _names_right(scenario, truth, recommendations),
        right,
        tellable,
    )


def grade_of(codes: Sequence[str], truth: Truth) -> Grade:
    """The grade of a list of advice: that of its first."""
    if not codes:
        return "silent"
    if codes[0] in truth.right:
        return "right"
    if codes[0] in truth.acceptable:
        return "acceptable"
    return "forbidden" if codes[0] in truth.forbidden else "wrong"


def _names_right(scenario: Scenario, truth: Truth, recommendations: Sequence[Any]) -> bool | None:
    if not recommendations or recommendations[0].code not in truth.right or not truth.right_roles:
        return None
    name = recommendations[0].hyperparameter
    if name is None:
        return None
    return name in {scenario.user_name(role) for role in truth.right_roles}


@dataclass(frozen=True)
class Summary:
    """Shares over some judgements.

    Attributes:
        right: first recommendations that are right.
        useful: ... that are right or acceptable.
        forbidden: answers with a forbidden advice anywhere.
        named: first recommendations that name a right hyperparameter, of the right ones that name any.
    """

    count: int
    right: Interval
    useful: Interval
    forbidden: Interval
    named: tuple[int, int]


def summarize(judgements: Sequence[Judgement]) -> Summary | None:
    """The shares; None over nothing."""
    count = len(judgements)
    if not count:
        return None
    right = sum(each.grade == "right" for each in judgements)
    useful = right + sum(each.grade == "acceptable" for each in judgements)
    forbidden = sum(bool(each.forbidden) for each in judgements)
    naming = [each.names_right for each in judgements if each.names_right is not None]
    return Summary(
        count, wilson(right, count), wilson(useful, count), wilson(forbidden, count), (sum(naming), len(naming))
    )
