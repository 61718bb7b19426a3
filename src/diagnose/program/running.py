"""The run itself: become the program, execute it, end as it would have ended.

What the interpreter does in C around a script is done here step by step (`Modules/main.c`,
`Python/pythonrun.c`): `sys.path`, `__main__`, the traceback of an uncaught exception, the exit code,
the wait for threads. What comes after `run` (atexit, the last flush, SIGINT to itself) is left to the
interpreter, which does it for us as it would for the program.
"""

from __future__ import annotations

import builtins
import io
import os
import sys
from _frozen_importlib import BuiltinImporter
from _frozen_importlib_external import MAGIC_NUMBER, SourceFileLoader, SourcelessFileLoader

from diagnose.errors import DiagnoseError
from diagnose.program import signals
from diagnose.program.imports import ImportHook, hide_from_program, own_imports, puts_folder_first

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Literal, NoReturn

    Ending = Literal["finished", "exit", "exception", "interrupt", "signal"]


class Program:
    """What to run. Immutable.

    A frozen dataclass in all but name: `dataclasses` is 20 ms, and 20 modules before the program's own.

    Attributes:
        target: the path of a script, or of a folder or zip file with a `__main__.py`, or a module's name.
        args: what the program finds in `sys.argv[1:]`.
        is_module: the target is a module's dotted name, as in `python -m`.
    """

    __slots__ = ("args", "is_module", "target")
    __match_args__ = ("target", "args", "is_module")

    target: str
    args: tuple[str, ...]
    is_module: bool

    def __init__(self, target: str, args: tuple[str, ...], is_module: bool = False) -> None:
        for name, value in (("target", target), ("args", args), ("is_module", is_module)):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cannot assign to {name!r}: a Program does not change")

    def __repr__(self) -> str:
        return f"Program(target={self.target!r}, args={self.args!r}, is_module={self.is_module!r})"

    def __eq__(self, other: object) -> bool:
        return repr(self) == repr(other) if isinstance(other, Program) else NotImplemented

    def __hash__(self) -> int:
        return hash(repr(self))


class ProgramError(DiagnoseError):
    """There is nothing to run: no such script or module. Nothing has been run; the exit code is 2."""


traceback_hooks: list[Callable[[BaseException], None]] = []
"""Called with an uncaught exception before it is printed, to take frames of a watcher's out of its traceback."""


def run(program: Program, *, attach: Callable[[], None], conclude: Callable[[str], int | None]) -> int:
    """Run the program to its end, and return the exit code of the process.

    To be called in the main thread, once, and last: `sys.argv`, `sys.path` and `__main__` become the
    program's and stay so, as its atexit callbacks need them.

    Args:
        program: what to run.
        attach: called once, when the program's first `import torch` is done, in the thread and the
            import where that is; at once if torch is there already; never without torch. If it raises,
            a line on stderr says so, and the program goes on.
        conclude: called once with how the program has ended: "finished", "exit" (`SystemExit`),
            "exception", "interrupt" (`KeyboardInterrupt`) or "signal" (SIGTERM, SIGHUP). Returns None,
            or an exit code, which counts if the program's own is 0. If it raises, a line on stderr
            says so. It must flush what it prints.
            After "signal" it runs inside a signal handler, between any two steps of the program, and
            the process ends when it returns. Otherwise the program's threads have ended by then, and
            a `concurrent.futures` executor takes no more work.

    Raises:
        ProgramError: there is nothing to run; `conclude` is not called.
        KeyboardInterrupt: the program did not handle Ctrl-C. It is printed and concluded. Let it pass:
            at the top, silently, the interpreter ends the process by SIGINT, as it does for any program.
    """
    body = _become(program)
    conclusion = _Conclusion(conclude)
    hook = ImportHook("torch", _only_here(attach))
    handler = signals.catch(conclusion.at_signal)
    try:
        if "torch" in sys.modules:
            hook.then()
        else:
            hook.install()
        ending, code, interrupt = _execute(body)
        _wait_for_threads()
        verdict = conclusion.reach(ending)
    finally:
        hook.remove()
        signals.release(handler)
    conclusion.end_if_signalled()
    if ending != "exit":
        _forget_file()
    if interrupt is not None:
        _pass_to_the_top(interrupt)
    return verdict if code == 0 and verdict is not None else code


# ------------------------------------------------------------------ becoming the program


def _become(program: Program) -> Callable[[], None]:
    """Set up `sys.argv`, `sys.path` and `__main__` for the program; returns what executes it."""
    folder, body = _plan(program)
    # Python has put a folder first for us, unless told not to; the program's takes its place. A folder
    # or zip file that is run comes first in any case.
    others = sys.path[1:] if puts_folder_first() else sys.path[:]
    is_container = not program.is_module and _is_container(_full_path(program.target))
    sys.path[:] = [folder, *others] if puts_folder_first() or is_container else others
    # "-m" until runpy has found the module: that is what the packages around it see.
    sys.argv = ["-m" if program.is_module else program.target, *program.args]
    hide_from_program(others)

    main = type(sys)("__main__")
    main.__loader__ = BuiltinImporter  # what `__main__` has before a script is read
    vars(main).update(__annotations__={}, __builtins__=builtins)
    sys.modules["__main__"] = main
    return body


def _plan(program: Program) -> tuple[str, Callable[[], None]]:
    """The folder that the program's imports look into first, and what executes it. Changes nothing."""
    target = program.target
    if program.is_module:
        return os.getcwd(), lambda: _run_by_runpy(target, target, is_module=True)
    path = _full_path(target)
    if _is_container(path):
        return path, lambda: _run_by_runpy("__main__", target, is_module=False)
    source = _read(target)
    # The folder of the file itself where the path is a symbolic link.
    return os.path.dirname(os.path.realpath(target)), lambda: _run_script(path, source)


def _full_path(target: str) -> str:
    # Not `os.path.abspath`, which tidies up: `__file__` and tracebacks show the path as given.
    return target if os.path.isabs(target) else os.path.join(os.getcwd(), target)


def _is_container(path: str) -> bool:
    """Whether modules can be imported from it, as from a folder or zip file: its `__main__.py` is run."""
    for hook in sys.path_hooks:
        try:
            hook(path)
        except ImportError:
            continue
        return True
    return False


def _read(script: str) -> bytes:
    try:
        with io.open_code(_full_path(script)) as file:
            return file.read()
    except OSError as error:
        raise ProgramError(
            f"cannot open the script {script!r}: {error.strerror} (current folder: {os.getcwd()})\n"
            "Check the path. A module, which has a dotted name and no path, is run with -m."
        ) from None


def _run_script(path: str, source: bytes) -> None:
    main = sys.modules["__main__"]
    main.__file__ = path
    vars(main)["__cached__"] = None
    if path.endswith(".pyc") or source.startswith(MAGIC_NUMBER):
        main.__loader__ = SourcelessFileLoader("__main__", path)
        code: Any = main.__loader__.get_code("__main__")
    else:
        main.__loader__ = SourceFileLoader("__main__", path)
        # From bytes, so that the encoding cookie counts; without the `from __future__` of this file.
        code = compile(source, path, "exec", dont_inherit=True)
    exec(code, vars(main))


def _run_by_runpy(name: str, target: str, *, is_module: bool) -> None:
    """Call what the interpreter itself calls for `python -m NAME` and for `python FOLDER`."""
    with own_imports():
        import runpy
    try:
        runpy._run_module_as_main(name, is_module)  # type: ignore[attr-defined]
        return
    except SystemExit as stop:
        # The program's own, or runpy's, which ends this way where it finds no module.
        if not isinstance(stop.__context__, runpy._Error):  # type: ignore[attr-defined]
            raise
        reason = str(stop.__context__)
    advice = (
        f"Check the name, and the current folder ({os.getcwd()}). A script is run by its path, without -m."
        if is_module
        else "A folder or zip file is run by the __main__.py in it. Give the path of a script to run that."
    )
    raise ProgramError(f"cannot run {target!r}: {reason}\n{advice}")


# ------------------------------------------------------------------ running and ending


def _execute(body: Callable[[], None]) -> tuple[Ending, int, KeyboardInterrupt | None]:
    """How the program has ended, its exit code, and the Ctrl-C that is to end the process, if any."""
    try:
        body()
        return "finished", 0, None
    except ProgramError:
        raise
    except SystemExit as stop:
        return "exit", _exit_code(stop), None
    except BaseException as error:
        failure = error
    # Outside of the `except`: an excepthook finds `sys.exc_info()` empty.
    code = _print_uncaught(failure)
    if type(failure) is not KeyboardInterrupt:  # For the interpreter, a subclass is like any other.
        return "exception", 1 if code is None else code, None
    return "interrupt", code or 0, failure if code is None else None


def _exit_code(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code
    _write_stderr(f"{stop.code}\n")
    return 1


def _print_uncaught(error: BaseException) -> int | None:
    """Print it as the interpreter does; returns an exit code if the program's excepthook exits."""
    _trim(error)
    _remember(error)
    hook = getattr(sys, "excepthook", None)
    if hook is None:
        _write_stderr("sys.excepthook is missing\n")
        hook = sys.__excepthook__
    try:
        hook(type(error), error, error.__traceback__)
        return None
    except SystemExit as stop:
        return _exit_code(stop)
    except BaseException as second:
        failure = second
    _write_stderr("Error in sys.excepthook:\n")
    _trim(failure)
    sys.__excepthook__(type(failure), failure, failure.__traceback__)
    _write_stderr("\nOriginal exception was:\n")
    sys.__excepthook__(type(error), error, error.__traceback__)
    return None


def _trim(error: BaseException) -> None:
    """Take our frames off the beginning of the traceback."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_globals is globals():
        traceback = traceback.tb_next
    error.__traceback__ = traceback
    for hook in traceback_hooks:
        hook(error)


def _remember(error: BaseException) -> None:
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    if sys.version_info >= (3, 12):
        sys.last_exc = error


def _wait_for_threads() -> None:
    """Wait for the program's threads with the function that the interpreter calls a moment later."""
    threading: Any = sys.modules.get("threading")
    if threading is None:
        return
    try:
        threading._shutdown()
        return
    except BaseException as error:  # Ctrl-C, most likely
        failure = error
    threading._shutdown = lambda: None  # or the interpreter would begin to wait again
    _trim(failure)
    _write_stderr(f"Exception ignored in: {threading!r}\n")
    sys.__excepthook__(type(failure), failure, failure.__traceback__)


def _forget_file() -> None:
    """The interpreter does this after a script, except after `SystemExit`: atexit callbacks see it."""
    main = sys.modules.get("__main__")
    if main is not None and getattr(main, "__spec__", None) is None:
        vars(main).pop("__file__", None)
        vars(main).pop("__cached__", None)


def _pass_to_the_top(interrupt: KeyboardInterrupt) -> NoReturn:
    """Raise it once more, for the interpreter alone: the user has seen it.

    A `kill` from here would skip the program's atexit callbacks, and lose what it has written to files
    but not yet flushed.
    """
    shown, traceback = getattr(sys, "excepthook", sys.__excepthook__), interrupt.__traceback__

    def silent(kind: type[BaseException], error: BaseException, last: TracebackType | None) -> None:
        sys.excepthook = shown
        if error is interrupt:
            error.__traceback__ = traceback
            _remember(error)
        else:
            shown(kind, error, last)

    sys.excepthook = silent
    raise interrupt


class _Conclusion:
    """Calls `conclude` once, and in this process: a forked child that runs to the end too has none."""

    def __init__(self, conclude: Callable[[str], int | None]) -> None:
        self._conclude = conclude
        self._process = os.getpid()
        self._begun = False
        self._done = False
        self._signal: int | None = None

    def reach(self, ending: Ending) -> int | None:
        """The verdict of `conclude`; None if it fails, or has been called before."""
        if self._begun or os.getpid() != self._process:
            return None
        self._begun = True
        try:
            with own_imports():
                return self._conclude(ending)
        except BaseException as error:
            _complain("the conclusion of the run failed", error)
            return None
        finally:
            self._done = True

    def at_signal(self, number: int) -> bool:
        """Conclude now; False if that is under way already, to be finished before the process ends."""
        if self._begun and not self._done:
            self._signal = number
            return False
        self.reach("signal")
        return True

    def end_if_signalled(self) -> None:
        if self._signal is not None:
            signals.end_by(self._signal)


def _only_here(attach: Callable[[], None]) -> Callable[[], None]:
    """`attach`, harmless to the program, and without effect in a forked child."""
    process = os.getpid()

    def attach_here() -> None:
        if os.getpid() != process:
            return
        try:
            with own_imports():
                attach()
        except (Exception, SystemExit) as error:
            _complain("the program goes on unwatched", error)

    return attach_here


def _complain(what: str, error: BaseException) -> None:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    _write_stderr(f"diagnose: {what}: {reason}\n")


def _write_stderr(text: str) -> None:
    stderr = getattr(sys, "stderr", None)
    try:
        if stderr is not None:
            stderr.write(text)
        else:
            os.write(2, text.encode(errors="backslashreplace"))  # as the interpreter does
    except Exception:
        # The stream is closed, or the signal that we handle has interrupted another write to it.
        return
