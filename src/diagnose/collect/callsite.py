"""Whose line of code is running: the user's file and line behind a call into torch."""

from __future__ import annotations

import os
import sys
import sysconfig
from types import CodeType, FrameType
from typing import Final, NamedTuple

import torch
from torch.optim import Optimizer

_TORCH: Final = os.path.dirname(torch.__file__) + os.sep
_OURS: Final = os.path.dirname(os.path.dirname(__file__)) + os.sep
_LIBRARIES: Final = tuple(
    {sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_OPTIMIZERS: Final = Optimizer.profile_hook_step.__code__.co_filename
_MAX_DEPTH: Final = 64
# The user's own modes stand between the line that calls a function and the function.
_INTERPOSED: Final = frozenset({"__torch_function__", "__torch_dispatch__"})


class CallSite(NamedTuple):
    """A line of source; file as Python names it."""

    file: str
    line: int


# Hashing a code object hashes its constants and its bytecode; its address is as good while we keep it alive.
# Code objects are few and live as long as their module.
_alive: dict[int, CodeType] = {}


def code_id(code: CodeType) -> int:
    """A cheap key that stands for a code object for as long as the process lives."""
    key = id(code)
    if key not in _alive:
        _alive[key] = code
    return key


# 0 torch or ours, 1 a library, 2 the user's own code.
_origins: dict[int, int] = {}


def is_ours_or_torchs(code: CodeType) -> bool:
    """Whether this is code of torch, of ours, or of nobody."""
    return _origin(code) == 0


def _origin(code: CodeType) -> int:
    origin = _origins.get(id(code))
    if origin is None:
        origin = _origins[code_id(code)] = _origin_of_file(code.co_filename) if code.co_name not in _INTERPOSED else 0
    return origin


def _origin_of_file(name: str) -> int:
    if name.startswith(_LIBRARIES) and not name.startswith((_TORCH, _OURS)):
        return 1
    # "<frozen importlib>" and the like are nobody's; what was typed in or passed with -c is the user's.
    is_nobodys = name.startswith("<") and not name.startswith(("<ipython", "<stdin", "<string"))
    return 0 if is_nobodys or name.startswith((_TORCH, _OURS)) else 2


def user_frame(above: str = "") -> FrameType | None:
    """The innermost frame of the user's own code; else of a library that is not torch; else None.

    Args:
        above: a file of ours that calls the user's code: what called that is not looked at.
    """
    frame: FrameType | None = sys._getframe(1)
    library: FrameType | None = None
    for _ in range(_MAX_DEPTH):
        if frame is None or frame.f_code.co_filename == above:
            break
        origin = _origin(frame.f_code)
        if origin == 2:
            return frame
        if origin == 1 and library is None:
            library = frame
        frame = frame.f_back
    return library


def call_site(above: str = "") -> CallSite | None:
    """File and line of `user_frame(above)`."""
    frame = user_frame(above)
    return CallSite(frame.f_code.co_filename, frame.f_lineno) if frame else None


def call_chain() -> tuple[tuple[int, int], ...]:
    """The lines of the user's own code that are being executed, innermost first: which call of which call.

    Two data sets that are evaluated by one function have the line of the loss in common, but not the chain.
    """
    chain: list[tuple[int, int]] = []
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_MAX_DEPTH):
        if frame is None:
            break
        if _origin(frame.f_code) == 2:
            chain.append((code_id(frame.f_code), frame.f_lineno))
        frame = frame.f_back
    return tuple(chain)


def is_inside_of_a_step(optimizer: Optimizer) -> bool:
    """Whether what runs is inside of the `step` of another optimizer, as that of SAM's and Lookahead's base is."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        # The function that torch wraps every optimizer's `step` in; its first argument is the optimizer.
        if frame.f_code.co_name == "wrapper" and frame.f_code.co_filename == _OPTIMIZERS:
            stepping = frame.f_locals.get("args")
            if stepping and stepping[0] is not optimizer:
                return True
        frame = frame.f_back
    return False
