"""The worst mistakes of a model, and what is wrong with the data behind them."""

from diagnose.mistakes._inspector import Inspector, compare
from diagnose.mistakes._problem import Problem

__all__ = ["Inspector", "Problem", "compare"]
