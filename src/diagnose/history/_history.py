"""The history itself: series, events and facts of one run, written by collectors and read by rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from diagnose.errors import HistoryError
from diagnose.history._facts import (
    AccuracyFacts,
    ConstantInputFacts,
    CopyFacts,
    DissentFacts,
    EvaluationFacts,
    EvaluationRows,
    FitFacts,
    HandmadeFacts,
    InputFacts,
    LabelFacts,
    LayerFacts,
    LeafFacts,
    LifetimeFacts,
    LoadFacts,
    LossFacts,
    ModeFacts,
    NeighbourFacts,
    ObjectiveFacts,
    OptimizerFacts,
    PairFacts,
    PairingFacts,
    ParameterFacts,
    ProbeFacts,
    RunFacts,
    SamplerFacts,
    SchedulerFacts,
    SymmetryFacts,
    TargetFacts,
    TwinFacts,
)
from diagnose.history._names import EVENT_KINDS, QUANTITIES, EventKind, Quantity
from diagnose.history._tables import Event, EventLog, Floats, Ints, Series, Table, new_table

# The attributes of a history that hold facts: a dict by name, or a list in the order of events.
_BY_NAME: Final[Mapping[str, type[Any]]] = {
    "parameters": ParameterFacts,
    "layers": LayerFacts,
    "modes": ModeFacts,
    "optimizers": OptimizerFacts,
    "losses": LossFacts,
    "probes": ProbeFacts,
    "evaluations": EvaluationFacts,
    "leaves": LeafFacts,
    "symmetric": SymmetryFacts,
    "labels": LabelFacts,
    "objectives": ObjectiveFacts,
    "schedulers": SchedulerFacts,
    "targets": TargetFacts,
    "pairs": PairFacts,
    "evaluated": EvaluationRows,
    "inputs": InputFacts,
    "neighbours": NeighbourFacts,
    "dissents": DissentFacts,
    "accuracies": AccuracyFacts,
    "pairings": PairingFacts,
    "fits": FitFacts,
    "constant_inputs": ConstantInputFacts,
}
_IN_ORDER: Final[Mapping[str, type[Any]]] = {
    "twins": TwinFacts,
    "copies": CopyFacts,
    "handmade": HandmadeFacts,
    "loads": LoadFacts,
    "lifetimes": LifetimeFacts,
    "samplers": SamplerFacts,
}


class History:
    """Everything that rules and sinks may read about a run."""

    def __init__(self) -> None:
        self._tables: dict[tuple[str, str], Table] = {}
        self._events: dict[tuple[str, str], EventLog] = {}
        self.parameters: dict[str, ParameterFacts] = {}
        self.layers: dict[str, LayerFacts] = {}
        self.modes: dict[str, ModeFacts] = {}
        self.optimizers: dict[str, OptimizerFacts] = {}
        self.losses: dict[str, LossFacts] = {}
        self.probes: dict[str, ProbeFacts] = {}
        self.evaluations: dict[str, EvaluationFacts] = {}
        self.leaves: dict[str, LeafFacts] = {}
        self.symmetric: dict[str, SymmetryFacts] = {}
        self.twins: list[TwinFacts] = []
        self.copies: list[CopyFacts] = []
        self.handmade: list[HandmadeFacts] = []
        self.loads: list[LoadFacts] = []
        self.labels: dict[str, LabelFacts] = {}
        self.objectives: dict[str, ObjectiveFacts] = {}
        self.lifetimes: list[LifetimeFacts] = []
        self.samplers: list[SamplerFacts] = []
        self.schedulers: dict[str, SchedulerFacts] = {}
        self.targets: dict[str, TargetFacts] = {}
        self.pairs: dict[str, PairFacts] = {}
        self.evaluated: dict[str, EvaluationRows] = {}
        self.inputs: dict[str, InputFacts] = {}
        self.neighbours: dict[str, NeighbourFacts] = {}
        self.dissents: dict[str, DissentFacts] = {}
        self.accuracies: dict[str, AccuracyFacts] = {}
        self.pairings: dict[str, PairingFacts] = {}
        self.fits: dict[str, FitFacts] = {}
        self.constant_inputs: dict[str, ConstantInputFacts] = {}
        self.run = RunFacts()

    # -- writing --------------------------------------------------------------------------------

    def record(self, quantity: Quantity, step: int, row: Mapping[str, float], *, clock: str = "") -> None:
        """Adds the values of `quantity` at `step` of `clock`, by scope. Non-finite values are stored as inf.

        Args:
            clock: name of the optimizer whose steps are counted; "" counts those of the whole run.
        """
        table = self._tables.get((quantity, clock))
        if table is None:
            table = self._tables[quantity, clock] = new_table(quantity)
        table.append(step, row)

    def note(self, kind: EventKind, step: int, scope: str, **detail: Any) -> None:
        """Adds an event."""
        if kind not in EVENT_KINDS:
            raise HistoryError(f"unknown event {kind!r}; history/_names.py lists them")
        log = self._events.setdefault((kind, scope), EventLog())
        log.append(Event(step, kind, scope, detail))

    # -- reading --------------------------------------------------------------------------------

    def scopes(self, quantity: Quantity) -> tuple[str, ...]:
        """The scopes for which `quantity` was ever recorded, in order of first appearance."""
        return tuple(dict.fromkeys(scope for _, table in self.tables(quantity) for scope in table.scopes))

    def series(self, quantity: Quantity, scope: str) -> Series:
        """All kept values of one quantity of one scope; empty if there are none.

        Of a scope that was seen under several clocks, the one with most values.
        """
        found = [table.series(scope) for _, table in self.tables(quantity)]
        return max(found, key=len, default=Series(np.zeros(0, dtype=np.int64), np.zeros(0)))

    def aligned(self, *quantities: Quantity, scope: str) -> tuple[Ints, tuple[Floats, ...]]:
        """Steps at which all `quantities` were observed for `scope`, and their values there."""
        found = [self.series(quantity, scope) for quantity in quantities]
        steps = found[0].steps
        for series in found[1:]:
            steps = np.intersect1d(steps, series.steps, assume_unique=True)
        return steps, tuple(s.values[np.isin(s.steps, steps)] for s in found)

    def tables(self, quantity: Quantity) -> Iterator[tuple[str, Table]]:
        """The clocks and tables of `quantity`."""
        for (its_quantity, clock), table in self._tables.items():
            if its_quantity == quantity:
                yield clock, table

    def events(self, kind: EventKind, scope: str | None = None) -> Iterator[Event]:
        """The kept events of a kind (the first and the latest ones), scope by scope, in order."""
        for (its_kind, its_scope), log in self._events.items():
            if its_kind == kind and scope in (None, its_scope):
                yield from log.first
                yield from log.latest

    def count(self, kind: EventKind, scope: str | None = None) -> int:
        """How many events of a kind there were, kept or not."""
        return sum(
            log.total
            for (its_kind, its_scope), log in self._events.items()
            if its_kind == kind and scope in (None, its_scope)
        )

    # -- to and from plain data (storage.py does the I/O) ---------------------------------------------

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The history as JSON-compatible data and numeric arrays: views of it, to be stored at once."""
        arrays: dict[str, NDArray[Any]] = {}
        tables: list[dict[str, Any]] = []
        for number, ((quantity, clock), table) in enumerate(self._tables.items()):
            tables.append({"quantity": quantity, "clock": clock, "scopes": list(table.scopes)})
            arrays[f"steps{number}"] = table.steps
            arrays[f"values{number}"] = table.values
        data = {
            "tables": tables,
            "events": [
                {"total": log.total, "events": [vars(e) for e in (*log.first, *log.latest)]}
                for log in self._events.values()
            ],
            **{name: {key: vars(facts) for key, facts in getattr(self, name).items()} for name in _BY_NAME},
            **{name: [vars(facts) for facts in getattr(self, name)] for name in _IN_ORDER},
            "run": vars(self.run),
        }
        return data, arrays

    @classmethod
    def from_arrays(cls, data: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> History:
        """The inverse of `to_arrays`; unknown fields of a newer version are ignored.

        Raises:
            KeyError, TypeError, ValueError: the data was not written by `to_arrays`.
        """
        history = cls()
        for number, stored in enumerate(data["tables"]):
            if stored["quantity"] in QUANTITIES:
                table = new_table(stored["quantity"])
                table.restore(stored["scopes"], arrays[f"steps{number}"], arrays[f"values{number}"])
                history._tables[stored["quantity"], stored["clock"]] = table
        for log in data["events"]:
            restored = EventLog()
            for event in (_known(Event, e) for e in log["events"]):
                restored.append(event)
                history._events[event.kind, event.scope] = restored
            restored.total = log["total"]
        for name, kind in _BY_NAME.items():
            getattr(history, name).update({key: _known(kind, facts) for key, facts in data.get(name, {}).items()})
        for name, kind in _IN_ORDER.items():
            getattr(history, name).extend(_known(kind, facts) for facts in data.get(name, []))
        history.run = _known(RunFacts, data["run"])
        return history


def _known(cls: type[Any], data: Mapping[str, Any]) -> Any:
    """An object of the dataclass `cls` from those of its fields that `data` has; JSON knows lists, no tuples."""
    known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
    tuples = {f.name for f in fields(cls) if str(f.type).startswith("tuple")}
    return cls(**{name: tuple(value) if name in tuples else value for name, value in known.items()})
