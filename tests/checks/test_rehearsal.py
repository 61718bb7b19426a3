"""The place where checks happen: copies, batches of examples, losses of all kinds, nothing changed afterwards."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from torch import Tensor, nn

from diagnose.checks._rehearsal import Rehearsal
from diagnose.errors import CheckError
from diagnose.testing.strategies import Case, modules


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def test_training_the_copy_leaves_the_original_and_the_random_states_alone() -> None:
    model, inputs, targets = net(), torch.randn(16, 5), torch.randint(3, (16,))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    with Rehearsal(model, inputs, targets, F.cross_entropy) as rehearsal:
        optimizer = torch.optim.SGD(rehearsal.model.parameters(), lr=1.0)
        for _ in range(3):
            optimizer.zero_grad()
            rehearsal.loss().backward()
            optimizer.step()
        moved = rehearsal.model.state_dict()
    assert not torch.equal(moved["0.weight"], before["0.weight"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_restart_repeats_dropout_and_batch_statistics() -> None:
    with Rehearsal(net(), torch.randn(16, 5), torch.randint(3, (16,)), F.cross_entropy) as rehearsal:
        first = rehearsal.loss()
        second = rehearsal.loss()
        rehearsal.restart()
        assert torch.equal(rehearsal.loss(), first)
        assert not torch.equal(second, first)


def test_some_examples_of_a_batch_of_many_tensors() -> None:
    inputs = {
        "ids": torch.arange(12).reshape(6, 2),
        "mask": torch.ones(2, 2),
        "scale": torch.tensor(2.0),
        "names": "abc",
    }

    class Model(nn.Module):
        def forward(self, ids: Tensor, mask: Tensor, scale: Tensor, names: str) -> Tensor:
            return ids @ mask.long() * scale

    with Rehearsal(Model(), inputs, torch.arange(6)) as rehearsal:
        batch = rehearsal.batch.take([4, 0])
        assert rehearsal.batch.size == 6
        assert batch.size == 2
        assert batch.kwargs["ids"].tolist() == [[8, 9], [0, 1]]
        assert batch.kwargs["mask"] is rehearsal.batch.kwargs["mask"]
        assert batch.targets.tolist() == [4, 0]
        assert rehearsal.output(batch).shape == (2, 2)


class Losing(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.linear, self.kind = nn.Linear(4, 1), kind

    def forward(self, x: Tensor) -> object:
        loss = self.linear(x).pow(2).mean()
        return {"alone": loss, "mapping": {"loss": loss}, "attribute": SimpleNamespace(loss=loss)}[self.kind]


@pytest.mark.parametrize("kind", ["alone", "mapping", "attribute"])
def test_models_that_return_their_loss_need_no_loss_function(kind: str) -> None:
    with Rehearsal(Losing(kind), torch.randn(3, 4)) as rehearsal:
        assert rehearsal.loss().shape == ()


def test_a_loss_function_without_targets_gets_the_output_alone() -> None:
    with Rehearsal(nn.Linear(4, 2), torch.randn(3, 4), loss_fn=lambda out: out.square().mean()) as rehearsal:
        assert rehearsal.loss() > 0


@pytest.mark.parametrize(
    ("loss_fn", "told"),
    [
        (None, "The loss has to be one number, and is a shape (3, 2). Give a loss_fn"),
        (lambda out: out, "The loss has to be one number, and is a shape (3, 2)."),
        (lambda out: out @ out, "The loss function raised RuntimeError"),
    ],
)
def test_what_is_no_loss_is_told(loss_fn: object, told: str) -> None:
    with Rehearsal(nn.Linear(4, 2), torch.randn(3, 4), loss_fn=loss_fn) as rehearsal:  # type: ignore[arg-type]
        with pytest.raises(CheckError) as caught:
            rehearsal.loss()
        assert told in str(caught.value)


def test_a_model_that_raises_is_named() -> None:
    with Rehearsal(nn.Linear(4, 2), torch.randn(3, 5)) as rehearsal, pytest.raises(CheckError, match="Linear raised"):
        rehearsal.output()


@settings(max_examples=25)
@given(modules())
def test_training_a_copy_of_any_module_leaves_it_as_it_was(case: Case) -> None:
    before = {name: value.clone() for name, value in case.module.state_dict().items()}
    random_state = torch.get_rng_state()
    with Rehearsal(case.module, case.inputs, case.targets, case.loss_fn) as rehearsal:
        optimizer = torch.optim.SGD(rehearsal.model.parameters(), lr=0.1)
        rehearsal.loss().backward()
        optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in case.module.state_dict().items())
    assert all(parameter.grad is None for parameter in case.module.parameters())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_restart_leaves_modes_alone() -> None:
    with Rehearsal(net(), torch.randn(16, 5)) as rehearsal:
        rehearsal.model.eval()
        rehearsal.output()
        rehearsal.restart()
        assert not any(module.training for module in rehearsal.model.modules())
