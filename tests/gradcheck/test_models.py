"""Whole models: all their parameters, whatever their forward does; and the module that is to blame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from diagnose import CheckError, check_gradients
from tests.gradcheck.functions import Apply, Square, Wrong, changed, numbers, planted


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embed(tokens).tanh())  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.rnn = kind(3, 4, batch_first=True)

    def forward(self, x: Tensor) -> Any:
        return self.rnn(x)


@dataclass
class Output:
    logits: Tensor
    hidden: tuple[Tensor, ...]
    name: str = "output"


class ReturnsADataclass(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Output:
        hidden = self.fc(x)
        return Output(hidden.softmax(-1), (hidden, x))


class Counts(nn.Module):
    """Changes attributes, lists and buffers as it runs, and draws random numbers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.calls = 0
        self.seen: list[Tensor] = []
        self.generator = torch.Generator().manual_seed(1)
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(x)
        y = self.fc(x) * self.calls + torch.rand(4, generator=self.generator)
        self.mean = 0.9 * self.mean + 0.1 * y.detach().mean(0)
        return y


def batchnorm() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[Any, ...]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), (numbers(4, 3),)),
    "batchnorm": (batchnorm, (numbers(4, 1, 6, 6),)),
    "dropout": (lambda: nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2)), (numbers(4, 3),)),
    "lstm": (lambda: Recurrent(nn.LSTM), (numbers(2, 5, 3),)),
    "gru": (lambda: Recurrent(nn.GRU), (numbers(2, 5, 3),)),
    "transformer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (numbers(2, 5, 8),)),
    "transformer, eval": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), (numbers(2, 5, 8),)),
    "tied": (Tied, (torch.tensor([[0, 3, 1]]),)),
    "dataclass": (ReturnsADataclass, (numbers(2, 3),)),
    "counts": (Counts, (numbers(2, 3),)),
    "spectral norm": (lambda: parametrizations.spectral_norm(nn.Linear(3, 4)), (numbers(2, 3),)),
    "weight norm": (lambda: parametrizations.weight_norm(nn.Linear(3, 4)), (numbers(2, 3),)),
    "in place": (lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)), (numbers(4, 3),)),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", MODELS)
def test_a_right_model_passes(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    make, inputs = MODELS[name]
    inputs = tuple(x.to(dtype) if x.is_floating_point() else x for x in inputs)
    model = make().to(dtype)
    report = check_gradients(model, inputs)
    assert report.ok, str(report)
    checked = [entry.name for entry in report.entries if entry.kind == "parameter"]
    assert checked == [parameter for parameter, _ in model.named_parameters()]


def test_huggingface_outputs() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(config)
    batch = {"input_ids": torch.tensor([[1, 2, 3]]), "labels": torch.tensor([1])}
    report = check_gradients(model, batch, directions=1)
    assert report.ok, str(report)


def test_frozen_and_unused_parameters() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.frozen, self.unused = nn.Linear(3, 2), nn.Linear(2, 2), nn.Linear(2, 2)
            self.frozen.requires_grad_(False)

        def forward(self, x: Tensor) -> Tensor:
            return self.frozen(self.used(x))  # type: ignore[no-any-return]

    report = check_gradients(Model().double(), [numbers(4, 3)])
    found = {entry.name: (entry.verdict, entry.reason) for entry in report.entries}
    assert found["used.weight"] == ("ok", "")
    assert found["frozen.weight"] == ("not-checkable", "it does not require a gradient")
    assert found["unused.weight"][0] == "ok"
    assert "none is needed" in found["unused.weight"][1]


def test_some_parameters_by_pattern() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double()
    report = check_gradients(model, [numbers(4, 3)], parameters=["1.*"])
    assert [entry.name for entry in report.entries] == ["input", "1.weight", "1.bias"]
    with pytest.raises(CheckError, match=r"There is no parameter '2.\*'. There are: 0.weight, 0.bias, "):
        check_gradients(model, [numbers(4, 3)], parameters=["2.*"])


def test_a_loss_is_applied_to_what_the_model_returns() -> None:
    target = torch.tensor([0, 1, 1, 0])
    model = nn.Linear(3, 2)
    report = check_gradients(model, [numbers(4, 3).float()], loss_fn=lambda output: F.cross_entropy(output, target))
    assert report.ok
    assert report.precision == "float32, differences in float64"


def test_a_lazy_module_has_to_run_first() -> None:
    with pytest.raises(CheckError, match=r"The parameter weight has no shape yet: run the module once"):
        check_gradients(nn.LazyLinear(3), [numbers(4, 3).float()])


def test_a_model_whose_forward_takes_gradients() -> None:
    class Force(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            with torch.enable_grad():
                x = x if x.requires_grad else x.requires_grad_()
                energy = (self.fc(x) ** 3).sum()
                return torch.autograd.grad(energy, x, create_graph=True)[0]

    report = check_gradients(Force().double(), [numbers(4, 3)])
    assert report.ok, str(report)


def test_a_compiled_module_is_checked_as_it_was_written() -> None:
    report = check_gradients(torch.compile(nn.Linear(3, 2).double(), backend="eager"), [numbers(4, 3)])
    assert report.ok
    assert report.subject == "Linear"


# ---------------------------------------------------------------------- whose backward is it


class Net(nn.Module):
    """Three blocks, one of which has an activation to blame."""

    def __init__(self, activation: Callable[[Tensor], Tensor], at: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 4), Apply(activation if number == at else torch.tanh)) for number in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


@pytest.mark.parametrize("at", [0, 1, 2])
def test_the_first_module_whose_own_backward_is_wrong(at: int) -> None:
    torch.manual_seed(0)
    model = Net(planted(torch.sin, changed(lambda g: 1.5 * g)), at).double()
    report = check_gradients(model, [numbers(5, 4)], loss_fn=lambda output: output.square().mean())
    wrong = [entry.name for entry in report.entries if entry.verdict == "fault"]
    assert wrong == ["x", *(f"blocks.{i}.0.{kind}" for i in range(at + 1) for kind in ("weight", "bias"))]
    assert report.suspect is not None
    assert report.suspect.module == f"blocks.{at}.1"
    assert [source.name for source in report.suspect.functions] == ["Planted"]
    assert report.findings[0].where.file is not None
    assert report.findings[0].where.file.endswith("functions.py")


def test_the_model_itself_may_be_to_blame() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return planted(torch.sin, changed(torch.neg))(self.fc(x))

    report = check_gradients(Model().double(), [numbers(5, 4)])
    assert report.suspect is not None
    assert report.suspect.module == ""
    assert "the forward of the model itself, a Model" in str(report)


@pytest.mark.parametrize(
    ("upstream", "why"),
    [
        (lambda u: u.clamp(-1, 1), "large ones are clamped"),
        (lambda u: torch.where(u.abs() < 1e-5, 0.0, u), "small ones are treated otherwise"),
        (torch.ones_like, "ignores the upstream gradient"),
    ],
    ids=["clamps", "flushes", "ignores"],
)
def test_what_a_scalar_loss_hides_is_found_in_the_function_itself(
    upstream: Callable[[Tensor], Tensor], why: str
) -> None:
    torch.manual_seed(0)
    model = Net(planted(torch.sin, Wrong(upstream=upstream)), 1).double()
    report = check_gradients(model, [numbers(64, 4)], loss_fn=lambda output: output.square().mean())
    assert not report.ok
    assert {e.name for e in report.entries if e.verdict == "fault"} >= {"x", "blocks.0.0.weight", "blocks.1.0.bias"}
    assert {e.name for e in report.entries if e.verdict == "ok"} == {"blocks.2.0.weight", "blocks.2.0.bias"}
    assert why in str(report.suspect)


def test_a_right_custom_function_in_a_model_is_no_suspect() -> None:
    report = check_gradients(Net(Square.apply, 1), [numbers(5, 4).float()])
    assert report.ok, str(report)
    assert report.suspect is None
