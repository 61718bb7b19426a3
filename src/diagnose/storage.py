"""The run directory: what a run leaves on disk, and how it is read back.

    RUN_DIR/
        history.npz                      history and last diagnosis; replaced every few seconds of training
        report.json                      the JSON report, at the end
        examples.npz                     what was tracked of training examples, if that was asked for
        events.out.tfevents.*.diagnose   for TensorBoard

history.npz is an uncompressed npz of plain numbers: one member `about` (JSON as bytes) and two per table of
the history. It is replaced whole, so that after `kill -9` the last snapshot can be read. It is not synced to
the disk: that would cost milliseconds in the training loop and guards against a power cut only.

A file is read as data from a stranger: no pickle, nothing decompressed, sizes checked against the size of
the file before memory is asked for, every field checked for its type.

Nothing heavy is imported with this module: the launcher creates the directory before the script runs.
"""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import json
import os
import re
import tempfile
import time
import types
import typing
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from diagnose.errors import RunDirectoryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diagnose.history import History
    from diagnose.rules import Diagnosis

FORMAT: Final = "torch-diagnose run"
VERSION: Final = 1
PARENT: Final = "diagnose-runs"
HISTORY: Final = "history.npz"
REPORT: Final = "report.json"
EXAMPLES: Final = "examples.npz"
EVENT_FILE_SUFFIX: Final = ".diagnose"

LARGEST_FILE_BYTES: Final = 2**30
"""8 bytes * 64 rows * (6 parameters + 14 layers): enough for 100,000 tensors of each sort."""
DEEPEST_NESTING: Final = 50
"""Of JSON; evidence is a few levels deep, and readers recurse."""

_GITIGNORE: Final = ".gitignore"
_numbers = itertools.count()


class RunDirectory:
    """A directory that this process writes a run into.

    Attributes:
        path: absolute, so that a script that changes its working directory changes nothing.
    """

    def __init__(self, path: Path, *, is_new: bool = False) -> None:
        self.path = path
        self._is_new = is_new
        self._process = os.getpid()

    @classmethod
    def create(cls, path: Path | None = None, *, stem: str = "run") -> RunDirectory:
        """A directory that is ready to be written into.

        Without `path` it is new: `diagnose-runs/STEM-YYYYmmdd-HHMMSS`, with a number added if that exists.
        With `path`, a directory that exists is used as it is: what an earlier run of ours left there (the
        files in the head of this module) is removed, for it would be taken for this run's; all other files
        are left alone. Two runs at once in one directory are not told apart: the later file wins, whole.

        Raises:
            RunDirectoryError: it cannot be created or written into, or one of our file names is taken by a
                file that is not ours.
        """
        wanted = path if path is not None else Path(PARENT).absolute()
        try:
            is_new = path is None or not path.exists()
            if path is None:
                path = _new_directory(stem)
            path.mkdir(parents=True, exist_ok=True)
            directory = cls(path.absolute(), is_new=is_new)
            directory._clear()
            _try_to_write(directory.path)
        except OSError as error:
            raise RunDirectoryError(
                f"{wanted}: cannot write a run there: {error.strerror or error}.\n"
                f"Name a directory that can be written with --run-dir DIR."
            ) from error
        return directory

    @property
    def history_file(self) -> Path:
        return self.path / HISTORY

    @property
    def report_file(self) -> Path:
        return self.path / REPORT

    def save(self, history: History, diagnosis: Diagnosis | None = None) -> None:
        """Replaces the snapshot: whoever reads it finds the old one or the new one, never a part.

        Does nothing in a forked child, whose history is a stale copy.

        Raises:
            OSError: it cannot be written (disk full, directory gone); the old one is still there.
        """
        if os.getpid() != self._process:
            return
        import numpy as np

        data, arrays = history.to_arrays()
        about = json.dumps(
            {
                "format": FORMAT,
                "version": VERSION,
                "history": data,
                "diagnosis": _diagnosis_data(diagnosis),
            },
            default=_plain,
            separators=(",", ":"),
        )
        members: dict[str, Any] = {
            "about": np.frombuffer(about.encode(), dtype=np.uint8),
            **{name: np.ascontiguousarray(array) for name, array in arrays.items()},
        }
        replace_file(self.history_file, lambda file: np.savez(file, **members))

    def save_arrays(self, name: str, about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replaces the file `name`: arrays of plain numbers beside plain data; does nothing in a forked child.

        Raises:
            OSError: it cannot be written; the old one is still there.
        """
        if os.getpid() != self._process:
            return
        import numpy as np

        text = json.dumps({"format": FORMAT, "version": VERSION, **about}, default=_plain, separators=(",", ":"))
        members: dict[str, Any] = {
            "about": np.frombuffer(text.encode(), dtype=np.uint8),
            **{key: np.ascontiguousarray(array) for key, array in arrays.items()},
        }
        replace_file(self.path / name, lambda file: np.savez(file, **members))

    def remove_if_empty(self) -> None:
        """Takes the directory away again, if it was made for this run and nothing has been stored in it."""
        if not self._is_new or os.getpid() != self._process:
            return
        with contextlib.suppress(OSError):  # it is not empty, or gone already
            self.path.rmdir()
            if self.path.parent.name == PARENT and os.listdir(self.path.parent) == [_GITIGNORE]:
                (self.path.parent / _GITIGNORE).unlink()
                self.path.parent.rmdir()

    def _clear(self) -> None:
        for file in (self.history_file, self.report_file, self.path / EXAMPLES):
            if not os.path.lexists(file):
                continue
            if not _is_ours(file):
                raise RunDirectoryError(
                    f"{file} is in the way: it was not written by torch-diagnose, so it stays.\n"
                    "Move it, or name another directory with --run-dir DIR."
                )
            file.unlink()
        for file in self.path.glob(f"events.out.tfevents.*{EVENT_FILE_SUFFIX}"):
            file.unlink()


def load(path: Path) -> tuple[History, Diagnosis | None]:
    """The history and the diagnosis that `RunDirectory.save` wrote last.

    Args:
        path: the run directory, or the history.npz in it.

    Returns:
        The diagnosis is the one made when it was saved; None if there was none.

    Raises:
        RunDirectoryError: there is no such file; it was not written by us, is damaged, or was written by a
            newer version. No code of the file is ever run.
    """
    file = path
    try:
        if path.is_dir():
            file = path / HISTORY
        if not file.is_file():
            hint = _runs_near(path)
            raise RunDirectoryError(f"{path}: no run is stored there (there is no file {file.name}).{hint}")
        if (size := file.stat().st_size) > LARGEST_FILE_BYTES:
            raise ValueError(f"{size:,} bytes are more than any run needs ({LARGEST_FILE_BYTES:,})")
        with zipfile.ZipFile(file) as archive:
            return _load(_Members(archive, size), file)
    except RunDirectoryError:
        raise
    except OSError as error:
        raise RunDirectoryError(f"{file}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # whatever a damaged or hostile file provokes in the parsers
        raise RunDirectoryError(
            f"{file}: not a run of torch-diagnose, or damaged ({type(error).__name__}: {str(error)[:200]})"
        ) from error


def read_arrays(
    file: Path, arrays: Mapping[str, str], *, optional: tuple[str, ...] = ()
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What `RunDirectory.save_arrays` wrote: plain data, and the arrays, which have one dimension.

    Args:
        arrays: the type of each array by name.
        optional: arrays that may be missing.

    Raises:
        RunDirectoryError: it cannot be read, or was written by a newer version.
        Exception: it is damaged. No code of the file is ever run.
    """
    try:
        if (size := file.stat().st_size) > LARGEST_FILE_BYTES:
            raise ValueError(f"{size:,} bytes are more than any run needs ({LARGEST_FILE_BYTES:,})")
        with zipfile.ZipFile(file) as archive:
            members = _Members(archive, size)
            about = json.loads(members.read("about", "u1", 1).tobytes())
            _check_nesting(about)
            if not isinstance(about, dict) or about.get("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT!r}")
            if about["version"] != VERSION:
                raise RunDirectoryError(f"{file}: written by another version of torch-diagnose ({about['version']!r}).")
            names = [name for name in arrays if name not in optional or f"{name}.npy" in archive.namelist()]
            return about, {name: members.read(name, arrays[name], 1) for name in names}
    except OSError as error:
        raise RunDirectoryError(f"{file}: cannot be read: {error.strerror or error}") from error


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Lets `write` make the new content of `path`, which appears whole or not at all.

    Follows symbolic links. What is not a regular file (a pipe, /dev/stdout) is written to, not replaced.

    Raises:
        OSError: `path` is as it was.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        with open(path, "wb") as file:
            write(file)
        return
    # A new name each time: a signal handler may save while a save is going on.
    temporary = path.with_name(f".{path.name}-{os.getpid()}-{next(_numbers)}.tmp")
    try:
        with open(temporary, "xb") as file:
            write(file)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def check_writable(path: Path) -> None:
    """Finds out whether a file can be written to `path`: before hours of training, not after them.

    Its folder is made if there is none.

    Raises:
        RunDirectoryError: it cannot.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not path.exists() or path.is_file():  # else a pipe or a device, which is written to directly
            path.parent.mkdir(parents=True, exist_ok=True)
            _try_to_write(path.parent)
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be written: {error.strerror or error}") from error


def _try_to_write(folder: Path) -> None:
    # Trying is the only test that counts read-only file systems, quotas and ACLs in.
    with tempfile.TemporaryFile(dir=folder):
        pass


# -- creating ---------------------------------------------------------------------------------------


def _new_directory(stem: str) -> Path:
    parent = Path(PARENT).absolute()
    if not parent.exists():
        parent.mkdir(parents=True, exist_ok=True)
        # As pytest and ruff do with their caches: runs are not to be committed by accident.
        (parent / _GITIGNORE).write_text("*\n")
    safe_stem = re.sub(r"[^\w.-]+", "_", stem).strip("._")[:60] or "run"
    name = f"{safe_stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in itertools.count(1):
        path = parent / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("unreachable")


def _is_ours(file: Path) -> bool:
    if not file.is_file() or file.stat().st_size > LARGEST_FILE_BYTES:
        return False
    try:
        if file.name == REPORT:
            report = json.loads(file.read_bytes())
            return isinstance(report, dict) and "findings" in report and "version" in report
        with zipfile.ZipFile(file) as archive, archive.open("about.npy") as about:
            return f'"format":"{FORMAT}"'.encode() in about.read(1000)
    except (OSError, KeyError, ValueError, RecursionError, NotImplementedError, zipfile.BadZipFile):
        return False


# -- writing ----------------------------------------------------------------------------------------


def _diagnosis_data(diagnosis: Diagnosis | None) -> dict[str, Any] | None:
    if diagnosis is None:
        return None
    return {
        "findings": [finding.to_json() for finding in diagnosis.findings],
        "not_run": dict(diagnosis.not_run),
    }


def _plain(value: Any) -> Any:
    """What stands in for a value that JSON does not know: events carry whatever a collector saw."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


# -- reading ----------------------------------------------------------------------------------------


class _Members:
    """The arrays of an npz, read without trust: only stored, together no larger than the file."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        infos = archive.infolist()
        self._archive = archive
        self._infos = {info.filename: info for info in infos}
        if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
            raise ValueError("it has compressed members")
        if len(self._infos) != len(infos) or sum(info.file_size for info in infos) > size:
            raise ValueError("its members overlap")

    def read(self, name: str, dtype: str, dimensions: int) -> NDArray[Any]:
        """The array `name`, which must have the given type and number of dimensions."""
        import numpy as np

        stream = io.BytesIO(self._archive.read(self._infos[f"{name}.npy"]))
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError(f"{name} has an unknown array format")
        shape, fortran_order, found = np.lib.format.read_array_header_1_0(stream)
        if found != np.dtype(dtype) or len(shape) != dimensions or fortran_order:
            raise ValueError(f"{name} is an array {found} {shape}, not {dtype} in {dimensions} dimensions")
        return np.frombuffer(stream.getbuffer()[stream.tell() :], dtype=found).reshape(shape)


def _load(members: _Members, file: Path) -> tuple[History, Diagnosis | None]:
    from diagnose.history import History
    from diagnose.rules import Diagnosis

    about = json.loads(members.read("about", "u1", 1).tobytes())
    _check_nesting(about)
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    version = about["version"]
    if isinstance(version, int) and version > VERSION:
        raise RunDirectoryError(
            f"{file}: written by a newer torch-diagnose (format {version}; this one reads up to {VERSION}).\n"
            "Upgrade: pip install -U torch-diagnose"
        )
    if version != VERSION:
        raise ValueError(f"its version is {version!r}")
    data = about["history"]
    history = History.from_arrays(data, dict(_tables(members, data["tables"])))
    _check_events(data["events"])
    _check_facts(history)
    stored = about["diagnosis"]
    if stored is None:
        return history, None
    _check(stored, {"findings": list[dict[str, Any]], "not_run": dict[str, str]})
    from diagnose.findings import Finding

    for finding in stored["findings"]:
        _check_finding(finding)
    findings = tuple(Finding.from_json(finding) for finding in stored["findings"])
    return history, Diagnosis(findings, stored["not_run"])


def _tables(members: _Members, tables: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays of the `tables`, as `History.from_arrays` expects them; it checks their shapes."""
    from diagnose.history import DETAIL_ROWS, ROWS

    room_bytes = 0
    for number, table in enumerate(tables):
        _check(table, {"quantity": str, "clock": str, "scopes": list[str]})
        if len(set(table["scopes"])) != len(table["scopes"]):
            raise ValueError(f"{table['quantity']} has two columns of one name")
        # A table makes room for all its rows, also those that the file does not have.
        room_bytes += 8 * len(table["scopes"]) * ROWS.get(table["quantity"], DETAIL_ROWS)
        if room_bytes > LARGEST_FILE_BYTES:
            raise ValueError("its tables have more columns than any run needs")
        yield f"steps{number}", members.read(f"steps{number}", "<i8", 1)
        yield f"values{number}", members.read(f"values{number}", "<f8", 2)


def _check_nesting(value: Any, depth: int = 0) -> None:
    if depth > DEEPEST_NESTING:
        raise ValueError("it is nested too deeply")
    items: Iterable[Any] = ()
    if isinstance(value, dict):
        items = value.values()
    elif isinstance(value, list):
        items = value
    for item in items:
        _check_nesting(item, depth + 1)


def _check_events(logs: Any) -> None:
    for log in logs:
        _check(log, {"total": int, "events": list[dict[str, Any]]})
        for event in log["events"]:
            _check(event, {"step": int, "kind": str, "scope": str, "detail": dict[str, Any]})


def _check_facts(history: History) -> None:
    groups: tuple[Mapping[str, Any], ...] = (
        history.parameters,
        history.layers,
        history.optimizers,
        history.losses,
        {"run": history.run},
    )
    for group in groups:
        hints: dict[str, Any] = {}
        for facts in group.values():
            hints = hints or typing.get_type_hints(type(facts))
            _check(vars(facts), hints)


def _check_finding(finding: dict[str, Any]) -> None:
    _check(
        finding,
        {
            "code": str,
            "where": dict[str, Any],
            "message": str,
            "first_step": int | None,
            "last_step": int | None,
            "evidence": dict[str, Any],
            "cause": str,
            "remedy": str,
            "symptoms": list[dict[str, Any]],
        },
    )
    text = str | None
    _check(finding["where"], {"module": text, "parameter": text, "file": text, "line": int | None})
    for symptom in finding["symptoms"]:
        _check_finding(symptom)


def _check(data: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    for name, hint in hints.items():
        if not _is(data[name], hint):
            raise ValueError(f"{name} is {str(data[name])[:50]!r}, not of type {hint}")


def _is(value: Any, hint: Any) -> bool:
    """Whether `value` is of the type that `hint` spells; for the hints that History and Finding use."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin is typing.Literal:
        return value in arguments
    if origin in (typing.Union, types.UnionType):
        return any(_is(value, argument) for argument in arguments)
    if origin in (list, tuple):
        return isinstance(value, origin) and all(_is(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_is(item, arguments[1]) for item in value.values())
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _runs_near(path: Path) -> str:
    """A hint for someone who named the folder of the runs, or nothing that exists."""
    runs = sorted(file.parent for file in path.glob(f"*/{HISTORY}")) if path.is_dir() else []
    return f"\nThe latest below it: {max(runs, key=lambda run: run.stat().st_mtime)}" if runs else ""
