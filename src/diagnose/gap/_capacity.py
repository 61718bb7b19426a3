"""What each hyperparameter does to the capacity of a model, as data: Goodfellow et al., table 11.1, and some more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal[
    "hidden-units",
    "depth",
    "learning-rate",
    "kernel-width",
    "zero-padding",
    "weight-decay",
    "dropout",
    "epochs",
    "batch-size",
    "momentum",
    "augmentation",
]
Direction: TypeAlias = Literal["increased", "decreased", "tuned"]


@dataclass(frozen=True)
class Row:
    """One hyperparameter.

    Attributes:
        kind: which.
        more: what to do with it for more capacity.
        reason: why that raises the capacity.
        cost: in time and memory.
        caveat: when it does not help, or harms.
        in_table: whether it is a row of table 11.1; else of the text of chapter 11.
    """

    kind: Kind
    more: Direction
    reason: str
    cost: str
    caveat: str
    in_table: bool = True


TABLE: Final[dict[str, Row]] = {
    row.kind: row
    for row in (
        Row(
            "hidden-units",
            "increased",
            "more hidden units let the model represent more functions",
            "time and memory of almost every operation grow, with the square of the width between two hidden layers",
            "with more units the gap may grow: keep the regularisation, and tune it again",
        ),
        Row(
            "depth",
            "increased",
            "another layer lets the model compose what the layers before it have found",
            "time and memory grow with the number of layers",
            "deep stacks without normalisation or skip connections are harder to optimise",
            in_table=False,
        ),
        Row(
            "learning-rate",
            "tuned",
            "an improper learning rate, too high or too low, gives a model of low effective capacity: the optimisation "
            "fails",
            "none per step",
            "the training error as a function of the learning rate is U-shaped, and rises sharply above the optimum",
        ),
        Row(
            "kernel-width",
            "increased",
            "a wider convolution kernel has more parameters, and sees more of the neighbourhood",
            "time and memory grow with the square of the width; the narrower output without padding saves some",
            "a wider kernel gives a narrower output, which lowers the capacity again, unless zeros are padded",
        ),
        Row(
            "zero-padding",
            "increased",
            "implicit zeros before a convolution keep the representation large, and its borders in it",
            "time and memory of most operations grow",
            "padded borders are artificial; with one or two layers on large images it hardly matters",
        ),
        Row(
            "weight-decay",
            "decreased",
            "a smaller coefficient frees the parameters to become larger",
            "none",
            "the gap may grow; in AdamW the decay is multiplied with the learning rate, and .01 is mild",
        ),
        Row(
            "dropout",
            "decreased",
            "dropping units less often gives them more opportunities to conspire to fit the training set",
            "none per step",
            "the gap may grow",
        ),
        Row(
            "epochs",
            "increased",
            "an optimisation that is cut short has not used the capacity that the model has",
            "time grows in proportion",
            "past the best validation error the gap grows: keep the best checkpoint",
            in_table=False,
        ),
        Row(
            "batch-size",
            "tuned",
            "smaller batches make more steps in an epoch, larger ones make less noisy steps",
            "larger batches need memory",
            "the learning rate has to be tuned again with it",
            in_table=False,
        ),
        Row(
            "momentum",
            "tuned",
            "momentum speeds up the optimisation along shallow directions",
            "one more copy of the parameters",
            "with it the best learning rate is lower: at .9 about ten times",
            in_table=False,
        ),
        Row(
            "augmentation",
            "decreased",
            "less of it makes the training examples easier to fit",
            "the changed examples have to be computed",
            "the gap may grow; only changes that keep the label are augmentation",
            in_table=False,
        ),
    )
}
"""By kind. Source: Goodfellow, Bengio & Courville, "Deep Learning", 2016, table 11.1 and sections 11.3 and 11.4."""
