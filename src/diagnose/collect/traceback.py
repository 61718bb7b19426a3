"""Takes our frames out of tracebacks, so that a failing script shows the traceback of its own run."""

from __future__ import annotations

from types import TracebackType

from torch.overrides import handle_torch_function

from diagnose.collect import forward

_OURS = forward.__file__


def without_our_frames(error: BaseException) -> None:
    """Changes the tracebacks of `error` and of what it was raised from, in place.

    A Python function of torch that we have seen stands in the traceback twice: where it asked for modes, and
    where it then ran. The first, with torch's dispatch and our mode between them, goes.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = _rebuilt(error.__traceback__)
        error = error.__cause__ or error.__context__  # type: ignore[assignment]


def _rebuilt(traceback: TracebackType | None) -> TracebackType | None:
    kept: list[TracebackType] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_filename == _OURS:
            if kept and kept[-1].tb_frame.f_code is handle_torch_function.__code__:
                del kept[-2:]
        elif code.co_name != forward.STAND_IN:
            kept.append(traceback)
        traceback = traceback.tb_next
    rebuilt: TracebackType | None = None
    for entry in reversed(kept):
        rebuilt = TracebackType(rebuilt, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return rebuilt
