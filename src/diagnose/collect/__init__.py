"""Reads signals from PyTorch at the moments the schedule grants. The only place with hooks and patches.

`_board.py` patches torch once per process and tells every Session what happens; `session.py` times, guards
and dispatches to the collectors, one file each; `forward.py` sees the inside of a forward pass.
"""
