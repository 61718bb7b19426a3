"""The run directory: what is saved comes back, nothing foreign is touched, nothing hostile gets in."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose import storage
from diagnose.errors import RunDirectoryError
from diagnose.findings import Finding, Location, Severity
from diagnose.history import (
    QUANTITIES,
    History,
    LayerFacts,
    LossFacts,
    OptimizerFacts,
    ParameterFacts,
)
from diagnose.rules import Diagnosis
from diagnose.storage import RunDirectory, load

NAMES = st.text(min_size=1, max_size=20)
NUMBERS = st.floats()
STEPS = st.integers(1, 10**9)


@st.composite
def histories(draw: st.DrawFn) -> History:
    history = History()
    for quantity in draw(st.lists(st.sampled_from(QUANTITIES), unique=True, max_size=3)):
        for step in sorted(draw(st.lists(STEPS, unique=True, max_size=5))):
            row = draw(st.dictionaries(NAMES, NUMBERS, min_size=1, max_size=3))
            history.record(quantity, step, row, clock=draw(st.sampled_from(["SGD", "Adam"])))
    for name in draw(st.lists(NAMES, unique=True, max_size=3)):
        changed = draw(st.sampled_from([True, False, None]))
        history.parameters[name] = ParameterFacts((3, 2), optimizers=("SGD",), changed=changed)
        history.layers[name] = LayerFacts("relu", file=draw(st.none() | NAMES), line=3)
        history.optimizers[name] = OptimizerFacts("SGD", steps=draw(STEPS))
        history.losses[name] = LossFacts("SGD", line=draw(st.none() | STEPS))
        history.note("clipped", draw(STEPS), name, norm=draw(NUMBERS), places=[name])
    history.run.models = draw(st.lists(NAMES, max_size=2))
    history.run.wall_s = draw(st.floats(0, 1e6))
    return history


@st.composite
def findings(draw: st.DrawFn) -> Finding:
    return Finding(
        code=draw(st.sampled_from(["dead-units", "nan-or-inf"])),
        severity=draw(st.sampled_from(Severity)),
        message=draw(NAMES),
        where=Location(module=draw(st.none() | NAMES), line=draw(st.none() | STEPS)),
        first_step=draw(st.none() | STEPS),
        evidence=draw(st.dictionaries(NAMES, st.floats(allow_nan=False, allow_infinity=False) | NAMES)),
        symptoms=(Finding("loss-diverging", Severity.INFO, draw(NAMES)),),
    )


def as_data(history: History) -> tuple[str, dict[str, list[Any]]]:
    data, arrays = history.to_arrays()
    # repr: NaN equals NaN in it, and tuples become the lists that JSON has.
    return repr(json.loads(json.dumps(data))), {name: [repr(x) for x in a.ravel()] for name, a in arrays.items()}


def small_history() -> History:
    history = History()
    for step in range(1, 6):
        history.record("loss", step, {"train.py:3": 1.0 / step})
        history.record("grad_rms", step, {"a.weight": 0.1, "b.weight": float("nan")})
    history.parameters["a.weight"] = ParameterFacts((2, 3))
    history.optimizers["SGD"] = OptimizerFacts("SGD", steps=5)
    history.note("clipped", 3, "SGD", norm=2.0, limit=1.0)
    history.run.steps = 5
    return history


DIAGNOSIS = Diagnosis(
    (Finding("dead-units", Severity.WARNING, "half of fc1 is dead", evidence={"dead_share": 0.5}),),
    {"exploding-gradient": "not run: needs grad_norm"},
)


@pytest.fixture
def run_directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run")


# -- round trip -------------------------------------------------------------------------------------


@given(history=histories(), found=st.lists(findings(), max_size=2))
def test_round_trip(history: History, found: list[Finding], tmp_path_factory: Any) -> None:
    directory = RunDirectory.create(tmp_path_factory.mktemp("runs") / "run")
    directory.save(history, Diagnosis(tuple(found), {"x": "not run"}))
    loaded, diagnosis = load(directory.path)
    assert as_data(loaded) == as_data(history)
    assert diagnosis == Diagnosis(tuple(found), {"x": "not run"})


def test_the_file_itself_can_be_named_and_a_diagnosis_may_lack(run_directory: RunDirectory) -> None:
    run_directory.save(small_history())
    loaded, diagnosis = load(run_directory.history_file)
    assert as_data(loaded) == as_data(small_history())
    assert diagnosis is None


def test_an_empty_history_and_full_tables_come_back(run_directory: RunDirectory) -> None:
    run_directory.save(History())
    assert as_data(load(run_directory.path)[0]) == as_data(History())
    history = History()
    for step in range(1, 5000):
        history.record("loss", step, {"a": float(step)})
        history.record("grad_rms", step, {"w": float(step)})
    run_directory.save(history)
    assert as_data(load(run_directory.path)[0]) == as_data(history)


def test_a_later_save_replaces_the_earlier_one_and_leaves_one_file(
    run_directory: RunDirectory,
) -> None:
    run_directory.save(History())
    run_directory.save(small_history(), DIAGNOSIS)
    assert load(run_directory.path)[1] == DIAGNOSIS
    assert os.listdir(run_directory.path) == ["history.npz"]


def test_values_that_json_does_not_know_do_not_stop_a_save(run_directory: RunDirectory) -> None:
    history = History()
    history.note("clipped", 1, "SGD", norm=np.float32(2.5), shape=(1, 2), what=object, array=np.arange(2))
    run_directory.save(history)
    (event,) = load(run_directory.path)[0].events("clipped")
    assert event.detail == {"norm": 2.5, "shape": [1, 2], "what": str(object), "array": [0, 1]}


def test_numpy_alone_can_read_the_numbers(run_directory: RunDirectory) -> None:
    run_directory.save(small_history())
    with np.load(run_directory.history_file, allow_pickle=False) as arrays:
        assert arrays["steps0"].tolist() == [1, 2, 3, 4, 5]
        assert json.loads(arrays["about"].tobytes())["version"] == 1


# -- creating ---------------------------------------------------------------------------------------


def test_default_directories_are_new_and_unique(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(storage.time, "strftime", lambda _format: "20260102-030405")
    paths = [RunDirectory.create(stem="train").path for _ in range(3)]
    parent = tmp_path / "diagnose-runs"
    assert paths == [parent / f"train-20260102-030405{end}" for end in ("", "-2", "-3")]
    assert all(path.is_dir() for path in paths)
    assert (parent / ".gitignore").read_text() == "*\n"


@given(stem=st.text())
def test_any_script_name_stays_inside_of_the_parent(stem: str, tmp_path_factory: Any) -> None:
    base = tmp_path_factory.mktemp("x")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        path = RunDirectory.create(stem=stem).path
    assert path.parent == base / "diagnose-runs"
    assert path.name[0] != "."


def test_a_gitignore_in_an_existing_parent_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "diagnose-runs").mkdir()
    RunDirectory.create()
    assert not (tmp_path / "diagnose-runs" / ".gitignore").exists()


def test_foreign_files_stay_and_an_earlier_run_goes(tmp_path: Path) -> None:
    foreign = {"notes.txt": "mine", "events.out.tfevents.1.host": "user's", "data/history.npz": "x"}
    for name, content in foreign.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    earlier = RunDirectory.create(tmp_path)
    earlier.save(small_history())
    earlier.report_file.write_text(json.dumps({"version": 1, "findings": [], "run": {}}))
    (tmp_path / "events.out.tfevents.2.host.diagnose").write_text("ours")

    RunDirectory.create(tmp_path)
    left = {str(p.relative_to(tmp_path)): p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
    assert left == foreign


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("history.npz", b"somebody's data"),
        ("history.npz", b""),
        ("report.json", b"[1, 2]"),
        ("report.json", b"{"),
        ("report.json", b'{"findings": 3}'),
    ],
)
def test_a_foreign_file_of_our_name_is_refused_and_kept(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RunDirectoryError, match=rf"{name} is in the way.*\n.*--run-dir DIR"):
        RunDirectory.create(tmp_path)
    assert (tmp_path / name).read_bytes() == content


def test_a_foreign_npz_is_refused_and_kept(tmp_path: Path) -> None:
    np.savez(tmp_path / "history.npz", loss=np.arange(3))
    with pytest.raises(RunDirectoryError, match="in the way"):
        RunDirectory.create(tmp_path)
    assert (tmp_path / "history.npz").exists()


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_unwritable(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunDirectoryError, match=r"cannot write a run there: .+\n.*--run-dir DIR"):
        RunDirectory.create(tmp_path / path)
    assert (tmp_path / "file").read_text() == "x"


def test_a_read_only_directory_is_found_out_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(storage.tempfile, "TemporaryFile", refuse)  # chmod does not stop root
    with pytest.raises(RunDirectoryError, match="Permission denied"):
        RunDirectory.create(tmp_path)


def test_changing_the_working_directory_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    directory = RunDirectory.create(Path("run"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    directory.save(small_history())
    assert load(tmp_path / "run")


def test_an_unused_directory_can_be_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    RunDirectory.create().remove_if_empty()
    assert os.listdir(tmp_path) == []

    used, unused = RunDirectory.create(), RunDirectory.create()
    used.save(History())
    used.remove_if_empty()
    unused.remove_if_empty()
    assert used.history_file.exists()
    assert not unused.path.exists()

    (tmp_path / "theirs").mkdir()
    RunDirectory.create(tmp_path / "theirs").remove_if_empty()
    assert (tmp_path / "theirs").is_dir()


# -- failing saves ----------------------------------------------------------------------------------


def test_a_failing_save_keeps_the_old_snapshot(run_directory: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    run_directory.save(small_history())

    def disk_full(file: Any, **_arrays: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", disk_full)
    with pytest.raises(OSError, match="No space left on device"):
        run_directory.save(History())
    assert as_data(load(run_directory.path)[0]) == as_data(small_history())
    assert os.listdir(run_directory.path) == ["history.npz"]


def test_a_save_inside_of_a_save(run_directory: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when SIGTERM arrives while a snapshot is written."""
    real = np.savez

    def interrupted(file: Any, **arrays: Any) -> None:
        monkeypatch.setattr(np, "savez", real)
        file.write(b"")
        run_directory.save(History())
        real(file, **arrays)

    monkeypatch.setattr(np, "savez", interrupted)
    run_directory.save(small_history())
    assert as_data(load(run_directory.path)[0]) == as_data(small_history())


def test_a_forked_child_saves_nothing(run_directory: RunDirectory) -> None:
    run_directory.save(small_history())
    child = multiprocessing.get_context("fork").Process(target=run_directory.save, args=(History(),))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert as_data(load(run_directory.path)[0]) == as_data(small_history())


def test_replace_file_follows_links_and_writes_into_pipes(tmp_path: Path) -> None:
    real, link, pipe = tmp_path / "real", tmp_path / "link", tmp_path / "pipe"
    real.write_text("old")
    link.symlink_to(real)
    storage.replace_file(link, lambda file: file.write(b"new"))
    assert link.is_symlink()
    assert real.read_text() == "new"

    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    storage.check_writable(pipe)
    storage.check_writable(tmp_path / "new" / "report.json")
    for impossible in (tmp_path, real / "below"):
        with pytest.raises(RunDirectoryError, match=f"{impossible}: cannot be written: "):
            storage.check_writable(impossible)
    storage.replace_file(pipe, lambda file: file.write(b"through"))
    assert os.read(reader, 100) == b"through"
    os.close(reader)


# -- hostile files ----------------------------------------------------------------------------------


def saved(tmp_path: Path) -> bytes:
    directory = RunDirectory.create(tmp_path / "honest")
    directory.save(small_history(), DIAGNOSIS)
    return directory.history_file.read_bytes()


def refuse(tmp_path: Path, content: bytes, match: str = "not a run of torch-diagnose, or damaged") -> None:
    file = tmp_path / "history.npz"
    file.write_bytes(content)
    with pytest.raises(RunDirectoryError, match=match) as caught:
        load(file)
    assert str(file) in str(caught.value)


def rewritten(content: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """An honest file after `change` has been let loose on its JSON part."""
    with np.load(io.BytesIO(content)) as arrays:
        members = dict(arrays)
    about = json.loads(members["about"].tobytes())
    change(about)
    members["about"] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    stream = io.BytesIO()
    np.savez(stream, **members)
    return stream.getvalue()


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04" + b"\0" * 100, b"\x93NUMPY" + b"\0" * 50])
def test_garbage(tmp_path: Path, content: bytes) -> None:
    refuse(tmp_path, content)


@given(data=st.data())
def test_truncated(tmp_path_factory: Any, data: st.DataObject) -> None:
    tmp_path = tmp_path_factory.mktemp("t")
    content = saved(tmp_path)
    refuse(tmp_path, content[: data.draw(st.integers(0, len(content) - 1))])


@given(data=st.data())
def test_changed_bytes_raise_nothing_else(tmp_path_factory: Any, data: st.DataObject) -> None:
    tmp_path = tmp_path_factory.mktemp("t")
    content = bytearray(saved(tmp_path))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path / "history.npz"
    file.write_bytes(content)
    with contextlib.suppress(RunDirectoryError):
        load(file)


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("EXPLODED",)


def test_a_pickle_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stream = io.BytesIO()
    with np.load(io.BytesIO(saved(tmp_path))) as arrays:
        members = {**arrays, "values0": np.array([[Bomb()]] * 5, dtype=object)}
    np.savez(stream, **members)
    refuse(tmp_path, stream.getvalue(), match="values0 is an array object")
    refuse(tmp_path, pickle.dumps(Bomb()))
    assert not (tmp_path / "EXPLODED").exists()


def test_a_compression_bomb_is_not_unpacked(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, about=np.zeros(10**7, dtype=np.uint8))
    refuse(tmp_path, stream.getvalue(), match="compressed members")


def test_a_header_that_promises_the_moon_allocates_nothing(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (10**15,)})
    archive_bytes = io.BytesIO()
    with zipfile.ZipFile(archive_bytes, "w") as archive:
        archive.writestr("about.npy", stream.getvalue() + b"{}")
    refuse(tmp_path, archive_bytes.getvalue())


def test_a_file_too_large_for_any_run(tmp_path: Path) -> None:
    file = tmp_path / "history.npz"
    with open(file, "wb") as sparse:
        sparse.truncate(storage.LARGEST_FILE_BYTES + 1)
    with pytest.raises(RunDirectoryError, match="more than any run needs"):
        load(file)


def test_more_columns_than_memory(tmp_path: Path) -> None:
    """Few bytes in the file, eight kilobytes of table each."""

    def widen(about: dict[str, Any]) -> None:
        about["history"]["tables"][0]["scopes"] = [str(n) for n in range(200_000)]

    refuse(tmp_path, rewritten(saved(tmp_path), widen), match="more columns than any run needs")


def deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.update(format="other"),
        lambda about: about.pop("history"),
        lambda about: about.update(version="1"),
        lambda about: about["history"].update(tables=[1]),
        lambda about: about["history"]["tables"][0].update(scopes=["a", "b"]),
        lambda about: about["history"]["tables"][1].update(scopes=["a", "a"]),
        lambda about: about["history"]["tables"][0].update(quantity=3),
        lambda about: about["history"]["tables"][0].update(clock=None),
        lambda about: about["history"]["tables"].append(about["history"]["tables"][0]),
        lambda about: about["history"]["run"].update(steps="many"),
        lambda about: about["history"]["run"].update(models="Net"),
        lambda about: about["history"]["optimizers"]["SGD"].update(steps=1.5),
        lambda about: about["history"]["parameters"]["a.weight"].update(shape="23"),
        lambda about: about["history"]["parameters"]["a.weight"].update(changed=1),
        lambda about: about["history"]["events"][0]["events"][0].update(step=None),
        lambda about: about["history"]["events"][0]["events"][0].update(detail=[1]),
        lambda about: about["history"]["events"][0]["events"][0]["detail"].update(norm=deep(60)),
        lambda about: about["diagnosis"]["findings"][0].update(severity="deadly"),
        lambda about: about["diagnosis"]["findings"][0].update(first_step="1"),
        lambda about: about["diagnosis"]["findings"][0].update(evidence=[1]),
        lambda about: about["diagnosis"]["findings"][0]["where"].update(line="3"),
        lambda about: about["diagnosis"]["findings"][0].update(symptoms=[{}]),
        lambda about: about["diagnosis"].update(not_run={"a": 1}),
    ],
)
def test_wrong_fields(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = saved(tmp_path)
    refuse(tmp_path, rewritten(content, change))


def test_json_nested_beyond_the_recursion_limit(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.savez(stream, about=np.frombuffer(b"[" * 10**6, dtype=np.uint8))
    refuse(tmp_path, stream.getvalue())


def test_a_newer_version_says_what_to_do(tmp_path: Path) -> None:
    content = rewritten(saved(tmp_path), lambda about: about.update(version=2))
    refuse(
        tmp_path,
        content,
        match=r"newer torch-diagnose \(format 2.*\n.*pip install -U torch-diagnose",
    )


def test_unknown_fields_and_tables_are_passed_over(tmp_path: Path) -> None:
    """A later release may add some without a new format."""

    def add(about: dict[str, Any]) -> None:
        about["history"]["run"]["mood"] = "good"
        about["history"]["tables"][1]["quantity"] = "mood"
        about["more"] = 1

    file = tmp_path / "history.npz"
    file.write_bytes(rewritten(saved(tmp_path), add))
    history, _ = load(file)
    assert len(history.series("loss", "train.py:3")) == 5
    assert history.run.steps == 5


def test_nothing_there_points_at_what_is_near(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"no run is stored there \(there is no file history.npz\)"):
        load(tmp_path)
    with pytest.raises(RunDirectoryError, match="no run is stored there"):
        load(tmp_path / "missing")
    RunDirectory.create(tmp_path / "a").save(small_history())
    with pytest.raises(RunDirectoryError, match=rf"The latest below it: {tmp_path / 'a'}"):
        load(tmp_path)
