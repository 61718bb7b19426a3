"""The worst places met so far, kept in a bounded list while batches go by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from diagnose.mistakes._places import Place
from diagnose.mistakes._plan import Plan
from diagnose.mistakes._scores import Id
from diagnose.mistakes._scoring import Places

CONTEXT: Final = 24
"""Tokens shown before a surprising one."""


class Worst:
    """The `k` worst places of all batches that were added.

    Labels, tokens and outputs are ordered by their loss. Images have regions in place of pixels: see `_regions`.
    """

    def __init__(self, plan: Plan, k: int) -> None:
        self._plan, self._k = plan, k
        self._found: list[tuple[float, int, Place]] = []
        self._count = 0

    def add(
        self, places: Places, ids: Sequence[Id], first_row: int, shape: tuple[int, ...], tokens: Tensor | None
    ) -> None:
        """Takes the places of a batch in.

        Args:
            ids: of its examples.
            first_row: of the batch in the scores.
            shape: of the targets of one example.
            tokens: shape (B, T), what a language model was given.
        """
        if self._plan.task == "segmentation":
            from diagnose.mistakes._regions import regions

            found = regions(places, ids, first_row, shape, self._k)
        else:
            found = self._tokens(places, ids, first_row, tokens)
        for rank, place in found:
            self._found.append((-rank, self._count, place))
            self._count += 1
        self._found = sorted(self._found)[: self._k]

    def places(self) -> tuple[Place, ...]:
        """The worst first."""
        return tuple(place for _, _, place in self._found)

    def _tokens(
        self, places: Places, ids: Sequence[Id], first_row: int, tokens: Tensor | None
    ) -> list[tuple[float, Place]]:
        amount = torch.where(places.counted, places.loss.nan_to_num(torch.inf), -1).flatten()
        losses, flat = amount.topk(min(self._k, len(amount)))
        width = places.counted.shape[1]
        found = []
        for loss, index in zip(losses.tolist(), flat.tolist(), strict=True):
            if loss < 0:
                break
            row, position = divmod(index, width)
            found.append((loss, self._place(places, row, position, ids, first_row, tokens)))
        return found

    def _place(
        self, places: Places, row: int, position: int, ids: Sequence[Id], first_row: int, tokens: Tensor | None
    ) -> Place:
        values = self._plan.outputs == "values"
        # Of a shifted model the place is where the token stands, one after the one that predicts it.
        shown = position + int(self._plan.shifted)
        context: tuple[int, ...] = ()
        if self._plan.task == "language-model" and tokens is not None:
            context = tuple(tokens[row, max(position + 1 - CONTEXT, 0) : position + 1].tolist())
        return Place(
            id=ids[row],
            row=first_row + row,
            position=shown,
            given=places.given[row, position].item(),
            predicted=places.predicted[row, position].item(),
            loss=float(places.loss[row, position]),
            confidence=None if values else float(places.confidence[row, position]),
            margin=None if values else float(places.margin[row, position]),
            context=context,
        )
