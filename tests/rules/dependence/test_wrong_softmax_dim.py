"""wrong-softmax-dim: in the model, behind it, and shapes that are meant."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diagnose
from diagnose.findings import Finding
from diagnose.history import History, ProbeFacts
from diagnose.rules.dependence.wrong_softmax_dim import wrong_softmax_dim

N, D, K = 16, 5, 3


def found_in(model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor]) -> tuple[Finding, ...]:
    torch.manual_seed(0)
    x, y = torch.randn(N, D), torch.arange(N) % K
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for _ in range(5):
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
    return tuple(f for f in watch.findings if f.code in ("wrong-softmax-dim", "batch-mixing"))


def of_log_probabilities(dim: int) -> nn.Module:
    return nn.Sequential(nn.Linear(D, K), nn.LogSoftmax(dim=dim))


def test_in_the_model_it_explains_the_mixing() -> None:
    (finding,) = found_in(of_log_probabilities(0), F.nll_loss)
    assert finding.code == "wrong-softmax-dim"
    assert [symptom.code for symptom in finding.symptoms] == ["batch-mixing"]
    assert found_in(of_log_probabilities(1), F.nll_loss) == ()


def test_in_the_loop_the_line_is_named() -> None:
    def loss(logits: Tensor, y: Tensor) -> Tensor:
        return F.nll_loss(torch.log(F.softmax(logits, dim=0)), y)

    (finding,) = found_in(nn.Linear(D, K), loss)
    assert finding.where.file == __file__
    assert finding.where.line == loss.__code__.co_firstlineno + 1
    assert found_in(nn.Linear(D, K), lambda z, y: F.nll_loss(torch.log(F.softmax(z, dim=1)), y)) == ()


@pytest.mark.parametrize(("examples", "speaks"), [(2, False), (3, True)])
def test_at_the_fewest_examples(examples: int, speaks: bool) -> None:
    history = History()
    facts = ProbeFacts("one-sample", "Net", examples=examples, softmax_across=True, softmax_shape=[examples, K])
    history.probes = {"one-sample Net": facts}
    assert bool(list(wrong_softmax_dim(history))) is speaks


def test_empty() -> None:
    assert list(wrong_softmax_dim(History())) == []
