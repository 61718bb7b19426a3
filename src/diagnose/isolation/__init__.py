"""Experiments on somebody's model leave it as it was: copies that share no memory with it, states that are put back."""

from diagnose.isolation._copies import Copier, wide_constants
from diagnose.isolation._draws import NarrowDraws
from diagnose.isolation._state import State

__all__ = ["Copier", "NarrowDraws", "State", "wide_constants"]
