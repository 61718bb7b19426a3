"""How the tests of rules look at what rules say, and histories to show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from diagnose.findings import Finding, Severity
from diagnose.history import History
from diagnose.rules import NotRun, all_rules
from diagnose.testing import Layer, Parameter, history_of, sampled_steps


def said(history: History, code: str, **thresholds: Any) -> list[Finding]:
    """All that one rule yields; nothing if it cannot judge."""
    try:
        return list(all_rules()[code].function(history, **thresholds))
    except NotRun:
        return []


def the_only(history: History, code: str, **thresholds: Any) -> Finding:
    """The one finding of a rule."""
    (finding,) = said(history, code, **thresholds)
    return finding


def loud(findings: Sequence[Finding]) -> list[Finding]:
    """Those that count as an alarm."""
    return [finding for finding in findings if finding.severity.at_least(Severity.WARNING)]


def noisy(values: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """The values with white noise of `share` of themselves."""
    return values * (1 + share * np.random.default_rng(seed).normal(size=len(values)))


def falling(steps: int, start: float = 2.3, end: float = 0.1, noise: float = 0.05) -> np.ndarray:
    """The loss of a healthy run."""
    decay = np.exp(-5 * np.arange(steps) / steps)
    return noisy(end + (start - end) * decay, noise)


def flat(steps: int, level: float = 2.3, noise: float = 0.02, seed: int = 0) -> np.ndarray:
    """The loss of a run that learns nothing."""
    return noisy(np.full(steps, level), noise, seed)


def chain(layers: int, width: int = 64, **curves: Any) -> dict[str, Parameter]:
    """Parameters of a plain network: each weight takes in what the one before puts out."""
    return {f"{index}.weight": Parameter((width, width), **curves) for index in range(layers)}


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Histories of runs that may have gone well or badly, with gaps, breaks and odd values."""
    steps = draw(st.integers(1, 160))
    at = sampled_steps(steps)
    seed = draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)

    def curve(length: int, low: float, high: float) -> np.ndarray:
        """Exponential growth or decay with noise, and now and then something else."""
        start, pace = 10 ** rng.uniform(low, high), rng.choice([0, 0, -0.02, 0.03, 0.3])
        values = start * np.exp(np.minimum(pace * np.arange(length), 200))
        values *= 1 + rng.choice([0.0, 0.05, 0.5]) * rng.normal(size=length)
        if rng.random() < 0.15:
            values[rng.integers(length) :] = rng.choice([np.inf, 0.0])
        if rng.random() < 0.1:
            values[rng.integers(length)] = np.nan
        return np.abs(values)

    parameters = {
        f"{index}.{kind}": Parameter(
            (16, 16) if kind == "weight" else (16,),
            rms=curve(len(at), -2, 0),
            gradient=curve(len(at), -6, 2) if rng.random() < 0.9 else None,
            ratio=curve(len(at), -5, 1) if rng.random() < 0.9 else None,
            changed=rng.choice([True, True, False, None]),
            held=bool(rng.random() < 0.9),
            requires_grad=bool(rng.random() < 0.9),
        )
        for index in range(draw(st.integers(0, 5)))
        for kind in ("weight", "bias")
    }
    layers = {
        f"{index}.act": Layer(
            units=int(rng.integers(1, 100)),
            dead=np.clip(curve(len(at), -2, 0), 0, 1),
            saturated=np.clip(curve(len(at), -2, 0), 0, 1),
            role=rng.choice(["hidden", "gate", "output"]),
        )
        for index in range(draw(st.integers(0, 3)))
    }
    loss = curve(steps, -2, 2) * draw(st.sampled_from([1.0, 1.0, -1.0]))
    return history_of(
        steps=steps,
        loss=loss if draw(st.booleans()) else {"a": loss, "b": curve(steps, -3, 1)},
        parameters=parameters,
        layers=layers,
        grad_norm=curve(len(at), -3, 3),
        grad_norm_before_clip=curve(steps, -3, 3) if draw(st.booleans()) else None,
        grad_fn=draw(st.sampled_from(["", "NllLossBackward0", "MseLossBackward0"])),
        events=[
            (kind, int(step), {"what": "loss"} if kind == "non-finite" else {})
            for kind in ("stale-gradients", "no-new-gradient", "non-finite", "step-skipped")
            if rng.random() < 0.2
            for step in sorted(rng.integers(1, steps + 1, size=rng.integers(1, 30)))
        ],
    )
