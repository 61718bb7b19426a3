"""The status line, on a terminal: it is seen, it is in nobody's way, and it is gone in the end."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from diagnose.history import History
from diagnose.sinks.live import LiveLine
from tests.support.screen import Screen

if sys.platform == "win32":
    pytest.skip("needs pseudo-terminals", allow_module_level=True)
else:
    import fcntl
    import termios

ROWS, COLUMNS = 8, 100
STATUS = "diagnose: step "

# Prints half a line and its end with steps between, more lines than the terminal has, and a bar that redraws itself.
SCRIPT = """
import sys, time
import torch
from torch import nn

model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

def train(steps):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(8, 4)).pow(2).mean().backward()
        optimizer.step()
        time.sleep(0.04)

for epoch in range(2 * ROWS):
    sys.stdout.write(f"epoch {epoch}: ")
    sys.stdout.flush()
    train(4)
    print("done")
BAR
print("the end")
"""
OWN_BAR = """
for n in range(1, 31):
    train(1)
    sys.stderr.write("\\r|" + "#" * n + "-" * (30 - n) + "|")
    sys.stderr.flush()
sys.stderr.write("\\n")
"""
TQDM = """
from tqdm import tqdm
for _ in tqdm(range(30), ascii=True, mininterval=0, bar_format="|{bar:30}| {n}"):
    train(1)
"""
SHOWN = [f"epoch {epoch}: done" for epoch in range(2 * ROWS)]


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends of a pseudo-terminal of ROWS and COLUMNS: ours and the program's."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    yield ours, theirs
    os.close(ours)


def all_of(ours: int) -> str:
    """What comes out of the terminal until nobody has its other end open."""
    data = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # how Linux says that it is over
            break
        if not piece:
            break
        data += piece
    return data.decode()


def run_on(terminal: tuple[int, int], folder: Path, script: str, *options: str) -> str:
    ours, theirs = terminal
    (folder / "train.py").write_text(script.replace("ROWS", str(ROWS)))
    command = [sys.executable, "-m", "diagnose", "run", "--live", "--no-tensorboard", *options, "train.py"]
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(command, cwd=folder, stdout=theirs, stderr=theirs, env=environment) as program:
        os.close(theirs)
        output = all_of(ours)
    assert program.returncode == 0, output
    return output


@pytest.mark.parametrize("bar", [OWN_BAR, TQDM], ids=["own bar", "tqdm"])
def test_on_a_terminal(bar: str, terminal: tuple[int, int], tmp_path: Path) -> None:
    if bar is TQDM:
        pytest.importorskip("tqdm")
    output = run_on(terminal, tmp_path, SCRIPT.replace("BAR", bar))
    screen = Screen(ROWS, COLUMNS)
    last_rows = set()
    for frame in screen.frames(output):
        last_rows.add(frame[-1])
        assert not any("diagnose: step" in row for row in frame[:-1]), frame
    drawn = {row for row in last_rows if row.startswith(STATUS) and row.endswith("%")}
    assert len(drawn) >= 3, last_rows
    assert any("loss" in row and "gradient norm" in row for row in drawn)
    shown = screen.everything
    assert STATUS not in shown
    lines = shown.split("\n")
    assert lines[: len(SHOWN)] == SHOWN
    assert lines[len(SHOWN)].startswith("|" + "#" * 30 + "|")
    assert lines[len(SHOWN) + 1] == "the end"
    assert "diagnose: healthy" in shown


def test_a_script_that_fails_leaves_the_terminal_whole(terminal: tuple[int, int], tmp_path: Path) -> None:
    ours, theirs = terminal
    script = "import diagnose\nwatch = diagnose.watch(live=True).start()\n" + SCRIPT.replace("BAR", "")
    script = script.replace("ROWS", "3") + "raise SystemExit(5)\n"  # the watch is never stopped
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}) as program:
        os.close(theirs)
        output = all_of(ours)
    assert program.returncode == 5, output
    assert STATUS in output
    screen = Screen(ROWS, COLUMNS)
    *_, last = screen.frames(output + "\n" * ROWS + "prompt")
    assert last == [*[""] * (ROWS - 1), "prompt"]
    assert STATUS not in screen.everything


@pytest.mark.parametrize("where", ["a pipe", "a dumb terminal", "a low terminal"])
def test_nothing_is_drawn_elsewhere(where: str, terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    reading, writing = os.pipe()
    if where == "a low terminal":
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 2, COLUMNS, 0, 0))
    with pytest.MonkeyPatch.context() as patch, os.fdopen(writing if where == "a pipe" else theirs, "w") as stream:
        patch.setenv("TERM", "dumb" if where == "a dumb terminal" else "xterm")
        line = LiveLine(stream)
        line.update(History(), 100.0)
        line.clear()
        stream.write("x")
    if where != "a pipe":
        os.close(writing)
    assert (os.read(reading, 100) if where == "a pipe" else all_of(ours).encode()) == b"x"
    os.close(reading)


def test_a_stream_that_the_script_has_closed_is_let_be(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    stream = os.fdopen(theirs, "w")
    line = LiveLine(stream)
    line.update(History(), 100.0)
    stream.close()
    line.update(History(), 200.0)
    line.clear()
    assert all_of(ours).count(STATUS) == 1


def test_it_follows_the_size_of_the_terminal(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    with os.fdopen(theirs, "w") as stream:
        line = LiveLine(stream)
        line.update(History(), 100.0)
        line.update(History(), 100.1)  # too soon
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS - 2, 20, 0, 0))
        line.update(History(), 200.0)
        line.clear()
    output = all_of(ours)
    assert f"\x1b[1;{ROWS - 1}r" in output
    assert f"\x1b[1;{ROWS - 3}r" in output
    texts = [part.split("\x1b")[0] for part in output.split("\x1b[2K")]
    assert [len(text) for text in texts if text] == [len("diagnose: step 0, overhead 0.0 %"), 19]


def test_without_a_terminal_the_option_does_nothing(tmp_path: Path) -> None:
    script = SCRIPT.replace("BAR", "").replace("ROWS", "4")
    (tmp_path / "train.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "-m", "diagnose", "run", "--live", "--no-tensorboard", "train.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\x1b" not in done.stdout + done.stderr
    assert STATUS not in done.stderr
    assert "diagnose: healthy" in done.stderr
