"""The worst mistakes of a model, and what is wrong with the data behind them."""

from diagnose.mistakes._confusions import Confusion
from diagnose.mistakes._inspector import Inspector, compare
from diagnose.mistakes._mine import mine_mistakes
from diagnose.mistakes._mistakes import Examples, Mistakes
from diagnose.mistakes._places import Place
from diagnose.mistakes._problem import Problem
from diagnose.mistakes._rankings import Entry
from diagnose.mistakes._scores import Scores
from diagnose.mistakes._slices import Slice
from diagnose.mistakes._tracked import TrackedExamples, scores_of

__all__ = [
    "Confusion",
    "Entry",
    "Examples",
    "Inspector",
    "Mistakes",
    "Place",
    "Problem",
    "Scores",
    "Slice",
    "TrackedExamples",
    "compare",
    "mine_mistakes",
    "scores_of",
]
