"""SIGTERM and SIGHUP, which end a plain Python program on the spot: report first, then end so too.

The program must not notice. It is told that the disposition is still `SIG_DFL`, a handler of its own
replaces ours as it would replace `SIG_DFL`, and its child processes never have ours.

One difference remains. Python runs a handler between two bytecodes of the main thread, so a program
that sits in one long call into C ends only when that call returns.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # not `signal`, which is 11 ms of `enum` and others
import _thread
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Windows has no SIGHUP.
_CAUGHT: list[int] = [getattr(_signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(_signal, name)]


class _Handler(int):
    """A signal handler that the `signal` module shows as `SIG_DFL`.

    Programs keep the handler that they replace and call it, if it can be called, at the end of their
    own; ours would end the process there. `signal.signal` and `signal.getsignal` turn what is an int
    into the enum, and `SIG_DFL` is 0.

    Before 3.10.11 and 3.11.3 the C code takes this for SIG_DFL itself, and a signal ends the process
    without a report, as in plain Python.
    """

    before_end: Callable[[int], bool]

    def __call__(self, number: int, frame: object) -> None:
        _signal.signal(number, _signal.SIG_DFL)  # The next one ends the process at once.
        if self.before_end(number):
            end_by(number)


def catch(before_end: Callable[[int], bool]) -> _Handler:
    """Install a handler where a signal would end the process, and return it for `release`.

    Args:
        before_end: called with the number of the signal before the process ends by it; False if the
            process shall go on for now.
    """
    handler = _Handler(_signal.SIG_DFL)
    handler.before_end = before_end
    try:
        for number in _CAUGHT:
            # Not where it is ignored (nohup), nor where another handler is at work.
            if _signal.getsignal(number) == _signal.SIG_DFL:
                _signal.signal(number, handler)
    except ValueError:  # not in the main thread, where alone Python handles signals
        return handler
    if hasattr(os, "register_at_fork"):
        _keep_from_forks(handler)
    return handler


def release(handler: _Handler) -> None:
    """Put SIG_DFL back where the program has not put something else."""
    _reset(handler)
    # What is registered for forks stays for good, and the handler with it; what it would call need not.
    handler.before_end = bool


def end_by(number: int) -> None:
    """End this process by a signal, as if it had never been caught."""
    _signal.signal(number, _signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _still(handler: _Handler) -> list[int]:
    return [number for number in _CAUGHT if _signal.getsignal(number) is handler]


def _reset(handler: _Handler) -> None:
    for number in _still(handler):
        _signal.signal(number, _signal.SIG_DFL)


def _keep_from_forks(handler: _Handler) -> None:
    """Give forked children SIG_DFL, so that `Process.terminate()` ends a worker at once.

    The signals have to wait while a process forks: one that reached the child before it has SIG_DFL
    back would be noted for a handler, and forgotten.
    """
    masks: dict[int, Any] = {}  # by thread: two may fork at once

    def block() -> None:
        if _still(handler):
            masks[_thread.get_ident()] = _signal.pthread_sigmask(_signal.SIG_BLOCK, _CAUGHT)

    def unblock() -> None:
        mask = masks.pop(_thread.get_ident(), None)
        if mask is not None:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)

    def reset_and_unblock() -> None:
        _reset(handler)
        unblock()

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=reset_and_unblock)
