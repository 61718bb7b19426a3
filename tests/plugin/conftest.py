"""An inner pytest, in this process, with the plugin."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

import pytest
import torch
from torch import nn

from diagnose.testing import assert_trains

# Without it, an editable installation made before the plugin was there would leave it out.
PLUGIN = () if entry_points(group="pytest11", name="diagnose") else ("-p", "diagnose.pytest_plugin")

LOOP = """\
import pytest
import torch
from torch import nn

X = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
Y = (X.sum(1) > 0).long()


def train(clear=True, steps=60):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        if clear:
            optimizer.zero_grad()
        nn.functional.cross_entropy(model(X), Y).backward()
        optimizer.step()
    return model


"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture(scope="session", autouse=True)
def _imported() -> None:
    """Imports what trainings and rules import late: an inner pytest forgets what it was the first to import."""
    assert_trains(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), torch.ones(4, 2), loss_fn=torch.sum, steps=1)


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Runs tests that are given as source, after LOOP, with options of pytest."""

    def run(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=LOOP + source)
        return pytester.runpytest_inprocess(*PLUGIN, "-p", "no:cacheprovider", *options)

    return run
