"""One pass over the data: runs the model, scores each batch, keeps a few numbers of each example and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from diagnose.collect.nested import tensors_in
from diagnose.errors import InspectionError, MistakesError
from diagnose.isolation import State
from diagnose.mistakes._calling import called, device_of, outputs_of
from diagnose.mistakes._embeddings import Embeddings
from diagnose.mistakes._inspector import Inspector
from diagnose.mistakes._losses import LossFn, fitted, hint_of, per_example
from diagnose.mistakes._places import Place
from diagnose.mistakes._plan import Plan, plan_of
from diagnose.mistakes._reading import Batch, Reader
from diagnose.mistakes._scores import Floats, Id, Scores, Task
from diagnose.mistakes._scoring import Places, score, summary
from diagnose.mistakes._unpacking import Call, Unpacking, moved
from diagnose.mistakes._worst import Worst
from diagnose.progress import Progress

_PEEK_ROWS: Final = 256
_PEEK_NUMBERS: Final = 100_000
"""Outputs are looked at until there are so many rows or numbers, before it is decided what they are."""
_ABOUT_OTHERS: Final = ("attention_mask", "token_type_ids", "position_ids", "special_tokens_mask")
MOST_KEPT: Final = 25_000_000
"""Probabilities that are kept: 100 MB."""


@dataclass(frozen=True)
class Options:
    """What the caller of `mine_mistakes` has said about outputs and targets."""

    loss_fn: LossFn | None = None
    predict: Callable[[Any], Tensor] | None = None
    unpack: Callable[[Any], Any] | None = None
    task: Task | None = None
    outputs: str | None = None
    ignore_index: int | None = None
    classes: tuple[str, ...] = ()
    classes_are_asked: bool = False
    """Whether the caller has named them; names that a data set has may be of more classes than this model tells."""
    ids: Sequence[Id] | str | None = None
    keep_probabilities: bool | None = None
    embeddings: str | None = None
    k: int = 64
    seed: int = 0
    progress: bool | None = None


@dataclass
class Scanned:
    """What a pass has found.

    Attributes:
        scores: one row per example.
        positions: of each row, in the data.
        worst: the worst places.
        plan: how outputs were read.
        inspector: has seen all batches; None if there was none, or it could not read them.
        notes: what could not be done.
    """

    scores: Scores
    positions: list[int]
    worst: tuple[Place, ...]
    plan: Plan
    inspector: Inspector | None = None
    notes: list[str] = field(default_factory=list)


@dataclass
class _Pending:
    """A batch whose outputs are known, and that is not scored yet."""

    ids: list[Id]
    output: Any
    outputs: Tensor
    targets: Tensor
    tokens: Tensor | None


def scan(
    model: Callable[..., Any] | None,
    reader: Reader,
    options: Options,
    inspector: Inspector | None = None,
    probabilities: Floats | None = None,
) -> Scanned:
    """Runs the model over all the data, in eval mode and without gradients; the model is as before afterwards.

    Args:
        probabilities: by position, what stands in for the outputs if there is no model.

    Raises:
        MistakesError: the model raises, or outputs and targets leave open what is asked.
    """
    return _Scan(model, reader, options, inspector, probabilities).run()


class _Scan:
    def __init__(
        self,
        model: Any,
        reader: Reader,
        options: Options,
        inspector: Inspector | None,
        probabilities: Floats | None,
    ) -> None:
        self._model, self._reader, self._options, self._inspector = model, reader, options, inspector
        self._folds = probabilities
        self._unpacking = Unpacking(model, options.unpack, options.classes)
        self._hint = hint_of(options.loss_fn)
        self._plan: Plan | None = None
        self._pending: list[_Pending] = []
        self._ids: list[Id] = []
        self._positions: list[int] = []
        self._columns: dict[str, list[Any]] = {}
        self._probabilities: list[Any] | None = None if options.keep_probabilities is False else []
        self._kept = 0
        self._notes: list[str] = []
        self._worst: Worst | None = None
        self._embeddings = Embeddings(options.embeddings)
        self._shapes: set[tuple[int, ...]] = set()
        self._seen = 0

    def run(self) -> Scanned:
        modules = [self._model] if isinstance(self._model, nn.Module) else []
        with ExitStack() as stack:
            stack.enter_context(State(modules, seed=self._options.seed))
            stack.enter_context(torch.no_grad())
            bar = stack.enter_context(Progress(self._options.progress, "examples"))
            for module in modules:
                module.eval()
                stack.callback(self._embeddings.listen(module))
            device = device_of(self._model)
            for batch in self._reader.batches():
                self._take(batch, device)
                if self._reader.total:
                    bar.told(self._seen, self._reader.total)
            self._decide()
        if not self._ids:
            raise MistakesError("There are no examples in the data.")
        return self._finished()

    def _take(self, batch: Batch, device: torch.device) -> None:
        call = self._unpacking.call(batch.content)
        size = len(call.targets) if call.targets.dim() else 1
        ids = self._named(batch, size)
        self._inspect(ids, call)
        call = moved(call, device)
        output = called(self._model, call, ids) if self._model is not None else self._given(size)
        outputs = outputs_of(output, self._options.predict)
        targets = call.targets if call.targets.dim() else call.targets[None]
        if size == 1 and (outputs.dim() == 0 or len(outputs) != 1):
            outputs = outputs[None]  # squeezed with the dimension of examples, of which there is one here
        if outputs.dim() == 2 and targets.dim() == 2 and len(outputs) == targets.numel() != len(targets):
            outputs = outputs.reshape(*targets.shape, -1)  # (N T, K), flattened for the loss
        self._pending.append(_Pending(ids, output, outputs, targets, _tokens_of(call)))
        self._seen += size
        numbers = sum(item.outputs.numel() for item in self._pending)
        if self._plan is not None or self._seen >= _PEEK_ROWS or numbers >= _PEEK_NUMBERS:
            self._decide()

    def _inspect(self, ids: list[Id], call: Call) -> None:
        """Shows a batch to the inspector. What it cannot read is no reason not to look for mistakes."""
        if self._inspector is None:
            return
        try:
            self._inspector.add(ids, _described(call.inputs), call.targets)
        except InspectionError as error:
            self._inspector = None
            self._notes.append(f"The data were not looked at for problems: {error}")

    def _named(self, batch: Batch, size: int) -> list[Id]:
        positions = batch.positions
        if positions is None:
            positions = range(self._seen, self._seen + size)
        elif len(positions) != size:
            raise MistakesError(
                f"A batch of {len(positions)} examples has {size} targets: the first dimension of the targets has to "
                "count the examples (or give unpack=)."
            )
        self._positions.extend(positions)
        ids = _ids_of(batch.content, positions, self._options.ids)
        self._ids.extend(ids)
        return ids

    def _given(self, size: int) -> Tensor:
        """What stands in for the outputs of the last `size` examples."""
        assert self._folds is not None
        positions = self._positions[-size:]
        if max(positions) >= len(self._folds):
            raise MistakesError(
                f"probabilities have {len(self._folds)} rows, and there is an example at position {max(positions)}."
            )
        return torch.from_numpy(self._folds[positions])

    # ------------------------------------------------------------------ scoring

    def _decide(self) -> None:
        """Scores what is pending; before the first time, tells from it what is asked."""
        if not self._pending:
            return
        if self._plan is None:
            self._plan = self._planned()
            self._check_classes(self._plan, self._pending[0].outputs)
            self._worst = Worst(self._plan, self._options.k)
        for item in self._pending:
            self._score(item, self._plan)
        self._pending.clear()

    def _planned(self) -> Plan:
        first = self._pending[0]
        alike = [item for item in self._pending if item.outputs.shape[1:] == first.outputs.shape[1:]]
        alike = [item for item in alike if item.targets.shape[1:] == first.targets.shape[1:]]
        same_tokens = all(item.tokens is not None for item in alike)
        outputs = torch.cat([item.outputs for item in alike])
        return plan_of(
            outputs.float() if outputs.is_floating_point() else outputs,
            torch.cat([item.targets for item in alike]).to(first.outputs.device),
            tokens=torch.cat([item.tokens for item in alike if item.tokens is not None]) if same_tokens else None,
            hint=self._hint,
            task=self._options.task,
            kind=self._options.outputs if self._model is not None else "probabilities",
            ignore_index=self._options.ignore_index,
        )

    def _check_classes(self, plan: Plan, outputs: Tensor) -> None:
        names = self._options.classes
        if not self._options.classes_are_asked or plan.task not in ("classification", "multilabel"):
            return
        told = 2 if plan.task == "classification" and plan.per_place == "one" else outputs[0].numel()
        if len(names) != told:
            raise MistakesError(
                f"classes= has {len(names)} names, and the model tells {told} classes apart: name each."
            )

    def _score(self, item: _Pending, plan: Plan) -> None:
        try:
            places = score(item.outputs, item.targets, plan)
        except MistakesError as error:
            raise MistakesError(f"Examples {item.ids[0]} to {item.ids[-1]}: {error}") from error
        columns = summary(places, plan)
        # A channel of one counts nothing, as for regions.
        self._shapes.add(tuple(length for length in item.targets.shape[1:] if length != 1))
        if self._options.loss_fn is not None and not plan.shifted:
            targets = item.targets.to(item.outputs.device)
            output: Any = item.output
            if self._hint is not None or self._options.predict is not None:
                output, targets = fitted(self._hint, item.outputs, targets)
            columns["loss"] = per_example(self._options.loss_fn, output, targets, places.counted)
        for name, column in columns.items():
            self._columns.setdefault(name, []).append(column.cpu().numpy())
        self._keep(places)
        if self._worst is not None and places.counted.shape[1] > 1:
            first_row = sum(len(part) for part in self._columns["loss"][:-1])
            self._worst.add(places, item.ids, first_row, tuple(item.targets.shape[1:]), item.tokens)

    def _keep(self, places: Places) -> None:
        if self._probabilities is None or places.probabilities is None:
            return
        self._kept += places.probabilities.numel()
        if self._options.keep_probabilities is None and self._kept > MOST_KEPT:
            self._probabilities = None
            self._notes.append(
                f"More than {MOST_KEPT:,} probabilities were not kept: to_cleanlab() needs keep_probabilities=True."
            )
            return
        self._probabilities.append(places.probabilities.cpu().numpy())

    def _finished(self) -> Scanned:
        assert self._plan is not None
        columns: dict[str, Any] = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        if len(set(self._ids)) != len(self._ids):
            seen: set[Id] = set()
            double = next(name for name in self._ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise MistakesError(f"Two examples have the ID {double!r}: IDs have to be all different.")
        for name in ("loss", "confidence", "margin"):
            columns[name] = columns[name].astype(np.float32)
        scores = Scores(
            task=self._plan.task,
            ids=tuple(self._ids),
            classes=self._options.classes,
            probabilities=np.concatenate(self._probabilities) if self._probabilities else None,
            embeddings=self._embeddings.joined(len(self._ids)),
            shape=next(iter(self._shapes)) if len(self._shapes) == 1 and "place" in columns else (),
            **columns,
        )
        worst = () if self._worst is None else self._worst.places()
        return Scanned(scores, self._positions, worst, self._plan, self._inspector, self._notes)


def _described(inputs: Any) -> Any:
    """Inputs without those that say where in the others to look, as tokenizers name them: they repeat by nature."""
    if not isinstance(inputs, Mapping):
        return inputs
    return {name: value for name, value in inputs.items() if name not in _ABOUT_OTHERS} or inputs


def _ids_of(content: Any, positions: Sequence[int], ids: Sequence[Id] | str | None) -> list[Id]:
    if ids is None:
        return list(positions)
    if isinstance(ids, str):
        try:
            found = content[ids]
        except (KeyError, TypeError, IndexError) as error:
            raise MistakesError(f"ids={ids!r} is to be a name in the batches, and they have none such.") from error
        return [_plain(name) for name in (found.tolist() if hasattr(found, "tolist") else found)]
    if positions and max(positions) >= len(ids):
        raise MistakesError(
            f"There are {len(ids)} ids, and an example at position {max(positions)}: give one for each."
        )
    return [_plain(ids[position]) for position in positions]


def _plain(name: Any) -> Id:
    value = name.item() if hasattr(name, "item") else name
    return value if isinstance(value, int | str) else str(value)


def _tokens_of(call: Call) -> Tensor | None:
    """What a language model is given: whole numbers of the shape of the targets."""
    if call.targets.dim() != 2:
        return None
    given = call.kwargs.get("input_ids")
    among = [given] if isinstance(given, Tensor) else [v for v in tensors_in(call.args) if not v.is_floating_point()]
    return next((tensor for tensor in among if tensor.shape == call.targets.shape), None)
