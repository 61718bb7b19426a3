"""Who sees which module: a program and its launcher share one `sys.modules` and one `sys.path`.

Plain Python looks into the program's folder first: its `queue.py` wins over the standard library's.
Two things go wrong where a launcher is in the same process:

- We have loaded the standard library's `queue` before the program begins, and the program gets that.
  `hide_from_program` takes such modules out of `sys.modules`.
- The program has loaded its own `json`, and our report is written with that. `own_imports` shows us
  the modules and the path that we would have without the program, and puts the program's back.
"""

from __future__ import annotations

import _thread
import os
import sys
from _frozen_importlib_external import PathFinder

TYPE_CHECKING = False  # `typing` is 8 ms and 20 modules that the program would not have.
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType
    from typing import Any


def puts_folder_first() -> bool:
    """Whether this Python puts the folder of its script, or the current one, first in `sys.path`."""
    return not getattr(sys.flags, "safe_path", sys.flags.isolated)  # no `safe_path` before 3.11


# ------------------------------------------------------------------ our view and the program's


class _Views:
    """Our modules and path, the program's, and which are shown; one per process, as `sys.modules` is."""

    def __init__(self) -> None:
        # Re-entrant: a signal may bring the end of the run while an attach is under way.
        self.lock = _thread.RLock()
        self.depth = 0
        self.run_path: list[str] | None = None  # `our_path` once there is a program
        # What we have loaded and the program must not get, as its folder holds a module of that name.
        self.our_modules: dict[str, ModuleType] = {}
        self.their_path: list[str] = []
        self.their_modules: dict[str, ModuleType] = {}
        self.shown_before: set[str] = set()

    def our_path(self) -> list[str]:
        return self.run_path if self.run_path is not None else _launch_path()

    def program_folders(self) -> list[str]:
        """The entries of `sys.path` that are there for the program only."""
        ours = self.our_path()
        return [folder for folder in sys.path if folder not in ours]

    def show_ours(self) -> None:
        """Hide the modules of the program that stand in for ones that we would import."""
        theirs = set()
        for name, file in _files(self.program_folders(), _top_level(sys.modules)).items():
            if _is_same_file(file, _origin(sys.modules[name])):
                theirs.add(name)
        # Only where we have another one: what the program runs meanwhile, in another thread or by
        # unpickling, looks up its classes by the names of its modules.
        theirs &= self.our_modules.keys() | _files(self.our_path(), theirs).keys()
        path = self.our_path()[:]
        self.their_modules = _take(theirs)
        self.their_path, sys.path = sys.path, path
        sys.modules.update(self.our_modules)
        self.shown_before = set(sys.modules)

    def show_theirs(self) -> None:
        """Undo `show_ours`, and hide what we have imported meanwhile where the program has its own."""
        sys.path = self.their_path
        theirs = _top_level(self.their_modules)
        loaded = self.our_modules.keys() | (sys.modules.keys() - self.shown_before)
        self.hide(_top_level(loaded) - theirs)
        self.our_modules.update(_take(theirs))
        sys.modules.update(self.their_modules)
        self.their_modules = {}

    def hide(self, names: set[str]) -> None:
        """Take our modules of these names out of `sys.modules` where the program has others."""
        hidden = set()
        for name, file in _files(self.program_folders(), names & sys.modules.keys()).items():
            origin = _origin(sys.modules[name])
            # The path is not asked for built-in and frozen modules: a `time.py` hides nothing.
            if origin not in ("built-in", "frozen") and not _is_same_file(file, origin):
                hidden.add(name)
        self.our_modules.update(_take(hidden))


_views = _Views()


class _OwnImports:
    """See `own_imports`. A class, as `contextlib` would be one more module before the program's."""

    def __enter__(self) -> None:
        _views.lock.acquire()
        _views.depth += 1
        if _views.depth == 1:
            _views.show_ours()

    def __exit__(self, *exc_info: object) -> None:
        try:
            if _views.depth == 1:
                _views.show_theirs()
        finally:
            _views.depth -= 1
            _views.lock.release()


def own_imports() -> _OwnImports:
    """A context in which our imports find what they would find if the program did not exist.

    `sys.path` lacks the program's folder and whatever the program has added; modules of the program
    that stand in for others (its own `json.py`) are out of `sys.modules`. On leaving, all that is put
    back, and what was imported inside is hidden from the program where it would find its own.

    For the whole process, not for one thread: keep it short. May be nested. `run` enters it around
    `attach` and `conclude`; imports at any other time have to do so themselves. Before `run` (not around
    it), the folder that Python has put first for the launcher is left out: under `python -m diagnose`
    that is the user's current folder, with a `queue.py` in it perhaps.
    """
    return _OwnImports()


def hide_from_program(our_path: Sequence[str]) -> None:
    """Take what only we have loaded out of `sys.modules` where the program would find its own.

    Args:
        our_path: `sys.path` without the program's folder; `sys.path` itself has it by now.
    """
    _views.run_path = list(our_path)
    names = list(sys.modules)
    # They are in the order in which imports were completed, and the interpreter's last one is `site`.
    last = "site" if "site" in sys.modules else "__main__"
    _views.hide(_top_level(names[names.index(last) + 1 :]))


def _launch_path() -> list[str]:
    """`sys.path` without what Python has put first for the launcher."""
    try:
        put_first = {"", os.getcwd(), os.path.dirname(os.path.realpath(sys.argv[0]))}
    except OSError:  # the current folder has been removed
        return sys.path[:]
    is_put_first = puts_folder_first() and sys.path and sys.path[0] in put_first
    return sys.path[1:] if is_put_first else sys.path[:]


def _top_level(names: Iterable[str]) -> set[str]:
    return {name for name in list(names) if "." not in name and name != "__main__"}


def _take(names: set[str]) -> dict[str, ModuleType]:
    """Remove these modules and all their submodules from `sys.modules`."""
    family = [name for name in sys.modules if name.partition(".")[0] in names]
    return {name: sys.modules.pop(name) for name in family}


def _origin(module: ModuleType) -> str | None:
    """The file of a loaded module, or "built-in" or "frozen"."""
    try:
        # Past the module's own attribute access: a lazy module loads itself at the first look.
        spec = object.__getattribute__(module, "__dict__").get("__spec__")
    except AttributeError:
        return None
    origin = getattr(spec, "origin", None)
    return origin if isinstance(origin, str) else None


def _files(folders: Sequence[str], names: Iterable[str]) -> dict[str, str]:
    """The file that an import would find in these folders, by name, for the names that are there.

    A folder without `__init__.py` is not: it hides nothing.
    """
    found = {}
    for name in names:
        spec = PathFinder.find_spec(name, folders)
        if spec is not None and spec.origin is not None:
            found[name] = spec.origin
    # A listing that we left behind could be a moment older than the program's own would be, and lack
    # a module that the program has just written.
    for folder in folders:
        sys.path_importer_cache.pop(folder, None)
    return found


def _is_same_file(one: str, other: str | None) -> bool:
    return other is not None and os.path.realpath(one) == os.path.realpath(other)


# ------------------------------------------------------------------ the moment when torch is there


class ImportHook:
    """Calls `then` when the program's import of one module is done, and is gone from then on."""

    def __init__(self, module: str, then: Callable[[], None]) -> None:
        self.module = module
        self.then = then

    def install(self) -> None:
        sys.meta_path.insert(0, self)

    def remove(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the other finders find, with a loader that tells us.

        May be asked for nothing: `importlib.util.find_spec("torch")` is how programs find out whether
        torch is installed.
        """
        if name != self.module:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _TellingLoader(spec.loader, self)  # type: ignore[assignment]
                return spec
        return None


class _TellingLoader:
    """The loader of a module, until the module is executed."""

    def __init__(self, loader: Any, hook: ImportHook) -> None:
        self._loader = loader
        self._hook = hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        # From here on nothing of ours is on the module, not even for its own code. The hook stays
        # until an import has succeeded: the program may catch a failure and try again.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._hook.remove()
        self._hook.then()


def _as_if_importlib(code: CodeType) -> CodeType:
    """The same code, in the name of the innermost function of importlib.

    The interpreter cuts importlib's frames out of the traceback of a failing import, and `warnings`
    skips them when it counts stack levels. A frame of ours between them would show in both.
    """
    return code.replace(co_filename="<frozen importlib._bootstrap>", co_name="_call_with_frames_removed")


_TellingLoader.exec_module.__code__ = _as_if_importlib(_TellingLoader.exec_module.__code__)
