"""What mining returns: rankings, confusions, slices, problems of the data; shown, saved, and handed on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from diagnose.findings import Finding
from diagnose.mistakes._confusions import Confusion, confusions
from diagnose.mistakes._neighbours import Neighbourhood, neighbourhoods
from diagnose.mistakes._places import Place
from diagnose.mistakes._rankings import RANKINGS, Entry, Ranking, entries, ranked
from diagnose.mistakes._scores import Id, Scores
from diagnose.mistakes._slices import Slice
from diagnose.stats.intervals import Interval, wilson

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Examples(Protocol):
    """The examples themselves, read again when they are to be shown: only numbers are kept of them."""

    def example(self, row: int) -> Any:
        """What the data set holds at a row of the scores; None if it cannot be read again."""

    def file(self, row: int) -> str | None:
        """The file that the example came from; None if there is none, or it is unknown."""


@dataclass(frozen=True)
class Mistakes:
    """The worst mistakes of a model on some data, and what is wrong with the data behind them.

    Attributes:
        scores: a few numbers per example.
        k: how long the rankings are.
        problems: what was found about the data themselves (duplicates, other distributions, ...).
        worst_places: tokens, labels, regions or outputs, the worst first; () where examples have one place.
        slices: groups of examples with an unusual error, by columns of the metadata.
        examples: reads examples again; None if there is nothing to read.
        describe: makes a text of an example (what the data set returns for it); None: the text in it, if there is one.
        model: name of the model's class; "" if there is none.
        notes: what to know about how this was made: how examples were read, what could not be done.
    """

    scores: Scores
    k: int = 64
    problems: tuple[Finding, ...] = ()
    worst_places: tuple[Place, ...] = ()
    slices: tuple[Slice, ...] = ()
    examples: Examples | None = None
    describe: Callable[[Any], object] | None = None
    model: str = ""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        return f"<Mistakes of {self.model or 'given probabilities'} on {self.scores!r}: print it, or .save(directory)>"

    # ------------------------------------------------------------------ rankings

    @cached_property
    def confident(self) -> tuple[Entry, ...]:
        """Mistakes, the one that the model is most sure of first."""
        return self._ranked("confident")

    @cached_property
    def highest_loss(self) -> tuple[Entry, ...]:
        """The highest loss first."""
        return self._ranked("loss")

    @cached_property
    def suspects(self) -> tuple[Entry, ...]:
        """Labels that the model speaks against, the lowest margin first. Each is to be looked at, none is to be
        deleted: what they are worth says `str(mistakes)`.
        """
        return self._ranked("suspects")

    @cached_property
    def hardest(self) -> tuple[Entry, ...]:
        """Examples that the model is right about, but only just."""
        return self._ranked("hardest")

    @cached_property
    def neighbours(self) -> tuple[Neighbourhood, ...]:
        """Examples whose nearest neighbours have other labels; () if there are no embeddings."""
        return neighbourhoods(self.scores, k=self.k)

    @property
    def rankings(self) -> dict[Ranking, tuple[Entry, ...]]:
        """All rankings by name, the empty ones included."""
        return dict(zip(RANKINGS, (self.confident, self.highest_loss, self.suspects, self.hardest), strict=True))

    @cached_property
    def confusions(self) -> tuple[Confusion, ...]:
        """Pairs (given, predicted) of a classification, the most frequent first."""
        return confusions(self.scores, k=self.k)

    def _ranked(self, ranking: Ranking) -> tuple[Entry, ...]:
        return entries(self.scores, ranked(self.scores, ranking, self.k), ranking)

    # ------------------------------------------------------------------ numbers

    @cached_property
    def error(self) -> Interval | None:
        """The share of wrong examples; of places, where examples have several. None for a task without labels.

        The interval takes places for independent, which those of one example are not: it is too narrow for them.
        """
        scores = self.scores
        if not scores.has_labels or not len(scores):
            return None
        if scores.places is None or scores.wrong_places is None:
            labelled = int((scores.given != -1).sum())
            return wilson(int(scores.is_wrong.sum()), labelled) if labelled else None
        counted = int(scores.places.sum())
        return wilson(int(scores.wrong_places.sum()), counted) if counted else None

    @cached_property
    def constant(self) -> tuple[int, float] | None:
        """The most frequent class, and the error of always saying it; None if it is no classification."""
        scores = self.scores
        labels = scores.given[scores.given >= 0] if scores.task == "classification" else ()
        if not len(labels):
            return None
        found, counts = np.unique(labels, return_counts=True)
        return int(found[counts.argmax()]), 1 - int(counts.max()) / len(labels)

    @property
    def is_no_better_than_constant(self) -> bool:
        """Whether the error may be that of always saying the most frequent class, or is higher."""
        return self.error is not None and self.constant is not None and self.error.high >= self.constant[1] > 0

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What is worth knowing, the most severe first; problems of the data among them."""
        from diagnose.mistakes._findings import findings

        found = (*findings(self), *self.problems)
        return tuple(sorted(found, key=lambda finding: finding.severity.rank))

    # ------------------------------------------------------------------ the examples themselves

    @cached_property
    def _rows(self) -> dict[Id, int]:
        return {name: row for row, name in enumerate(self.scores.ids)}

    def row(self, name: Id) -> int:
        """The row of the example of that ID.

        Raises:
            KeyError: there is none.
        """
        return self._rows[name]

    def example(self, name: Id) -> Any:
        """What the data set holds under an ID, read again; None if it cannot be."""
        return None if self.examples is None else self.examples.example(self.row(name))

    def file(self, name: Id) -> str | None:
        """The file that an example came from, if the data set has a list of them."""
        return None if self.examples is None else self.examples.file(self.row(name))

    def text(self, name: Id) -> str:
        """What `describe` says of an example; without `describe` the text that it has, "" if it has none.

        Where `describe` raises, the text says so: numbers that took long to get are not given up for it.
        """
        example = self.example(name) if self.describe is not None or self._has_text else None
        if example is None:
            return ""
        if self.describe is None:
            return _text_in(example)
        try:
            said = self.describe(example)
        except Exception as error:
            return f"(describe failed: {type(error).__name__}: {error})"
        return "" if said is None else str(said)

    @cached_property
    def _has_text(self) -> bool:
        """Whether the first example has a text: the others are read for the sake of it only then."""
        return bool(len(self) and self.examples is not None and _text_in(self.examples.example(0)))

    def class_name(self, value: float) -> str:
        """A class by its name, if it is known; a number as people write it."""
        from diagnose.mistakes._lists import class_name

        return class_name(self.scores, value)

    # ------------------------------------------------------------------ output

    def __str__(self) -> str:
        from diagnose.mistakes._text import report

        return report(self)

    def _repr_html_(self) -> str:
        from diagnose.mistakes._notebook import fragment

        return fragment(self)

    def table(self, ranking: Ranking | None = None) -> Any:
        """A pandas DataFrame if pandas is installed, else a list of dicts: one row per example.

        Args:
            ranking: only the examples of this one, in its order; None: all, in the order of the data.
        """
        from diagnose.mistakes._tables import as_frame

        return as_frame(self, ranking)

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`: rankings, confusions, slices, findings; not the scores of all examples."""
        from diagnose.mistakes._saving import as_json

        return as_json(self)

    def save(self, directory: str | Path) -> Path:
        """Writes mistakes.json, mistakes.html, scores.csv, scores.parquet if pyarrow is installed, and worst.png if
        examples are pictures; returns the directory.

        Raises:
            MistakesError: it cannot be written.
        """
        from diagnose.mistakes._saving import save

        return save(self, Path(directory))

    def page(self, path: str | Path) -> Path:
        """Writes an HTML page that needs nothing else: verdict, problems, worst mistakes, suspects, confusions, slices.

        Raises:
            MistakesError: it cannot be written.
        """
        from diagnose.mistakes._page import write_page

        return write_page(self, Path(path))

    def grid(self, path: str | Path, ranking: Ranking = "confident", *, most: int = 64) -> Path:
        """Writes a PNG of the first examples of a ranking, each with what is given and predicted, and its ID.

        Raises:
            MistakesError: the examples are no pictures, or it cannot be written.
        """
        from diagnose.mistakes._grid import write_grid

        return write_grid(self, Path(path), ranking, most=most)

    def to_tensorboard(self, target: str | Path | SummaryWriter, *, step: int = 0) -> None:
        """Adds grids of pictures and the page of text to a directory, or to a SummaryWriter, which stays open.

        Raises:
            MistakesError: it cannot be written.
        """
        from diagnose.mistakes._tensorboard import write_tensorboard

        write_tensorboard(self, target, step=step)

    def to_cleanlab(self) -> dict[str, Any]:
        """What cleanlab works with: "labels", "pred_probs" and "issues", as `cleanlab.classification` has them.

        Raises:
            MistakesError: it is no classification, or its probabilities were not kept.
        """
        from diagnose.mistakes._cleanlab import to_cleanlab

        return to_cleanlab(self)


def _text_in(example: Any) -> str:
    """The first text among the inputs of an example."""
    if isinstance(example, Mapping):
        items = list(example.values())
    elif isinstance(example, list | tuple) and len(example) > 1:
        items = list(example[:-1])  # the last one is the target
    else:
        items = [example]
    return next((item for item in items if isinstance(item, str)), "")
