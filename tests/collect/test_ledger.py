"""Who is in an optimizer, gets a gradient, and has ever changed; and what everything is called."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diagnose
from diagnose.history import History


def trained(model: nn.Module, optimizers: list[torch.optim.Optimizer], steps: int = 6) -> History:
    with diagnose.watch(schedule="every", summary=False) as watch:
        for _ in range(steps):
            for optimizer in optimizers:
                optimizer.zero_grad()
            model(torch.randn(8, 4)).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
    assert watch.history.count("collector-failed") == 0
    return watch.history


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.unused = nn.Linear(4, 6), nn.Linear(6, 2), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.body(x)))


def test_a_part_that_no_optimizer_holds() -> None:
    model = Two()
    facts = trained(model, [torch.optim.SGD(model.head.parameters(), lr=0.1)]).parameters
    assert (facts["body.weight"].changed, facts["body.weight"].optimizers) == (False, ())
    assert facts["body.weight"].gradients == facts["body.weight"].forwards == 6
    assert (facts["head.weight"].changed, facts["head.weight"].optimizers) == (True, ("optimizer",))
    assert (facts["unused.weight"].forwards, facts["unused.weight"].gradients) == (0, 0)
    assert facts["body.weight"].module_type == "Linear"
    assert facts["body.weight"].order < facts["head.weight"].order  # type: ignore[operator]


def test_a_head_that_was_replaced_after_the_optimizer_was_built() -> None:
    model = Two()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.head = nn.Linear(6, 2)
    facts = trained(model, [optimizer]).parameters
    assert facts["head.weight"].changed is False
    assert facts["head.weight"].optimizers == ()
    orphans = [f for f in facts.values() if f.module == "" and f.optimizers]
    assert len(orphans) == 2


def test_a_learning_rate_of_zero_changes_nothing_though_the_version_counts_up() -> None:
    model = nn.Sequential(nn.Linear(4, 600), nn.ReLU(), nn.Linear(600, 2))
    optimizer = torch.optim.SGD(
        [{"params": model[0].parameters(), "lr": 0.0}, {"params": model[2].parameters()}], lr=0.1
    )
    facts = trained(model, [optimizer]).parameters
    assert facts["0.weight"].changed is False
    assert facts["2.weight"].changed is True


def test_one_changed_element_far_from_the_window_counts() -> None:
    table = nn.Embedding(5000, 4)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
    with diagnose.watch(table, optimizer, schedule="every", summary=False) as watch:
        for _ in range(4):
            optimizer.zero_grad()
            table(torch.tensor([4999])).sum().backward()
            optimizer.step()
    assert watch.history.parameters["weight"].changed is True


def test_tied_weights_have_one_name() -> None:
    model = nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 7, bias=False))
    model[1].weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(schedule="every", summary=False) as watch:
        model(torch.tensor([1, 2])).square().mean().backward()
        optimizer.step()
    assert list(watch.history.parameters) == ["0.weight"]


def test_names_come_from_the_users_variables() -> None:
    encoder, decoder = nn.Linear(4, 3), nn.Linear(3, 4)
    adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()])
    with diagnose.watch(schedule="every", summary=False) as watch:
        decoder(encoder(torch.randn(2, 4))).mean().backward()
        adam.step()
    assert set(watch.history.parameters) == {
        "encoder.weight",
        "encoder.bias",
        "decoder.weight",
        "decoder.bias",
    }
    assert list(watch.history.optimizers) == ["adam"]
    assert watch.history.run.models == ["encoder", "decoder"]


def test_parts_that_are_called_one_by_one_belong_to_their_model() -> None:
    class Trainer:
        def __init__(self) -> None:
            self.net = Two()
            self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)

        def step(self) -> None:
            self.net.head(self.net.body(torch.randn(2, 4))).mean().backward()
            self.optimizer.step()

    trainer = Trainer()
    with diagnose.watch(schedule="every", summary=False) as watch:
        trainer.step()
    assert watch.history.run.models == ["net"]
    assert "head.weight" in watch.history.parameters


def test_names_inside_of_wrappers() -> None:
    model = nn.DataParallel(Two())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    history = trained(model, [optimizer])
    assert "body.weight" in history.parameters


def test_a_head_replaced_in_the_middle_begins_a_new_record() -> None:
    model = Two()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(schedule="every", summary=False) as watch:
        for step in range(20):
            if step == 5:
                model.head = nn.Linear(6, 2)
            optimizer.zero_grad()
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
    facts = watch.history.parameters
    assert (facts["head.weight"].changed, facts["head.weight"].optimizers) == (False, ())
    assert facts["head.weight"].first_step == 5
    assert facts["body.weight"].changed is True
