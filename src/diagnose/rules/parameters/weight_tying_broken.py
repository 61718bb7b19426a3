"""weight-tying-broken."""

from __future__ import annotations

from collections.abc import Iterator

from diagnose.findings import Finding, Location, Severity
from diagnose.history import History, TwinFacts
from diagnose.rules._base import rule


@rule("weight-tying-broken")
def weight_tying_broken(history: History, *, min_steps: int = 5, min_distance: float = 1e-5) -> Iterator[Finding]:
    """An embedding and an output layer begin as the same weights, and training drives them apart.

    ## What it does
    Before the first step it compares every embedding of a model with the two-dimensional weights of other layers of
    the same shape. Two that hold the same values bit for bit, in different memory, were copied from one another. It
    speaks if an optimizer changes both, and they have been apart by more than `min_distance` = 1e-5 of their norm
    for at least `min_steps` = 5 steps.
    ## Why it matters
    Random initialisations never coincide: somebody wanted both to be one matrix. A copy (`clone()`, `.data = ...`,
    `copy_()`, a new `nn.Parameter`) ties the values once, not the parameters. The model has more parameters than
    meant, each of the two sees only its own gradients, and a checkpoint holds two different matrices.
    ## How to fix
    Let both modules hold one and the same parameter: `head.weight = embedding.weight`. Do it after everything that
    replaces parameters (initialisation, loading with `assign=True`, conversion), and build the optimizer last.
    ## Limits
    Only embeddings against other kinds of layers: layers of one kind that begin equal are common and healthy (copied
    towers, the blocks of `nn.TransformerEncoder`, target networks, experts grown from one layer). Constant tensors
    do not count, nor do copies of an embedding that is tied already, nor a layer that code sets equal after each
    step. A head that is meant to begin at the embedding and then go its own way cannot be told from the fault.
    ## Source
    Press & Wolf 2017, "Using the Output Embedding to Improve Language Models", for what tying is; issue threads on
    ties lost in conversion and loading for how it breaks. 1e-5 lies above rounding and below any step that trains;
    5 steps pass over code that ties late.
    """
    for twins in history.twins:
        if twins.parted_at is None or twins.distance <= min_distance or twins.last_step - twins.parted_at < min_steps:
            continue
        if all(_is_trained(history, name) for name in (twins.table, twins.other)):
            yield _finding(history, twins, min_distance)


def _is_trained(history: History, name: str) -> bool:
    facts = history.parameters.get(name)
    return facts is not None and bool(facts.optimizers) and facts.changed is True


def _finding(history: History, twins: TwinFacts, min_distance: float) -> Finding:
    module, table_module = (history.parameters[name].module or name for name in (twins.other, twins.table))
    return Finding(
        "weight-tying-broken",
        Severity.WARNING,
        f"{twins.other} began as a copy of {twins.table} and is trained apart from it: after "
        f"{twins.last_step} steps they differ by {twins.distance:.2g} of their norm",
        Location(module=module, parameter=twins.other),
        twins.parted_at,
        twins.last_step,
        {
            "embedding": twins.table,
            "other": twins.other,
            "distance": twins.distance,
            "min_distance": min_distance,
        },
        cause="The values were copied once; the two modules hold different parameters.",
        remedy=f"Share the parameter: {module}.weight = {table_module}.weight, before the optimizer is built. If the "
        "two are meant to begin equal and part, ignore this.",
    )
