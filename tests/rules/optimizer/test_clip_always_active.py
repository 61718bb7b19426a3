"""clip-always-active: a limit far below every norm."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.findings import Severity
from diagnose.history import History
from diagnose.testing import history_of
from tests.rules.looking import flat, said, the_only

CODE = "clip-always-active"


def run(norms: Sequence[float], limit: float = 1.0) -> History:
    return history_of(
        steps=len(norms),
        loss=flat(len(norms)),
        grad_norm_before_clip=np.array(norms),
        events=[
            ("clipped", step, {"norm": norm, "limit": limit, "file": "train.py", "line": 9})
            for step, norm in enumerate(norms, start=1)
            if norm > limit
        ],
    )


def test_every_step_is_cut_by_a_large_factor() -> None:
    finding = the_only(run([30.0] * 40), CODE)
    assert finding.severity is Severity.INFO
    assert finding.where.line == 9
    assert finding.evidence["typical_ratio"] == 30
    assert finding.evidence["steps_cut"] == 40


@pytest.mark.parametrize(("norm", "fires"), [(10.0, False), (10.1, True)])
def test_the_factor(norm: float, fires: bool) -> None:
    assert bool(said(run([norm] * 40), CODE)) is fires


@pytest.mark.parametrize(("rest", "fires"), [(4, True), (5, False)])
def test_the_share(rest: int, fires: bool) -> None:
    assert bool(said(run([30.0] * (40 - rest) + [0.5] * rest), CODE)) is fires


def test_spikes_few_steps_and_broken_norms() -> None:
    assert not said(run([100.0] + [0.5] * 39), CODE)
    assert not said(run([30.0] * 9), CODE)
    assert not said(run([math.inf] * 40), CODE)


@given(st.lists(st.floats(0.01, 1000), min_size=1, max_size=40), st.sampled_from([2.0**-10, 8.0]))
def test_units_do_not_matter(norms: list[float], factor: float) -> None:
    scaled = run([factor * norm for norm in norms], limit=factor)
    assert bool(said(run(norms), CODE)) is bool(said(scaled, CODE))
