"""States that are taken from modules and loaded into them."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import diagnose
from diagnose.history import LoadFacts


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def train(model: nn.Module, steps: int = 3) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()


def loads(program: Callable[[], None]) -> list[LoadFacts]:
    with diagnose.watch(schedule="every", summary=False) as watch:
        program()
    assert watch.history.count("collector-failed") == 0
    return watch.history.loads


def through_a_file(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file)


@pytest.mark.parametrize(
    "keep",
    [
        lambda state: state,
        dict,
        copy.copy,
        lambda state: {name: tensor.cpu() for name, tensor in state.items()},
        lambda state: {name: tensor.detach() for name, tensor in state.items()},
    ],
    ids=["as it is", "dict", "copy", "cpu", "detach"],
)
def test_a_state_that_is_kept_without_a_copy(keep: Callable[[Any], Any]) -> None:
    def program() -> None:
        model = net()
        train(model)
        best = keep(model.state_dict())
        train(model)
        model.load_state_dict(best)

    (load,) = loads(program)
    assert (load.aliased, load.taken_at, load.loaded_at, load.module) == (True, 3, 6, "Sequential")
    assert load.file == __file__
    assert load.line is not None


def test_a_state_of_the_wrapper_loaded_into_what_it_wraps() -> None:
    def program() -> None:
        wrapper = nn.DataParallel(net())
        best = wrapper.state_dict()
        train(wrapper)
        wrapper.module.load_state_dict({name.removeprefix("module."): t for name, t in best.items()})

    assert [load.aliased for load in loads(program)] == [True]


@pytest.mark.parametrize("keep", [copy.deepcopy, through_a_file], ids=["deepcopy", "file"])
def test_a_copy_is_healthy(keep: Callable[[Any], Any]) -> None:
    def program() -> None:
        model, other = net(), net()
        best = keep(model.state_dict())
        train(model)
        other.load_state_dict(model.state_dict())
        model.load_state_dict(best)

    assert not loads(program)


def test_nothing_was_written_in_between() -> None:
    def program() -> None:
        model = net()
        train(model)
        state = model.state_dict()
        with torch.no_grad():
            model(torch.randn(8, 4))
        model.load_state_dict(state)

    assert not loads(program)


@pytest.mark.parametrize(("before", "after"), [("module.", ""), ("", "+encoder.")])
def test_names_that_do_not_fit(before: str, after: str) -> None:
    target = nn.ModuleDict({"encoder": net(), "head": nn.Linear(2, 2)}) if after else net()
    state = {before + name: tensor for name, tensor in net().state_dict().items()}
    (load,) = loads(lambda: target.load_state_dict(state, strict=False) and None)
    assert (load.keys, load.matched, load.prefix) == (9, 0, before or after)
    assert not load.aliased


def test_a_later_load_that_fits_takes_it_back() -> None:
    model = net()
    wrapped = {f"module.{name}": tensor.clone() for name, tensor in model.state_dict().items()}

    def program() -> None:
        if model.load_state_dict(wrapped, strict=False).missing_keys:
            model.load_state_dict({name[7:]: tensor for name, tensor in wrapped.items()})

    assert not loads(program)


def test_what_the_user_gets_and_keeps_is_what_it_always_is() -> None:
    model, plain = net(), net()
    with diagnose.watch(summary=False):
        state = model.state_dict(prefix="a.")
        result = plain.load_state_dict(model.state_dict())
        pickle.loads(pickle.dumps(model))
        with pytest.raises(RuntimeError, match="Missing key"):
            plain.load_state_dict({})
        reference = weakref.ref(state)
        del state
        gc.collect()
        assert reference() is None
    assert str(result) == "<All keys matched successfully>"
    assert nn.Module.state_dict.__module__ == "torch.nn.modules.module"
    assert not hasattr(nn.Module.state_dict, "__wrapped__")
    assert not hasattr(nn.Module.load_state_dict, "__wrapped__")
