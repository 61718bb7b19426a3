"""unregistered-module: the loss depends on layers that nobody trains."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import diagnose
from diagnose.findings import Severity
from diagnose.history import History, LeafFacts
from diagnose.testing import Parameter, history_of
from tests.rules.looking import falling, loud, said, the_only

CODE = "unregistered-module"
STRAY = LeafFacts(
    (8, 8), holder="Net.layers", container="list", looks=4, first_step=0, last_step=40, file="net.py", line=7
)


def run(**leaves: LeafFacts) -> History:
    history = history_of(steps=100, loss=falling(100), parameters={"head.weight": Parameter()})
    history.leaves = dict(leaves)
    return history


class Net(nn.Module):
    def __init__(self, *, registered: bool) -> None:
        super().__init__()
        layers = [nn.Linear(4, 4) for _ in range(2)]
        self.layers = nn.ModuleList(layers) if registered else layers
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        out: Tensor = self.head(x)
        return out


@pytest.mark.parametrize("registered", [False, True])
def test_a_real_run(registered: bool) -> None:
    torch.manual_seed(0)
    model = Net(registered=registered)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(20):
            x = torch.randn(16, 4)
            loss = (model(x) - x[:, :1]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert bool(said(watch.history, CODE)) is not registered


def test_layers_in_a_plain_list() -> None:
    finding = the_only(run(a=STRAY, b=replace(STRAY, shape=(8,))), CODE)
    assert finding.severity is Severity.ERROR
    assert "Net.layers is a plain list" in finding.message
    assert finding.evidence["tensors"] == 2
    assert (finding.where.file, finding.where.line) == ("net.py", 7)
    assert "nn.ModuleList" in finding.remedy


@pytest.mark.parametrize(
    ("container", "remedy"),
    [("dict", "nn.ModuleDict"), ("object", "Derive the class"), ("tensor", "Wrap the tensor")],
)
def test_the_remedy_fits_the_container(container: str, remedy: str) -> None:
    leaf = replace(STRAY, container=container)  # type: ignore[arg-type]
    assert remedy in the_only(run(a=leaf), CODE).remedy


def test_a_weight_that_is_a_plain_tensor() -> None:
    plain = replace(STRAY, is_parameter=False, container="tensor")
    assert loud(said(run(a=replace(plain, is_weight=True)), CODE))
    assert not said(run(a=plain), CODE)  # collocation points


def test_a_parameter_of_no_known_holder_is_worth_knowing() -> None:
    found = said(run(a=replace(STRAY, holder="", container="")), CODE)
    assert found
    assert not loud(found)


@pytest.mark.parametrize(
    "leaf",
    [
        replace(STRAY, changed=True),
        replace(STRAY, cleared=True),
        replace(STRAY, looks=2),
        replace(STRAY, last_step=4),
        replace(STRAY, looks=1, last_step=0),
    ],
    ids=["changed by hand", "cleared by hand", "two looks", "four steps", "new in each step"],
)
def test_healthy(leaf: LeafFacts) -> None:
    assert not said(run(a=leaf), CODE)


def test_the_limits() -> None:
    assert said(run(a=replace(STRAY, looks=3, last_step=5)), CODE)


def test_a_functional_program_without_an_optimizer() -> None:
    history = run(a=STRAY)
    history.parameters["head.weight"].optimizers = ()
    assert not said(history, CODE)
    assert not said(History(), CODE)


def test_only_an_input_is_optimised() -> None:
    history = history_of(steps=100, parameters={"image": Parameter(module="", module_type="")})
    history.leaves = {"a": STRAY}
    assert not said(history, CODE)


@given(st.permutations(["a", "b", "c", "d"]))
def test_the_order_does_not_matter(names: list[str]) -> None:
    leaves = {name: replace(STRAY, shape=(8, ord(name))) for name in "abcd"}
    history = run(**{name: leaves[name] for name in names})
    again = History.from_arrays(*history.to_arrays())
    assert said(history, CODE) == said(run(**leaves), CODE) == said(again, CODE)
    assert history.leaves == leaves
