"""Intervals of paired differences hold the truth as often as they say."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diagnose.stats.paired import paired_difference


@pytest.mark.parametrize("bounded", [True, False])
def test_intervals_hold_the_truth(bounded: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(1000):
        noise = torch.rand(2, 40, generator=draw)
        one, other = ((noise < torch.tensor([[0.3], [0.2]])).float() if bounded else noise).unbind(0)
        difference = paired_difference(one, other, bounded=bounded)
        held += difference.low <= (0.1 if bounded else 0.0) <= difference.high
    assert 930 <= held <= 975


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=30))
def test_equal_errors_are_no_difference(errors: list[float]) -> None:
    values = torch.tensor(errors)
    difference = paired_difference(values, values, bounded=True)
    assert difference.mean == 0
    assert difference.low < 0 < difference.high


def test_what_are_no_pairs_is_told() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        paired_difference(torch.zeros(3), torch.zeros(4))
