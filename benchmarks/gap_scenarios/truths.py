"""Which advice is right: every intervention is run, and what it does to the error is held against its noise.

An advice is
- right, if it lowers the test error by two standard errors and is the best of all, or at least as good as nine tenths
  of the best, or not worse than the best by two standard errors and good for half of its improvement (without the
  half, weak ones would pass over so few seeds; without the nine tenths, a choice of two equals would be an error);
- acceptable, if it lowers the test error by two standard errors;
- forbidden, if all ways to follow it raise the test error by two standard errors; or, by Goodfellow et al., chapter
  11.3, if it is more data or more regularisation that does not help where the training error is above the target; or
  more capacity where the fault lies in the evaluation; or "target met" where it is not.
An effect below half a point is none, however small its standard error: nobody would notice it.
"Removes the leak" is right where it moves the reported error by two standard errors, and then alone: the reported
error is worth nothing. Where the target is met, saying so is right, and nothing else is even acceptable.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gap_scenarios.scenario import Scenario, interventions, measure
from diagnose.storage import replace_file

FILE = Path(__file__).with_name("truths.json")
SEEDS = tuple(range(5))
STANDARD_ERRORS = 2.0
SHARE_OF_BEST = 0.5
AS_GOOD_AS_BEST = 0.9
LEAST = 0.005
_EVALUATION = ("check-test-pipeline", "check-save-load", "check-leak")


class TruthError(Exception):
    """The measured table does not fit the scenarios."""


@dataclass(frozen=True)
class Effect:
    """What an intervention does to the test error (of a leak: to the reported one, either way)."""

    code: str
    label: str
    role: str | None
    improvement: float
    se: float
    by_seed: tuple[float, ...]

    @property
    def helps(self) -> bool:
        """It improves by two standard errors."""
        return self.improvement >= max(LEAST, STANDARD_ERRORS * self.se)

    @property
    def harms(self) -> bool:
        """It worsens by two standard errors."""
        return -self.improvement >= max(LEAST, STANDARD_ERRORS * self.se)


@dataclass(frozen=True)
class Truth:
    """What the measurements say about a scenario.

    Attributes:
        train, test: mean errors at the start.
        right_roles: hyperparameters of the interventions that are right.
        counts: something is right.
    """

    train: float
    test: float
    effects: tuple[Effect, ...]
    right: frozenset[str]
    acceptable: frozenset[str]
    forbidden: frozenset[str]
    right_roles: frozenset[str]

    @property
    def counts(self) -> bool:
        """There is a right advice to give."""
        return bool(self.right)


def measured(scenario: Scenario, seeds: Sequence[int] = SEEDS) -> dict[str, Any]:
    """Plain data: errors by seed of the start and of every intervention."""
    tried = interventions(scenario)
    base: dict[str, list[float]] = {"train": [], "val": [], "test": []}
    table: dict[str, dict[str, Any]] = {
        each.label: {"code": each.code, "role": each.role, "train": [], "test": []} for each in tried
    }
    for seed in seeds:
        errors = measure(scenario, seed)
        for name, values in base.items():
            values.append(round(getattr(errors, name), 5))
        for each in tried:
            errors = measure(scenario, seed, each)
            table[each.label]["train"].append(round(errors.train, 5))
            table[each.label]["test"].append(round(errors.test, 5))
    data = {"fingerprint": scenario.fingerprint, "seeds": list(seeds), "start": base, "interventions": table}
    for row in table.values():
        improvement, se = mean_and_se(_differences(base["test"], row["test"]))
        row |= {"improvement": round(improvement, 5), "se": round(se, 5)}
    return data


def truth_of(scenario: Scenario, data: dict[str, Any]) -> Truth:
    """The verdicts on a scenario's measurements.

    Raises:
        TruthError: they are of another state of the scenario.
    """
    if data["fingerprint"] != scenario.fingerprint:
        raise TruthError(
            f"{scenario.name} was changed after it was measured: "
            f"python benchmarks/gap.py --measure --only {scenario.name}"
        )
    start = data["start"]
    effects = tuple(
        _effect(label, row, start["test"], is_leak=row["code"] == "check-leak")
        for label, row in data["interventions"].items()
    )
    right, roles = _right(scenario, effects)
    acceptable = frozenset(each.code for each in effects if each.helps)
    if scenario.is_met or "check-leak" in right:
        acceptable = right
    return Truth(
        sum(start["train"]) / len(start["train"]),
        sum(start["test"]) / len(start["test"]),
        effects,
        right,
        acceptable | right,
        _forbidden(scenario, effects, data) - right,
        roles,
    )


def load(file: Path = FILE) -> dict[str, Any]:
    """The measured table; empty if there is none."""
    if not file.exists():
        return {}
    data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return data


def save(table: dict[str, Any], file: Path = FILE) -> None:
    """Writes the table, one scenario a line, so that a change shows where it is."""
    lines = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in sorted(table.items())]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    replace_file(file, lambda stream: stream.write(text.encode()))


def mean_and_se(values: Iterable[float]) -> tuple[float, float]:
    """Mean and its standard error."""
    numbers = list(values)
    mean = sum(numbers) / len(numbers)
    if len(numbers) < 2:
        return mean, math.inf
    variance = sum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1)
    return mean, math.sqrt(variance / len(numbers))


def _differences(before: Sequence[float], after: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(before, after, strict=True)]


def _effect(label: str, row: dict[str, Any], start: Sequence[float], *, is_leak: bool) -> Effect:
    by_seed = _differences(start, row["test"])
    improvement, se = mean_and_se(by_seed)
    if is_leak and improvement < 0:
        improvement, by_seed = -improvement, [-each for each in by_seed]
    return Effect(row["code"], label, row["role"], improvement, se, tuple(by_seed))


def _right(scenario: Scenario, effects: Sequence[Effect]) -> tuple[frozenset[str], frozenset[str]]:
    if scenario.is_met:
        return frozenset({"target-met"}), frozenset()
    helping = [each for each in effects if each.helps]
    if not helping:
        return frozenset(), frozenset()
    best = max(helping, key=lambda each: each.improvement)
    right = [each for each in helping if _as_good(each, best)]
    return frozenset(each.code for each in right), frozenset(each.role for each in right if each.role)


def _as_good(effect: Effect, best: Effect) -> bool:
    if effect.improvement >= AS_GOOD_AS_BEST * best.improvement:
        return True
    behind, se = mean_and_se(_differences(best.by_seed, effect.by_seed))
    return behind < STANDARD_ERRORS * se and effect.improvement >= SHARE_OF_BEST * best.improvement


def _forbidden(scenario: Scenario, effects: Sequence[Effect], data: dict[str, Any]) -> frozenset[str]:
    codes = {each.code for each in effects}
    helping = {each.code for each in effects if each.helps}
    found = {code for code in codes if all(each.harms for each in effects if each.code == code)}
    train, se = mean_and_se(data["start"]["train"])
    if train - scenario.target > STANDARD_ERRORS * se:
        found |= {"more-data", "more-regularization"} & codes - helping
    if codes & set(_EVALUATION):
        found |= {"more-capacity"} - helping
    if not scenario.is_met:
        found.add("target-met")
    return frozenset(found - {"check-leak"})
