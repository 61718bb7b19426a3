"""One situation: what somebody trained, with names as that person gave them, and what could be done about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from benchmarks.gap_scenarios.datasets import Data, Recipe, Split
from benchmarks.gap_scenarios.faults import Reload
from benchmarks.gap_scenarios.training import Build, Fit, Settings, loss_and_error, train, with_changes

Variant: TypeAlias = Literal["numbers", "live", "probe"]
VARIANTS: tuple[Variant, ...] = ("numbers", "live", "probe")

# By role: where the user's value is not the canonical one, what it stands for.
_FOREIGN: dict[str, tuple[str, Callable[[Any, Settings], Any]]] = {
    "keep_prob": ("dropout", lambda value, _: 1 - value),
    "same_padding": ("padding", lambda value, settings: settings.kernel // 2 if value else 0),
    "border": ("padding", lambda value, settings: settings.kernel // 2 if value == "same" else 0),
}


@dataclass(frozen=True)
class Intervention:
    """An advice as somebody would follow it.

    Attributes:
        code: of the advice.
        label: unique within a scenario.
        role: the canonical hyperparameter that it changes; None if it changes data or evaluation.
        changes: settings by canonical name.
    """

    code: str
    label: str
    role: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Errors:
    """Shares of wrong rows."""

    train: float
    val: float
    test: float


@dataclass(frozen=True)
class Scenario:
    """A situation with its starting configuration.

    Attributes:
        order: when it was written; unique.
        data: draws rows for a seed.
        build: the model family.
        setup: by role (a canonical setting, or one of `_FOREIGN`), the user's name for it and the value.
        target: the error on test rows that is wanted.
        human: what people reach, if it is known.
        gives_val: the user knows the error on held-out rows of the training distribution too.
        fixed: settings that nobody wrote down as hyperparameters.
        reload: how the tested model was loaded, where that went wrong.
        train_too: the training error was measured on the reloaded model as well.
        forgets_eval: the test rows were measured in training mode.
        tells: from where on the cause can be told at all: numbers alone, live objects, or short experiments.
        factor: of "higher" and "lower" learning rates.
        extra: further interventions.
        is_met: the target is reached, and nothing should be advised.
    """

    name: str
    family: str
    order: int
    data: Recipe
    build: Build
    setup: Mapping[str, tuple[str, Any]]
    target: float
    human: float | None = None
    gives_val: bool = False
    fixed: Mapping[str, Any] = field(default_factory=dict)
    reload: Reload | None = None
    train_too: bool = False
    forgets_eval: bool = False
    rebalances: bool = False
    tells: Variant = "numbers"
    factor: float = 10.0
    extra: Sequence[Intervention] = ()
    is_met: bool = False

    @property
    def settings(self) -> Settings:
        """The starting configuration in canonical names."""
        plain = {role: value for role, (_, value) in self.setup.items() if role not in _FOREIGN}
        settings = replace(Settings(), **{**self.fixed, **plain})
        return self._with_foreign(settings, {r: v for r, (_, v) in self.setup.items() if r in _FOREIGN})

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The starting configuration as the user writes it."""
        return dict(self.setup.values())

    def user_name(self, role: str) -> str | None:
        """What the user calls a canonical setting; None if there is no name for it."""
        for own, (name, _) in self.setup.items():
            if own == role or (own in _FOREIGN and _FOREIGN[own][0] == role):
                return name
        return None

    def from_user(self, changes: Mapping[str, Any]) -> Settings:
        """The settings after changes in the user's names.

        Raises:
            TypeError: a name is none of the user's.
        """
        roles = {name: role for role, (name, _) in self.setup.items()}
        for name in changes:
            if name not in roles:
                raise TypeError(f"train() got an unexpected keyword argument {name!r}; there are {', '.join(roles)}")
        by_role = {role: changes.get(name, self.setup[role][1]) for name, role in roles.items()}
        settings = with_changes(self.settings, {r: v for r, v in by_role.items() if r not in _FOREIGN})
        return self._with_foreign(settings, {r: v for r, v in by_role.items() if r in _FOREIGN})

    def _with_foreign(self, settings: Settings, values: Mapping[str, Any]) -> Settings:
        for role, value in values.items():
            canonical, meaning = _FOREIGN[role]
            settings = replace(settings, **{canonical: meaning(value, settings)})
        return settings

    @property
    def fingerprint(self) -> str:
        """Changes when the configuration or an intervention does; the data and the code are not in it."""
        plain = [
            self.hyperparameters,
            dict(self.fixed),
            [[i.label, i.code, dict(i.changes)] for i in interventions(self)],
        ]
        return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:12]


def interventions(scenario: Scenario) -> list[Intervention]:
    """Everything that can be tried on a scenario."""
    found = [*_data_interventions(scenario)]
    # A leak makes the reported error worthless: only the honest one is of interest.
    if not any(each.code == "check-leak" for each in found):
        found += [*_capacity(scenario), *_learning(scenario), *_regularization(scenario)]
    return [*found, *scenario.extra]


def _data_interventions(scenario: Scenario) -> list[Intervention]:
    codes = list(drawn(scenario.data, 0).fixed)
    if "check-leak" in codes:
        return [Intervention("check-leak", "leak removed")]
    labels = {
        "more-data": "more rows",
        "fix-labels": "clean labels",
        "check-test-pipeline": "right preprocessing",
    }
    found = [Intervention(code, labels[code]) for code in codes]
    if scenario.forgets_eval:
        found.append(Intervention("check-test-pipeline", "evaluation mode"))
    if scenario.reload is not None:
        found.append(Intervention("check-save-load", "right checkpoint"))
    if scenario.rebalances:
        found.append(Intervention("rebalance", "class weights", changes={"label_weights": True}))
    return found


def _capacity(scenario: Scenario) -> list[Intervention]:
    settings = scenario.settings
    found = []
    if settings.depth > 0:
        for code, label, width in (
            ("more-capacity", "width x4", 4 * settings.width),
            ("less-capacity", "width /4", max(1, settings.width // 4)),
        ):
            found.append(Intervention(code, label, "width", {"width": width}))
    else:
        found.append(Intervention("more-capacity", "a hidden layer of 32", "depth", {"depth": 1, "width": 32}))
    has_convolution = scenario.user_name("kernel") is not None
    if has_convolution:
        wide = 2 * settings.kernel + 1
        padding = wide // 2 if settings.padding else 0
        found.append(Intervention("more-capacity", "kernel x2", "kernel", {"kernel": wide, "padding": padding}))
        if settings.padding == 0 and settings.kernel > 1:
            found.append(Intervention("more-capacity", "zero padding", "padding", {"padding": settings.kernel // 2}))
    return [each for each in found if _can_be_built(scenario, each)]


def _can_be_built(scenario: Scenario, intervention: Intervention) -> bool:
    data = drawn(scenario.data, 0)
    try:
        scenario.build(
            with_changes(scenario.settings, intervention.changes), tuple(data.train.x.shape[1:]), data.classes
        )
    except ValueError:
        return False
    return True


def _learning(scenario: Scenario) -> list[Intervention]:
    settings, by = scenario.settings, scenario.factor
    found = [
        Intervention("higher-lr", f"lr x{by:g}", "lr", {"lr": settings.lr * by}),
        Intervention("lower-lr", f"lr /{by:g}", "lr", {"lr": settings.lr / by}),
        Intervention("better-optimization", "epochs x3", "epochs", {"epochs": 3 * settings.epochs}),
    ]
    if settings.schedule != "cosine":
        found.append(Intervention("better-optimization", "cosine schedule", "schedule", {"schedule": "cosine"}))
    if settings.optimizer == "sgd":
        adam = {"optimizer": "adam", "lr": 3e-3, "weight_decay": 0.0, "schedule": None}
        # The weight decay is another advice: it stays where there is one.
        if settings.weight_decay:
            adam["weight_decay"] = settings.weight_decay
        found.append(Intervention("better-optimization", "Adam", "optimizer", adam))
    return found


def _regularization(scenario: Scenario) -> list[Intervention]:
    settings = scenario.settings
    found = []
    if settings.weight_decay:
        found.append(Intervention("less-weight-decay", "no decay", "weight_decay", {"weight_decay": 0.0}))
    if settings.dropout:
        found.append(Intervention("less-dropout", "no dropout", "dropout", {"dropout": 0.0}))
    decay = max(10 * settings.weight_decay, {"adam": 1e-2, "adamw": 1.0, "sgd": 1e-2}[settings.optimizer])
    found.append(Intervention("more-regularization", "more decay", "weight_decay", {"weight_decay": decay}))
    if settings.dropout < 0.5 and settings.depth > 0:
        found.append(Intervention("more-regularization", "dropout .5", "dropout", {"dropout": 0.5}))
    if drawn(scenario.data, 0).train.x.dim() == 4:
        found.append(Intervention("more-regularization", "shifted images", None, {"augment": True}))
    return found


@lru_cache(maxsize=2)
def drawn(data: Recipe, seed: int) -> Data:
    """The rows of a recipe; kept while the interventions of one seed are gone through."""
    return data(seed)


# --- what is measured


def measure(scenario: Scenario, seed: int, intervention: Intervention | None = None) -> Errors:
    """Errors as the user measures them after following an advice; without one, of the start."""
    data = drawn(scenario.data, seed)
    code = intervention.code if intervention else ""
    data = data.fixed.get(code, data)
    settings = with_changes(scenario.settings, intervention.changes if intervention else {})
    if code == "more-data":
        settings = _as_many_steps(settings, len(data.train.y) / len(drawn(scenario.data, seed).train.y))
    fit = train(scenario.build, settings, data.train, seed, classes=data.classes)
    return errors_of(scenario, fit, data, seed, mended=code)


def _as_many_steps(settings: Settings, times: float) -> Settings:
    """Fewer epochs for more rows: what longer training does must not pass for what more data do."""
    schedule = settings.schedule
    if isinstance(schedule, float):
        schedule = schedule**times
    return replace(settings, epochs=max(1, round(settings.epochs / times)), schedule=schedule)


def errors_of(scenario: Scenario, fit: Fit, data: Data, seed: int, *, mended: str = "") -> Errors:
    """Errors of a trained model with the scenario's faults of evaluation, but for the one that is mended."""
    tested = fit.model if mended == "check-save-load" else reloaded(scenario, fit, seed)
    in_training = scenario.forgets_eval and mended != "check-test-pipeline"
    torch.manual_seed(seed + 1)
    return Errors(
        loss_and_error(tested if scenario.train_too else fit.model, data.train)[1],
        loss_and_error(fit.model, data.val)[1],
        loss_and_error(tested, data.test, training=in_training)[1],
    )


def reloaded(scenario: Scenario, fit: Fit, seed: int) -> nn.Module:
    """The model that the user loads to test it."""
    if scenario.reload is None:
        return fit.model
    torch.manual_seed(seed + 1000)  # what is not loaded is another draw than the one that training began with
    return scenario.reload(fit, fit.build()).eval()


# --- what the user has


@dataclass(frozen=True)
class Case:
    """Keyword arguments for `diagnose_gap`, by variant."""

    numbers: dict[str, Any]
    live: dict[str, Any]
    probe: dict[str, Any]

    def arguments(self, variant: Variant) -> dict[str, Any]:
        """All that a variant passes."""
        found = dict(self.numbers)
        if variant != "numbers":
            found |= self.live
        if variant == "probe":
            found |= self.probe
        return found

    def copy(self) -> Case:
        """The same with a model and rows of its own: what an advisor leaves behind must not reach the next one."""
        return Case(deepcopy(self.numbers), deepcopy(self.live), self.probe)


def case_of(scenario: Scenario, seed: int) -> Case:
    """What a user who runs the scenario's training once could pass on."""
    data = drawn(scenario.data, seed)
    fit = train(scenario.build, scenario.settings, data.train, seed, classes=data.classes, val=data.val)
    errors = errors_of(scenario, fit, data, seed)
    numbers: dict[str, Any] = {
        "train_error": errors.train,
        "test_error": errors.test,
        "target_error": scenario.target,
        "n_train": len(data.train.y),
        "n_test": len(data.test.y),
        "curves": fit.curves,
        "hyperparameters": scenario.hyperparameters,
    }
    live: dict[str, Any] = {
        "model": fit.model,
        "train_data": _dataset(data.train),
        "test_data": _dataset(data.test),
        "loss_fn": nn.functional.cross_entropy,
    }
    if scenario.human is not None:
        numbers["human_error"] = scenario.human
    if scenario.gives_val:
        numbers |= {"train_dev_error": errors.val, "n_train_dev": len(data.val.y)}
        live["train_dev_data"] = _dataset(data.val)
    if scenario.reload is not None:
        live["reloaded"] = reloaded(scenario, fit, seed)

    def train_fn(rows: Any, **changes: Any) -> nn.Module:
        split = _rows(rows)
        return train(scenario.build, scenario.from_user(changes), split, seed, classes=data.classes).model

    return Case(numbers, live, {"train_fn": train_fn, "probe": True})


def _dataset(rows: Split) -> Dataset[Any]:
    return TensorDataset(rows.x, rows.y)


def _rows(rows: Any) -> Split:
    if isinstance(rows, DataLoader):
        rows = rows.dataset
    if isinstance(rows, TensorDataset):
        return Split(*rows.tensors)
    if isinstance(rows, (tuple, list)) and len(rows) == 2 and all(isinstance(part, torch.Tensor) for part in rows):
        return Split(*rows)
    pairs = [rows[index] for index in range(len(rows))]
    return Split(torch.stack([x for x, _ in pairs]), torch.stack([torch.as_tensor(y) for _, y in pairs]))
