"""From findings to a diagnosis: merged, with symptoms under their causes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History
from diagnose.rules import Diagnosis, NotRun, Rule, all_rules, diagnose_history
from diagnose.testing import Layer, Parameter, history_of
from tests.rules.looking import chain, flat

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


def a_finding(code: str, severity: Severity = WARNING, first: int | None = None, last: int | None = None) -> Finding:
    return Finding(code, severity, f"{code} is wrong", Location(module=code), first, last)


def a_rule(code: str, found: Sequence[Finding], explains: Sequence[str] = (), *, overall: bool = False) -> Rule:
    def function(history: History, **thresholds: Any) -> Iterator[Finding]:
        yield from found

    return Rule(code, function, (), tuple(explains), overall, "0.1", {})


def diagnose(*rules: Rule, **options: Any) -> Diagnosis:
    return diagnose_history(History(), {rule.code: rule for rule in rules}, **options)


def tree(finding: Finding) -> tuple[str, list[str]]:
    return finding.code, sorted(symptom.code for symptom in finding.symptoms)


def trees(diagnosis: Diagnosis) -> list[tuple[str, list[str]]]:
    return sorted(map(tree, diagnosis.findings))


# -- merging ------------------------------------------------------------------------------------------


def test_one_fault_in_many_places_is_one_finding() -> None:
    many = [
        Finding("x", WARNING, "first", Location(module="a"), 3, 9),
        Finding("x", ERROR, "worst", Location(module="b"), 5, 7),
        Finding("x", INFO, "last", Location(), 1, 20, evidence={"also_at": ["d", "a"]}),
    ]
    (found,) = diagnose(a_rule("x", many)).findings
    assert (found.message, found.severity) == ("worst", ERROR)
    assert found.evidence["also_at"] == ["a", "d"]
    assert (found.first_step, found.last_step) == (5, 20)


def test_a_single_finding_stays_what_it_is() -> None:
    only = a_finding("x", first=1)
    assert diagnose(a_rule("x", [only])).findings == (only,)


# -- causes and symptoms ------------------------------------------------------------------------------


def test_a_symptom_goes_under_its_cause() -> None:
    diagnosis = diagnose(
        a_rule("cause", [a_finding("cause", first=1)], ["symptom"]),
        a_rule("symptom", [a_finding("symptom", first=5)]),
    )
    assert trees(diagnosis) == [("cause", ["symptom"])]


def test_a_cause_that_began_later_is_none() -> None:
    rules = (
        a_rule("cause", [a_finding("cause", first=50)], ["symptom"]),
        a_rule("symptom", [a_finding("symptom", first=5, last=100)]),
    )
    assert trees(diagnose(*rules)) == [("cause", []), ("symptom", [])]


@pytest.mark.parametrize(("last", "attached"), [(100, True), (None, True), (49, False)])
def test_a_symptom_of_the_whole_run_may_begin_before_its_cause(last: int | None, attached: bool) -> None:
    diagnosis = diagnose(
        a_rule("cause", [a_finding("cause", first=50)], ["symptom"]),
        a_rule("symptom", [a_finding("symptom", first=1, last=last)], overall=True),
    )
    assert (len(diagnosis.findings) == 1) is attached


def test_a_chain_ends_up_under_its_root() -> None:
    diagnosis = diagnose(
        a_rule("root", [a_finding("root")], ["middle"]),
        a_rule("middle", [a_finding("middle")], ["leaf"]),
        a_rule("leaf", [a_finding("leaf")]),
    )
    assert trees(diagnosis) == [("root", ["leaf", "middle"])]


def test_a_cycle_is_cut_where_it_began() -> None:
    def both(first_a: int, first_b: int) -> Diagnosis:
        return diagnose(
            a_rule("a", [a_finding("a", first=first_a)], ["b"]), a_rule("b", [a_finding("b", first=first_b)], ["a"])
        )

    assert trees(both(1, 5)) == [("a", ["b"])]
    assert trees(both(5, 1)) == [("b", ["a"])]
    assert len(both(3, 3).findings) == 1


def test_a_cause_is_as_severe_as_what_it_brings_about() -> None:
    diagnosis = diagnose(
        a_rule("cause", [a_finding("cause", INFO)], ["symptom"]), a_rule("symptom", [a_finding("symptom", ERROR)])
    )
    assert diagnosis.findings[0].severity is ERROR


@given(st.data())
def test_every_finding_is_shown_exactly_once(data: st.DataObject) -> None:
    """Whatever explains what, and whenever it began: a forest, with nothing lost and nothing doubled."""
    codes = [f"rule-{letter}" for letter in "abcdef"]
    rules = [
        a_rule(
            code,
            [a_finding(code, first=data.draw(st.integers(1, 4)), last=data.draw(st.integers(4, 6)))],
            data.draw(st.lists(st.sampled_from(codes), unique=True)),
            overall=data.draw(st.booleans()),
        )
        for code in codes
    ]
    shown = [code for root, symptoms in trees(diagnose(*rules)) for code in (root, *symptoms)]
    assert sorted(shown) == codes


# -- the rest ----------------------------------------------------------------------------------------------


def test_the_most_urgent_comes_first() -> None:
    diagnosis = diagnose(
        a_rule("i", [a_finding("i", INFO, 1)]),
        a_rule("late", [a_finding("late", ERROR, 9)]),
        a_rule("early", [a_finding("early", ERROR, 2)]),
        a_rule("explains", [a_finding("explains", ERROR, 5)], ["leaf"]),
        a_rule("leaf", [a_finding("leaf", WARNING, 5)]),
    )
    assert [finding.code for finding in diagnosis.findings] == ["explains", "early", "late", "i"]


def test_hiding_a_cause_does_not_free_its_symptoms() -> None:
    rules = (a_rule("cause", [a_finding("cause")], ["symptom"]), a_rule("symptom", [a_finding("symptom")]))
    assert diagnose(*rules, hidden=["cause"]).findings == ()


def test_what_is_accepted_takes_no_part() -> None:
    """Of one rule's places those that are not accepted are left; what an accepted cause explains stands alone."""

    def accept(finding: Finding) -> tuple[Finding | None, str]:
        return (None, "known") if finding.where.module in ("cause", "b", "c") else (finding, "")

    places = [Finding("x", WARNING, f"in {name}", Location(module=name)) for name in "abcd"]
    diagnosis = diagnose(
        a_rule("cause", [a_finding("cause", first=1)], ["symptom"]),
        a_rule("symptom", [a_finding("symptom", first=5)]),
        a_rule("x", places),
        accept=accept,
    )
    assert trees(diagnosis) == [("symptom", []), ("x", [])]
    assert [f.evidence for f in diagnosis.findings if f.code == "x"] == [{"also_at": ["d"]}]
    known = [(finding.code, finding.evidence.get("also_at"), reason) for finding, reason in diagnosis.accepted]
    assert known == [("cause", None, "known"), ("x", ["c"], "known")]


def test_a_rule_that_lacks_what_it_needs_says_so() -> None:
    needy = Rule("needy", lambda history: iter(()), ("loss", "grad_norm"), (), False, "0.1", {})
    assert diagnose(needy).not_run == {"needy": "not run: needs loss, grad_norm"}


def test_what_it_needs_is_said_in_words() -> None:
    needy = Rule("needy", lambda history: iter(()), ("dead_share",), (), False, "0.1", {})
    said = diagnose(needy).not_run["needy"]
    assert said == "not run: needs dead_share (activations that can be dead: ReLU and its like)"


def test_a_rule_may_say_why_it_cannot_judge() -> None:
    def declines(history: History) -> Iterator[Finding]:
        raise NotRun("needs an evaluation phase")
        yield

    declining = Rule("declining", declines, (), (), False, "0.1", {})
    diagnosis = diagnose(declining, a_rule("fine", [a_finding("fine")]), strict=True)
    assert [finding.code for finding in diagnosis.findings] == ["fine"]
    assert diagnosis.not_run == {"declining": "not run: needs an evaluation phase"}


def test_a_rule_that_fails_is_reported_and_the_others_run() -> None:
    def fails(history: History) -> Iterator[Finding]:
        raise ZeroDivisionError("oh")
        yield

    broken = Rule("broken", fails, (), (), False, "0.1", {})
    diagnosis = diagnose(broken, a_rule("fine", [a_finding("fine")]))
    assert [finding.code for finding in diagnosis.findings] == ["fine", "rule-error"]
    assert diagnosis.findings[1].severity is INFO
    assert "ZeroDivisionError: oh" in diagnosis.findings[1].message
    with pytest.raises(ZeroDivisionError):
        diagnose(broken, strict=True)


def test_thresholds_reach_the_rule() -> None:
    history = history_of(steps=100, events=[("stale-gradients", step, {}) for step in range(2, 7)])
    rules = {"gradients-not-cleared": all_rules()["gradients-not-cleared"]}
    assert not diagnose_history(history, rules).findings
    lower = {"gradients-not-cleared": {"share": 0.05}}
    assert diagnose_history(history, rules, thresholds=lower).findings


# -- our own rules together -----------------------------------------------------------------------------


def codes_of(history: History) -> list[tuple[str, list[str]]]:
    return trees(diagnose_history(history, all_rules(), strict=True))


GUESSING: dict[str, Any] = {"loss": flat(300, 4.2, 0.005), "grad_fn": "NllLossBackward0"}


def test_dead_from_the_start() -> None:
    still = {name: Parameter(gradient=0.0, ratio=0.0) for name in chain(5)}
    layers = {"1": Layer(dead=1.0)}
    assert codes_of(history_of(parameters=still, layers=layers, **GUESSING)) == [
        ("dead-units", ["loss-not-decreasing", "update-too-small"])
    ]


def test_gradients_that_pile_up() -> None:
    loss = np.concatenate([flat(50, 1.0), flat(250, 50.0)])
    history = history_of(
        loss=loss,
        parameters=chain(3, ratio=lambda step: 0.5 if step > 50 else 0.01),
        events=[("stale-gradients", step, {}) for step in range(2, 300)],
    )
    assert codes_of(history) == [("gradients-not-cleared", ["loss-diverging", "update-too-large"])]


def test_a_learning_rate_that_is_far_too_low() -> None:
    assert codes_of(history_of(parameters=chain(3, ratio=1e-7), **GUESSING)) == [
        ("update-too-small", ["loss-not-decreasing"])
    ]


def test_vanishing_before_the_units_died() -> None:
    fading = {
        name: Parameter(gradient=1e-3 * 10.0 ** (index - 8), ratio=1e-3 * 10.0 ** (index - 8))
        for index, name in enumerate(chain(8))
    }
    layers = {"1": Layer(dead=lambda step: 0.0 if step < 100 else 1.0)}
    found = codes_of(history_of(parameters=fading, layers=layers, **GUESSING))
    assert [code for code, _ in found] == ["dead-units", "vanishing-gradient"]
