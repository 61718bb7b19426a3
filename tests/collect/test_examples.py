"""What is tracked of training examples: the right numbers for the right examples, and nothing changed by it."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset, random_split

import diagnose
from diagnose.collect import examples as tracking
from diagnose.mistakes import TrackedExamples, scores_of
from tests.collect.test_bit_for_bit import RUNS, Outcome, assert_same, fingerprint

N, CLASSES = 60, 4


def data(seed: int = 0) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(
        torch.randn(N, 6, generator=generator),
        torch.randint(CLASSES, (N,), generator=generator),
        torch.arange(N),
    )


def network(outputs: int = CLASSES) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, outputs))


class Twin:
    """The slow and obvious way: a dictionary, one example at a time, from the outputs that the loop has."""

    def __init__(self) -> None:
        self.margins: dict[int, list[float]] = {}

    def note(self, outputs: Tensor, labels: Tensor, rows: Tensor) -> None:
        for row, label, chances in zip(
            rows.tolist(), labels.tolist(), outputs.detach().softmax(1).tolist(), strict=True
        ):
            others = [chance for index, chance in enumerate(chances) if index != label]
            self.margins.setdefault(row, []).append(chances[label] - max(others))

    def plain(self, rows: np.ndarray) -> list[float]:
        return [float(np.mean(self.margins[int(row)])) for row in rows]

    def fading(self, rows: np.ndarray) -> list[float]:
        return [
            float(np.average(self.margins[int(row)], weights=1 / np.arange(1, len(self.margins[int(row)]) + 1)))
            for row in rows
        ]


def train(
    loader: Any,
    twin: Twin | None = None,
    *,
    epochs: int = 3,
    loss_fn: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    seed: int = 0,
) -> nn.Module:
    torch.manual_seed(seed)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(epochs):
        for inputs, labels, rows in loader:
            outputs = model(inputs)
            loss = loss_fn(outputs, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if twin is not None:
                twin.note(outputs, labels, rows)
    return model


def tracked(train_it: Callable[[], object], **options: Any) -> TrackedExamples:
    with diagnose.watch(track_examples=True, summary=False, probe_seconds=0.0, **options) as watch:
        train_it()
    assert watch.history.count("collector-failed") == 0, list(watch.history.events("collector-failed"))
    examples = watch.examples
    assert examples is not None, list(watch.history.events("examples-tracked"))
    return examples


def assert_same_as(twin: Twin, examples: TrackedExamples) -> None:
    assert sorted(twin.margins) == examples.ids.tolist()
    assert examples.margin_all.tolist() == pytest.approx(twin.plain(examples.ids), abs=1e-5)
    assert examples.margin.tolist() == pytest.approx(twin.fading(examples.ids), abs=1e-5)


# -- the same bits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__.removeprefix("run_"))
def test_same_bits_with_and_without(run: Callable[[], Outcome]) -> None:
    plain = fingerprint(run)
    with diagnose.watch(track_examples=True, summary=False) as watch:
        followed = fingerprint(run)
    assert_same(followed, plain)
    assert watch.history.count("collector-failed") == 0, list(watch.history.events("collector-failed"))


# -- the right numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_margins_are_those_of_the_loop(workers: int, persistent: bool) -> None:
    loader = DataLoader(data(), batch_size=7, shuffle=True, num_workers=workers, persistent_workers=persistent)
    twin = Twin()
    examples = tracked(lambda: train(loader, twin))
    assert_same_as(twin, examples)
    assert examples.times.tolist() == [3] * N
    assert examples.size == N and examples.classes == CLASSES and examples.hashes is None
    assert examples.given.tolist() == data().tensors[1].tolist()
    assert examples.window == "logarithmic"


def test_a_pass_that_is_broken_off_does_not_shift_what_follows() -> None:
    loader = DataLoader(data(), batch_size=7, shuffle=True, num_workers=2, persistent_workers=True)
    twin = Twin()

    def run() -> None:
        for _, batch in zip(range(2), loader, strict=False):
            train([batch], twin, epochs=1)
        train(loader, twin, epochs=1)

    examples = tracked(run)
    assert sorted(twin.margins) == examples.ids.tolist()
    assert examples.margin_all.tolist() == pytest.approx(twin.plain(examples.ids), abs=1e-5)


@pytest.mark.parametrize("unit", ["subset", "split", "nested", "concatenated"])
def test_ids_are_positions_in_the_base_data_set(unit: str) -> None:
    base = data()
    part: Dataset[Any] = {
        "subset": lambda: Subset(base, [5, 3, 40, 41, 7, 9, 11, 13]),
        "split": lambda: random_split(base, [30, 30])[1],
        "nested": lambda: Subset(Subset(base, list(range(59, -1, -1))), list(range(10))),
        "concatenated": lambda: ConcatDataset([Subset(base, range(30)), Subset(base, range(30, 60))]),
    }[unit]()
    twin = Twin()
    examples = tracked(lambda: train(DataLoader(part, batch_size=4, shuffle=True), twin))
    assert_same_as(twin, examples)


def test_two_folds_add_up() -> None:
    base, twin = data(), Twin()

    def run() -> None:
        for fold in (range(40), range(20, 60)):
            train(DataLoader(Subset(base, fold), batch_size=8, shuffle=True), twin)

    examples = tracked(run)
    assert_same_as(twin, examples)
    assert examples.times[30] == 6 and examples.times[0] == 3


def test_without_a_loader_rows_name_themselves() -> None:
    inputs, labels, rows = data().tensors
    twin = Twin()

    def batches() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for chosen in torch.randperm(N).split(8):
            yield inputs[chosen], labels[chosen], rows[chosen]

    class Loader:
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
            return batches()

    examples = tracked(lambda: train(Loader(), twin))
    assert examples.hashes is not None and len(examples) == N
    assert examples.times.tolist() == [3] * N
    order = tracking.ExampleTracker().hashes(inputs).tolist()
    where = [order.index(value) for value in examples.hashes.tolist()]
    assert sorted(where) == list(range(N))
    assert examples.margin_all.tolist() == pytest.approx(twin.plain(np.array(where)), abs=1e-5)
    assert examples.given.tolist() == labels[where].tolist()


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from (data()[index] for index in range(N))


def test_a_stream_is_told_by_its_rows() -> None:
    twin = Twin()
    examples = tracked(lambda: train(DataLoader(Stream(), batch_size=9), twin))
    assert examples.ids.tolist() == list(range(N))  # first appearance
    assert_same_as(twin, examples)


def test_gradient_accumulation_in_parts_of_a_batch() -> None:
    base, twin = data(), Twin()

    def run() -> None:
        torch.manual_seed(0)
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            for batch in DataLoader(base, batch_size=20, shuffle=True):
                optimizer.zero_grad()
                for inputs, labels, rows in zip(*(part.split(8) for part in batch), strict=True):
                    outputs = model(inputs)
                    (F.cross_entropy(outputs, labels) / 3).backward()
                    twin.note(outputs, labels, rows)
                optimizer.step()

    assert_same_as(twin, tracked(run))


def picked(outputs: Tensor, labels: Tensor) -> Tensor:
    return -outputs.log_softmax(1)[torch.arange(len(labels)), labels].mean()


def gathered(outputs: Tensor, labels: Tensor) -> Tensor:
    return -outputs.softmax(1).gather(1, labels[:, None]).log().mean()


def focal(outputs: Tensor, labels: Tensor) -> Tensor:
    loss = F.cross_entropy(outputs, labels, reduction="none")
    return ((1 - (-loss).exp()) ** 2 * loss).mean()


def smoothed(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs, labels, label_smoothing=0.1)


def weighted(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs, labels, weight=torch.tensor([1.0, 2.0, 3.0, 4.0])) + 0.1 * outputs.square().mean()


def precise(outputs: Tensor, labels: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return F.cross_entropy(outputs, labels) * 1024


@pytest.mark.parametrize("loss_fn", [picked, gathered, focal, smoothed, weighted, precise])
def test_losses_of_many_kinds(loss_fn: Callable[[Tensor, Tensor], Tensor]) -> None:
    twin = Twin()
    examples = tracked(lambda: train(DataLoader(data(), batch_size=8, shuffle=True), twin, loss_fn=loss_fn))
    assert_same_as(twin, examples)


def test_classes_by_other_names() -> None:
    twin = Twin()
    examples = tracked(
        lambda: train(
            DataLoader(data(), batch_size=20, shuffle=True), None, loss_fn=lambda o, y: F.cross_entropy(o, 3 - y)
        )
    )
    assert examples.times.tolist() == [3] * N
    assert examples.given.tolist() == (3 - data().tensors[1]).tolist()
    assert not twin.margins


def test_binary_and_several_labels() -> None:
    inputs, labels, _ = data().tensors
    several = torch.stack([labels % 2, labels // 2], dim=1).float()
    seen: dict[int, list[float]] = {}

    def run() -> None:
        torch.manual_seed(0)
        model = network(2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            for x, y, rows in DataLoader(TensorDataset(inputs, several, torch.arange(N)), batch_size=8, shuffle=True):
                outputs = model(x)
                optimizer.zero_grad()
                F.binary_cross_entropy_with_logits(outputs, y).backward()
                optimizer.step()
                margin = ((2 * outputs.detach().sigmoid() - 1) * (2 * y - 1)).mean(1)
                for row, value in zip(rows.tolist(), margin.tolist(), strict=True):
                    seen.setdefault(row, []).append(value)

    examples = tracked(run)
    assert examples.margin_all.tolist() == pytest.approx([np.mean(seen[row]) for row in range(N)], abs=1e-5)
    assert set(examples.given.tolist()) <= {0, 1}


def test_tokens_are_averaged_and_ignored_ones_left_out() -> None:
    words = torch.randint(1, 9, (24, 5), generator=torch.Generator().manual_seed(1))
    labels = words.clone()
    labels[::3, 3:] = -100
    labels[5] = -100  # nothing to be learned from: never met
    seen: dict[int, list[float]] = {}

    def run() -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(9, 6), nn.Linear(6, 9))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            for x, y, rows in DataLoader(TensorDataset(words, labels, torch.arange(24)), batch_size=6, shuffle=True):
                outputs = model(x)
                optimizer.zero_grad()
                F.cross_entropy(outputs.flatten(0, 1), y.flatten()).backward()
                optimizer.step()
                chances = outputs.detach().softmax(-1)
                for row, one, its in zip(rows.tolist(), chances, y, strict=True):
                    places = [
                        float(p[k] - torch.cat([p[:k], p[k + 1 :]]).max())
                        for p, k in zip(one, its, strict=True)
                        if k >= 0
                    ]
                    if places:
                        seen.setdefault(row, []).append(float(np.mean(places)))

    examples = tracked(run)
    assert examples.ids.tolist() == sorted(seen)
    assert examples.margin_all.tolist() == pytest.approx([np.mean(seen[row]) for row in sorted(seen)], abs=1e-5)


def test_labels_in_a_buffer_that_is_written_again() -> None:
    base, twin, buffer = data(), Twin(), torch.zeros(6, dtype=torch.int64)

    def through_buffer(outputs: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            buffer.copy_(labels)
        return F.cross_entropy(outputs, buffer)

    examples = tracked(
        lambda: train(DataLoader(base, batch_size=6, shuffle=True), twin, loss_fn=through_buffer, epochs=8)
    )
    assert int(examples.times.min()) >= 3, "what was overwritten once is lost, the rest is copied"


# -- the window -----------------------------------------------------------------------------------------


def evaluate(model: nn.Module, loss: float) -> None:
    """An evaluation that comes out as wanted."""
    model.eval()
    with torch.no_grad():
        outputs = model(torch.zeros(1, 6)) * 0
        F.mse_loss(outputs[0], torch.full((CLASSES,), loss**0.5))
    model.train()


@pytest.mark.parametrize("logged", [False, True])
def test_the_window_ends_at_twice_the_best_evaluation(logged: bool) -> None:
    twin = Twin()
    courses = [5.0, 3.0, 4.0, 6.0, 7.0, 8.0]
    with diagnose.watch(track_examples=True, summary=False, probe_seconds=0.0) as watch:
        torch.manual_seed(0)
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for loss in courses:
            for inputs, labels, rows in DataLoader(data(), batch_size=8, shuffle=True):
                outputs = model(inputs)
                optimizer.zero_grad()
                F.cross_entropy(outputs, labels).backward()
                optimizer.step()
                twin.note(outputs, labels, rows)
            if logged:
                watch.log(val_loss=loss, train_loss=-loss)
            else:
                evaluate(model, loss)
    examples = watch.examples
    assert examples is not None and examples.window == "validation"
    assert (examples.until, examples.passes) == (4.0, 6.0)
    wanted = [float(np.mean(twin.margins[row][:4])) for row in range(N)]
    assert examples.margin.tolist() == pytest.approx(wanted, abs=1e-5)


# -- what is not tracked, and why ------------------------------------------------------------------------


def mixed(outputs: Tensor, labels: Tensor) -> Tensor:
    return 0.3 * F.cross_entropy(outputs, labels) + 0.7 * F.cross_entropy(outputs, labels.flip(0))


def soft(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs, 0.9 * F.one_hot(labels, CLASSES).float() + 0.025)


def squared(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.mse_loss(outputs[:, 0], labels.float())


def soft_binary(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs[:, 0], (labels.float() + 1) / 6)


@pytest.mark.parametrize(
    ("loss_fn", "reason"),
    [(mixed, "mixup"), (soft, "probabilities"), (squared, "cross entropy"), (soft_binary, "probabilities")],
)
def test_the_reason_is_told(loss_fn: Callable[[Tensor, Tensor], Tensor], reason: str) -> None:
    with diagnose.watch(track_examples=True, summary=False, probe_seconds=0.0) as watch:
        train(DataLoader(data(), batch_size=8), loss_fn=loss_fn)
    (event,) = watch.history.events("examples-tracked")
    assert reason in event.detail["not_tracked"]
    assert watch.examples is None
    with pytest.raises(diagnose.MistakesError, match=r"No training example was tracked"):
        watch.mistakes()
    assert watch.report().run.tracked == event.detail


def test_rows_that_change_say_nothing() -> None:
    inputs, labels, rows = data().tensors

    class Loader:
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
            for chosen in torch.randperm(N).split(8):
                yield inputs[chosen] + torch.randn(len(chosen), 6), labels[chosen], rows[chosen]

    examples = tracked(lambda: train(Loader()))
    assert "augmentation" in examples.usable
    assert examples.assessment.limit is None


def test_labels_that_are_drawn_anew_say_nothing() -> None:
    base = data()

    class Drawn(Dataset[Any]):
        def __len__(self) -> int:
            return N

        def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
            return base[index][0], int(torch.randint(CLASSES, ())), index

    examples = tracked(lambda: train(DataLoader(Drawn(), batch_size=8, shuffle=True)))
    assert examples.usable == "labels change from epoch to epoch"


def test_a_shuffled_batch_is_not_taken_for_its_own() -> None:
    def shuffled(outputs: Tensor, labels: Tensor) -> Tensor:
        order = torch.arange(len(labels)).roll(1)
        return F.cross_entropy(outputs[order], labels[order])

    with diagnose.watch(track_examples=True, summary=False, probe_seconds=0.0) as watch:
        train(DataLoader(data(), batch_size=30, shuffle=True), loss_fn=shuffled)
    (event,) = watch.history.events("examples-tracked")
    assert "not those of a batch" in event.detail["not_tracked"]


# -- a guest ---------------------------------------------------------------------------------------------


def test_off_by_default() -> None:
    with diagnose.watch(summary=False) as watch:
        train(DataLoader(data(), batch_size=8))
    assert watch.examples is None and watch.report().run.tracked is None
    with pytest.raises(diagnose.MistakesError, match="track_examples=True"):
        watch.mistakes()


def test_a_failure_of_ours_ends_the_tracking_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_judge", lambda answers: 1 / 0)
    with diagnose.watch(track_examples=True, summary=False, probe_seconds=0.0) as watch:
        train(DataLoader(data(), batch_size=8, shuffle=True), epochs=6)
    (event,) = watch.history.events("collector-failed")
    assert (event.scope, event.detail["error"]) == ("examples", "ZeroDivisionError: division by zero")
    assert watch.history.run.steps == 48


def test_no_graph_and_no_batch_is_kept() -> None:
    kept = []
    with diagnose.watch(track_examples=True, summary=False, probe_seconds=0.0):
        for _ in range(3):
            model = train(DataLoader(data(), batch_size=8, shuffle=True))
            node = model(torch.zeros(2, 6)).sum().grad_fn
            kept.append(weakref.ref(model))
            del model, node
        gc.collect()
        assert [ref() for ref in kept] == [None] * 3


def test_graphs_are_not_kept_until_labels_are_read() -> None:
    with diagnose.watch(track_examples=True, summary=False, probe_seconds=0.0, schedule="every") as watch:
        train(DataLoader(data(), batch_size=4, shuffle=True), epochs=6)
    assert "memory-growth" not in [finding.code for finding in watch.findings]


def test_memory_is_bounded_where_outputs_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "BYTES_KEPT", 1000)
    twin = Twin()
    assert_same_as(twin, tracked(lambda: train(DataLoader(data(), batch_size=8, shuffle=True), twin)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_tracks_and_writes_nothing(tmp_path: Path) -> None:
    with diagnose.watch(track_examples=True, summary=False, run_dir=tmp_path, probe_seconds=0.0) as watch:
        train(DataLoader(data(), batch_size=8))
        child = os.fork()
        if not child:
            code = 1
            try:
                train(DataLoader(data(), batch_size=8))
                watch.stop()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert not (tmp_path / "examples.npz").exists()
    assert TrackedExamples.load(tmp_path).times.tolist() == [3] * N


def test_what_was_known_when_it_was_killed_is_there(tmp_path: Path) -> None:
    watch = diagnose.watch(track_examples=True, summary=False, run_dir=tmp_path, probe_seconds=0.0).start()
    try:
        watch._next_snapshot_s = 0.0
        assert watch._session is not None
        watch._session._next_call_s = 0.0
        train(DataLoader(data(), batch_size=8), epochs=2)
        found = TrackedExamples.load(tmp_path)  # the watch has not ended
        assert 0 < len(found) <= N
    finally:
        watch.stop()
    assert TrackedExamples.load(tmp_path).times.tolist() == [2] * N
    assert scores_of(tmp_path).ids == tuple(range(N))
