"""mine_mistakes on real networks: what is found, what is asked, and that nothing of the caller's is touched."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler, TensorDataset

from diagnose import MistakesError, mine_mistakes

INPUTS = torch.randn(300, 6, generator=torch.Generator().manual_seed(0))


def trained(model: nn.Module, loss: Any, inputs: Tensor, targets: Tensor, steps: int = 150) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model(inputs), targets).backward()
        optimizer.step()
    return model


@pytest.fixture(scope="module")
def classes() -> Tensor:
    return INPUTS[:, :3].argmax(1)


@pytest.fixture(scope="module")
def classifier(classes: Tensor) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 3))
    return trained(net, F.cross_entropy, INPUTS, classes)


def flipped(targets: Tensor, rows: list[int], classes: int = 3) -> Tensor:
    changed = targets.clone()
    changed[rows] = (changed[rows] + 1) % classes
    return changed


def test_flipped_labels_come_first(classifier: nn.Module, classes: Tensor) -> None:
    rows = [3, 50, 170, 299]
    mistakes = mine_mistakes(classifier, TensorDataset(INPUTS, flipped(classes, rows)))
    assert {entry.id for entry in mistakes.confident[:4]} == set(rows)
    assert {entry.id for entry in mistakes.suspects[:4]} == set(rows)
    assert {entry.id for entry in mistakes.highest_loss[:4]} == set(rows)
    assert all(entry.tier == "very-likely" for entry in mistakes.suspects[:4])
    assert not {entry.id for entry in mistakes.hardest} & set(rows)


def test_numbers_are_those_of_an_obvious_computation(classifier: nn.Module, classes: Tensor) -> None:
    mistakes = mine_mistakes(classifier, (INPUTS, classes), batch_size=7)
    twin = copy.deepcopy(classifier).eval()
    with torch.no_grad():
        shares = twin(INPUTS).softmax(1)
    for row in range(len(INPUTS)):
        given = int(classes[row])
        others = [float(share) for number, share in enumerate(shares[row]) if number != given]
        assert mistakes.scores.margin[row] == pytest.approx(float(shares[row, given]) - max(others), abs=1e-5)
        assert mistakes.scores.loss[row] == pytest.approx(-float(shares[row, given].log()), abs=1e-4)
        assert mistakes.scores.predicted[row] == int(shares[row].argmax())
        assert mistakes.scores.confidence[row] == pytest.approx(float(shares[row].max()), abs=1e-5)
    assert mistakes.error is not None
    assert mistakes.error.value == pytest.approx(float((shares.argmax(1) != classes).float().mean()))


class Noisy(Dataset[tuple[Tensor, Tensor]]):
    """Draws from every generator that there is."""

    def __init__(self, targets: Tensor) -> None:
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        noise = torch.rand(()) + random.random() + float(np.random.rand())
        return INPUTS[index] + 1e-3 * noise, self.targets[index]


def test_the_model_and_all_random_states_are_as_before(classifier: nn.Module, classes: Tensor) -> None:
    classifier.train()
    classifier[3].eval()
    for parameter in classifier.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = copy.deepcopy(classifier.state_dict())
    modes = [module.training for module in classifier.modules()]
    generator = torch.Generator().manual_seed(5)
    loader = DataLoader(Noisy(classes), 32, shuffle=True, generator=generator)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy(), generator.get_state()
    mine_mistakes(classifier, loader, embeddings="0")
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert [module.training for module in classifier.modules()] == modes
    assert all(p.grad is not None and bool((p.grad == 1).all()) for p in classifier.parameters())
    assert not any(module._forward_hooks for module in classifier.modules())
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all() and torch.equal(generator.get_state(), states[3])


def test_no_random_number_is_drawn_by_samplers_or_by_showing(classifier: nn.Module, classes: Tensor) -> None:
    loader = DataLoader(Noisy(classes), 32, sampler=SubsetRandomSampler(range(0, 300, 2)))
    before = torch.get_rng_state(), random.getstate()
    mistakes = mine_mistakes(classifier, loader, describe=lambda example: f"{float(example[0][0]):.6f}")
    shown = str(mistakes)
    assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]
    assert shown == str(mistakes) and len(mistakes) == 150


def test_all_is_as_before_if_the_model_raises(classifier: nn.Module, classes: Tensor) -> None:
    classifier.train()
    with pytest.raises(
        MistakesError, match=r"Sequential raised RuntimeError for examples 0 to 255 \(inputs \(256, 5\)"
    ):
        mine_mistakes(classifier, (INPUTS[:, :5], classes))
    assert classifier.training and classifier[1].training


def batches(inputs: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(inputs.split(32), targets.split(32), strict=True)


class Named(Dataset[dict[str, Any]]):
    def __init__(self, targets: Tensor) -> None:
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input": INPUTS[index], "labels": self.targets[index], "key": f"row-{index}"}


def test_whatever_the_data_come_in_the_scores_are_the_same(classifier: nn.Module, classes: Tensor) -> None:
    targets = flipped(classes, [7, 100])
    dataset = TensorDataset(INPUTS, targets)
    kinds = {
        "tensors": (INPUTS, targets),
        "arrays": (INPUTS.double().numpy(), targets.numpy()),
        "data set": dataset,
        "loader": DataLoader(dataset, 32),
        "shuffled": DataLoader(dataset, 32, shuffle=True, drop_last=True),
        "workers": DataLoader(dataset, 64, shuffle=True, num_workers=1),
        "list of batches": list(batches(INPUTS, targets)),
        "list of examples": [(INPUTS[row], int(targets[row])) for row in range(len(targets))],
        "generator": batches(INPUTS, targets),
        "mappings": DataLoader(Named(targets), 50, shuffle=True),
    }
    wanted = mine_mistakes(classifier, dataset)
    for name, data in kinds.items():
        found = mine_mistakes(classifier, data)
        assert found.scores.ids == wanted.scores.ids, name
        np.testing.assert_allclose(found.scores.margin, wanted.scores.margin, atol=1e-5, err_msg=name)
        assert [entry.id for entry in found.confident[:2]] == [entry.id for entry in wanted.confident[:2]]


def test_ids_of_the_users_own(classifier: nn.Module, classes: Tensor) -> None:
    names = [f"patient {row}" for row in range(300)]
    mistakes = mine_mistakes(classifier, (INPUTS, flipped(classes, [9])), ids=names)
    assert mistakes.confident[0].id == "patient 9"
    assert torch.equal(mistakes.example("patient 9")[0], INPUTS[9])
    named = mine_mistakes(classifier, DataLoader(Named(classes), 50, shuffle=True), ids="key")
    assert named.scores.ids[:2] == ("row-0", "row-1")
    with pytest.raises(MistakesError, match="'a': IDs have to be all different"):
        mine_mistakes(classifier, (INPUTS, classes), ids=["a"] * 300)
    with pytest.raises(MistakesError, match="There are 3 ids"):
        mine_mistakes(classifier, (INPUTS, classes), ids=["a", "b", "c"])


@dataclass
class Output:
    logits: Tensor
    loss: Tensor | None = None


class Headed(nn.Module):
    """As models of the transformers library: batches by name, outputs with `.logits` and `.loss`."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, input: Tensor, labels: Tensor | None = None) -> Output:
        logits = self.body(input)
        return Output(logits, None if labels is None else F.cross_entropy(logits, labels))


def test_a_model_with_named_inputs_and_outputs(classifier: nn.Module, classes: Tensor) -> None:
    mistakes = mine_mistakes(Headed(classifier), DataLoader(Named(flipped(classes, [8])), 64))
    assert mistakes.model == "Headed" and mistakes.confident[0].id == 8


def test_logits_log_probabilities_and_probabilities_are_told_apart(classifier: nn.Module, classes: Tensor) -> None:
    wanted = mine_mistakes(classifier, (INPUTS, classes)).scores.margin
    for last in (nn.Softmax(1), nn.LogSoftmax(1)):
        found = mine_mistakes(nn.Sequential(classifier, last), (INPUTS, classes)).scores.margin
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_outputs_that_may_be_either_are_asked_about(classifier: nn.Module, classes: Tensor) -> None:
    squashed = nn.Sequential(classifier, nn.Sigmoid())
    with pytest.raises(MistakesError, match=r"may be logits.*Give outputs='logits'"):
        mine_mistakes(squashed, (INPUTS, classes))
    mine_mistakes(squashed, (INPUTS, classes), outputs="logits")
    with pytest.raises(MistakesError, match="outputs is 'odds', and has to be one of"):
        mine_mistakes(squashed, (INPUTS, classes), outputs="odds")


@pytest.mark.parametrize("column", [True, False])
@pytest.mark.parametrize("sigmoid", [True, False])
@pytest.mark.parametrize("dtype", [torch.long, torch.float32, torch.bool])
def test_one_logit_for_two_classes(column: bool, sigmoid: bool, dtype: torch.dtype) -> None:
    targets = (INPUTS[:, 0] > 0).long()
    layer = nn.Linear(6, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[5.0, 0, 0, 0, 0, 0]]))
        layer.bias.zero_()
    model = nn.Sequential(layer, nn.Sigmoid() if sigmoid else nn.Identity(), nn.Identity() if column else nn.Flatten(0))
    targets[11] = 1 - targets[11]
    mistakes = mine_mistakes(model, (INPUTS, targets.to(dtype)))
    assert mistakes.scores.task == "classification" and [entry.id for entry in mistakes.confident] == [11]
    share = torch.sigmoid(5 * INPUTS[11, 0]).item()
    assert mistakes.confident[0].margin == pytest.approx(-abs(2 * share - 1), abs=1e-5)


def test_several_labels() -> None:
    targets = (INPUTS[:, :4] > 0).float()
    model = nn.Linear(6, 4)
    with torch.no_grad():
        model.weight.copy_(4 * torch.eye(4, 6))
        model.bias.zero_()
    targets[20, 2] = 1 - targets[20, 2]
    mistakes = mine_mistakes(model, (INPUTS, targets), classes=["a", "b", "c", "d"])
    first = mistakes.suspects[0]
    assert mistakes.scores.task == "multilabel" and first.id == 20 and first.place == 2
    assert (first.places, first.wrong_places) == (4, 1)
    assert mistakes.worst_places[0].position == 2 and "c" in str(mistakes)


def test_a_regression_is_never_broadcast() -> None:
    targets = INPUTS[:, 0] * 2
    model = nn.Linear(6, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, 0, 0, 0, 0, 0]]))
        model.bias.zero_()
    targets[42] += 9
    mistakes = mine_mistakes(model, (INPUTS, targets))
    assert mistakes.scores.task == "regression" and mistakes.highest_loss[0].id == 42
    assert mistakes.highest_loss[0].loss == pytest.approx(81, abs=1e-3)
    assert mistakes.error is None and not mistakes.suspects and not mistakes.confident


def test_tokens_that_do_not_count() -> None:
    tokens = torch.randint(10, (40, 8), generator=torch.Generator().manual_seed(0))
    targets = tokens % 2
    targets[:, 5:] = -100
    targets[3] = -100
    targets[17, 4] = 1 - targets[17, 4]
    model = nn.Embedding(10, 2)
    with torch.no_grad():
        model.weight.copy_(F.one_hot(torch.arange(10) % 2, 2) * 6.0)
    mistakes = mine_mistakes(model, (tokens, targets))
    assert mistakes.scores.task == "tokens"
    assert [(entry.id, entry.place, entry.places) for entry in mistakes.suspects] == [(17, 4, 5)]
    assert mistakes.worst_places[0].position == 4 and mistakes.error is not None
    assert mistakes.error.value == pytest.approx(1 / (39 * 5))
    assert np.isnan(mistakes.scores.loss[3]) and mistakes.scores.given[3] == -1


class Bigrams(nn.Module):
    """Knows that each token is followed by the next number, modulo 10."""

    def forward(self, input_ids: Tensor) -> Tensor:
        return F.one_hot((input_ids + 1) % 10, 10).float() * 8


def counting() -> Tensor:
    tokens = (torch.arange(12)[:, None] + torch.arange(9)[None]) % 10
    tokens[5, 6] = 0 if tokens[5, 6] else 1
    return tokens


def test_a_language_model_with_targets_that_are_one_ahead() -> None:
    tokens = counting()
    mistakes = mine_mistakes(Bigrams(), (tokens[:, :-1], tokens[:, 1:]))
    surprising = mistakes.worst_places[0]
    assert mistakes.scores.task == "language-model" and surprising.id == 5
    assert surprising.position == 5 and surprising.given == int(tokens[5, 6])
    assert surprising.context == tuple(tokens[5, :6].tolist())
    assert not mistakes.suspects and mistakes.error is None and "perplexity" in str(mistakes)


def test_a_language_model_whose_targets_are_its_inputs() -> None:
    tokens = counting()
    mistakes = mine_mistakes(Bigrams(), [{"input_ids": tokens, "labels": tokens}])
    assert mistakes.scores.task == "language-model"
    assert (mistakes.worst_places[0].id, mistakes.worst_places[0].position) == (5, 6)


def test_regions_of_images() -> None:
    images = torch.zeros(6, 1, 12, 12)
    images[:, :, 2:6, 3:8] = 1
    masks = images[:, 0].long()
    masks[4] = 0  # the object is not marked
    masks[2, 1, 3] = 1  # one pixel beside the border

    class Threshold(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([6 - 12 * x, 12 * x - 6], dim=1)

    mistakes = mine_mistakes(Threshold(), TensorDataset(images, masks))
    assert mistakes.scores.task == "segmentation"
    first, second = mistakes.worst_places
    assert (first.id, first.size, first.position, first.box) == (4, 20, (2, 3), ((2, 6), (3, 8)))
    assert (first.given, first.predicted, second.id, second.size) == (0, 1, 2, 1)
    assert mistakes.scores.wrong_places is not None and mistakes.scores.wrong_places.tolist() == [0, 0, 1, 0, 20, 0]


@pytest.mark.parametrize(
    ("loss_fn", "wanted"),
    [
        (
            nn.CrossEntropyLoss(label_smoothing=0.1),
            lambda o, t: F.cross_entropy(o, t, label_smoothing=0.1, reduction="none"),
        ),
        (F.cross_entropy, lambda o, t: F.cross_entropy(o, t, reduction="none")),
        (lambda o, t: 3 * F.cross_entropy(o, t), lambda o, t: 3 * F.cross_entropy(o, t, reduction="none")),
    ],
    ids=["module", "function", "without an option"],
)
def test_the_users_loss_of_each_example(classifier: nn.Module, classes: Tensor, loss_fn: Any, wanted: Any) -> None:
    mistakes = mine_mistakes(classifier, (INPUTS, classes), loss_fn=loss_fn)
    with torch.no_grad():
        losses = wanted(copy.deepcopy(classifier).eval()(INPUTS), classes)
    np.testing.assert_allclose(mistakes.scores.loss, losses.numpy(), atol=1e-4)


def test_out_of_fold_probabilities_without_a_model(classes: Tensor) -> None:
    targets = flipped(classes, [13])
    shares = np.full((300, 3), 0.05, dtype=np.float32)
    shares[np.arange(300), classes.numpy()] = 0.9
    for data in (targets, targets.numpy(), targets.tolist(), TensorDataset(INPUTS, targets)):
        mistakes = mine_mistakes(None, data, probabilities=shares)
        assert mistakes.scores.source == "out-of-fold" and [entry.id for entry in mistakes.suspects] == [13]
        assert "not trained on the example" in str(mistakes)


def test_out_of_fold_probabilities_beside_a_model(classifier: nn.Module, classes: Tensor) -> None:
    shares = np.full((300, 3), 0.05, dtype=np.float32)
    shares[np.arange(300), classes.numpy()] = 0.9
    shares[30] = np.roll(shares[30], 1)
    mistakes = mine_mistakes(classifier, (INPUTS, classes), probabilities=shares)
    (suspect,) = mistakes.suspects
    assert suspect.id == 30 and suspect.predicted == int(shares[30].argmax()) and suspect.tier == "very-likely"
    assert mistakes.scores.predicted[30] == classes[30]


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (np.full((300, 3), 0.5), "Row 0 of probabilities is .* sum to 1"),
        (np.full((3, 3), 1 / 3), "probabilities have 3 rows"),
        (np.zeros((300, 3, 2)), "shape"),
        (np.array(["a"] * 300), "An array of numbers is needed"),
    ],
)
def test_probabilities_that_are_none(classifier: nn.Module, classes: Tensor, shares: Any, message: str) -> None:
    with pytest.raises(MistakesError, match=message):
        mine_mistakes(classifier, (INPUTS, classes), probabilities=shares)


def test_embeddings_of_a_layer(classifier: nn.Module, classes: Tensor) -> None:
    mistakes = mine_mistakes(classifier, (INPUTS, flipped(classes, [5])), embeddings="2")
    assert mistakes.scores.embeddings is not None and mistakes.scores.embeddings.shape == (300, 32)
    assert 5 in [part.id for part in mistakes.neighbours[:5]] and "Nearest to examples" in str(mistakes)
    with pytest.raises(MistakesError, match=r"is no layer of the model. Its layers: 0, 1"):
        mine_mistakes(classifier, (INPUTS, classes), embeddings="trunk")


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (3, {}, "A int is no data"),
        ([], {}, "There are no examples"),
        ((INPUTS, torch.zeros(7)), {}, "300 rows|7 and 300 rows"),
        ((INPUTS, torch.full((300,), 3)), {}, "A target is 3.*classes 0 to 2.*ignore_index=3"),
        ((INPUTS, torch.zeros(300, 5)), {}, "do not fit together"),
        ((INPUTS, torch.zeros(300).long()), {"task": "ranking"}, "task is 'ranking'"),
        ((INPUTS, torch.zeros(300).long()), {"k": 0}, "k is 0"),
        ((INPUTS, torch.zeros(300).long()), {"k": "5"}, "k is '5', and has to be a whole number"),
        ((INPUTS, torch.zeros(300).long()), {"batch_size": 0}, "batch_size is 0"),
        ((INPUTS, torch.zeros(300).long()), {"classes": ["a"]}, "classes= has 1 names, .* tells 3 classes apart"),
        ((INPUTS, torch.zeros(300).long()), {"predict": lambda _: {}["x"]}, "predict= raised KeyError: 'x'"),
        (
            (INPUTS, torch.zeros(300).long()),
            {"metadata": lambda e: e.x},
            "metadata= raised AttributeError .* position 0",
        ),
        ([{"input": INPUTS}], {}, "A batch has no targets: its names are input"),
        (["text"], {}, "A batch is a list"),
    ],
)
def test_wrong_input_is_named(classifier: nn.Module, data: Any, options: Any, message: str) -> None:
    with pytest.raises(MistakesError, match=message):
        mine_mistakes(classifier, data, **options)


def test_problems_of_the_data_are_found_in_the_same_pass(classifier: nn.Module, classes: Tensor) -> None:
    inputs, targets = INPUTS.clone(), classes.clone()
    inputs[100], targets[100] = inputs[20], targets[20]
    loader = DataLoader(TensorDataset(inputs, targets), 32, shuffle=True)
    mistakes = mine_mistakes(classifier, loader)
    copies = [problem for problem in mistakes.problems if problem.code == "duplicate-examples"]
    assert [set(group) for problem in copies for group in problem.groups] == [{20, 100}]
    assert copies[0] in mistakes.findings and "duplicate-examples" in str(mistakes)
    assert mine_mistakes(classifier, loader, inspect=False).problems == ()


class Weighted(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        return self.body(x * weights.mean())


def test_inputs_that_cannot_be_inspected_are_mined_all_the_same(classifier: nn.Module, classes: Tensor) -> None:
    batches = [(part, torch.ones(7), target) for part, target in zip(INPUTS.split(32), classes.split(32), strict=True)]
    mistakes = mine_mistakes(Weighted(classifier), batches)
    assert len(mistakes) == 300 and "were not looked at for problems" in mistakes.notes[-1]


def test_masks_of_a_tokenizer_are_no_problem_of_the_data() -> None:
    tokens = torch.randint(50, (40, 8), generator=torch.Generator().manual_seed(0))

    class Tagger(nn.Module):
        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Output:
            return Output(F.one_hot(input_ids % 3, 3) * 5.0)

    batch = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "labels": tokens % 3}
    assert mine_mistakes(Tagger(), [batch]).problems == ()


def test_sequences_of_several_lengths(classifier: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    table = F.one_hot(torch.arange(12) % 3, 3) * 5.0
    batches = [(part, part % 3) for part in (torch.randint(12, (4, n), generator=generator) for n in (5, 9, 7))]
    batches[1][1][2, 8] = (batches[1][1][2, 8] + 1) % 3
    mistakes = mine_mistakes(lambda tokens: table[tokens], batches)
    assert [(entry.id, entry.place) for entry in mistakes.suspects] == [(6, 8)]


def test_a_last_batch_of_one_that_is_squeezed() -> None:
    weight = torch.tensor([[1.0, 0, 0, 0, 0, 0]])
    loader = DataLoader(TensorDataset(INPUTS[:33], INPUTS[:33, 0]), 32)
    mistakes = mine_mistakes(lambda inputs: F.linear(inputs, weight).squeeze(), loader)
    assert len(mistakes) == 33 and float(np.abs(mistakes.scores.loss).max()) < 1e-9


def test_outputs_that_are_not_finite(classifier: nn.Module, classes: Tensor) -> None:
    def model(inputs: Tensor) -> Tensor:
        return torch.where(inputs[:, :1] > 1, torch.nan, copy.deepcopy(classifier).eval()(inputs))

    mistakes = mine_mistakes(model, (INPUTS, classes))
    bad = set(torch.nonzero(INPUTS[:, 0] > 1).flatten().tolist())
    assert mistakes.notes[0].startswith(f"The outputs or losses of {len(bad)} examples are not finite, the first is")
    assert not any(bad & {entry.id for entry in ranking} for ranking in mistakes.rankings.values())


def test_data_frames(classifier: nn.Module, classes: Tensor) -> None:
    pandas = pytest.importorskip("pandas")
    targets = flipped(classes, [31])
    frame = pandas.DataFrame(INPUTS.numpy(), columns=list("abcdef"))
    mistakes = mine_mistakes(classifier, (frame, pandas.Series(targets.numpy())), metadata=frame[["f"]])
    assert mistakes.confident[0].id == 31


def test_groups_by_a_function_of_the_example(classifier: nn.Module, classes: Tensor) -> None:
    rows = torch.nonzero(INPUTS[:, 5] > 1.2).flatten().tolist()
    mistakes = mine_mistakes(
        classifier, (INPUTS, flipped(classes, rows)), metadata=lambda example: {"large": bool(example[0][5] > 1.2)}
    )
    assert mistakes.slices[0].where == {"large": "True"} and mistakes.slices[0].size == len(rows)


class Broken(Dataset[Any]):
    """Its seventh example cannot be read."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, position: int) -> Any:
        if position == 7:
            raise OSError("7.jpg is cut off")
        return INPUTS[position], 0


def test_an_example_that_cannot_be_read_is_named(classifier: nn.Module) -> None:
    with pytest.raises(MistakesError, match=r"Broken raised OSError for the example at position 7: 7.jpg is cut off"):
        mine_mistakes(classifier, Broken())


def test_functions_that_return_arrays_are_models_too(classifier: nn.Module, classes: Tensor) -> None:
    def predict_proba(inputs: Tensor) -> Any:
        return classifier(inputs).softmax(1).detach().numpy()

    classifier.eval()
    by_array = mine_mistakes(predict_proba, (INPUTS.double().numpy(), classes.numpy()))
    assert np.allclose(by_array.scores.loss, mine_mistakes(classifier, (INPUTS, classes)).scores.loss, atol=1e-5)


class Estimator:
    def predict_proba(self, inputs: Any) -> Any:
        return inputs


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Estimator(), r"The model is a Estimator, which cannot be called: give its method .predict_proba"),
        ("net.pt", "The model is a str, which cannot be called: give a module"),
        (nn.Linear, "The model is the class Linear: give an object of it"),
        (lambda inputs: inputs[:, :3].argmax(1), "outputs are torch.int64, so they look like answers"),
        (lambda inputs: inputs[:, :3] * torch.nan, r"All outputs or losses \(300 of 300\) are NaN or infinite"),
        (nn.Linear(6, 3).double(), "torch.float32; its parameters are torch.float64"),
    ],
)
def test_what_is_no_model_for_the_data_is_named(model: Any, message: str, classes: Tensor) -> None:
    with pytest.raises(MistakesError, match=message):
        mine_mistakes(model, (INPUTS, classes))


def test_doubles_stay_doubles_for_a_model_of_doubles(classes: Tensor) -> None:
    model = nn.Linear(6, 3).double()
    assert len(mine_mistakes(model, (INPUTS.double().numpy(), classes.numpy()))) == 300


def test_a_description_that_fails_costs_no_numbers(classifier: nn.Module, classes: Tensor) -> None:
    mistakes = mine_mistakes(classifier, (INPUTS, classes), describe=lambda example: example["text"])
    assert "(describe failed: TypeError" in str(mistakes)
    assert mine_mistakes(classifier, (INPUTS, classes), describe=lambda _: None).text(0) == ""


@pytest.mark.parametrize("column", [True, False])
def test_losses_that_go_number_by_number_are_never_broadcast(column: bool) -> None:
    model, values = nn.Linear(6, 1), INPUTS[:, :1] if column else INPUTS[:, 0]
    wanted = mine_mistakes(model, (INPUTS, values)).scores.loss
    losses: list[Any] = [
        nn.MSELoss(),
        F.mse_loss,
        lambda output, targets: F.mse_loss(output.flatten(), targets.flatten()),
    ]
    for loss_fn in losses:
        assert np.allclose(mine_mistakes(model, (INPUTS, values), loss_fn=loss_fn).scores.loss, wanted, rtol=1e-4)
    labels = values > 0
    plain = mine_mistakes(model, (INPUTS, labels)).scores.loss
    assert np.allclose(
        mine_mistakes(model, (INPUTS, labels), loss_fn=nn.BCEWithLogitsLoss()).scores.loss, plain, rtol=1e-4
    )


def test_a_loss_with_a_reduction_of_the_users_own_is_not_broadcast() -> None:
    def squared(output: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        loss = (output - targets) ** 2
        return loss if reduction == "none" else loss.mean()

    model = nn.Linear(6, 1)
    wanted = mine_mistakes(model, (INPUTS, INPUTS[:, 0])).scores.loss
    assert np.allclose(mine_mistakes(model, (INPUTS, INPUTS[:, 0]), loss_fn=squared).scores.loss, wanted, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripted_models(classifier: nn.Module, classes: Tensor) -> None:
    wanted = mine_mistakes(classifier, (INPUTS, classes)).scores.loss
    scripted = torch.jit.script(copy.deepcopy(classifier).train())
    before = {name: value.clone() for name, value in scripted.state_dict().items()}
    assert np.allclose(mine_mistakes(scripted, (INPUTS, classes)).scores.loss, wanted, atol=1e-5)
    assert scripted.training and all(part.training for part in scripted.modules())
    assert all(torch.equal(value, before[name]) for name, value in scripted.state_dict().items())
    traced = torch.jit.trace(copy.deepcopy(classifier).eval(), INPUTS[:2])
    assert np.allclose(mine_mistakes(traced, (INPUTS, classes)).scores.loss, wanted, atol=1e-5)


def test_a_list_of_examples_with_names_is_a_data_set(classifier: nn.Module, classes: Tensor) -> None:
    examples = [{"x": row, "label": int(label)} for row, label in zip(INPUTS, classes, strict=True)]
    mistakes = mine_mistakes(classifier, examples)
    assert not mistakes.notes
    assert np.allclose(mistakes.scores.loss, mine_mistakes(classifier, (INPUTS, classes)).scores.loss, atol=1e-5)


def test_class_numbers_that_are_no_whole_numbers(classifier: nn.Module, classes: Tensor) -> None:
    with pytest.raises(MistakesError, match=r"class numbers have to be whole numbers, so make them so with .long"):
        mine_mistakes(classifier, (INPUTS, classes.float()))


def test_examples_without_a_target_are_no_right_ones(classifier: nn.Module, classes: Tensor) -> None:
    targets = flipped(classes, list(range(50)))
    targets[100:] = -100
    mistakes = mine_mistakes(classifier, (INPUTS, targets))
    assert mistakes.error is not None
    assert mistakes.error.value == pytest.approx(float(mistakes.scores.is_wrong[:100].mean())) and len(mistakes) == 300
    assert mistakes.notes == ("200 examples have no target that counts: they are in no ranking and in no error.",)
    with pytest.raises(MistakesError, match="None of the 300 examples has a target that counts"):
        mine_mistakes(classifier, (INPUTS, torch.full((300,), -100)))


def test_a_short_repr(classifier: nn.Module, classes: Tensor) -> None:
    text = repr(mine_mistakes(classifier, (INPUTS, classes)))
    assert text == "<Mistakes of Sequential on Scores(classification, 300 examples): print it, or .save(directory)>"
