"""From a history to what the user is told: run the rules, merge, put symptoms under their causes."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from diagnose.findings import Evidence, Finding, Severity
from diagnose.history import History
from diagnose.rules._base import NotRun, Rule, broken_plugins

# What a run had to have for a quantity to be there, where its name does not say it.
_TAKEN_FROM: Final[Mapping[str, str]] = {
    "eval_loss": "a loss function called in eval mode without gradients",
    "metric": "watch.log()",
    "grad_norm_before_clip": "clipping by norm",
    "silent_share": "activations that can be dead: ReLU and its like",
    "dead_share": "activations that can be dead: ReLU and its like",
    "saturated_share": "activations with bounds: tanh, sigmoid, softmax",
    "entropy_share": "softmax",
    "output_grad_rms": "layers whose outputs have a gradient",
}


@dataclass(frozen=True)
class Diagnosis:
    """What the rules made of a history.

    Attributes:
        findings: root causes first, then by severity and by the step at which they began.
        not_run: for each rule that could not run, why.
        accepted: findings that are known and not reported, each with the reason.
    """

    findings: tuple[Finding, ...]
    not_run: Mapping[str, str]
    accepted: tuple[tuple[Finding, str], ...] = ()


def diagnose_history(
    history: History,
    rules: Mapping[str, Rule],
    *,
    thresholds: Mapping[str, Mapping[str, Any]] | None = None,
    hidden: Collection[str] = (),
    selected: Collection[str] = (),
    accept: Callable[[Finding], tuple[Finding | None, str]] | None = None,
    strict: bool = False,
) -> Diagnosis:
    """Runs `rules` over `history`.

    Args:
        thresholds: by code, values that replace the defaults of the rule's keyword arguments.
        hidden: codes whose findings are left out at the end. They still run, so that ignoring a
            cause does not turn its symptoms into findings of their own.
        selected: codes that were asked for by name: such a symptom stands alone if its cause is hidden.
        accept: returns what is left to report of a finding, None for nothing, and then why. Unlike hidden ones,
            accepted findings take no part: what they would have explained is reported by itself.
        strict: let a rule's exception out instead of reporting it as a finding `rule-error`.
    """
    found: list[Finding] = []
    not_run: dict[str, str] = {}
    accepted: list[tuple[Finding, str]] = []
    for code, a_rule in rules.items():
        if missing := a_rule.missing(history):
            not_run[code] = f"not run: needs {', '.join(map(_in_words, missing))}"
            continue
        try:
            yielded = list(a_rule.function(history, **(thresholds or {}).get(code, {})))
            if accept is not None and code not in hidden:
                yielded = _without(yielded, accept, accepted)
            found.extend(_merged(yielded))
        except NotRun as lack:
            not_run[code] = f"not run: {lack}"
        except Exception as error:
            if strict:
                raise
            found.append(_rule_error(code, error))
    found.extend(_plugin_error(name, problem) for name, problem in broken_plugins().items())
    findings = [
        shown
        for finding in _attach_symptoms(found, rules)
        for shown in ((finding,) if finding.code not in hidden else finding.symptoms)
        if shown.code not in hidden and (shown is finding or shown.code in selected)
    ]
    return Diagnosis(tuple(sorted(findings, key=_urgency)), not_run, tuple(accepted))


def _without(
    findings: list[Finding],
    accept: Callable[[Finding], tuple[Finding | None, str]],
    accepted: list[tuple[Finding, str]],
) -> list[Finding]:
    """What is left to report of one rule's findings; the others go to `accepted`, merged where the reason is one."""
    left: list[Finding] = []
    by_reason: dict[str, list[Finding]] = {}
    for finding in findings:
        rest, reason = accept(finding)
        if rest is not None:
            left.append(rest)
        else:
            by_reason.setdefault(reason, []).append(finding)
    accepted += [(merged, reason) for reason, same in by_reason.items() for merged in _merged(same)]
    return left


def _in_words(quantity: str) -> str:
    return f"{quantity} ({_TAKEN_FROM[quantity]})" if quantity in _TAKEN_FROM else quantity


def _urgency(finding: Finding) -> tuple[int, int, int]:
    # Among equals, the one that explains others is the better start; then the one that began first.
    began = finding.first_step if finding.first_step is not None else 0
    return finding.severity.rank, -len(finding.symptoms), began


def _merged(findings: Iterable[Finding]) -> list[Finding]:
    """One finding per rule: one fault in forty layers is one finding that lists forty places.

    Of the most severe ones, the first one yielded is the one shown, so a rule yields its clearest or earliest
    case first. What the others already list in their evidence as `also_at` is listed too.
    """
    everything = list(findings)
    if not everything:
        return []
    shown = min(everything, key=lambda f: f.severity.rank)
    others = [f for f in everything if f is not shown]
    if not others:
        return [shown]
    places = _also_at(shown)
    for other in others:
        places += [str(other.where)] if str(other.where) else []
        places += _also_at(other)
    steps = [f.last_step for f in everything if f.last_step is not None]
    return [
        replace(
            shown,
            last_step=max(steps, default=shown.last_step),
            evidence={**shown.evidence, "also_at": list(dict.fromkeys(places))},
        )
    ]


def _also_at(finding: Finding) -> list[Evidence]:
    places = finding.evidence.get("also_at")
    return list(places) if isinstance(places, list) else []


def _attach_symptoms(findings: list[Finding], rules: Mapping[str, Rule]) -> list[Finding]:
    """Moves each finding that another one explains under that one.

    A cause must not have begun after its symptom, or, for a symptom that speaks of the whole run, not
    after that was last seen. Explanations chain: what explains a cause explains its symptoms, so the
    whole tree ends up under one root. Cycles (each of two rules may explain the other) are cut by the
    order in which they began.
    """
    by_code = {finding.code: finding for finding in findings}
    parent: dict[str, str] = {}
    for symptom in sorted(findings, key=_began, reverse=True):
        causes = [
            cause
            for cause in findings
            if cause is not symptom
            and cause.code in rules
            and symptom.code in rules[cause.code].explains
            and _began(cause) <= (_ended(symptom) if _overall(symptom, rules) else _began(symptom))
            and not _descends(cause.code, symptom.code, parent)
        ]
        if causes:
            parent[symptom.code] = min(causes, key=lambda f: (_began(f), f.severity.rank)).code
    children: dict[str, list[Finding]] = {}
    for code in parent:
        children.setdefault(_root(code, parent), []).append(by_code[code])
    return [_explaining(finding, children.get(finding.code, [])) for finding in findings if finding.code not in parent]


def _explaining(cause: Finding, symptoms: list[Finding]) -> Finding:
    """`cause` with its symptoms. It is at least as severe as the worst of them, for it brings it about."""
    if not symptoms:
        return cause
    worst = min((cause, *symptoms), key=lambda f: f.severity.rank).severity
    return replace(cause.with_symptoms(sorted(symptoms, key=_urgency)), severity=worst)


def _began(finding: Finding) -> int:
    return finding.first_step if finding.first_step is not None else 0


def _ended(finding: Finding) -> float:
    return finding.last_step if finding.last_step is not None else float("inf")


def _overall(finding: Finding, rules: Mapping[str, Rule]) -> bool:
    return finding.code in rules and rules[finding.code].overall


def _root(code: str, parent: Mapping[str, str]) -> str:
    while code in parent:
        code = parent[code]
    return code


def _descends(code: str, ancestor: str, parent: Mapping[str, str]) -> bool:
    while code in parent:
        code = parent[code]
        if code == ancestor:
            return True
    return False


def _rule_error(code: str, error: Exception) -> Finding:
    return Finding(
        code="rule-error",
        severity=Severity.INFO,
        message=f"the rule {code} failed and was left out: {type(error).__name__}: {error}",
        evidence={"rule": code, "traceback": "".join(traceback.format_exception(error))},
        cause="A defect of the rule, not of your training.",
        remedy="Please report it; --ignore rule-error silences it.",
    )


def _plugin_error(name: str, problem: str) -> Finding:
    return Finding(
        code="rule-error",
        severity=Severity.INFO,
        message=f"the plugin {name} could not be loaded, so its rules did not run: {problem}",
        evidence={"plugin": name},
        cause="A defect of the plugin, or a version of it that does not fit; not of your training.",
        remedy="Update or uninstall the plugin; --ignore rule-error silences it.",
    )
