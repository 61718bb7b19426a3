"""Run a Python program as `python SCRIPT ARGS` would, in this process and in its genuine `__main__`.

Knows nothing about diagnosis: it says when the program has imported torch and how the program has
ended, and otherwise stays out of sight. Everything here imports only what a bare `python -c ''` has
loaded already, so that the program starts with the interpreter that it would have had: no NumPy that
has read `OMP_NUM_THREADS`, no `queue` of the standard library where its folder holds a `queue.py`.
"""

from diagnose.program.imports import own_imports
from diagnose.program.running import Program, ProgramError, run, traceback_hooks

__all__ = ["Program", "ProgramError", "own_imports", "run", "traceback_hooks"]
