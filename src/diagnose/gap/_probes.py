"""Short experiments: one change at a time, the same steps, and which error it moved.

Curves alone cannot tell a model that is too small from a learning rate that is too low: both fall slowly. An experiment
can.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import torch
from torch import nn

from diagnose.baseline import examples_in
from diagnose.errors import CheckError, GapError
from diagnose.gap._answers import Copied, answers
from diagnose.gap._error import ASSUMED, Measured, figure
from diagnose.gap._given import Live
from diagnose.gap._hyperparameters import Hyperparameter, Hyperparameters, drop_of
from diagnose.gap._situation import ProbeResult, Situation
from diagnose.isolation import State

TrainFn = Callable[..., Any]
_REPEATS: Final = 3
_WIDER: Final = 8
_FASTER: Final = 10.0


@dataclass(frozen=True)
class Change:
    """One experiment.

    Attributes:
        text: as people read it: "lr x10".
        kind: which row of the table, "data" for less of it.
        changes: new values by the user's names.
        of: the hyperparameter that stands for them; None for data.
        after: its new value.
        share: of the training data that is used.
        longer: how many times as long as the base experiment it is expected to take.
    """

    text: str
    kind: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    of: Hyperparameter | None = None
    after: float | int | None = None
    share: float = 1.0
    longer: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """Errors of one experiment; None where they are not known."""

    train: Measured | None
    test: Measured | None


class Experiments:
    """Runs the user's training function, measures what comes of it, and keeps to a time.

    Args:
        seconds: after which no other experiment begins; one that runs is never cut off.
    """

    def __init__(self, situation: Situation, live: Live, train_fn: TrainFn, seconds: float, seed: int) -> None:
        self.situation, self.live, self.train_fn, self.seed = situation, live, train_fn, seed
        self._end = time.monotonic() + seconds
        self._base_s = 0.0
        self._takes, self._takes_all = _parameters(train_fn)

    def run(self, values: Mapping[str, Any], told: Callable[[int, int], None]) -> None:
        """Makes the experiments, and adds their results to the situation."""
        began = time.monotonic()
        base = self._train({}, 1.0, 0)
        self._base_s = time.monotonic() - began
        _fill(self.situation, base)
        underfits = _underfits(self.situation)
        planned = list(_changes(self.situation.hyperparameters, values, underfits=underfits))
        done: list[tuple[Change, Outcome]] = []
        left: list[str] = []
        for number, change in enumerate(planned):
            told(number, len(planned))
            unknown = [name for name in change.changes if not self._takes_all and name not in self._takes]
            if unknown:
                self.situation.notes.append(f"Not probed: {change.text}: train_fn takes no {', '.join(unknown)}.")
            elif not self._has_time(change):
                left.append(change.text)
            else:
                outcome = self._attempt(change, 0)
                done += [(change, outcome)] if outcome is not None else []
        told(len(planned), len(planned))
        if left:
            self.situation.notes.append(f"Not probed for want of time (probe_seconds): {'; '.join(left)}.")
        self._report(done, base, "train" if underfits and base.train is not None else "test")

    def _has_time(self, change: Change) -> bool:
        return time.monotonic() + change.longer * self._base_s <= self._end

    def _attempt(self, change: Change, repeat: int) -> Outcome | None:
        try:
            return self._train(change.changes, change.share, repeat)
        except GapError as error:
            self.situation.notes.append(f"Not probed: {change.text}: {error}")
            return None

    def _report(self, done: list[tuple[Change, Outcome]], base: Outcome, on: str) -> None:
        """Repeats with other seeds what its noise leaves open, while there is time; then writes all down."""
        repeats = 1
        results = [_result(change, outcome, base, 1) for change, outcome in done]
        opened = [n for n, one in enumerate(results) if _is_open(one, on)]
        bases, others = [base], {n: [done[n][1]] for n in opened}
        while opened and repeats < _REPEATS and self._has_time(Change("", "", longer=1.0 + len(opened))):
            again = self._attempt(Change("again", "again"), repeats)
            if again is None:
                break
            bases.append(again)
            for n in opened:
                outcome = self._attempt(done[n][0], repeats)
                others[n] += [outcome] if outcome is not None else []
            repeats += 1
        for n in opened if repeats > 1 else ():
            results[n] = _result(done[n][0], _mean(others[n]), _mean(bases), repeats)
        for one in results:
            _write(self.situation, one)

    def _train(self, changes: Mapping[str, Any], share: float, repeat: int) -> Outcome:
        """One training.

        Raises:
            GapError: the function raises, or returns nothing to measure.
        """
        data = self.live.train if share == 1.0 else _part(self.live.train, share, self.seed)
        options = dict(changes)
        if "seed" in self._takes:
            options["seed"] = self.seed + repeat
        with State((), seed=self.seed + repeat):
            try:
                made = self.train_fn(data, **options)
            except Exception as error:
                raise GapError(f"train_fn raised {type(error).__name__}: {error}") from error
        return _outcome(made, data, self.live, self.situation, self.seed)


def hyperparameters_of(train_fn: TrainFn, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The user's hyperparameters; those that were not given are the defaults of the training function."""
    try:
        parameters = inspect.signature(train_fn).parameters.values()
    except (TypeError, ValueError):
        return dict(given or {})
    found = {
        one.name: one.default
        for one in parameters
        if one.default is not inspect.Parameter.empty and isinstance(one.default, int | float | list | tuple | str)
    }
    found.pop("seed", None)
    return {**found, **(given or {})}


def _parameters(train_fn: TrainFn) -> tuple[frozenset[str], bool]:
    """Names of the keyword arguments that it takes, and whether it takes any."""
    try:
        parameters = inspect.signature(train_fn).parameters.values()
    except (TypeError, ValueError):
        return frozenset(), True
    takes_all = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)
    return frozenset(one.name for one in parameters), takes_all


# ---------------------------------------------------------------------- which changes


def _changes(known: Hyperparameters, values: Mapping[str, Any], *, underfits: bool) -> Iterator[Change]:
    if underfits:
        yield from _of_rate(known)
        yield from _of_width(known, values)
        for kind in ("dropout", "weight-decay"):
            every = [one for one in known.of(kind) if drop_of(one) > 0]
            if every:
                off = {one.name: 1.0 if one.keeps else 0.0 for one in every}
                yield Change(f"{' and '.join(off)} off", kind, off, every[0], off[every[0].name])
        return
    yield Change("half of the training data", "data", share=0.5, longer=0.6)
    yield from (change for change in _of_rate(known) if _is_less(change))
    for kind in ("dropout", "weight-decay"):
        one = known.first(kind)  # type: ignore[arg-type]
        if one is not None:
            strength = drop_of(one)
            if kind == "dropout":
                more = min(strength + 0.3, 0.8) if strength >= 0.3 else 0.5
                value = round(1 - more, 3) if one.keeps else round(more, 3)
            else:
                value = 10 * strength if strength > 0 else 1e-3
            yield Change(f"{one.name} {value:g}", kind, {one.name: value}, one, value)


def _of_rate(known: Hyperparameters) -> Iterator[Change]:
    one = known.first("learning-rate")
    if one is not None:
        for text, value in (("x10", one.value * _FASTER), ("/10", one.value / _FASTER)):
            yield Change(f"{one.name} {text}", "learning-rate", {one.name: value}, one, value)


def _is_less(change: Change) -> bool:
    return change.of is not None and change.after is not None and change.after < change.of.value


def _of_width(known: Hyperparameters, values: Mapping[str, Any]) -> Iterator[Change]:
    units = list(known.of("hidden-units"))
    if units:
        wider = {one.name: _times(values.get(one.name, one.value), _WIDER) for one in units}
        first = units[0]
        after = _WIDER * int(first.value)
        yield Change(f"{' and '.join(wider)} x{_WIDER}", "hidden-units", wider, first, after, longer=float(_WIDER) / 2)
    kernel, padding = known.first("kernel-width"), known.first("zero-padding")
    if padding is not None and padding.value == 0 and kernel is not None and kernel.value > 1:
        value = int(kernel.value) // 2
        yield Change(f"{padding.name} {value}", "zero-padding", {padding.name: value}, padding, value, longer=1.5)
    if kernel is not None and kernel.value <= 3:
        wide = int(kernel.value) + 2
        changes = {kernel.name: wide}
        if padding is not None and padding.value > 0:
            changes[padding.name] = wide // 2
        yield Change(f"{kernel.name} {wide}", "kernel-width", changes, kernel, wide, longer=2.0)


def _times(value: Any, factor: int) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_times(item, factor) for item in value)
    return int(value) * factor


def _part(data: Any, share: float, seed: int) -> Any:
    """A random part of the data.

    Raises:
        GapError: parts of such data cannot be taken.
    """
    generator = torch.Generator().manual_seed(seed)
    if isinstance(data, tuple | list) and len(data) == 2 and hasattr(data[1], "shape"):
        rows = torch.randperm(len(data[1]), generator=generator)[: max(int(share * len(data[1])), 1)]
        return tuple(part[rows.numpy() if not isinstance(part, torch.Tensor) else rows] for part in data)
    if isinstance(data, torch.utils.data.Dataset) and hasattr(data, "__len__"):
        rows = torch.randperm(len(data), generator=generator)[: max(int(share * len(data)), 1)]
        return torch.utils.data.Subset(data, rows.tolist())
    raise GapError(f"no part can be taken of a {type(data).__name__}; a pair or a Dataset has parts")


# ---------------------------------------------------------------------- what came of it


def _outcome(made: Any, data: Any, live: Live, situation: Situation, seed: int) -> Outcome:
    number = _number(made)
    if number is not None:
        return Outcome(None, _of_number("test error", number, situation.test, live.test))
    if isinstance(made, tuple | list) and len(made) == 2 and all(_number(part) is not None for part in made):
        train, test = (float(_number(part) or 0.0) for part in made)
        return Outcome(
            _of_number("train error", train, situation.train, live.train),
            _of_number("test error", test, situation.test, live.test),
        )
    if not callable(made):
        raise GapError(
            f"train_fn returned a {type(made).__name__}: a trained model, the test error, or (train error, test error) "
            "is needed"
        )
    if isinstance(made, nn.Module) and any(not bool(p.isfinite().all()) for p in made.parameters()):
        raise GapError("the trained model has parameters that are not finite")
    with Copied(made, seed, "the model of train_fn") as copied:
        try:
            train_data = examples_in(data)
            test_data = None if live.test is None else examples_in(live.test)
        except CheckError as error:
            raise GapError(str(error)) from error
        return Outcome(
            answers(copied, train_data, "train error", live.loss_fn).measured,
            None if test_data is None else answers(copied, test_data, "test error", live.loss_fn).measured,
        )


def _number(made: Any) -> float | None:
    if isinstance(made, bool | nn.Module):
        return None
    if isinstance(made, int | float) or (hasattr(made, "item") and getattr(made, "ndim", None) == 0):
        return float(made)
    return None


def _of_number(name: str, value: float, like: Measured | None, data: Any) -> Measured:
    """An error that the function measured itself, on as many examples as the one that it is compared with."""
    if not math.isfinite(value):
        raise GapError(f"train_fn returned a {name} of {value}")
    n = like.n if like is not None else float(len(examples_in(data))) if data is not None else float(ASSUMED)
    if 0 <= value <= 1 and (like is None or like.is_share):
        return Measured(name, value, n, assumed=like is None and data is None)
    return Measured(name, value, n, is_share=False, error=math.sqrt(2 / n) * abs(value), assumed=True)


def _fill(situation: Situation, base: Outcome) -> None:
    """What nobody has told is what the first experiment has measured."""
    for name, found in (("train", base.train), ("test", base.test)):
        if getattr(situation, name) is None and found is not None:
            setattr(situation, name, found)
            situation.notes.append(f"The {found.name} is that of train_fn without changes.")


def _underfits(situation: Situation) -> bool:
    train, wanted = situation.train, situation.reference
    if train is None:
        return True
    if wanted is not None:
        return train.value > wanted
    gap = situation.gap()
    return gap is None or train.value > gap.value


def _result(change: Change, outcome: Outcome, base: Outcome, repeats: int) -> ProbeResult:
    return ProbeResult(
        change=change.text,
        hyperparameter=None if change.of is None else change.of.name,
        kind=change.kind,
        before=None if change.of is None else change.of.value,
        after=change.after,
        train=outcome.train,
        test=outcome.test,
        base_train=base.train,
        base_test=base.test,
        repeats=repeats,
    )


def _is_open(one: ProbeResult, on: str) -> bool:
    """Whether the error fell, but within its noise."""
    gain = one.gain("train" if on == "train" else "test")
    if one.kind == "data":
        test = one.gain("test")
        return test is not None and test.value < 0 <= test.high  # fewer data made it worse, within the noise
    return gain is not None and gain.value > 0 >= gain.low


def _mean(outcomes: list[Outcome]) -> Outcome:
    """The mean over seeds, of as many examples as all of them together.

    Test examples are the same for each seed, so this is a little too sure of them; a difference of two trainings on the
    same examples is surer than that of independent ones by more.
    """

    def mean(parts: list[Measured | None]) -> Measured | None:
        known = [part for part in parts if part is not None]
        if len(known) < len(parts) or not known:
            return None
        value = sum(part.value for part in known) / len(known)
        error = known[0].error
        return replace(
            known[0],
            value=value,
            n=sum(part.n for part in known),
            error=None if error is None else error / math.sqrt(len(known)),
        )

    return Outcome(mean([one.train for one in outcomes]), mean([one.test for one in outcomes]))


def _write(situation: Situation, one: ProbeResult) -> None:
    situation.probes.append(one)
    told, interval = [], None
    for name, before, after in (("train", one.base_train, one.train), ("test", one.base_test, one.test)):
        gain = one.gain("train" if name == "train" else "test")
        if gain is None or before is None or after is None:
            continue
        share = before.is_share
        told.append(
            f"{name} error {figure(before.value, share)} -> {figure(after.value, share)} (lower by "
            f"{situation.text(gain)})"
        )
        interval = interval or gain
    seeds = f", mean of {one.repeats} seeds" if one.repeats > 1 else ""
    situation.note(f"probe: {one.change}", f"With {one.change}{seeds}: {'; '.join(told)}.", interval)
    if one.kind == "data" and one.test is not None and one.base_test is not None and situation.doubling is None:
        gain = one.gain("test")
        # With half of the data the error has to be higher beyond noise, or nothing is known of a doubling.
        if gain is not None and gain.high < 0 and one.test.value > 0:
            situation.doubling = 1 - one.base_test.value / one.test.value
        elif gain is not None and one.test.value > 0 and gain.value > -0.02 * one.test.value:
            situation.doubling = max(1 - one.base_test.value / one.test.value, 0.0)


# ---------------------------------------------------------------------- without a training function


def probe_copies(situation: Situation, live: Live, seconds: float, seed: int, told: Callable[[int, int], None]) -> None:
    """Trains copies of the model on for a few epochs: as it was, with ten times the learning rate, and a tenth of it.

    Raises:
        GapError: the model is no module, or training a copy raises.
    """
    rate = situation.hyperparameters.first("learning-rate")
    if rate is None:
        situation.notes.append("Not probed: the learning rate is not known; put it into hyperparameters.")
        return
    situation.notes.append("Width, dropout and weight decay were not probed: that needs train_fn.")
    end = time.monotonic() + seconds
    data = examples_in(live.train)
    began = time.monotonic()
    before = _trained_on(situation, live, data, 0.0, 0, seed)
    epochs = _epochs_in(time.monotonic() - began, seconds)
    results = {}
    plan = (("as it was", rate.value), ("x10", rate.value * _FASTER), ("/10", rate.value / _FASTER))
    for number, (text, value) in enumerate(plan):
        told(number, len(plan))
        if time.monotonic() > end:
            situation.notes.append(f"Not probed for want of time: {rate.name} {text}.")
            continue
        results[text] = _trained_on(situation, live, data, value, epochs, seed)
    base = results.get("as it was")
    if base is None:
        return
    longer = Change(f"{epochs} epochs more", "epochs", {}, situation.hyperparameters.first("epochs"), None)
    _write(situation, replace(_result(longer, Outcome(base, None), Outcome(before, None), 1), after=None))
    for text, value in plan[1:]:
        if text in results:
            change = Change(f"{rate.name} {text} for {epochs} epochs more", "learning-rate", {}, rate, value)
            _write(situation, _result(change, Outcome(results[text], None), Outcome(base, None), 1))


def _epochs_in(pass_s: float, seconds: float) -> int:
    """Epochs of three trainings that fit into the time: one costs about three passes; between 1 and 10."""
    return int(min(max(seconds / max(9 * pass_s, 1e-6), 1), 10))


def _trained_on(situation: Situation, live: Live, data: Any, rate: float, epochs: int, seed: int) -> Measured:
    from diagnose.collect.nested import mapped

    with Copied(live.model, seed) as copied:
        model = copied.module
        if model is None or live.loss_fn is None:
            raise GapError("probe=True needs train_fn, or a torch.nn.Module with loss_fn and train_data.")
        model.train()
        optimizer = _optimizer(situation.hyperparameters, model, rate)
        try:
            with torch.enable_grad():
                for _ in range(epochs):
                    for inputs, targets in data.batches:
                        inputs, targets = mapped((inputs, targets), lambda t: t.to(copied.device))
                        outputs = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
                        loss = live.loss_fn(outputs, targets)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
        except Exception as error:
            raise GapError(f"training a copy of the model raised {type(error).__name__}: {error}") from error
        model.eval()
        if any(not bool(p.isfinite().all()) for p in model.parameters()):
            return Measured("train error", 1.0, float(len(data)))
        return answers(copied, data, "train error", live.loss_fn).measured


def _optimizer(known: Hyperparameters, model: nn.Module, rate: float) -> torch.optim.Optimizer:
    decay, momentum = known.first("weight-decay"), known.first("momentum")
    penalty = 0.0 if decay is None else float(decay.value)
    if "sgd" in known.optimizer:
        momentum_value = 0.0 if momentum is None else float(momentum.value)
        return torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum_value, weight_decay=penalty)
    kind = torch.optim.AdamW if known.optimizer.endswith("w") else torch.optim.Adam
    return kind(model.parameters(), lr=rate, weight_decay=penalty)
