"""What is known about a run: bounded series, events and facts. Pure data, no torch.

Collectors append, rules read. A *quantity* ("grad_rms") is measured for many *scopes* ("fc1.weight")
at the same step, so the values of one quantity are kept as one table: a row per recorded step, a column
per scope. One append per quantity and step, whatever the number of parameters.

Memory: a table holds at most `capacity` rows, so a run with P parameters and L layers keeps at most
8 * DETAIL_ROWS * (6 P + 14 L) bytes of detail, however long it runs; the loss keeps LOSS_ROWS rows a stream.

Three conventions of every table:
- NaN means "not observed at this step". A statistic that came out non-finite is stored as inf.
- A step is the number of steps that the optimizer concerned had made when this one ended: 1 is the first.
- Each optimizer has its own clock (a critic makes five steps where its generator makes one), so a quantity
  has one table per clock. A scope lives in one of them; readers need not know which.
"""

from diagnose.history._facts import (
    AccuracyFacts,
    ConstantInputFacts,
    Container,
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
from diagnose.history._history import History
from diagnose.history._names import EVENT_KINDS, QUANTITIES, EventKind, Quantity
from diagnose.history._tables import (
    DETAIL_ROWS,
    EVENTS_KEPT,
    LOSS_ROWS,
    ROWS,
    Event,
    EventLog,
    Floats,
    Ints,
    Series,
    Table,
)

__all__ = [
    "DETAIL_ROWS",
    "EVENTS_KEPT",
    "EVENT_KINDS",
    "LOSS_ROWS",
    "QUANTITIES",
    "ROWS",
    "AccuracyFacts",
    "ConstantInputFacts",
    "Container",
    "CopyFacts",
    "DissentFacts",
    "EvaluationFacts",
    "EvaluationRows",
    "Event",
    "EventKind",
    "EventLog",
    "FitFacts",
    "Floats",
    "HandmadeFacts",
    "History",
    "InputFacts",
    "Ints",
    "LabelFacts",
    "LayerFacts",
    "LeafFacts",
    "LifetimeFacts",
    "LoadFacts",
    "LossFacts",
    "ModeFacts",
    "NeighbourFacts",
    "ObjectiveFacts",
    "OptimizerFacts",
    "PairFacts",
    "PairingFacts",
    "ParameterFacts",
    "ProbeFacts",
    "Quantity",
    "RunFacts",
    "SamplerFacts",
    "SchedulerFacts",
    "Series",
    "SymmetryFacts",
    "Table",
    "TargetFacts",
    "TwinFacts",
]
