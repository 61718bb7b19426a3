"""The Inspector: silent on clean data, and finding what was planted in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import datasets

from diagnose.errors import InspectionError
from diagnose.findings import Severity
from diagnose.mistakes import Inspector, Problem, compare
from diagnose.pages import PAGES

Array = np.ndarray[Any, Any]


def digits() -> tuple[Array, Array]:
    data = datasets.load_digits()
    return (data.images[:, None] / 16).astype(np.float32), data.target


def scenes(seed: int, size: int = 600) -> Array:
    """Smooth random pictures in colour, in [0, 1]: neighbouring pixels are alike as in photographs."""
    numbers = np.random.default_rng(seed)
    frequency = np.fft.fftfreq(24)
    amplitude = 1 / np.maximum(np.hypot(frequency[:, None], frequency), 1 / 24) ** 1.5
    noise = numbers.normal(size=(size, 1, 24, 24)) + 0.5 * numbers.normal(size=(size, 3, 24, 24))
    found = np.fft.ifft2(np.fft.fft2(noise) * amplitude).real
    found *= numbers.uniform(0.1, 0.3, (size, 1, 1, 1)) / found.std(axis=(1, 2, 3), keepdims=True)
    return np.clip(found + numbers.uniform(0.3, 0.7, (size, 1, 1, 1)), 0, 1).astype(np.float32)


def inspected(inputs: Any, labels: Any = None, *, batch: int = 128, **options: Any) -> Inspector:
    inspector = Inspector(**options)
    for start in range(0, len(inputs), batch):
        part = slice(start, start + batch)
        ids = range(start, start + len(inputs[part]))
        inspector.add(ids, inputs[part], None if labels is None else labels[part])
    return inspector


def found(inspector: Inspector) -> dict[str, Problem]:
    return {problem.code: problem for problem in inspector.problems()}


def alarms(problems: list[Problem]) -> list[str]:
    return [problem.code for problem in problems if problem.severity.at_least(Severity.WARNING)]


# -- silent on clean data --------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [datasets.load_wine, datasets.load_breast_cancer, datasets.load_iris])
@pytest.mark.parametrize("standardised", [False, True])
def test_tables_of_scikit_learn_are_clean(load: Callable[[], Any], standardised: bool) -> None:
    data = load()
    table = data.data.astype(np.float32)
    if standardised:
        table = (table - table.mean(0)) / table.std(0)
    assert inspected(table, data.target).problems() == []


def test_digits_are_clean_as_images_and_as_rows() -> None:
    images, labels = digits()
    assert inspected(images, labels).problems() == []
    assert inspected(images.reshape(len(images), -1), labels).problems() == []


@pytest.mark.parametrize("seed", range(3))
def test_pictures_are_clean(seed: int) -> None:
    pictures = scenes(seed)
    assert inspected(pictures).problems() == []
    assert inspected((pictures.transpose(0, 2, 3, 1) * 255).astype(np.uint8)).problems() == []
    assert inspected((pictures - 0.5) / 0.25).problems() == []


@pytest.mark.parametrize("seed", range(3))
def test_heavy_tails_categories_and_counts_are_clean(seed: int) -> None:
    numbers = np.random.default_rng(seed)
    tables = {
        "cauchy": numbers.standard_t(1, (800, 6)),
        "log-normal": np.exp(1.5 * numbers.normal(size=(800, 6))),
        "answers": numbers.integers(0, 5, (800, 6)).astype(float),
        "rare flags": (numbers.random((800, 6)) < 0.004) + numbers.normal(size=(800, 6)) * (np.arange(6) > 2),
        "mostly zero": np.where(numbers.random((800, 6)) < 0.9, 0, np.exp(2 * numbers.normal(size=(800, 6)))),
        "constant columns": np.concatenate([np.ones((800, 3)), numbers.normal(size=(800, 3))], axis=1),
    }
    for name, table in tables.items():
        assert alarms(inspected(table.astype(np.float32), numbers.integers(0, 2, 800)).problems()) == [], name


def test_texts_from_templates_and_short_texts_are_clean() -> None:
    numbers = np.random.default_rng(0)
    orders = [f"your order {n} of {n % 7} books was sent on day {n % 30} thank you for buying here" for n in range(400)]
    short = [" ".join(numbers.choice(list("abcdefgh"), numbers.integers(1, 4))) for _ in range(400)]
    assert inspected(orders).problems() == []
    assert alarms(inspected(short, numbers.integers(0, 2, 400)).problems()) == []


# -- finding what was planted ----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 20])
def test_copies_are_found_with_their_labels(count: int) -> None:
    images, labels = digits()
    more = np.concatenate([images, images[:count]])
    same = found(inspected(more, np.concatenate([labels, labels[:count]])))
    assert set(same) == {"duplicate-examples"}
    groups = same["duplicate-examples"].groups
    assert sorted(groups) == [(n, len(images) + n) for n in range(count)]
    assert same["duplicate-examples"].severity is (Severity.WARNING if count > 17 else Severity.INFO)

    other = found(inspected(more, np.concatenate([labels, (labels[:count] + 1) % 10])))
    assert set(other) == {"conflicting-labels"} and other["conflicting-labels"].severity is Severity.WARNING
    assert sorted(other["conflicting-labels"].groups) == sorted(groups)


def test_rows_that_are_equal_by_chance_are_no_copies() -> None:
    numbers = np.random.default_rng(0)
    answers = numbers.integers(0, 3, (900, 6)).astype(np.float32)
    problems = found(inspected(answers, numbers.integers(0, 2, 900)))
    assert set(problems) == {"conflicting-labels"}
    assert problems["conflicting-labels"].severity is Severity.INFO
    labels = numbers.integers(0, 2, 900)
    least = 0
    for row in np.unique(answers, axis=0):
        here = labels[(answers == row).all(axis=1)]
        least += min((here == 0).sum(), (here == 1).sum())
    share = found(inspected(answers, labels))["conflicting-labels"].evidence["least_error"]
    assert share == pytest.approx(least / 900)


CHANGES: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "noise": lambda x, numbers: x + 0.02 * numbers.normal(size=x.shape),
    "brightness": lambda x, numbers: 0.8 * x + 0.1,
    "shift": lambda x, numbers: np.roll(x, (1, 0), (-2, -1)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("count", [1, 12])
def test_near_copies_of_pictures_are_found(change: str, count: int) -> None:
    pictures = scenes(4)
    copies = CHANGES[change](pictures[:count], np.random.default_rng(0)).astype(np.float32)
    problems = found(inspected(np.concatenate([pictures, copies])))
    assert set(problems) == {"near-duplicate-examples"}
    assert sorted(problems["near-duplicate-examples"].groups) == [(n, 600 + n) for n in range(count)]


def test_near_copies_of_rows_and_texts_are_found() -> None:
    table = datasets.load_breast_cancer().data.astype(np.float32)
    near = table[:4] * (1 + 0.001 * np.random.default_rng(0).normal(size=table[:4].shape).astype(np.float32))
    assert sorted(found(inspected(np.concatenate([table, near])))["near-duplicate-examples"].groups) == [
        (n, len(table) + n) for n in range(4)
    ]
    numbers = np.random.default_rng(1)
    texts = [" ".join(f"w{n}" for n in numbers.integers(0, 3000, 60)) for _ in range(200)]
    assert inspected(texts).problems() == []
    texts.append(texts[3].replace(texts[3].split()[30], "other", 1))
    assert found(inspected(texts))["near-duplicate-examples"].groups == ((3, 200),)


@pytest.mark.parametrize("factor", [255.0, 1 / 255])
@pytest.mark.parametrize("count", [3, 30, 250])
def test_examples_of_another_scale_are_found(factor: float, count: int) -> None:
    pictures = scenes(5)
    pictures[:count] *= factor
    problems = found(inspected(pictures))
    assert set(problems) == {"differently-normalized-examples"}
    assert set(problems["differently-normalized-examples"].ids) == set(range(count))


def test_images_with_negative_values_among_others_are_found() -> None:
    images, labels = digits()
    images[:20] = (images[:20] - images.mean()) / images.std()
    assert set(found(inspected(images, labels))["differently-normalized-examples"].ids) == set(range(20))


@pytest.mark.parametrize("count", [3, 18])
def test_inverted_images_are_found_where_the_ground_tells(count: int) -> None:
    images, labels = digits()
    images[:count] = 1 - images[:count]
    assert set(found(inspected(images, labels))["inverted-images"].ids) == set(range(count))
    pictures = scenes(6)
    pictures[:count] = 1 - pictures[:count]
    assert inspected(pictures).problems() == []


def test_blank_images_are_found_and_are_no_copies_of_each_other() -> None:
    pictures = scenes(7)
    pictures[:5] = 0.5
    problems = found(inspected(pictures, np.arange(600) % 10))
    assert set(problems) == {"blank-images"} and set(problems["blank-images"].ids) == set(range(5))
    labels = np.where(np.arange(600) < 5, 10, np.arange(600) % 10)
    assert inspected(pictures, labels).problems()[0].severity is Severity.INFO


def test_a_slipped_decimal_point_and_a_code_for_missing_values_are_found() -> None:
    table = datasets.load_wine().data.astype(np.float32)
    for value in (table[7, 0] * 1000, -99999.0):
        wrong = table.copy()
        wrong[7, 0] = value
        problems = found(inspected(wrong))
        assert set(problems) == {"outlying-examples"} and problems["outlying-examples"].ids == (7,)
        assert "column 0" in problems["outlying-examples"].message


def test_a_target_of_a_regression_with_a_slipped_decimal_point_is_found() -> None:
    data = datasets.load_diabetes()
    targets = data.target.astype(np.float32)
    assert not found(inspected(data.data, targets))
    targets[7] *= 100
    problem = found(inspected(data.data, targets))["outlying-examples"]
    assert problem.severity is Severity.WARNING and problem.ids == (7,)
    assert problem.message.startswith("1 of 442 targets lie far outside of the rest: 7 has target = ")


@pytest.mark.parametrize("seed", range(5))
def test_heavy_tailed_targets_are_clean(seed: int) -> None:
    numbers = np.random.default_rng(seed)
    inputs = numbers.normal(size=(500, 4)).astype(np.float32)
    for targets in (numbers.lognormal(10, 1.5, 500), numbers.pareto(1.5, 500), numbers.poisson(0.3, 500) + 0.5):
        assert not found(inspected(inputs, targets))


@pytest.mark.parametrize("longest", [8, 9, 12, 30, 200])
def test_texts_are_cut_where_many_have_the_greatest_length(longest: int) -> None:
    numbers = np.random.default_rng(0)
    lengths = numbers.integers(3, 2 * longest, 400)
    texts = [" ".join(f"w{numbers.integers(100)}" for _ in range(length)) for length in lengths]
    cut = [" ".join(text.split()[:longest]) for text in texts if len(text.split()) < longest or numbers.random() < 0.5]
    # Of texts as short as these, too many were cut to be told from blocks.
    assert longest < 12 or "truncated-texts" in found(inspected(cut))
    short = [text for text in texts if len(text.split()) <= longest]
    assert "truncated-texts" not in found(inspected(short))


def test_values_that_are_not_finite_are_found() -> None:
    table = datasets.load_wine().data.astype(np.float32)
    table[3, 2], table[9, 0] = np.nan, np.inf
    problems = found(inspected(table, np.where(np.arange(len(table)) == 5, np.nan, 1.0)))
    assert set(problems["non-finite-inputs"].ids) == {5} or set(problems["non-finite-inputs"].ids) == {3, 9}
    assert sum(problem.code == "non-finite-inputs" for problem in inspected(table).problems()) == 1


def test_empty_texts_and_sequences_of_padding_are_found() -> None:
    texts = [f"some words and {n} more of them {n * 7}" for n in range(60)]
    assert found(inspected([*texts, "", "  "]))["empty-texts"].ids == (60, 61)
    tokens = np.random.default_rng(0).integers(1, 500, (60, 12))
    tokens[7] = 0
    assert found(inspected(tokens))["empty-texts"].ids == (7,)


def test_padding_of_batches_makes_no_difference_and_masks_are_no_tokens() -> None:
    numbers = np.random.default_rng(0)
    texts = [numbers.integers(1, 3000, numbers.integers(5, 30)) for _ in range(320)]
    texts[300] = texts[3]
    inspector = Inspector()
    for start in range(0, 320, 32):
        part = texts[start : start + 32]
        width = max(map(len, part)) + start % 5
        ids = torch.tensor(np.stack([np.pad(text, (0, width - len(text))) for text in part]))
        inspector.add(range(start, start + 32), {"ids": ids, "mask": (ids > 0).long()})
    problems = found(inspector)
    assert set(problems) == {"duplicate-examples"} and problems["duplicate-examples"].groups == ((3, 300),)
    assert list(inspector.unread) == ["mask"]


@pytest.mark.parametrize("seed", range(3))
def test_counts_codes_windows_and_drawings_are_clean(seed: int) -> None:
    numbers = np.random.default_rng(seed)
    walk = numbers.normal(size=1500).cumsum().astype(np.float32)
    drawings = np.zeros((400, 1, 20, 20), dtype=np.float32)
    for drawing in drawings:
        (top, left), (height, width) = numbers.integers(2, 12, 2), numbers.integers(3, 7, 2)
        drawing[0, top : top + height, left : left + width] = 1
    clean = {
        "counts": numbers.poisson(0.15, (600, 30)),
        "few counts": numbers.poisson(0.02, (600, 200)),
        "codes": numbers.integers(0, 3, (600, 5)),
        "windows": np.stack([walk[start : start + 64] for start in range(1400)]),
        "drawings": drawings,
        "waves": np.sin(np.linspace(0, 20, 200) + numbers.uniform(0, 6, (300, 1)))[:, None].astype(np.float32),
        "one number": numbers.normal(size=600).astype(np.float32),
        "huge": numbers.normal(size=(300, 5)) * 1e37,
    }
    for name, data in clean.items():
        assert alarms(inspected(data).problems()) == [], name


# -- classes ---------------------------------------------------------------------------------------------


def test_labels_outside_of_the_classes_single_examples_and_rare_classes() -> None:
    table = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)
    labels = np.array([0] * 200 + [1] * 192 + [2] * 6 + [3] + [7])
    problems = found(inspected(table, labels, classes=("a", "b", "c", "d")))
    assert problems["label-outside-classes"].ids == (399,)
    assert problems["label-outside-classes"].severity is Severity.ERROR
    assert problems["rare-class"].severity is Severity.INFO and "c: 6" in problems["rare-class"].message
    assert 398 in problems["single-example-class"].ids
    ignored = np.where(np.arange(400) < 100, -100, np.arange(400) % 2)
    assert inspected(table, ignored).problems() == []


# -- two sets --------------------------------------------------------------------------------------------


def test_two_halves_of_a_set_are_clean() -> None:
    images, labels = digits()
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:1200], order[1200:]
    assert compare(inspected(images[train], labels[train]), inspected(images[test], labels[test])) == []


@pytest.mark.parametrize("noise", [0.0, 0.005])
def test_test_examples_that_were_trained_on_are_found(noise: float) -> None:
    pictures = scenes(8)
    test = np.concatenate([pictures[400:], pictures[:5] + noise * np.random.default_rng(0).normal(size=(5, 3, 24, 24))])
    problems = compare(inspected(pictures[:400]), inspected(test.astype(np.float32)))
    assert [problem.code for problem in problems] == ["train-test-duplicates"]
    assert set(problems[0].ids) == set(range(200, 205))


def test_a_test_set_of_another_scale_or_with_reversed_channels_is_found() -> None:
    tint = np.array([0.1, 0.0, -0.05], dtype=np.float32)[:, None, None]
    pictures = scenes(9) + tint
    train, test = inspected(pictures[:300]), pictures[300:]
    assert compare(train, inspected(test)) == []
    for other in (test * 255, (test - 0.5) / 0.25):
        problems = compare(train, inspected(other))
        assert [(p.code, p.severity) for p in problems] == [("differently-normalized-examples", Severity.ERROR)]
    assert [p.code for p in compare(train, inspected(test[:, ::-1].copy()))] == ["channels-reversed"]


def test_classes_that_training_never_shows() -> None:
    table = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    train = inspected(table[:100], np.zeros(100, dtype=int))
    test = inspected(table[100:], np.array([0] * 98 + [5] * 2))
    assert compare(train, test)[0].code == "class-not-in-training"


# -- what is read ----------------------------------------------------------------------------------------


def test_tensors_are_read_and_left_as_they_are() -> None:
    images = torch.rand(30, 3, 8, 8, requires_grad=True)
    batch = {"image": images, "meta": torch.arange(30.0)[:, None], "graph": object()}
    before, state = images.detach().clone(), torch.get_rng_state()
    inspector = Inspector()
    inspector.add(range(30), batch, torch.arange(30) % 3)
    assert inspector.problems() == []
    assert torch.equal(images, before) and torch.equal(torch.get_rng_state(), state) and images.grad is None
    assert list(inspector.unread) == ["graph"] and "object" in inspector.unread["graph"]


@given(st.sampled_from([torch.float16, torch.bfloat16, torch.float64, torch.uint8, torch.bool, torch.int32]))
def test_every_type_is_read(dtype: torch.dtype) -> None:
    images = (torch.arange(40 * 2 * 8 * 8).reshape(40, 2, 8, 8) % 251).to(dtype)
    inspector = Inspector()
    inspector.add(range(40), images)
    assert not inspector.unread and isinstance(inspector.problems(), list)


@given(st.integers(1, 64), st.randoms(use_true_random=False))
def test_batches_and_order_do_not_matter(batch: int, random: Any) -> None:
    table = datasets.load_wine().data.astype(np.float32)
    table[3], table[9, 0] = table[8], 1e5
    order = list(range(len(table)))
    random.shuffle(order)
    inspector = Inspector()
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        inspector.add(rows, table[rows])
    groups = {problem.code: {frozenset(group) for group in problem.groups} for problem in inspector.problems()}
    assert groups == {"duplicate-examples": {frozenset((3, 8))}, "outlying-examples": {frozenset((9,))}}


def test_labels_of_any_kind_are_compared() -> None:
    table = np.random.default_rng(0).normal(size=(80, 5)).astype(np.float32)
    table[1], table[3] = table[0], table[2]
    masks = torch.zeros(80, 4, 4, dtype=torch.long)
    masks[3, 1, 1] = 1
    words = [f"w{n}" for n in range(80)]
    words[1] = words[0]
    boxes = {"box": torch.arange(320.0).reshape(80, 4), "class": torch.zeros(80, dtype=torch.long)}
    boxes["box"][1] = boxes["box"][0]
    ragged = [[n] * (n % 3) for n in range(80)]
    ragged[1] = ragged[0]
    apart = [torch.zeros(n % 3) for n in range(80)]
    apart[1] = apart[0]
    for labels in (masks, words, boxes, (boxes["box"], boxes["class"]), ragged, apart, list(masks)):
        inspector = Inspector()
        inspector.add(range(80), table, labels)
        problems = found(inspector)
        assert problems["conflicting-labels"].groups == ((2, 3),)
        assert problems["duplicate-examples"].groups == ((0, 1),)


def test_classes_may_come_as_a_list_of_tensors() -> None:
    table = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    inspector = Inspector(classes=("a", "b"))
    inspector.add(range(60), table, [torch.tensor(n % 2 if n else 9) for n in range(60)])
    assert found(inspector)["label-outside-classes"].ids == (0,)


def test_what_does_not_fit_is_said() -> None:
    inspector = Inspector()
    with pytest.raises(InspectionError, match=r"3 ids were given for an input '' of 4 examples"):
        inspector.add(range(3), torch.zeros(4, 2))
    with pytest.raises(InspectionError, match=r"4 ids were given with 3 labels"):
        inspector.add(range(4), torch.zeros(4, 2), torch.zeros(3, dtype=torch.long))
    inspector.add(range(4), torch.rand(4, 2), [0, 1, 0, 1])
    with pytest.raises(InspectionError, match="Give labels for all batches or for none"):
        inspector.add(range(4, 8), torch.rand(4, 2))
    inspector.add(range(2, 4), torch.rand(2, 2), [0, 1])
    with pytest.raises(InspectionError, match="2 ids were given more than once"):
        inspector.problems()


def test_nothing_and_few_examples_have_no_problems() -> None:
    assert Inspector().problems() == []
    assert inspected(np.zeros((1, 3, 8, 8), dtype=np.float32)).problems()[0].code == "blank-images"
    assert inspected(np.random.default_rng(0).random((3, 5)).astype(np.float32), [0, 1, 2]).problems() == []
    assert compare(Inspector(), Inspector()) == []


def test_every_code_has_a_page_and_a_problem_is_plain_data() -> None:
    table = datasets.load_wine().data.astype(np.float32)
    table[3] = table[8]
    problem = inspected(table).problems()[0]
    assert problem.code in PAGES and problem.to_json()["groups"] == [[3, 8]]
    assert "3=8" in str(problem)
