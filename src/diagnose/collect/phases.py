"""Which evaluation phases are looked at: all of the first ones, then fewer.

A program may evaluate once per epoch or once per step, and a block without gradients may be anything: an
evaluation, a teacher, an average of weights, part of an optimizer. So each place in the program is tried out, one
that shows nothing is left in peace, and one that is met all the time is looked at ever more rarely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

Place: TypeAlias = tuple[int, int]

MODEL_EVAL: Final[Place] = (0, 0)
"""The place of all calls of `model.eval()`, wherever they are made."""

_ALL_OF: Final = 16
"""So many phases of a place are looked at in any case; then one whenever the run has grown by 1/16 since the last, so
that 1,000 epochs of one step each give some 80 evaluations."""

_FRUITLESS: Final = 3
_TRIED_AGAIN: Final = 1.5
"""After 3 phases in which no model ran and no loss was seen, a place is tried again when the run has grown by half."""


@dataclass
class _Looks:
    number: int = 0
    fruitless: int = 0
    last_step: int = 0


class Phases:
    """Remembers, for each place at which an evaluation may begin, what came of looking."""

    def __init__(self) -> None:
        self._places: dict[Place, _Looks] = {}

    def worth_a_look(self, place: Place, step: int) -> bool:
        """Whether the phase that begins at `place` after `step` steps is to be looked at."""
        looks = self._places.get(place)
        if looks is None or looks.number < _FRUITLESS:
            return True
        if looks.fruitless >= _FRUITLESS:
            return step > looks.last_step * _TRIED_AGAIN
        return looks.number < _ALL_OF or step - looks.last_step >= step / _ALL_OF

    def looked(self, place: Place, step: int, *, fruitful: bool) -> None:
        """A phase that was looked at is over."""
        looks = self._places.setdefault(place, _Looks())
        looks.number += 1
        looks.last_step = step
        looks.fruitless = 0 if fruitful else looks.fruitless + 1
