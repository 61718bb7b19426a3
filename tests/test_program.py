"""A program under `diagnose.program.run` and the same program under plain Python must not differ.

Every test starts real processes. Most write a small program, run it both ways and compare standard output,
standard error and exit code byte for byte.
"""

from __future__ import annotations

import os
import py_compile
import re
import signal
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from diagnose.program import Program

SRC = Path(__file__).parents[1] / "src"
TIMEOUT_S = 60
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
# The launcher: a program path or `-m MODULE`, then arguments. It keeps a journal of our calls in a file, as
# standard output and standard error are the program's.
LAUNCHER = """
import os, sys

JOURNAL = os.environ["TEST_JOURNAL"]
HOOKS = {"attach": os.environ.get("TEST_ATTACH", ""), "conclude": os.environ.get("TEST_CONCLUDE", "")}

def note(line):
    file = os.open(JOURNAL, os.O_WRONLY | os.O_APPEND)
    os.write(file, f"{line}\\n".encode())
    os.close(file)

def attach():
    note("attach")
    exec(HOOKS["attach"], {"note": note})

def conclude(ending):
    note(ending)
    local = {"note": note, "ending": ending, "verdict": None}
    exec(HOOKS["conclude"], local)
    return local["verdict"]

def main():
    exec(os.environ.get("TEST_BEFORE", ""))
    from diagnose.program import Program, ProgramError, run
    is_module = sys.argv[1] == "-m"
    target, *args = sys.argv[2 if is_module else 1:]
    try:
        return run(Program(target, tuple(args), is_module), attach=attach, conclude=conclude)
    except ProgramError as error:
        print(error, file=sys.stderr)
        return 2

if __name__ == "__main__":
    sys.exit(main())
"""


class Result(NamedTuple):
    code: int
    out: str
    err: str
    journal: list[str]


class Runner:
    """Runs programs of one folder, plainly or by the launcher, always with the same environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.launcher = folder / "launcher" / "start.py"
        self.launcher.parent.mkdir()
        self.launcher.write_text(LAUNCHER)
        self.journal = folder / "journal"

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text).lstrip("\n"))

    def start(
        self, command: Sequence[str], *, plain: bool, flags: Sequence[str] = (), **env: str
    ) -> subprocess.Popen[str]:
        self.journal.write_text("")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.Popen(
            [sys.executable, *flags, *([] if plain else [str(self.launcher)]), *command],
            cwd=self.folder,
            env={
                **inherited,
                "PYTHONPATH": str(SRC),
                "PYTHONDONTWRITEBYTECODE": "1",
                "TEST_JOURNAL": str(self.journal),
                **env,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str]) -> Result:
        try:
            out, err = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
        return Result(process.returncode, out, err, self.journal.read_text().splitlines())

    def plain(self, *command: str, flags: Sequence[str] = ()) -> Result:
        return self.finish(self.start(command, plain=True, flags=flags))

    def ours(self, *command: str, flags: Sequence[str] = (), **env: str) -> Result:
        return self.finish(self.start(command, plain=False, flags=flags, **env))

    def signalled(self, number: int, *command: str, **env: str) -> Result:
        """The result of a program that prints a line when it is ready for the signal."""
        process = self.start(command, plain=False, **env)
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(number)
        result = self.finish(process)
        return result._replace(out=first + result.out)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    # What a shell starts in the background ignores SIGINT, and so would the programs that we start.
    ignored = [number for number in SIGNALS if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield Runner(tmp_path)
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


def assert_same(ours: Result, plain: Result) -> None:
    assert (ours.code, _any_run(ours.out), _any_run(ours.err)) == (
        plain.code,
        _any_run(plain.out),
        _any_run(plain.err),
    )


def _any_run(text: str) -> str:
    """The text without addresses, which differ between any two runs."""
    return re.sub("0x[0-9a-f]+", "0x...", text)


# ------------------------------------------------------------------ the same as plain Python


class Case(NamedTuple):
    """A program, and how it ends."""

    ending: str
    files: dict[str, str]
    command: tuple[str, ...] = ("program.py",)


def script(ending: str, text: str, *args: str, **others: str) -> Case:
    return Case(ending, {"program.py": text, **others}, ("program.py", *args))


# What a program can see of itself; `0x...` would differ between two plain runs as well.
SELF = """
    '''The docstring.'''
    import sys, os
    x: int = 1
    print(sys.argv, sys.path, os.getcwd(), __name__, __file__, __doc__, __package__)
    print({name: type(value).__name__ for name, value in vars().items()})
    print(__spec__ and (__spec__.name, __spec__.origin, __spec__.parent), type(__loader__), __builtins__)
    print(__loader__.name, __loader__.path, __annotations__, __debug__, sys.flags)
    print(sys.modules["__main__"].__dict__ is globals(), sys.exc_info())
    print([type(hook).__name__ for hook in sys.path_hooks], sys.path[0] in sys.path_importer_cache)
"""

CASES = {
    "self": script("finished", SELF, "a", "-b", ""),
    "self-in-folder": Case("finished", {"sub/program.py": SELF}, ("./sub/../sub/program.py", "--", "x")),
    "self-module": Case("finished", {"program.py": SELF}, ("-m", "program", "a")),
    "self-package": Case("finished", {"pack/__init__.py": "", "pack/__main__.py": SELF}, ("-m", "pack")),
    "self-container": Case("finished", {"app/__main__.py": SELF}, ("app", "a")),
    "relative-imports": Case(
        "finished",
        {
            "pack/__init__.py": "import sys; print(sys.argv, vars(sys.modules['__main__']).values())",
            "pack/sub/__init__.py": "",
            "pack/sub/run.py": "from . import other; from .. import sub; print(other.X, sub, __package__)",
            "pack/sub/other.py": "X = 3",
        },
        ("-m", "pack.sub.run", "arg"),
    ),
    "container-imports": Case(
        "finished",
        {"app/__main__.py": "import other", "app/other.py": "print(__name__, __file__)"},
        ("app",),
    ),
    "container-fails": Case("exception", {"app/__main__.py": "1 / 0"}, ("app",)),
    "exit-none": script("exit", "import sys; sys.exit()"),
    "exit-int": script("exit", "import sys; sys.exit(7)"),
    "exit-true": script("exit", "raise SystemExit(True)"),
    "exit-negative": script("exit", "raise SystemExit(-1)"),
    "exit-text": script("exit", "import sys; print('out'); sys.exit('no such data: \\u00e9')"),
    "exit-object": script("exit", "raise SystemExit([1, 2])"),
    "exit-in-function": script("exit", "def f():\n    exit(3)\nf()\n"),
    "exit-builtin-close": script("exit", "quit()"),
    "os-exit": script("", "import os; os._exit(4)"),
    "exception": script(
        "exception",
        """
        def f(x):
            return 1 / x

        print("before", flush=True)
        f(0)
        """,
    ),
    "exception-in-module": Case("exception", {"program.py": "def f(): {}['x']\nf()"}, ("-m", "program")),
    "exception-in-parent": Case("exception", {"pack/__init__.py": "1 / 0", "pack/run.py": ""}, ("-m", "pack.run")),
    "exception-chained": script(
        "exception",
        """
        def f():
            try:
                int("x")
            except ValueError as error:
                raise KeyError("y") from error
        try:
            f()
        except KeyError:
            raise RuntimeError("z")
        """,
    ),
    "exception-group": script(
        "exception",
        """
        import sys
        if sys.version_info < (3, 11):
            raise SystemError
        errors = []
        for text in "ab":
            try:
                int(text)
            except ValueError as error:
                errors.append(error)
        raise ExceptionGroup("several", errors)
        """,
    ),
    "exception-imported": script("exception", "import other", **{"other.py": "\n\nraise OSError(2, 'x')\n"}),
    "exception-base": script("exception", "class Stop(BaseException): pass\nraise Stop('now')"),
    "interrupt-subclass": script("exception", "class Mine(KeyboardInterrupt): pass\nraise Mine"),
    "syntax-error": script("exception", "print(1)\ndef f(:\n    pass\n"),
    "indentation-error": script("exception", "if True:\nx = 1\n"),
    "syntax-error-late": script("exception", "print('not printed')\nreturn 3\n"),
    "syntax-error-imported": script("exception", "import other", **{"other.py": "x = = 1\n"}),
    "empty": script("finished", ""),
    "no-newline-at-end": script("finished", "print(1)"),
    "future-not-inherited": script(
        "finished",
        """
        import inspect, typing
        def f(x: int) -> str: ...
        print(f.__annotations__, typing.get_type_hints(f), f.__code__.co_flags & 0x1000000)
        """,
    ),
    "future-own": script("finished", "from __future__ import annotations\nx: no = 1\nprint(__annotations__)"),
    "assert": script("exception", "assert __debug__ is False"),
    "excepthook": script(
        "exception",
        """
        import sys, traceback
        def hook(kind, error, tb):
            print("hook", kind, error, sys.exc_info(), sys.last_value is error, sys.last_traceback is tb)
            print(traceback.extract_tb(tb), error.__traceback__ is tb)
        sys.excepthook = hook
        1 / 0
        """,
    ),
    "excepthook-fails": script(
        "exception",
        """
        import sys
        def hook(kind, error, tb):
            raise ValueError("in hook")
        sys.excepthook = hook
        1 / 0
        """,
    ),
    "excepthook-exits": script(
        "exception",
        """
        import sys
        sys.excepthook = lambda *exception: sys.exit(9)
        1 / 0
        """,
    ),
    "excepthook-missing": script("exception", "import sys\ndel sys.excepthook\n1 / 0"),
    "interrupt-raised": script(
        "interrupt",
        """
        import atexit, sys
        def last():
            print("atexit", sys.last_type, sys.last_traceback.tb_frame.f_globals is globals())
        atexit.register(last)
        log = open("log", "w")
        log.write("written when the interpreter ends")
        raise KeyboardInterrupt("stop")
        """,
    ),
    "interrupt-in-module": Case("interrupt", {"program.py": "raise KeyboardInterrupt"}, ("-m", "program")),
    "interrupt-excepthook-exits": script(
        "interrupt", "import sys\nsys.excepthook = lambda *e: sys.exit(9)\nraise KeyboardInterrupt"
    ),
    "atexit": script(
        "finished",
        """
        import _signal, atexit, pickle, signal
        class Thing: pass
        @atexit.register
        def last():
            thing = pickle.loads(pickle.dumps(Thing()))
            print("atexit", type(thing) is Thing, "__file__" in globals(), "__cached__" in globals())
            print(type(_signal.getsignal(signal.SIGTERM)))
        """,
    ),
    "atexit-after-exit": script("exit", "import atexit\natexit.register(lambda: print(__file__))\nraise SystemExit(2)"),
    "atexit-fails": script("finished", "import atexit\natexit.register(lambda: 1 / 0)"),
    "finalizers": script(
        "finished",
        """
        class Last:
            def __del__(self):
                print("deleted", self.name)
        last = Last(); last.name = "global"
        def f():
            inner = Last(); inner.name = "local"
            global cycle
            cycle = inner
        f()
        log = open("log", "w")
        log.write("flushed")
        """,
    ),
    "threads": script(
        "finished",
        """
        import threading, time
        def work():
            time.sleep(.1)
            print("thread ends", threading.main_thread().is_alive())
        threading.Thread(target=work).start()
        print("main ends")
        """,
    ),
    "thread-fails": script(
        "exit",
        """
        import sys, threading
        thread = threading.Thread(target=lambda: 1 / 0, name="worker")
        thread.start(); thread.join()
        sys.exit(5)
        """,
    ),
    "executor-left-open": script(
        "finished",
        """
        from concurrent.futures import ThreadPoolExecutor
        import atexit
        pool = ThreadPoolExecutor(2)
        print(list(pool.map(abs, [-1, -2])))
        @atexit.register
        def last():
            try:
                pool.submit(abs, -3)
            except RuntimeError as error:
                print(error)
        """,
    ),
    "asyncio": script(
        "finished",
        """
        import asyncio
        async def main():
            await asyncio.sleep(0)
            return await asyncio.gather(*(asyncio.to_thread(abs, -i) for i in range(3)))
        print(asyncio.run(main()))
        """,
    ),
    "introspection": script(
        "finished",
        """
        import dataclasses, inspect, linecache, pickle, typing
        @dataclasses.dataclass
        class Point:
            x: int
            y: "float" = 0.5
        print(inspect.getsource(Point), inspect.getfile(Point), inspect.getmodule(Point))
        print(typing.get_type_hints(Point), pickle.loads(pickle.dumps(Point(1))), pickle.dumps(Point))
        print(linecache.getline(__file__, 3))
        """,
    ),
    "warnings": script(
        "finished",
        """
        import warnings
        warnings.simplefilter("always")
        def f():
            warnings.warn("look", DeprecationWarning, stacklevel=2)
        f()
        warnings.warn("there")
        """,
    ),
    "forked-child-ends-too": script(
        "finished",
        """
        import os, sys
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
        print("end of", "parent" if pid else "child", flush=True)
        """,
    ),
    "forked-child-fails": script(
        "exit",
        """
        import os, sys
        pid = os.fork()
        if not pid:
            raise ValueError("in the child")
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) + 10)
        """,
    ),
    "dispositions": script(
        "finished",
        """
        import signal
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            print(signal.getsignal(number), end=" ")
            print(signal.signal(number, lambda *args: None), end=" ")
            print(signal.signal(number, signal.SIG_DFL) is signal.SIG_DFL)
        """,
    ),
    "stdin": script("finished", "import sys; print(repr(sys.stdin.read()))"),
    "closed-stdout": script("finished", "import sys; sys.stdout.close()"),
    "stderr-missing": script("exit", "import sys; del sys.stderr; sys.exit('seen')"),
    "stderr-none": script("exit", "import sys; sys.stderr = None; sys.exit('seen')"),
    "stdout-none": script("finished", "import sys; sys.stdout = None; print('unseen')"),
    # Folders with modules that are named like those of the standard library, and programs that are.
    "shadow": script(
        "finished",
        """
        import queue, json, calendar, statistics
        from json import decoder
        print(queue.__file__, json.__file__, calendar.MINE, decoder.__file__, statistics.__spec__)
        """,
        **{
            "queue.py": "",
            "json/__init__.py": "",
            "json/decoder.py": "",
            "calendar.py": "MINE = 1",
        },
    ),
    "shadow-diagnose": script(
        "finished",
        "import diagnose; print(diagnose.__file__)",
        **{"diagnose.py": "print(__name__)"},
    ),
    "shadow-not": script(
        "finished",
        "import encodings, time, html; print(encodings.__file__, time, html.escape('<'))",
        **{"encodings.py": "1 / 0", "time.py": "1 / 0", "html/page.txt": ""},
    ),
    **{
        f"named-{name}": Case(
            "finished",
            {f"{name}.py": f"import {name}; print(__name__, __file__, {name}.__file__)"},
            (f"{name}.py",),
        )
        for name in ("random", "queue", "profile", "json", "html", "diagnose")
    },
    "named-module": Case("finished", {"queue.py": "print(__name__, __spec__.name)"}, ("-m", "queue")),
    # A small package stands in for torch where only the import matters.
    "torch": script(
        "attach finished",
        """
        import sys, importlib.util
        before = importlib.util.find_spec("torch")
        print(before.name, before.origin, before.loader.path, before.loader.is_package("torch"))
        import torch
        from torch import part
        print(torch.__loader__ is torch.__spec__.loader, type(torch.__loader__), torch.seen)
        print([type(finder).__name__ for finder in sys.meta_path if not isinstance(finder, type)])
        del sys.modules["torch"]
        import torch
        """,
        **{
            "torch/__init__.py": "seen = type(__loader__), __spec__.loader is __loader__, __spec__.parent",
            "torch/part.py": "",
        },
    ),
    "torch-not-imported": script(
        "finished",
        "import importlib.util; print(importlib.util.find_spec('torch').origin)",
        **{"torch.py": "1 / 0"},
    ),
    "torch-fails": script("exception", "import torch", **{"torch.py": "def f():\n    1 / 0\nf()"}),
    "torch-import-error": script("exception", "import torch", **{"torch.py": "import no_such_module"}),
    "torch-syntax-error": script("exception", "import torch", **{"torch.py": "x = = 1"}),
    "torch-second-try": script(
        "attach finished",
        """
        import traceback
        for attempt in range(2):
            try:
                import torch
            except Exception:
                traceback.print_exc()
            open("ready", "w").close()
        print(torch)
        import os
        os.remove("ready")
        """,
        **{"torch.py": "import os\nif not os.path.exists('ready'):\n    raise ImportError('try again')\n"},
    ),
    "torch-warns": script(
        "attach finished",
        "import warnings\nwarnings.simplefilter('always')\nimport torch",
        **{"torch.py": "import warnings\nwarnings.warn('old', DeprecationWarning, stacklevel=2)"},
    ),
    "torch-in-forked-child": script(
        "finished",
        """
        import os
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
        else:
            import torch
            print(torch)
        """,
        **{"torch.py": ""},
    ),
    "torch-in-thread": script(
        "attach finished",
        """
        import threading
        def work():
            import torch
            print(torch)
        threading.Thread(target=work).start()
        """,
        **{"torch.py": ""},
    ),
}
# What a launcher may well have loaded by the time that it runs the program.
LOADED_BEFORE = "import argparse, calendar, html, json, profile, queue, random, runpy, statistics"
SHADOWED = [name for name in CASES if name.startswith(("shadow", "named"))]
STRICT = ("-W", "error", "-X", "dev", "-O", "-u")


@pytest.mark.parametrize("flags", [(), STRICT], ids=["", "strict"])
@pytest.mark.parametrize("name", CASES)
def test_same_as_plain_python(name: str, flags: tuple[str, ...], runner: Runner) -> None:
    case = CASES[name]
    runner.write(case.files)
    plain = runner.plain(*case.command, flags=flags)
    ours = runner.ours(*case.command, flags=flags, TEST_BEFORE=LOADED_BEFORE if "named" in name else "")
    assert_same(ours, plain)
    if not flags:  # which make exceptions of warnings, and nothing of assertions
        assert ours.journal == case.ending.split()


@pytest.mark.parametrize("flags", [("-P",), ("-I",)], ids=" ".join)
@pytest.mark.parametrize("name", ["self", "self-container", "shadow"])
def test_safe_path(name: str, flags: tuple[str, ...], runner: Runner) -> None:
    if flags == ("-I",):
        # Isolated: PYTHONPATH does not count, so that the launcher has to find us.
        text = runner.launcher.read_text()
        runner.launcher.write_text(f"import sys; sys.path.append({str(SRC)!r})\n{text}")
    runner.write(CASES[name].files)
    plain = runner.plain(*CASES[name].command, flags=flags)
    ours = runner.ours(*CASES[name].command, flags=flags)
    assert ours._replace(out=ours.out.replace(f", {str(SRC)!r}", "")) == plain._replace(
        out=plain.out.replace(f", {str(SRC)!r}", ""), journal=ours.journal
    )


@pytest.mark.parametrize("launch", ["-m", "-c", "script"])
def test_however_the_launcher_is_started(launch: str, runner: Runner) -> None:
    """`python -m diagnose` has the current folder first in `sys.path`, `-c` has "", a script its own."""
    runner.write({"program.py": SELF + "\n    raise KeyboardInterrupt", "queue.py": "1 / 0"})
    start = {
        "-m": ["-m", "start", "program.py"],
        "-c": ["-c", "import start, sys; sys.exit(start.main())", "program.py"],
        "script": [str(runner.launcher), "program.py"],
    }[launch]
    path = f"{runner.launcher.parent}{os.pathsep}{SRC}"
    before = "from diagnose.program import own_imports\nwith own_imports():\n    import queue"
    plain = runner.finish(runner.start(["program.py"], plain=True, PYTHONPATH=path))
    ours = runner.finish(runner.start(start, plain=True, PYTHONPATH=path, TEST_BEFORE=before))
    assert_same(ours, plain)
    assert ours.code == -signal.SIGINT
    assert ours.journal == ["interrupt"]


def test_zip_file(runner: Runner) -> None:
    with zipfile.ZipFile(runner.folder / "app.pyz", "w") as app:
        app.writestr("__main__.py", textwrap.dedent(SELF) + "import other\nother.f()\n")
        app.writestr("other.py", "def f():\n    1 / 0\n")
    assert_same(runner.ours("app.pyz", "a"), runner.plain("app.pyz", "a"))


@pytest.mark.parametrize("name", ["program.pyc", "program"])
def test_compiled_script(name: str, runner: Runner) -> None:
    runner.write({"program.py": SELF})
    py_compile.compile(str(runner.folder / "program.py"), cfile=str(runner.folder / name))
    assert_same(runner.ours(name), runner.plain(name))


def test_symbolic_link(runner: Runner) -> None:
    runner.write({"real/program.py": SELF + "    import other", "real/other.py": "print(__file__)"})
    (runner.folder / "link.py").symlink_to("real/program.py")
    assert_same(runner.ours("link.py"), runner.plain("link.py"))


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize(
    "head",
    [
        b"# -*- coding: latin-1 -*-",
        b"\xef\xbb\xbf# BOM",
        b"#!/usr/bin/env python\n# vim: set fileencoding=cp1252 :",
    ],
)
def test_encodings(head: bytes, newline: bytes, runner: Runner) -> None:
    text = b"\xc3\xa9\xe9" if b"coding" in head else b"\xc3\xa9"
    source = [
        head,
        b"s = '" + text + b"'",
        b"print(ascii(s), len(s))",
        b"raise ValueError(ascii(s)) # " + text,
    ]
    (runner.folder / "program.py").write_bytes(newline.join(source))
    assert_same(runner.ours("program.py"), runner.plain("program.py"))


def test_a_program_is_a_value() -> None:
    program = Program("train.py", ("--lr", "1"))
    assert program == Program(target="train.py", args=("--lr", "1"), is_module=False)
    assert len({program, Program("train.py", ("--lr", "1")), Program("train", (), is_module=True)}) == 2
    assert repr(program) == "Program(target='train.py', args=('--lr', '1'), is_module=False)"
    with pytest.raises(AttributeError, match="cannot assign to 'target'"):
        program.target = "test.py"


def test_importing_us_loads_nothing_else(runner: Runner) -> None:
    """The program starts with the modules of `python -c ''`, plus those that the launcher has loaded."""
    code = "import diagnose, sys; before = set(sys.modules); import diagnose.program"
    report = "print(*(set(sys.modules) - before))"
    loaded = runner.finish(runner.start(["-c", f"{code}; {report}"], plain=True)).out.split()
    assert set(loaded) - {"__future__"} == {
        "diagnose.errors",
        "diagnose.program",
        "diagnose.program.imports",
        "diagnose.program.running",
        "diagnose.program.signals",
    }


# ------------------------------------------------------------------ nothing to run


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ("nowhere/missing.py",),
            "cannot open the script 'nowhere/missing.py': No such file or directory",
        ),
        (("empty",), "cannot run 'empty': can't find '__main__' module in"),
        (("-m", "no_such_module"), "cannot run 'no_such_module': No module named no_such_module"),
        (("-m", "no_such.module"), "cannot run 'no_such.module': Error while finding module"),
        (("-m", "package"), "cannot run 'package': No module named package.__main__"),
        (("-m", "program.py"), "Try using 'program' instead of 'program.py'"),
    ],
)
def test_nothing_to_run(command: tuple[str, ...], message: str, runner: Runner) -> None:
    runner.write({"empty/data.txt": "", "package/__init__.py": "", "program.py": ""})
    result = runner.ours(*command)
    assert (result.code, result.out, result.journal) == (2, "", [])
    assert message in result.err
    assert "Traceback" not in result.err
    assert len(result.err.splitlines()) == 2  # what is wrong, and what to do


# ------------------------------------------------------------------ attach and conclude

FAKE_TORCH = {"torch.py": "print('torch')"}


@pytest.mark.parametrize(
    ("text", "verdict", "code"),
    [
        ("", 3, 3),
        ("", None, 0),
        ("", 0, 0),
        ("raise SystemExit", 3, 3),
        ("raise SystemExit(0)", 3, 3),
        ("raise SystemExit(5)", 3, 5),
        ("raise SystemExit('text')", 3, 1),
        ("1 / 0", 3, 1),
        ("raise KeyboardInterrupt", 3, -signal.SIGINT),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 3, -signal.SIGTERM),
    ],
)
def test_verdict_counts_where_the_program_succeeds(text: str, verdict: int | None, code: int, runner: Runner) -> None:
    runner.write({"program.py": text})
    assert runner.ours("program.py", TEST_CONCLUDE=f"verdict = {verdict}").code == code


@pytest.mark.parametrize("failure", ["1 / 0", "raise SystemExit(3)", "raise KeyboardInterrupt"])
@pytest.mark.parametrize("code", [0, 5])
def test_failing_conclude_is_one_line(failure: str, code: int, runner: Runner) -> None:
    runner.write({"program.py": f"raise SystemExit({code})"})
    result = runner.ours("program.py", TEST_CONCLUDE=failure)
    assert (result.code, result.journal) == (code, ["exit"])
    assert result.err.startswith("diagnose: the conclusion of the run failed: ")
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize("failure", ["ValueError('two\\nlines')", "SystemExit('two lines')"])
def test_failing_attach_is_one_line(failure: str, runner: Runner) -> None:
    runner.write({"program.py": "import torch; print('after')", **FAKE_TORCH})
    result = runner.ours("program.py", TEST_ATTACH=f"raise {failure}")
    assert (result.code, result.out, result.journal) == (
        0,
        "torch\nafter\n",
        ["attach", "finished"],
    )
    kind = failure.partition("(")[0]
    assert result.err == f"diagnose: the program goes on unwatched: {kind}: two lines\n"


def test_attach_when_the_import_is_done(runner: Runner) -> None:
    runner.write({"program.py": "import torch\nprint('after')", **FAKE_TORCH})
    assert runner.ours("program.py", TEST_ATTACH="print('attach')").out == "torch\nattach\nafter\n"


def test_attach_at_once_if_torch_is_there(runner: Runner) -> None:
    runner.write({"program.py": "print('program')"})
    before = "import types; sys.modules['torch'] = types.ModuleType('torch')"
    result = runner.ours("program.py", TEST_BEFORE=before, TEST_ATTACH="import sys; print(sys.argv)")
    assert result.out == "['program.py']\nprogram\n"
    assert result.journal == ["attach", "finished"]


def test_conclude_after_the_threads(runner: Runner) -> None:
    text = """
        import atexit, threading, time
        atexit.register(print, "atexit", flush=True)
        def work():
            time.sleep(.2)
            print("thread", flush=True)
        threading.Thread(target=work).start()
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    """
    runner.write({"program.py": text})
    result = runner.ours("program.py", TEST_CONCLUDE="print('conclude', flush=True)")
    assert result.out == "thread\nconclude\natexit\n"


def test_conclude_sees_the_program(runner: Runner) -> None:
    """The report may show the source of a user's class; the traceback is printed by then."""
    runner.write({"program.py": "class Net: pass\n1 / 0"})
    conclude = "import sys, inspect; print(inspect.getsource(sys.modules['__main__'].Net), file=sys.stderr)"
    result = runner.ours("program.py", TEST_CONCLUDE=conclude)
    assert result.err.endswith("ZeroDivisionError: division by zero\nclass Net: pass\n\n")


# ------------------------------------------------------------------ own_imports

WATCHED_IMPORTS = "import sys, json, statistics, html; print(json.dumps([1]), html.escape('<'))"


@pytest.mark.parametrize("imported", ["", "import json, html; x = json, html", "import sys; sys.path.append('lib')"])
def test_own_imports_find_the_standard_library(imported: str, runner: Runner) -> None:
    text = f"""
        import sys
        {imported}
        before = list(sys.path), sys.path
        import torch
        import json, html
        assert (list(sys.path), sys.path) == before and sys.path is before[1], sys.path
        assert not {imported.startswith("import json")} or x == (json, html)
        assert sys.modules["json"] is json and "json.decoder" not in sys.modules
        print(json.MINE, html.MINE)
        import atexit, statistics
        print(statistics)
        @atexit.register
        def last():
            import json as again
            assert again is json and sys.modules["html"] is html
            assert "json.decoder" not in sys.modules
    """
    files = dict.fromkeys(("json.py", "html/__init__.py", "lib/statistics.py"), "MINE = __file__")
    runner.write({"program.py": text, **files, **FAKE_TORCH})
    # The launcher has the standard library's `html` already, which must become the program's and ours again.
    result = runner.ours(
        "program.py",
        TEST_BEFORE="import html",
        TEST_ATTACH=WATCHED_IMPORTS,
        TEST_CONCLUDE=WATCHED_IMPORTS,
    )
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[:2] == ["torch", "[1] &lt;"]
    assert lines[2] == f"{runner.folder / 'json.py'} {runner.folder / 'html' / '__init__.py'}"
    assert lines[4:] == ["[1] &lt;"]


def test_own_imports_nest_and_survive_exceptions(runner: Runner) -> None:
    text = """
        import json, sys
        from diagnose.program import own_imports
        mine, path = json, sys.path
        try:
            with own_imports():
                with own_imports():
                    from json import loads
                assert sys.modules["json"] is not mine and sys.path is not path
                raise KeyError
        except KeyError:
            pass
        assert sys.modules["json"] is mine and sys.path is path
        with own_imports():
            import json as again
            assert again.loads is loads  # not loaded a second time
    """
    runner.write({"program.py": text, "json.py": ""})
    result = runner.ours("program.py")
    assert (result.code, result.err) == (0, "")


def test_the_program_and_we_share_our_package(runner: Runner) -> None:
    """Where the program's folder is also the one that we come from, there is one copy of us, not two."""
    (runner.folder / "diagnose").symlink_to(SRC / "diagnose")
    runner.launcher.rename(runner.folder / "start.py")
    runner.write({"program.py": "import diagnose.program, sys; print(diagnose.program.run is sys.ours)"})
    before = "import diagnose.program, sys; sys.ours = diagnose.program.run"
    process = runner.start(["-m", "start", "program.py"], plain=True, PYTHONPATH="", TEST_BEFORE=before)
    result = runner.finish(process)
    assert (result.code, result.out, result.err) == (0, "True\n", "")


def test_own_imports_leave_main_alone(runner: Runner) -> None:
    runner.write({"app/__main__.py": "", "lib/__main__.py": ""})
    path = f"{runner.folder / 'lib'}{os.pathsep}{SRC}"
    result = runner.ours("app", PYTHONPATH=path, TEST_CONCLUDE="import sys; print(sys.modules['__main__'])")
    assert result.out == f"<module '__main__' from '{runner.folder}/app/__main__.py'>\n"


def test_built_in_modules_are_not_taken_away(runner: Runner) -> None:
    """The path is not asked for them, so that a file of their name in the program's folder means nothing."""
    runner.write({"program.py": "import itertools, sys; print(itertools is sys.ours)", "itertools.py": "1 / 0"})
    before = "import itertools, sys; sys.ours = itertools"
    result = runner.ours("program.py", TEST_BEFORE=before)
    assert (result.code, result.out, result.err) == (0, "True\n", "")


def test_own_imports_leave_other_modules_of_the_program_alone(runner: Runner) -> None:
    """What runs meanwhile, a thread or an unpickling, finds its classes."""
    text = """
        import model, sys
        from diagnose.program import own_imports
        with own_imports():
            import model as again, pickle
            assert again is model
            assert type(pickle.loads(pickle.dumps(model.Net()))) is model.Net
    """
    runner.write({"program.py": text, "model.py": "class Net: pass"})
    result = runner.ours("program.py")
    assert (result.code, result.err) == (0, "")


# ------------------------------------------------------------------ signals

WAIT = "import time; print('ready', flush=True); time.sleep(1000)"
# By its own hand, the signal comes at the same place in every run.
SIGNAL_ITSELF = """
    import atexit, os, sys
    atexit.register(print, "atexit")
    print("lost where the process ends at once")
    try:
        os.kill(os.getpid(), int(sys.argv[1]))
    finally:
        print("finally")
"""


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("command", [("program.py",), ("-m", "program")], ids=["script", "module"])
def test_signal_ends_the_program_as_always(number: signal.Signals, command: tuple[str, ...], runner: Runner) -> None:
    runner.write({"program.py": SIGNAL_ITSELF})
    ours = runner.ours(*command, str(int(number)))
    assert_same(ours, runner.plain(*command, str(int(number))))
    assert ours.code == -number
    assert ours.journal == ["interrupt" if number == signal.SIGINT else "signal"]


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_from_outside(number: signal.Signals, runner: Runner) -> None:
    runner.write({"program.py": WAIT})
    result = runner.signalled(number, "program.py")
    assert result.code == -number
    assert result.journal == ["interrupt" if number == signal.SIGINT else "signal"]


SIGNAL_CASES = {
    "own-handler": ("exit", "signal.signal(signal.SIGTERM, lambda *args: sys.exit(7))"),
    "own-handler-returns": (
        "finished",
        "signal.signal(signal.SIGTERM, lambda *args: print('here'))",
    ),
    "own-interrupt-handler": (
        "signal",
        "signal.signal(signal.SIGINT, lambda *args: print('no')); os.kill(os.getpid(), signal.SIGINT)",
    ),
    "chained-handler": (
        "exit",
        """
        def handler(number, frame):
            print("handler", before)
            if callable(before):
                before(number, frame)
            sys.exit(8)
        before = signal.signal(signal.SIGTERM, handler)
        """,
    ),
    "ignored": ("finished", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"),
    "put-back": (
        "",
        "signal.signal(signal.SIGTERM, signal.signal(signal.SIGTERM, signal.SIG_IGN))",
    ),
    "asyncio": (
        "signal",
        """
        import asyncio
        async def main():
            done = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, done.set)
            os.kill(os.getpid(), signal.SIGHUP)
            await done.wait()
            print("done", flush=True)
        asyncio.run(main())
        """,
    ),
}


@pytest.mark.parametrize("name", SIGNAL_CASES)
def test_own_handlers(name: str, runner: Runner) -> None:
    ending, install = SIGNAL_CASES[name]
    lines = [
        "import os, signal, sys",
        textwrap.dedent(install),
        "os.kill(os.getpid(), signal.SIGTERM)",
        "print('end')",
    ]
    runner.write({"program.py": "\n".join(lines)})
    ours = runner.ours("program.py")
    assert_same(ours, runner.plain("program.py"))
    assert ours.journal == ending.split()


def test_handled_interrupt(runner: Runner) -> None:
    text = """
        import os, signal
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            print("caught")
    """
    runner.write({"program.py": text})
    ours = runner.ours("program.py")
    assert_same(ours, runner.plain("program.py"))
    assert (ours.code, ours.journal) == (0, ["finished"])


def test_interrupt_while_waiting_for_threads(runner: Runner) -> None:
    text = """
        import atexit, concurrent.futures.thread, os, signal, time
        atexit.register(print, "atexit", flush=True)
        def work():
            while not concurrent.futures.thread._shutdown:
                time.sleep(.01)
            time.sleep(.1)  # now the main thread waits for this one
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
            print("nobody waits for this", flush=True)
        concurrent.futures.ThreadPoolExecutor().submit(work)
    """
    runner.write({"program.py": text})
    ours, plain = runner.ours("program.py"), runner.plain("program.py")
    assert ours[:2] == plain[:2] == (0, "atexit\n")
    # The wording is the interpreter's, changes with its version and cannot be had from Python.
    assert ours.err.startswith("Exception ignored ")
    assert ours.err.splitlines()[1] == "Traceback (most recent call last):"
    assert ours.err.endswith("KeyboardInterrupt\n")
    assert "running.py" not in ours.err
    assert ours.journal == ["finished"]


def test_nohup(runner: Runner) -> None:
    runner.write({"program.py": "import os, signal; os.kill(os.getpid(), signal.SIGHUP); print('end')"})
    before = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    result = runner.ours("program.py", TEST_BEFORE=before)
    assert (result.code, result.out, result.journal) == (0, "end\n", ["finished"])


def test_signal_during_the_conclusion(runner: Runner) -> None:
    """The report is finished; a second signal does not wait for it."""
    runner.write({"program.py": ""})
    one = "import os, signal; os.kill(os.getpid(), signal.SIGTERM); note('written')"
    result = runner.ours("program.py", TEST_CONCLUDE=one)
    assert (result.code, result.journal) == (-signal.SIGTERM, ["finished", "written"])
    two = "import os, signal; os.kill(os.getpid(), signal.SIGTERM); " * 2 + "note('written')"
    result = runner.ours("program.py", TEST_CONCLUDE=two)
    assert (result.code, result.journal) == (-signal.SIGTERM, ["finished"])


def test_second_signal_ends_at_once(runner: Runner) -> None:
    runner.write({"program.py": WAIT})
    conclude = "import os, signal; os.kill(os.getpid(), signal.SIGTERM); note('not reached')"
    result = runner.signalled(signal.SIGTERM, "program.py", TEST_CONCLUDE=conclude)
    assert (result.code, result.journal) == (-signal.SIGTERM, ["signal"])


def test_forked_children_die_of_sigterm(runner: Runner) -> None:
    """At once, also one that is terminated before it has run a line; and they do not conclude."""
    text = """
        import collections, itertools, os, signal, time
        from multiprocessing import get_context
        codes = set()
        for delay in [0] * 200 + [.05]:
            pid = os.fork()
            if not pid:
                try:
                    time.sleep(5)
                finally:
                    os._exit(9)
            time.sleep(delay)
            os.kill(pid, signal.SIGTERM)
            codes.add(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        def work():
            signal.alarm(10)
            collections.deque(itertools.repeat(0), 0)  # in C, where no handler in Python would ever run
        worker = get_context("fork").Process(target=work)
        worker.start()
        time.sleep(.05)
        worker.terminate()
        worker.join()
        print(codes, worker.exitcode, signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
    """
    runner.write({"program.py": text})
    result = runner.ours("program.py")
    assert result == (-signal.SIGTERM, "{-15} -15 set()\n", "", ["signal"])


# ------------------------------------------------------------------ child processes and torch

POOL = """
    import multiprocessing as mp, sys
    class Thing:
        def __init__(self, x): self.x = x
    def work(thing):
        return Thing(thing.x * 10)
    if __name__ == "__main__":
        for method in ("fork", "spawn", "forkserver"):
            with mp.get_context(method).Pool(2) as pool:
                things = pool.map(work, [Thing(1), Thing(2)])
                print(method, [t.x for t in things], all(type(t) is Thing for t in things), Thing.__module__)
"""


@pytest.mark.parametrize("command", [("program.py",), ("-m", "pack.program"), ("pack/program.py",)], ids=" ".join)
def test_multiprocessing(command: tuple[str, ...], runner: Runner) -> None:
    runner.write({"program.py": POOL, "pack/program.py": POOL})
    result = runner.ours(*command)
    methods = ("fork", "spawn", "forkserver")
    assert result.out == "".join(f"{method} [10, 20] True __main__\n" for method in methods)
    assert (result.code, result.err, result.journal) == (0, "", ["finished"])


@pytest.mark.slow
def test_real_torch(runner: Runner) -> None:
    """Its thread count is read once, from the environment, when it is imported."""
    text = """
        import os, sys
        assert "torch" not in sys.modules and "numpy" not in sys.modules
        os.environ["OMP_NUM_THREADS"] = "1"
        import torch
        class Data(torch.utils.data.Dataset):
            def __len__(self):
                return 4
            def __getitem__(self, i):
                return i
        if __name__ == "__main__":
            print(torch.get_num_threads(), torch.__loader__ is torch.__spec__.loader)
            print(type(torch.__loader__).__name__, *(type(finder).__name__ for finder in sys.meta_path))
            for context in ("fork", "spawn"):
                options = {"num_workers": 2, "multiprocessing_context": context}
                loader = torch.utils.data.DataLoader(Data(), batch_size=2, **options)
                print(context, [batch.tolist() for batch in loader])
    """
    runner.write({"program.py": text})
    result = runner.ours("program.py", TEST_ATTACH="import torch; note(torch.__name__)")
    assert (result.code, result.err) == (0, "")
    threads, finders, *loaders = result.out.splitlines()
    assert threads == "1 True"
    assert finders.startswith("SourceFileLoader")
    assert "ImportHook" not in finders
    assert loaders == [f"{context} [[0, 1], [2, 3]]" for context in ("fork", "spawn")]
    assert result.journal == ["attach", "torch", "finished"]
