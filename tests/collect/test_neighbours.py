"""What is kept of examples and labels to compare them: how near neighbours are, and what a simple fit says."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diagnose
from diagnose.history import NeighbourFacts


def watched(rows: Tensor, labels: Tensor) -> NeighbourFacts:
    model = nn.Linear(rows.shape[1], 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for batch in torch.arange(len(rows)).split(50):
            optimizer.zero_grad()
            F.cross_entropy(model(rows[batch]), labels[batch]).backward()
            optimizer.step()
    assert watch.history.count("collector-failed") == 0
    (facts,) = watch.history.neighbours.values()
    return facts


def test_noise_and_what_is_in_a_few_of_its_columns() -> None:
    rows = torch.randn(400, 30, generator=torch.Generator().manual_seed(0))
    facts = watched(rows, (rows[:, 0] > 0).long())
    assert facts.rows == 400
    assert 0.9 < facts.nearness < 1.1
    assert facts.fitted_sigmas > 8 > facts.sigmas


def test_inputs_with_a_structure_and_labels_without() -> None:
    numbers = torch.Generator().manual_seed(0)
    rows = torch.randn(400, 3, generator=numbers) @ torch.randn(3, 30, generator=numbers)
    facts = watched(rows, torch.randint(2, (400,), generator=numbers))
    assert facts.nearness < 0.6
    assert abs(facts.fitted_sigmas) < 4
    assert abs(facts.sigmas) < 4


def test_rows_that_are_all_equal_have_no_structure() -> None:
    facts = watched(torch.ones(100, 4), torch.arange(100) % 2)
    assert (facts.rows, facts.nearness) == (0, 1.0)
