"""Whether units are dead or saturated at the end of a training, for the assertions about them."""

from __future__ import annotations

import math

from diagnose.collect.activations import SUSPECT_SHARE
from diagnose.findings import Finding, Location, Severity
from diagnose.history import History
from diagnose.rules import all_rules, diagnose_history
from diagnose.testing._training import Trained, nothing_seen
from diagnose.testing._verdict import Verdict, at_or_above
from diagnose.watching import Watch


def judged_units(run: Trained, code: str, what: str, at_most: float | None) -> Verdict[Watch]:
    """The verdict on a share of units, by the rule `code` or by a limit of the caller's."""
    rule = all_rules()[code]
    fewest = rule.thresholds["min_examples"]
    shares = _dead(run.history) if code == "dead-units" else _saturated(run.history)
    if run.watched and not shares:
        kind = "ReLU or its like" if code == "dead-units" else "tanh, sigmoid or their like"
        return nothing_seen(run, f"{kind} in a hidden layer")
    unsure = {name for name, (_, examples) in shares.items() if examples < fewest}
    if unsure:
        examples = max(shares[name][1] for name in unsure)
        hint = " Give more examples per batch, or more steps."
        what_for = f"{' and '.join(sorted(unsure)[:3])} for {fewest} examples (only {examples:g})"
        return nothing_seen(run, f"unit of {what_for}", hint)
    findings: tuple[Finding, ...]
    if at_most is None:
        thresholds = run.watch.config.rules
        found = diagnose_history(run.history, {code: rule}, thresholds=thresholds).findings
        findings = at_or_above(found, "warning")
    else:
        above = {name: share for name, (share, _) in shares.items() if share > at_most}
        findings = tuple(_above(run, name, code, what, share, at_most) for name, share in above.items())
    worst = max((share for share, _ in shares.values()), default=0.0)
    summary = f"{100 * worst:.3g} % of the units of the worst layer are {what} after {run.what}"
    return Verdict(run.watch, summary, findings, bool(findings), run.report)


def _dead(history: History) -> dict[str, tuple[float, float]]:
    """By layer, the share of dead units at the end, and for how many examples that was seen.

    Only a layer that looks suspicious is read exactly. Of the others the units that were silent in a sample are known:
    all that are dead and perhaps some more, and it takes no number of examples to know that a unit lives.
    """
    shares = {}
    for name in history.scopes("silent_share"):
        facts, silent, dead = (
            history.layers[name],
            history.series("silent_share", name),
            history.series("dead_share", name),
        )
        if facts.role not in ("hidden", "output"):
            continue
        confirmed = len(dead) and dead.steps[-1] == silent.steps[-1]
        if confirmed:
            shares[name] = float(dead.values[-1]), float(facts.examples)
        elif float(silent.values[-1]) >= SUSPECT_SHARE:
            shares[name] = float(silent.values[-1]), 0.0
        else:
            shares[name] = float(silent.values[-1]), math.inf
    return shares


def _saturated(history: History) -> dict[str, tuple[float, float]]:
    """By hidden layer, the share of saturated units at the end, and for how many examples that was seen."""
    return {
        name: (float(history.series("saturated_share", name).values[-1]), float(history.layers[name].examples))
        for name in history.scopes("saturated_share")
        if history.layers[name].role == "hidden"
    }


def _above(run: Trained, name: str, code: str, what: str, share: float, limit: float) -> Finding:
    facts = run.history.layers[name]
    return Finding(
        code,
        Severity.ERROR,
        f"{100 * share:.3g} % of the {facts.units} units of {name} ({facts.kind}) are {what}; "
        f"{100 * limit:.3g} % may be",
        Location(module=facts.module or name, file=facts.file, line=facts.line),
        evidence={f"{what}_share": share, "limit": limit, "units": facts.units, "steps": run.steps},
        cause="The learning rate, if they were not so at the first step; else the initialisation or the inputs.",
        remedy="Run the assertion with steps=1 to tell these apart.",
    )
