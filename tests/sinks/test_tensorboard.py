"""TensorBoard: what is written is read back with TensorBoard's own reader; no thread, safe beside forks."""

from __future__ import annotations

import html
import multiprocessing
import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.history import History
from diagnose.report import Report
from diagnose.sinks import wording
from diagnose.sinks.tensorboard import TensorBoardSink, findings_markdown
from diagnose.stats.histogram import histogram
from tests.sinks.reports import HEALTHY, TEXT, UNHEALTHY, reports

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of tensorboard's own imports
    from tensorboard import plugin_util
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
    from torch.utils.tensorboard import SummaryWriter

    from diagnose.sinks import _event_file


def read(folder: Path) -> Any:
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = read(folder)
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def texts(folder: Path) -> list[tuple[int, str]]:
    return [
        (event.step, event.tensor_proto.string_val[0].decode())
        for event in read(folder).Tensors("findings/text_summary")
    ]


def row(history: History, step: int) -> None:
    history.record("loss", step, {"train.py:9": 0.5 * step}, clock="SGD")
    history.record("grad_norm", step, {"SGD": 2.0 * step}, clock="SGD")
    history.record("update_ratio", step, {"fc1.weight": 0.25}, clock="SGD")


# -- scalars ----------------------------------------------------------------------------------------


def test_every_quantity_has_its_group(tmp_path: Path) -> None:
    history = History()
    for quantity in ("loss", "eval_loss", "metric", "grad_norm", "grad_norm_before_clip", "lr"):
        history.record(quantity, 3, {"x": 0.5})
    for quantity in ("update_ratio", "dead_share", "saturated_share", "active_share", "grad_rms"):
        history.record(quantity, 3, {"fc1": 0.5})
    sink = TensorBoardSink(tmp_path)
    sink.add_scalars(history)
    sink.close()
    expected = [
        "active share/fc1", "dead units/fc1", "evaluation loss/x", "gradient norm/x",
        "gradient norm/x before clipping", "learning rate/x", "loss/x", "metric/x", "saturation/fc1",
        "update ratio/fc1",
    ]  # fmt: skip
    assert scalars(tmp_path) == {tag: [(3, 0.5)] for tag in expected}


@pytest.mark.parametrize("theirs", [False, True])
def test_only_new_rows_are_written(tmp_path: Path, theirs: bool) -> None:
    writer = SummaryWriter(str(tmp_path)) if theirs else None
    sink = TensorBoardSink(writer or tmp_path)
    history = History()
    for step in range(1, 6):
        row(history, step)
        sink.add_scalars(history)
        sink.add_scalars(history)
    # A value that joins a row after it was written, and a scope that is new.
    history.record("update_ratio", 5, {"fc2.weight": 0.75, "fc3.weight": 0.125}, clock="SGD")
    sink.add_scalars(history)
    sink.close()
    assert scalars(tmp_path) == {
        "loss/train.py:9": [(step, 0.5 * step) for step in range(1, 6)],
        "gradient norm/SGD": [(step, 2.0 * step) for step in range(1, 6)],
        "update ratio/fc1.weight": [(step, 0.25) for step in range(1, 6)],
        "update ratio/fc2.weight": [(5, 0.75)],
        "update ratio/fc3.weight": [(5, 0.125)],
    }
    if writer is not None:
        writer.add_scalar("still open", 1.0)
        writer.close()
        assert "still open" in scalars(tmp_path)


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 9)),
        max_size=40,
    ),
    flush_after=st.sets(st.integers(0, 40)),
)
def test_whenever_it_is_flushed_all_values_are_written_once(
    rows: list[tuple[int, str, str, int]],
    flush_after: set[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("events")
    history, sink = History(), TensorBoardSink(folder)
    steps = {"a": 0, "b": 0}
    expected: dict[tuple[str, int], float] = {}
    for number, (stride, clock, scope, value) in enumerate(rows):
        steps[clock] += stride
        key = (f"loss/{clock}{scope}", steps[clock])
        if key in expected:  # a value is recorded once
            continue
        expected[key] = float(value)
        history.record("loss", steps[clock], {f"{clock}{scope}": value}, clock=clock)
        if number in flush_after:
            sink.add_scalars(history)
            sink.flush()
    sink.add_scalars(history)
    sink.close()
    written = (
        [((tag, step), value) for tag, points in scalars(folder).items() for step, value in points] if expected else []
    )
    assert len(written) == len(expected)
    assert dict(written) == expected


def test_thinned_tables_give_no_point_twice(tmp_path: Path) -> None:
    history, sink = History(), TensorBoardSink(tmp_path)
    for step in range(1, 3001):
        row(history, step)
        if step % 50 == 0:
            sink.add_scalars(history)
    sink.close()
    points = scalars(tmp_path)
    assert points["loss/train.py:9"] == [(step, 0.5 * step) for step in range(1, 3001)]
    assert len({step for step, _ in points["update ratio/fc1.weight"]}) == len(points["update ratio/fc1.weight"])


def test_nonfinite_values_and_hostile_names(tmp_path: Path) -> None:
    history, sink = History(), TensorBoardSink(tmp_path)
    history.record("loss", 1, {"a\udc80\x1b": float("inf")})
    sink.add_scalars(history)
    sink.close()
    assert scalars(tmp_path) == {r"loss/a\udc80\x1b": [(1, float("inf"))]}


# -- histograms -------------------------------------------------------------------------------------


@pytest.mark.parametrize("theirs", [False, True])
def test_histograms(tmp_path: Path, theirs: bool) -> None:
    values = np.random.default_rng(0).normal(size=1000)
    writer = SummaryWriter(str(tmp_path)) if theirs else None
    sink = TensorBoardSink(writer or tmp_path)
    sink.add_histogram("activations/fc1 (pre)", 7, histogram(values))
    sink.add_histogram("gradients/empty", 7, histogram(np.array([np.nan])))
    sink.close()
    if writer is not None:
        writer.close()
    assert read(tmp_path).Tags()["histograms"] == ["activations/fc1 (pre)"]
    (event,) = read(tmp_path).Histograms("activations/fc1 (pre)")
    read_back, expected = event.histogram_value, histogram(values)
    assert event.step == 7
    assert (read_back.min, read_back.max, read_back.num) == (values.min(), values.max(), 1000)
    assert read_back.sum == pytest.approx(values.sum())
    assert read_back.sum_squares == pytest.approx((values**2).sum())
    assert read_back.bucket_limit == expected.edges[1:].tolist()
    assert read_back.bucket == expected.counts.tolist()


# -- findings ---------------------------------------------------------------------------------------


def test_findings_are_written_when_they_change(tmp_path: Path) -> None:
    sink = TensorBoardSink(tmp_path)
    sink.add_findings(HEALTHY)
    sink.add_findings(HEALTHY)
    sink.add_findings(replace(UNHEALTHY, run=replace(UNHEALTHY.run, steps=500)))
    sink.close()
    (first_step, first), (second_step, second) = texts(tmp_path)
    assert (first_step, second_step) == (412, 500)
    assert first.startswith("**healthy: nothing wrong in 412 steps**")
    assert "**error update-too-large** in head.weight and 2 more, since step 3: SGD moves" in second
    assert "- **try** Divide the learning rate by 10 (now 4)." in second


def test_what_was_not_seen_is_told() -> None:
    assert "not seen" not in findings_markdown(HEALTHY)
    run = replace(HEALTHY.run, not_seen={"my_net": "compiled"})
    assert findings_markdown(replace(HEALTHY, run=run)).endswith("\n\nnot seen: my\\_net: compiled")


def rendered(markdown: str) -> str:
    """The text that TensorBoard shows."""
    page = plugin_util.markdown_to_safe_html(markdown)
    assert not re.search(r"<(?!/?(p|strong|ul|li)\b)", page), page
    return " ".join(html.unescape(re.sub(r"</?(p|strong|ul|li)>", " ", page)).split())


@given(report=reports())
def test_markdown_shows_every_text_as_it_is(report: Report) -> None:
    shown = rendered(findings_markdown(report))
    for finding in report.findings:
        for text in (finding.message, finding.cause, finding.remedy):
            assert " ".join(wording.visible(text).split()) in shown


@given(text=st.lists(st.sampled_from([*"*_`[]()<>#!|\\&-+.~{}:/ a1", "http://e.org", "&lt;"])).map("".join))
def test_markdown_syntax_is_only_text(text: str) -> None:
    finding = replace(UNHEALTHY.findings[0], message=text, remedy=text)
    shown = rendered(findings_markdown(Report((finding,), {}, UNHEALTHY.run)))
    assert f"since step 3: {wording.visible(text)}".rstrip() in shown


# -- threads, forks and failures --------------------------------------------------------------------


def test_no_thread_and_no_open_file(tmp_path: Path) -> None:
    threads = threading.active_count()
    descriptors = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    sink = TensorBoardSink(tmp_path)
    history = History()
    row(history, 1)
    sink.add_scalars(history)
    assert threading.active_count() == threads
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) == len(descriptors)
    sink.close()


def test_our_file_is_marked_as_ours(tmp_path: Path) -> None:
    """`RunDirectory` removes these, and only these, when a directory is used again."""
    sink = TensorBoardSink(tmp_path)
    sink.add_findings(HEALTHY)
    (file,) = tmp_path.glob("events.out.tfevents.*.diagnose")
    assert os.listdir(tmp_path) == [file.name]


def in_a_fork(function: Callable[..., object], *arguments: object) -> int | None:
    """The exit code of a forked child that calls `function`; killed if it hangs, as with a lost thread."""
    child = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    child.start()
    child.join(30)
    if child.is_alive():
        child.kill()
        child.join()
    return child.exitcode


def _use_writer(writer: Any) -> None:
    for step in range(100, 110):
        writer.add_scalar("x", 2.0, step)
        writer.flush()
    writer.close()


def test_the_writer_itself_is_dumb_in_a_forked_child(tmp_path: Path) -> None:
    writer = _event_file.ThreadlessWriter(str(tmp_path), ".diagnose")
    writer.add_scalar("x", 1.0, 1)  # still in memory, of which the child has a copy
    assert in_a_fork(_use_writer, writer) == 0
    writer.close()
    assert scalars(tmp_path) == {"x": [(1, 1.0)]}


def _write_in_child(sink: TensorBoardSink, history: History) -> None:
    row(history, 100)
    sink.add_scalars(history)
    sink.add_findings(UNHEALTHY)
    sink.add_histogram("x", 1, histogram(np.ones(3)))
    sink.close()


@pytest.mark.parametrize("theirs", [False, True])
def test_a_forked_child_writes_nothing(tmp_path: Path, theirs: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # SummaryWriter's thread, on Python 3.12
        writer = SummaryWriter(str(tmp_path)) if theirs else None
        sink = TensorBoardSink(writer or tmp_path)
        history = History()
        row(history, 1)
        sink.add_scalars(history)  # not flushed: the child inherits it unwritten
        exit_code = in_a_fork(_write_in_child, sink, history)
    row(history, 2)
    sink.add_scalars(history)
    sink.close()
    if writer is not None:
        writer.close()
    assert exit_code == 0
    assert [step for step, _ in scalars(tmp_path)["loss/train.py:9"]] == [1, 2]
    assert read(tmp_path).Tags()["histograms"] == []


FORKING = """
import os, sys, threading, torch
from torch.utils.data import DataLoader
from diagnose.history import History
from diagnose.sinks.tensorboard import TensorBoardSink

sink, history = TensorBoardSink(sys.argv[1]), History()
for epoch in range(1, 4):
    history.record("loss", epoch, {"a": float(epoch)})
    sink.add_scalars(history)
    # A loader's own threads may take a moment to end.
    others = [thread for thread in threading.enumerate() if not thread.name.startswith("QueueFeeder")]
    assert others == [threading.main_thread()], others
    loader = DataLoader(torch.arange(8), num_workers=2, multiprocessing_context="fork")
    assert sum(int(batch) for batch in loader) == 28
    sink.flush()
pid = os.fork()
if not pid:
    sys.exit(0)  # an ordinary end, with all that is flushed at it
os.waitpid(pid, 0)
sink.close()
"""


def test_beside_forking_workers_with_warnings_as_errors(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKING, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert scalars(tmp_path) == {"loss/a": [(1, 1.0), (2, 2.0), (3, 3.0)]}


def test_without_tensorboard_one_message_and_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "diagnose.sinks._event_file")
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    said: list[str] = []
    sink = TensorBoardSink(tmp_path / "new", say=said.append)
    for _ in range(3):
        sink.add_findings(HEALTHY)
        sink.flush()
    sink.close()
    assert len(said) == 1
    assert "pip install tensorboard" in said[0]
    assert "--no-tensorboard" in said[0]
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sink = TensorBoardSink(tmp_path / "runs")
    sink.add_findings(HEALTHY)
    for file in (tmp_path / "runs").iterdir():
        file.unlink()
    (tmp_path / "runs").rmdir()
    for _ in range(3):
        sink.add_findings(UNHEALTHY)
        sink.flush()
    error = capsys.readouterr().err
    assert error.startswith("diagnose: TensorBoard files are not written any more: FileNotFoundError: ")
    assert error.count("\n") == 1


def test_a_wrong_argument_of_ours_reaches_nobody(tmp_path: Path) -> None:
    said: list[str] = []
    sink = TensorBoardSink(tmp_path, say=said.append)
    sink.add_histogram("x", 1, None)  # type: ignore[arg-type]
    assert len(said) == 1


def test_nothing_is_imported_or_made_before_the_first_write(tmp_path: Path) -> None:
    source = (
        "import sys; from diagnose.sinks.tensorboard import TensorBoardSink\n"
        "from diagnose.history import History\n"
        "sink = TensorBoardSink(sys.argv[1]); sink.add_scalars(History()); sink.close()\n"
        "sys.exit(bool({'torch', 'tensorboard'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", source, str(tmp_path / "new")], check=True)
    assert not (tmp_path / "new").exists()


# -- the file format --------------------------------------------------------------------------------


@given(messages=st.lists(st.binary(min_size=4, max_size=300), max_size=8))
def test_checksums_are_those_of_tensorboard(messages: list[bytes]) -> None:
    checksums = _event_file._masked(_event_file.crc32c(messages))
    assert checksums == [masked_crc32c(message) for message in messages]


def test_checksum_of_the_standard() -> None:
    """The check value of CRC-32C, as in RFC 3720's appendix: "123456789"."""
    assert _event_file.crc32c([b"123456789"]).tolist() == [0xE3069283]


@given(text=TEXT)
def test_other_methods_of_the_writer_work_too(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("events")
    writer = _event_file.ThreadlessWriter(str(folder), ".diagnose")
    shown = wording.visible(text)
    writer.add_text("x", shown, 3)
    writer.add_scalar("y", 2.0, 3)
    writer.close()
    writer.add_scalar("z", 3.0, 4)  # reopens, as SummaryWriter does
    writer.close()
    events = read(folder)
    assert events.Tensors("x/text_summary")[0].tensor_proto.string_val[0].decode() == shown
    assert set(events.Tags()["scalars"]) >= {"y"}
