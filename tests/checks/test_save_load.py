"""save_load: what comes back is what was saved; what does not is named."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from diagnose.checks import Status, save_load
from diagnose.errors import CheckError
from tests.checks import models
from tests.checks.models import Case


@pytest.mark.parametrize("make", models.HEALTHY)
def test_healthy_models_come_back(make: Callable[[], Case]) -> None:
    torch.manual_seed(0)
    case = make()
    before = models.snapshot(case)
    result = save_load(case.model, case.inputs, case.targets, loss_fn=case.loss_fn)
    assert result.ok, str(result)
    assert not result.findings
    models.assert_untouched(case, before)


@pytest.mark.parametrize("make", [models.convolutional, models.language_model, models.tagger])
def test_a_model_that_is_made_anew_may_be_given(make: Callable[[], Case]) -> None:
    torch.manual_seed(0)
    case = make()
    result = save_load(case.model, case.inputs, case.targets, loss_fn=case.loss_fn, make_model=lambda: make().model)
    assert result.ok, str(result)


def test_without_a_loss_the_outputs_are_compared_all_the_same() -> None:
    result = save_load(nn.BatchNorm1d(3), torch.randn(8, 3))
    assert result.ok
    assert "the optimizer was not looked at" in result.summary


class Faulty(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.linear = kind, nn.Linear(4, 4)
        if kind == "buffer":
            self.register_buffer("mean", torch.zeros(4), persistent=False)
        if kind in ("attribute", "number"):
            self.mean: Any = torch.zeros(4) if kind == "attribute" else 0.0
        if kind == "list":
            self.layers = [nn.Linear(4, 4)]
        if kind == "tensor":
            self.weight = torch.randn(4, requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind in ("buffer", "attribute", "number"):
            if self.training:
                now = x.detach().mean(0) if self.kind != "number" else float(x.mean())
                self.mean = 0.9 * self.mean + 0.1 * now + 0.01
            x = x - self.mean
        if self.kind == "list":
            x = self.layers[0](x)
        if self.kind == "tensor":
            x = x * self.weight
        return self.linear(x)


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("buffer", "mean", "persistent=True"),
        ("attribute", "mean", "register_buffer"),
        ("number", "mean", "get_extra_state"),
        ("list", "layers", "nn.ModuleList"),
        ("tensor", "weight", "nn.Parameter"),
    ],
)
def test_what_the_state_lacks_is_named(kind: str, name: str, told: str) -> None:
    result = save_load(Faulty(kind), torch.randn(8, 4), torch.randn(8, 4), loss_fn=F.mse_loss)
    assert result.status is Status.FAILED
    finding = result.findings[0]
    assert (finding.code, finding.severity.value) == ("save-load-mismatch", "error")
    assert finding.evidence["not_in_state"] == [name]
    assert told in finding.remedy


def test_constants_are_no_fault() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.scale = nn.Linear(4, 4), torch.tensor(0.5)
            self.register_buffer("places", torch.arange(4.0), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x * self.scale) + self.places

    assert save_load(Constant(), torch.randn(8, 4), torch.randn(8, 4), loss_fn=F.mse_loss).ok
    assert save_load(Constant(), torch.randn(8, 4), make_model=Constant).ok


def test_a_random_constant_shows_with_make_model() -> None:
    class Projected(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.projection = nn.Linear(4, 4), torch.randn(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x @ self.projection)

    torch.manual_seed(0)  # as the check itself begins
    result = save_load(Projected(), torch.randn(8, 4), make_model=Projected)
    assert result.findings[0].evidence["not_in_state"] == ["projection"]


def test_keys_that_change_are_refused() -> None:
    class Growing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            if not hasattr(self, "second"):
                self.second = nn.Linear(4, 4)
            return self.second(self.first(x))

    result = save_load(Growing(), torch.randn(8, 4), torch.randn(8, 4), loss_fn=F.mse_loss)
    assert result.status is Status.FAILED
    assert "second.weight" in result.findings[0].message


def test_an_override_that_loses_entries_is_found() -> None:
    class Skipping(nn.Linear):
        def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
            super()._load_from_state_dict({k: v for k, v in state_dict.items() if "bias" not in k}, prefix, *args)
            args[2].clear()

    result = save_load(Skipping(4, 4), torch.randn(8, 4))
    assert result.status is Status.FAILED
    assert result.findings[0].evidence["changed"] == ["bias"]


def test_states_that_the_default_loader_refuses() -> None:
    class Extra(nn.Linear):
        def get_extra_state(self) -> Any:
            return models.Case(self, 1, 2, None)._replace(model=None)  # type: ignore[arg-type]

        def set_extra_state(self, state: Any) -> None:
            pass

    result = save_load(Extra(4, 4), torch.randn(8, 4))
    assert [f.severity.value for f in result.findings] == ["warning"]
    assert "weights_only=True" in result.findings[0].message


class Forgetful(torch.optim.SGD):
    """Momentum in an attribute, as people write it."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__(parameters, lr=0.1)
        self.velocity: dict[int, Tensor] = {}

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for number, parameter in enumerate(self.param_groups[0]["params"]):
            velocity = self.velocity.setdefault(number, torch.zeros_like(parameter))
            velocity.mul_(0.9).add_(parameter.grad)
            parameter.sub_(0.1 * velocity)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: torch.optim.Adam(p, amsgrad=True),
        lambda p: torch.optim.LBFGS(p, max_iter=3),
        lambda p: torch.optim.RMSprop(p),
        lambda p: torch.optim.Adagrad(p),
    ],
)
def test_optimizers_of_torch_go_on_as_before(optimizer: Any) -> None:
    case = models.mlp()
    assert save_load(case.model, case.inputs, case.targets, loss_fn=case.loss_fn, optimizer=optimizer).ok


def test_an_optimizer_that_keeps_its_state_to_itself_is_found() -> None:
    case = models.mlp()
    result = save_load(case.model, case.inputs, case.targets, loss_fn=case.loss_fn, optimizer=Forgetful)
    assert result.status is Status.FAILED
    assert "next training step" in result.findings[0].message


def test_ties_that_are_lost_show_in_the_next_step() -> None:
    class Untied(models.Transformer):
        def __init__(self) -> None:
            super().__init__()
            self.head.weight = nn.Parameter(self.head.weight.detach().clone())

    case = models.language_model()
    result = save_load(case.model, case.inputs, case.targets, loss_fn=case.loss_fn, make_model=Untied)
    assert result.status is Status.FAILED


def test_models_that_answer_otherwise_each_time_are_not_judged() -> None:
    class Stateful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.hidden = nn.Linear(4, 4), torch.zeros(4)

        def forward(self, x: Tensor) -> Tensor:
            self.hidden = self.linear(x + self.hidden).detach().mean(0)
            return self.linear(x + self.hidden)

    result = save_load(Stateful(), torch.randn(8, 4), torch.randn(8, 4), loss_fn=F.mse_loss)
    assert result.status is Status.NOT_APPLICABLE


def test_a_make_model_that_makes_none_is_told() -> None:
    with pytest.raises(CheckError, match="has to return a module"):
        save_load(nn.Linear(4, 4), torch.randn(2, 4), make_model=lambda: None)  # type: ignore[arg-type,return-value]


@settings(max_examples=10)
@given(st.integers(0, 3), st.booleans(), st.integers(0, 99))
def test_any_stack_comes_back(depth: int, norm: bool, seed: int) -> None:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(4, 4), nn.BatchNorm1d(4) if norm else nn.Dropout(0.2), nn.SiLU()]
    model = nn.Sequential(*layers, nn.Linear(4, 2))
    x, y = torch.randn(6, 4), torch.randn(6, 2)
    assert save_load(model, x, y, loss_fn=F.mse_loss, seed=seed).ok
