"""What holds for every rule, whatever it looks at."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnose.findings import Finding
from diagnose.history import History
from diagnose.rules import Rule, all_rules, diagnose_history
from diagnose.testing import Layer, Parameter, history_of, sampled_steps
from tests.rules.looking import falling, histories, said

EACH = pytest.mark.parametrize("rule", all_rules().values(), ids=all_rules().keys())


def codes(history: History) -> list[tuple[str, str]]:
    """What is said, and how loudly; symptoms included."""
    return sorted((f.code, f.severity.value) for f in flattened(diagnosed(history)))


def diagnosed(history: History) -> tuple[Finding, ...]:
    return diagnose_history(history, all_rules(), strict=True).findings


def flattened(findings: tuple[Finding, ...]) -> Iterator[Finding]:
    for finding in findings:
        yield finding
        yield from flattened(finding.symptoms)


@EACH
def test_an_empty_history_is_silent(rule: Rule) -> None:
    assert said(History(), rule.code) == []


@EACH
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_run_of_few_ordinary_steps_is_silent(rule: Rule, steps: int) -> None:
    history = history_of(
        steps=steps,
        loss=2.3,
        grad_norm=1.0,
        grad_norm_before_clip=1.0,
        parameters={"fc.weight": Parameter(), "fc.bias": Parameter((64,), rms=0.0)},
        layers={"relu": Layer(dead=0.2), "tanh": Layer("tanh", saturated=0.1)},
    )
    assert said(history, rule.code) == []


@EACH
def test_nothing_but_gaps_is_silent(rule: Rule) -> None:
    history = history_of(
        steps=200,
        loss=math.nan,
        grad_norm=math.nan,
        parameters={"fc.weight": Parameter(rms=math.nan, gradient=math.nan, ratio=math.nan)},
        layers={"relu": Layer(dead=math.nan, saturated=math.nan)},
    )
    assert said(history, rule.code) == []


@EACH
def test_parameters_without_facts_do_no_harm(rule: Rule) -> None:
    history = history_of(steps=200, loss=falling(200), parameters={"fc.weight": Parameter(ratio=5.0)})
    history.parameters.clear()
    assert said(history, rule.code) == []


@settings(max_examples=60)
@given(histories())
def test_no_rule_fails_or_warns(history: History) -> None:
    diagnosed(history)


@settings(max_examples=40)
@given(histories())
def test_rules_do_not_change_the_history(history: History) -> None:
    data, arrays = history.to_arrays()
    before = json.dumps(data), {name: array.copy() for name, array in arrays.items()}
    diagnosed(history)
    data, arrays = history.to_arrays()
    assert json.dumps(data) == before[0]
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, before[1][name])


@settings(max_examples=40)
@given(histories())
def test_findings_survive_json(history: History) -> None:
    for finding in diagnosed(history):
        text = json.dumps(finding.to_json(), allow_nan=False)
        again = Finding.from_json(json.loads(text))
        assert again.to_json() == finding.to_json()


@settings(max_examples=40)
@given(histories())
def test_a_stored_history_gives_the_same_findings(history: History) -> None:
    data, arrays = history.to_arrays()
    again = History.from_arrays(json.loads(json.dumps(data)), arrays)
    assert [f.to_json() for f in diagnosed(again)] == [f.to_json() for f in diagnosed(history)]


@settings(max_examples=40)
@given(histories(), st.randoms(use_true_random=False))
def test_the_order_of_parameters_and_layers_does_not_matter(history: History, rng: random.Random) -> None:
    expected = codes(history)
    for facts in (history.parameters, history.layers):
        names = list(facts)
        rng.shuffle(names)
        for name in names:
            facts[name] = facts.pop(name)  # type: ignore[attr-defined]
    assert codes(history) == expected


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([2.0**-20, 0.25, 8.0, 2.0**20]))
def test_the_scale_of_the_loss_does_not_matter(seed: int, scale: float) -> None:
    """A summed loss, a loss in other units: nothing has become better or worse."""
    rng = np.random.default_rng(seed)
    steps = int(rng.integers(20, 300))
    at = len(sampled_steps(steps))
    pace, noise = rng.choice([-0.02, 0, 0.02, 0.2]), rng.choice([0, 0.02, 0.3])
    loss = rng.choice([1, -1]) * np.exp(pace * np.arange(steps)) * (1 + noise * rng.normal(size=steps))
    norms = np.exp(rng.choice([0, 0.5]) * np.arange(at)) * 10 ** rng.uniform(-1, 5)
    gradients = 10.0 ** rng.uniform(-6, 4, size=(5, 1)) * np.ones(at)
    ratio = 10.0 ** rng.uniform(-6, 1)

    def run(factor: float) -> History:
        return history_of(
            steps=steps,
            loss=factor * loss,
            grad_norm=factor * norms,
            parameters={
                f"{index}.weight": Parameter(gradient=factor * row, ratio=ratio) for index, row in enumerate(gradients)
            },
        )

    assert codes(run(scale)) == codes(run(1.0))


def test_what_comes_after_a_break_is_ignored() -> None:
    """NaN in everything from step 100 on is one finding, whatever the tables hold then."""
    at = sampled_steps(200)

    def until_break(value: float) -> list[float]:
        return [value if step < 100 else math.inf for step in at]

    history = history_of(
        steps=200,
        loss=[loss if step < 100 else math.inf for step, loss in enumerate(falling(200), start=1)],
        grad_norm=until_break(1.0),
        grad_norm_before_clip=[1.0 if step < 100 else math.inf for step in range(1, 201)],
        parameters={
            f"{index}.weight": Parameter(rms=until_break(0.1), gradient=until_break(1e-3), ratio=until_break(1e-3))
            for index in range(5)
        },
        layers={
            "relu": Layer(dead=[0.0 if step < 100 else 1.0 for step in at]),
            "tanh": Layer("tanh", saturated=[0.0 if step < 100 else 1.0 for step in at]),
        },
        events=[("non-finite", 100, {"what": "loss", "value": "nan", "operation": "log"})],
    )
    assert [finding.code for finding in diagnosed(history)] == ["nan-or-inf"]


def test_every_page_names_its_thresholds_with_their_values() -> None:
    for rule in all_rules().values():
        for name, value in rule.thresholds.items():
            assert f"`{name}`" in rule.page, f"{rule.code}: {name}={value} is not on its page"
