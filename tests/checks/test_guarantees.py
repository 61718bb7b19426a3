"""guarantees: declared invariants are looked at after each step, and those that go without saying too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from diagnose.checks import Moment, Status, guarantees, invariants
from diagnose.errors import CheckError
from tests.checks import models
from tests.checks.models import Case


@pytest.mark.parametrize("make", models.HEALTHY)
def test_healthy_models_keep_what_goes_without_saying(make: Callable[[], Case]) -> None:
    torch.manual_seed(0)
    case = make()
    before = models.snapshot(case)
    result = guarantees(case.model, case.inputs, case.targets, loss_fn=case.loss_fn, steps=3)
    assert result.ok, str(result)
    assert result.evidence["steps"] == 3
    models.assert_untouched(case, before)


def test_declared_invariants_are_asked_at_each_step() -> None:
    seen: list[Moment] = []
    case = models.mlp()

    def notes(moment: Moment) -> None:
        seen.append(moment)

    result = guarantees(
        case.model,
        case.inputs,
        case.targets,
        loss_fn=case.loss_fn,
        steps=5,
        invariants={
            "notes": notes,
            "shape": lambda output, targets: output.shape == (len(targets), 3),
            "model": lambda model: all(p.requires_grad for p in model.parameters()),
            "losses": lambda losses, step: len(losses) == step,
            "nothing": lambda: None,
        },
    )
    assert result.ok, str(result)
    assert [moment.step for moment in seen] == [1, 2, 3, 4, 5]
    assert seen[0].loss == seen[0].losses[0]
    assert seen[0].model is not case.model


class Covariance(nn.Module):
    """A matrix that begins symmetric; steps are free to leave that."""

    def __init__(self, *, constructed: bool) -> None:
        super().__init__()
        self.root, self.constructed = nn.Parameter(torch.eye(3)), constructed

    def matrix(self) -> Tensor:
        return self.root @ self.root.T if self.constructed else self.root

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("ni,ij,nj->n", x, self.matrix(), x.roll(1, 1))


@pytest.mark.parametrize("constructed", [True, False])
def test_what_a_step_leaves_is_found_at_that_step(constructed: bool) -> None:
    torch.manual_seed(0)
    result = guarantees(
        Covariance(constructed=constructed),
        torch.randn(8, 3),
        torch.randn(8),
        loss_fn=F.mse_loss,
        invariants={"covariance": lambda model: invariants.positive_semidefinite(model.matrix())},
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
    )
    assert result.ok is constructed
    if not constructed:
        finding = result.findings[0]
        assert (finding.code, finding.first_step, finding.last_step) == ("invariant-broken", 1, 20)
        assert finding.where.file == __file__
        assert "not symmetric" in finding.message


@pytest.mark.parametrize(
    ("invariant", "told"),
    [
        (lambda output: False, "it returned False"),
        (lambda output: "too large", "too large"),
        (lambda output: output.sum() > 1e9, "it returned False"),
        (lambda losses: invariants.monotone(losses, "increasing"), "not increasing"),
    ],
)
def test_ways_to_say_no(invariant: Callable[..., object], told: str) -> None:
    torch.manual_seed(0)
    result = guarantees(
        nn.Linear(3, 1), torch.randn(8, 3), torch.randn(8, 1), loss_fn=F.mse_loss, invariants={"mine": invariant}
    )
    assert result.status is Status.FAILED
    with pytest.raises(AssertionError, match=told):
        result.raise_if_failed()


def test_ready_ones_by_name() -> None:
    x = torch.randn(4, 3)
    assert guarantees(nn.Sequential(nn.Linear(3, 3), nn.Softmax(1)), x, invariants=["sums_to_one", "probabilities"]).ok
    assert not guarantees(nn.Linear(3, 3), x, invariants=["probabilities"]).ok
    with pytest.raises(ValueError, match="there is no invariant 'positive'"):
        guarantees(nn.Linear(3, 3), x, invariants=["positive"])


class Masked(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.linear = kind, nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        if self.kind == "softmax":
            hidden = torch.zeros(len(x), len(x), dtype=torch.bool)
            hidden[2] = True
            return (y @ y.T).masked_fill(hidden, -torch.inf).softmax(-1) @ y
        if self.kind == "log":
            return (y - 100).log()
        return y / (y - y)


@pytest.mark.parametrize("kind", ["softmax", "log", "division"])
def test_what_makes_nan_is_named_with_its_line(kind: str) -> None:
    result = guarantees(Masked(kind), torch.randn(5, 4), torch.randn(5, 4), loss_fn=F.mse_loss)
    assert result.status is Status.FAILED
    finding = next(f for f in result.findings if f.where.file)
    assert finding.code == "nan-or-inf"
    assert finding.where.file == __file__


def test_a_training_that_blows_up() -> None:
    result = guarantees(
        nn.Linear(3, 1), torch.randn(8, 3), torch.randn(8, 1), loss_fn=F.mse_loss, steps=500,
        optimizer=lambda p: torch.optim.SGD(p, lr=1e3),
    )  # fmt: skip
    assert result.status is Status.FAILED
    assert result.findings[0].code == "nan-or-inf"


@pytest.mark.parametrize("average", [True, False])
def test_attention_is_held_to_its_masks(average: bool) -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            hidden = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
            padding = torch.zeros(x.shape[:2], dtype=torch.bool)
            padding[0, -1] = True
            out: Tensor = self.attention(x, x, x, padding, True, hidden == -torch.inf, average_attn_weights=average)[0]
            return out

    x = torch.randn(3, 5, 4)
    assert guarantees(Attending(), x, x, loss_fn=F.mse_loss, steps=2).ok


def test_mistakes_in_invariants_are_told() -> None:
    with pytest.raises(CheckError, match="invariant 'bad' raised ZeroDivisionError"):
        guarantees(nn.Linear(3, 3), torch.randn(4, 3), invariants={"bad": lambda output: 1 / 0})
    with pytest.raises(CheckError, match="it may take one argument, or some of"):
        guarantees(nn.Linear(3, 3), torch.randn(4, 3), invariants={"bad": lambda a, b: None})


@settings(max_examples=10)
@given(st.integers(1, 8), st.integers(1, 8))
def test_an_invariant_that_breaks_is_dated(steps: int, at: int) -> None:
    result = guarantees(
        nn.Linear(3, 1),
        torch.randn(4, 3),
        torch.randn(4, 1),
        loss_fn=F.mse_loss,
        steps=steps,
        invariants={"early": lambda step: step < at},
    )
    assert result.ok is (steps < at)
    if not result.ok:
        assert (result.findings[0].first_step, result.findings[0].last_step) == (at, steps)
        assert result.findings[0].evidence["broken_at"] == steps - at + 1
