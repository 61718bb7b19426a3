"""Checks back-propagated gradients against centered differences, for functions and for whole models.

problem      what is differentiated: named slots of real numbers in, real numbers out, state put back
differences  both derivatives along a direction, and the noise of their difference
examine      one direction: steps, retries, kinks
screen       a few random directions per tensor
localise     the elements that are wrong
judge        the verdict on each tensor; suspect: the module whose backward it is
"""

from diagnose.gradcheck._check import check_gradients
from diagnose.gradcheck._localise import Element
from diagnose.gradcheck._report import Entry, GradientReport, Suspect

__all__ = ["Element", "Entry", "GradientReport", "Suspect", "check_gradients"]
