"""Training for a test: a user's own function or loop, stopped after some steps, or a loop of ours around a module.

It is watched at every step and without a clock, so that it finds the same in every run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from diagnose.checks._rehearsal import Inputs, LossFn, Rehearsal
from diagnose.errors import CheckError
from diagnose.findings import Finding, Severity
from diagnose.history import History
from diagnose.report import Report
from diagnose.rules import Diagnosis
from diagnose.testing._record import project_config
from diagnose.testing._verdict import Verdict
from diagnose.watching import Watch, watch

Train: TypeAlias = "Callable[[], Any] | Iterable[Any] | nn.Module"
OptimizerFactory: TypeAlias = Callable[[Iterable[nn.Parameter]], Optimizer]

LEARNING_RATE: Final = 1e-3
"""Of Adam, where nothing else is asked for: its own default (Kingma & Ba, 2015, algorithm 1)."""

MOST_TURNS: Final = 64
"""Turns of a generator for each optimizer step, as with accumulated gradients: one that never steps may be endless."""


class _Enough(BaseException):
    """Ends a training that has made its steps; no `except Exception` of the user's catches it."""


@dataclass(frozen=True)
class Trained:
    """A training that is over.

    Attributes:
        watch: which watched it; it has ended.
        diagnosis: what its rules say.
        steps: how many optimizer steps were made.
        watched: False under DIAGNOSE=0: then nothing is known.
    """

    watch: Watch
    diagnosis: Diagnosis
    steps: int
    watched: bool = True

    @property
    def history(self) -> History:
        return self.watch.history

    @property
    def report(self) -> Report:
        return self.watch.report(self.diagnosis)

    @property
    def what(self) -> str:
        """How much was trained, for summaries: "40 steps of SGD"."""
        types = list(dict.fromkeys(facts.type for facts in self.history.optimizers.values()))
        return f"{self.steps} step{'s' if self.steps != 1 else ''} of {' and '.join(types) or 'no optimizer'}"

    def findings_of(self, code: str) -> tuple[Finding, ...]:
        """Those of one rule, also where they stand under another one."""
        return tuple(finding for finding in _flat(self.diagnosis.findings) if finding.code == code)


def trained(
    train: Train,
    inputs: Inputs | None = None,
    targets: Any = None,
    *,
    steps: int,
    model: nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module] | None = None,
    loss_fn: LossFn | None = None,
    optimizer: OptimizerFactory | None = None,
    ignore: Sequence[str] = (),
    select: Sequence[str] = (),
    seed: int = 0,
    looking: Callable[[nn.Module], Callable[[], object]] | None = None,
) -> Trained:
    """What a training of at most `steps` optimizer steps has shown.

    Args:
        train: a function that trains; one that makes a single step, which is called again for each; a generator or
            another iterable that steps when it is advanced; or a module, a copy of which is then trained on the batch.
        inputs, targets, loss_fn, optimizer, seed: of a module, as for every check of `diagnose.checks`.
        model: those that a function trains; None to find them.
        ignore, select: codes of rules, beside those of `[tool.diagnose]`.
        looking: called with the copy of a module before it is trained; what it returns is called afterwards, while
            buffers are still what training made of them.

    Raises:
        CheckError: `train` is none of these, or a module was given without a batch.
        ConfigError: an unknown code, or a mistake in `[tool.diagnose]`.
    """
    if steps < 1:
        raise CheckError(f"steps={steps}: a training needs at least one step")
    given = project_config()
    config = given.override(
        ignore=(*given.ignore, *ignore), select=tuple(select) or None, schedule="every", tensorboard=False, live=False
    )
    config = replace(config, run_dir=None)
    if isinstance(train, nn.Module):
        if inputs is None:
            raise CheckError("A module is trained on a batch: give inputs, and targets and a loss_fn if it needs them.")
        with Rehearsal(train, inputs, targets, loss_fn, seed=seed) as rehearsal:
            look = looking(rehearsal.model) if looking is not None else None
            named = {type(getattr(train, "_orig_mod", train)).__name__: rehearsal.model}
            watching = watch(named, config=config, summary=False)
            run = _run(watching, _loop(rehearsal, optimizer or _adam), steps)
            if look is not None:
                look()
            return run
    if inputs is not None or targets is not None or loss_fn is not None or optimizer is not None:
        raise CheckError("inputs, targets, loss_fn and optimizer go with a module; a train function has its own.")
    return _run(watch(model, config=config, summary=False), train, steps)


def _run(watching: Watch, train: Any, steps: int) -> Trained:
    with watching, _Counter(steps) as counter, contextlib.suppress(_Enough):
        _advance(train, counter)
    return Trained(watching, watching.diagnosis(), counter.made, watching.enabled)


def _advance(train: Any, counter: _Counter) -> None:
    if not callable(train):
        if not isinstance(train, Iterable):
            raise CheckError(
                f"An object of type {type(train).__name__} is no training: give a function, a generator or a module."
            )
        return _exhaust(train, counter)
    result = train()
    if isinstance(result, Iterator):
        return _exhaust(result, counter)
    while counter.made == counter.calls + 1:  # each call so far made one step: the body of a loop
        counter.calls += 1
        train()
    return None


def _exhaust(loop: Iterable[Any], counter: _Counter) -> None:
    """Advances the loop until it has made its steps, or makes none for long."""
    iterator = iter(loop)
    try:
        for turn, _ in enumerate(iterator, start=1):
            if turn >= MOST_TURNS * (counter.made + 1):
                break
    finally:
        if hasattr(iterator, "close"):
            iterator.close()


class _Counter:
    """A context that counts optimizer steps, and ends the training after the last one."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.made = 0
        self.calls = 0

    def __enter__(self) -> _Counter:
        # After the watch has entered: its hook sees the last step before this one ends the training.
        self._handle = register_optimizer_step_post_hook(self._stepped)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    def _stepped(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.made += 1
        if self.made >= self.most:
            raise _Enough


def _loop(rehearsal: Rehearsal, factory: OptimizerFactory) -> Iterator[Tensor]:
    """Trains without end on the one batch."""
    parameters = [parameter for parameter in rehearsal.model.parameters() if parameter.requires_grad]
    if not parameters:
        raise CheckError("The model has no parameter that requires a gradient: there is nothing to train.")
    optimizer = factory(parameters)
    rehearsal.model.train()
    while True:
        optimizer.zero_grad()
        loss = rehearsal.loss()
        loss.backward()
        optimizer.step()
        yield loss


def _adam(parameters: Iterable[nn.Parameter]) -> Optimizer:
    return torch.optim.Adam(parameters, lr=LEARNING_RATE)


def _flat(findings: Iterable[Finding]) -> Iterator[Finding]:
    for finding in findings:
        yield finding
        yield from _flat(finding.symptoms)


def no_step() -> Finding:
    return Finding(
        "no-optimizer-step",
        Severity.ERROR,
        "the training made no optimizer step",
        evidence={"steps": 0},
        cause="optimizer.step() is never called; or it is no torch.optim.Optimizer; or what was given is a part of a "
        "step only.",
        remedy="Give a function that runs the loop, a function that makes one whole step, or a generator.",
    )


def nothing_seen(run: Trained, what: str, hint: str = "") -> Verdict[Watch]:
    """A failure: an assertion that has looked at nothing must not pass."""
    finding = no_step() if not run.steps else Finding(
        "nothing-to-assert",
        Severity.ERROR,
        f"no {what} was seen in {run.what}",
        evidence={"steps": run.steps, "layers": len(run.history.layers), "parameters": len(run.history.parameters)},
        cause="The training has nothing of the kind, or too little of it was seen.",
        remedy=f"Take the assertion away if there is nothing of the kind.{hint}",
    )  # fmt: skip
    return Verdict(run.watch, f"nothing to assert: {finding.message}", (finding,), True, run.report)
