"""A guest leaves no trace: on objects that the user copies, stores or scripts, in torch, in memory."""

from __future__ import annotations

import copy
import gc
import io
import os
import pickle
import sys
import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as module_state
from torch.overrides import TorchFunctionMode, _len_torch_function_stack
from torch.utils.data import WeightedRandomSampler

import diagnose
from diagnose.collect import _board
from diagnose.collect._collector import Collector
from diagnose.collect.session import COLLECTORS, Session
from diagnose.schedule import EveryStep


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.fc1(x)))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor) -> Tensor:
    optimizer.zero_grad()
    loss = model(x).square().mean()
    loss.backward()
    optimizer.step()
    return loss.detach()


def saved(model: nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    return buffer.getvalue()


def copies_of(model: nn.Module, x: Tensor) -> list[Any]:
    """What users do with a model in the middle of a step."""
    scripted = torch.jit.script(model)
    traced = torch.jit.trace(model, x)
    exported = torch.export.export(model, (x,))
    return [
        len(saved(model)),
        len(pickle.dumps(model)),
        sorted(vars(copy.deepcopy(model))),
        {name: len(m._forward_hooks) for name, m in copy.deepcopy(model).named_modules()},
        scripted.code,
        traced.code,
        str(exported.graph),
        str(torch.fx.symbolic_trace(model).graph),
        scripted(x).detach(),
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_copies_made_in_the_middle_of_a_sampled_step() -> None:
    def run() -> list[Any]:
        torch.manual_seed(0)
        model, x = Net(), torch.randn(4, 6)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        step(model, optimizer, x)
        found = copies_of(model, x)  # before the forward of a sampled step
        output = model(x)
        found += copies_of(model, x)  # between its forward and its backward
        found.append(len(pickle.dumps(output.detach())))
        assert output._backward_hooks is None  # type: ignore[attr-defined]
        output.sum().backward()
        found += copies_of(model, x)  # between its backward and its step
        optimizer.step()
        return found

    plain = run()
    with diagnose.watch(schedule="every", summary=False) as watch:
        watched = run()
    assert watch.history.run.sampled == 2
    for index, (a, b) in enumerate(zip(plain, watched, strict=True)):
        assert torch.equal(a, b) if isinstance(a, Tensor) else a == b, (index, a, b)


def torch_state() -> list[Any]:
    return [
        torch.autograd._engine_run_backward,
        torch.optim.Optimizer.zero_grad,
        nn.Module.zero_grad,
        nn.Module.train,
        Tensor.backward,
        torch.compile,
        torch.nn.utils.clip_grad._clip_grads_with_norm_,
        torch.nn.utils.clip_grad._group_tensors_by_device_and_dtype,
        torch.amp.GradScaler.scale,
        torch.amp.GradScaler.unscale_,
        torch.optim.lr_scheduler.LRScheduler.__init__,
        torch.optim.lr_scheduler.ReduceLROnPlateau.__init__,
        len(module_state._global_forward_hooks),
        len(module_state._global_forward_pre_hooks),
        len(optimizer_state._global_optimizer_pre_hooks),
        len(optimizer_state._global_optimizer_post_hooks),
        _len_torch_function_stack(),
    ]


def test_torch_is_as_before_afterwards() -> None:
    before = torch_state()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(schedule="every", summary=False):
        step(model, optimizer, torch.randn(4, 6))
        assert torch_state() != before
        model(torch.randn(4, 6))  # leaves in the middle of a sampled step
    assert torch_state() == before


def test_a_patch_over_ours_is_left_alone() -> None:
    original = torch.optim.Optimizer.zero_grad
    watch = diagnose.watch(summary=False).start()
    ours = torch.optim.Optimizer.zero_grad

    def theirs(self: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> None:
        ours(self, *args, **kwargs)

    try:
        torch.optim.Optimizer.zero_grad = theirs  # type: ignore[method-assign, assignment]
        watch.stop()
        assert torch.optim.Optimizer.zero_grad is theirs
        model = Net()
        step(model, torch.optim.SGD(model.parameters(), lr=0.1), torch.randn(4, 6))  # ours is inert
    finally:
        torch.optim.Optimizer.zero_grad = original  # type: ignore[method-assign]


def test_two_watches_at_once_see_the_same() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        diagnose.watch(model, optimizer, schedule="every", summary=False) as one,
        diagnose.watch(schedule="every", summary=False) as two,
    ):
        for _ in range(5):
            step(model, optimizer, torch.randn(4, 6))
    ratio_one, ratio_two = (w.history.series("update_ratio", "fc1.weight").values for w in (one, two))
    assert len(ratio_one) == 5
    assert ratio_one.tolist() == ratio_two.tolist()
    share_one, share_two = (w.history.series("active_share", "relu").values for w in (one, two))
    assert len(share_one) == len(share_two) == 5


def test_a_watch_ignores_what_it_was_not_given() -> None:
    ours, other = Net(), nn.Linear(6, 2)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (ours, other)]
    with diagnose.watch(ours, optimizers[0], schedule="every", summary=False) as watch:
        for _ in range(3):
            step(ours, optimizers[0], torch.randn(4, 6))
            step(other, optimizers[1], torch.randn(4, 6))
    assert [facts.steps for facts in watch.history.optimizers.values()] == [3]
    assert set(watch.history.parameters) == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}


def test_nothing_keeps_the_model_alive() -> None:
    with diagnose.watch(schedule="every", summary=False):
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            step(model, optimizer, torch.randn(4, 6))
        alive = [weakref.ref(thing) for thing in (model, optimizer, model.fc1.weight)]
        del model, optimizer
        gc.collect()
        assert [reference() for reference in alive] == [None, None, None]


def test_memory_and_hooks_stay_bounded_over_5000_steps() -> None:
    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    x = torch.randn(4, 6)

    def held() -> tuple[int, int]:
        gc.collect()
        tensors = sum(1 for thing in gc.get_objects() if issubclass(type(thing), Tensor))
        return tensors, len(module_state._global_forward_hooks)

    with diagnose.watch(model, optimizer, schedule="every", summary=False) as watch:
        for _ in range(500):
            step(model, optimizer, x)
        before = held()
        bytes_before = sum(t._values.nbytes for t in watch.history._tables.values())
        for _ in range(4500):
            step(model, optimizer, x)
        assert held() == before
        assert sum(t._values.nbytes for t in watch.history._tables.values()) == bytes_before
    for quantity in ("grad_rms", "active_share"):
        for _, table in watch.history.tables(quantity):  # type: ignore[arg-type]
            assert len(table.steps) <= 64


class _Spy(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.append(getattr(func, "__name__", str(func)))
        return func(*args, **(kwargs or {}))


def test_the_users_own_mode_does_not_see_our_reading() -> None:
    def run() -> list[str]:
        torch.manual_seed(0)
        model, x = Net(), torch.randn(4, 6)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        step(model, optimizer, x)
        with _Spy() as spy:
            step(model, optimizer, x)
        return spy.calls

    plain = run()
    with diagnose.watch(schedule="every", summary=False):
        assert run() == plain


def test_a_mode_that_is_left_while_ours_is_in_place() -> None:
    """Ours is put in place inside of the user's `with`, and must not be what its exit takes away."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(schedule="every", summary=False) as watch:
        with _Spy() as spy:
            step(model, optimizer, torch.randn(4, 6))
        seen = len(spy.calls)
        step(model, optimizer, torch.randn(4, 6))
        assert len(spy.calls) == seen
    assert len(watch.history.series("active_share", "relu")) == 2
    assert _len_torch_function_stack() == 0


def test_clearing_gradients_that_fails_puts_our_mode_back() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(schedule="every", summary=False) as watch:
        step(model, optimizer, torch.randn(4, 6))
        modes = _len_torch_function_stack()
        optimizer.param_groups[0]["params"].append(None)
        with pytest.raises(AttributeError):
            optimizer.zero_grad()
        assert _len_torch_function_stack() == modes > 0
        optimizer.param_groups[0]["params"].pop()
        step(model, optimizer, torch.randn(4, 6))
    assert len(watch.history.series("active_share", "relu")) == 2
    assert _len_torch_function_stack() == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_a_forked_child_is_not_watched() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with diagnose.watch(schedule="every", summary=False) as watch:
        step(model, optimizer, torch.randn(4, 6))
        child = os.fork()
        if child == 0:
            try:
                clean = _len_torch_function_stack() == 0 and not module_state._global_forward_hooks
                step(model, optimizer, torch.randn(4, 6))
                os._exit(0 if clean and watch.history.run.steps == 1 and not _board._listeners else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        step(model, optimizer, torch.randn(4, 6))
    assert watch.history.run.steps == 2


optimizer_state: Any = sys.modules["torch.optim.optimizer"]
EVENTS = [name for name, value in vars(Collector).items() if callable(value) and name[0] != "_"]


@pytest.mark.parametrize("victim", COLLECTORS, ids=lambda c: c.name)
@pytest.mark.parametrize("event", EVENTS)
def test_a_collector_that_raises_is_switched_off(victim: type[Collector], event: str) -> None:
    if getattr(victim, event) is getattr(Collector, event):
        return  # it does not listen to this

    def explode(self: Collector, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("planted")

    broken = type(f"Broken{victim.__name__}", (victim,), {event: explode})
    classes = [broken if collector is victim else collector for collector in COLLECTORS]

    def run() -> list[Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Dropout(0.1), nn.Linear(8, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
        losses = []
        for index in range(4):
            model.train()
            optimizer.zero_grad()
            loss = model(F.dropout(torch.randn(4, 6), 0.1)).square().mean() * (float("inf") if index == 3 else 1.0)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            nn.utils.clip_grad_value_(model.parameters(), 0.1)
            scaler.step(optimizer)
            scaler.update()
            scheduler.step()
            model.eval()
            with torch.no_grad():
                losses.append(F.mse_loss(model(torch.ones(1, 6)), torch.zeros(1, 2)))
                losses.append(0.5 * torch.ones(2))
        model.load_state_dict(model.state_dict())
        list(WeightedRandomSampler([1.0, 1.0], 2))
        return losses

    plain = run()
    session = Session(models={}, optimizers=[], schedule=EveryStep(), collectors=classes)
    try:
        watched = run()
    finally:
        session.close()
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))
    if event in ("gate_used", "loader_begins", "compared", "operands_enlarged", "difference_taken"):
        return  # does not happen in this run
    assert session.history.count("collector-failed", victim.name) == 1
    assert [c for c in session.collectors if c.name == victim.name] == []
    assert len(session.collectors) == len(COLLECTORS) - 1


def test_a_session_that_fails_outside_of_collectors_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = Session(models={}, optimizers=[], schedule=EveryStep())
    monkeypatch.setattr(session.inventory, "optimizer_name", lambda optimizer: 1 / 0)
    model = Net()
    step(model, torch.optim.SGD(model.parameters(), lr=0.1), torch.randn(4, 6))
    session.close()
    assert session.history.count("collector-failed", "session") == 1


def test_switched_off_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIAGNOSE", "0")
    before = torch_state()
    model = Net()
    with diagnose.watch(summary=False) as watch:
        assert torch_state() == before
        step(model, torch.optim.SGD(model.parameters(), lr=0.1), torch.randn(4, 6))
    assert watch.history.run.steps == 0
    assert watch.findings == ()


def test_importing_diagnose_loads_no_torch() -> None:
    import subprocess

    code = "import diagnose, sys; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
