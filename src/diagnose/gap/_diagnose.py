"""`diagnose_gap`: from numbers, a recorded run or live objects to a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from diagnose.errors import GapError
from diagnose.gap._curves import Curves, curves_of
from diagnose.gap._decide import decide
from diagnose.gap._diagnosis import GapDiagnosis
from diagnose.gap._error import ASSUMED, examples, measured, number
from diagnose.gap._given import Live
from diagnose.gap._hyperparameters import recognised
from diagnose.gap._situation import Limits, Situation
from diagnose.gap._told import doubling_of, rare_class_of, suspects_of
from diagnose.gap._turning import checkpoints


def diagnose_gap(
    source: Any = None,
    *,
    train_error: float | tuple[float, float] | None = None,
    test_error: float | tuple[float, float] | None = None,
    train_dev_error: float | tuple[float, float] | None = None,
    human_error: float | tuple[float, float] | None = None,
    target_error: float | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    n_train_dev: int | None = None,
    n_human: int | None = None,
    n_classes: int | None = None,
    curves: Mapping[str, Any] | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    class_table: Any = None,
    suspects: Any = None,
    learning_curve: Any = None,
    model: Any = None,
    train_data: Any = None,
    test_data: Any = None,
    train_dev_data: Any = None,
    reloaded: Any = None,
    train_fn: Callable[..., Any] | None = None,
    loss_fn: Callable[..., Any] | None = None,
    probe: bool = False,
    probe_seconds: float = 60.0,
    seed: int = 0,
    limits: Limits | None = None,
) -> GapDiagnosis:
    """Why the test error is what it is, and what to change, the most promising first.

    From whatever is at hand: numbers alone, a recorded run, or the model with its data, which is measured then.

        print(diagnose_gap(train_error=0.14, n_train=5000, test_error=0.15, n_test=1000, target_error=0.05,
                           hyperparameters={"hidden": 16, "lr": 1e-3}))

    Args:
        source: a run directory, a History or a Watch: errors, curves and hyperparameters are those recorded. What is
            given beside it wins.
        train_error, test_error, train_dev_error, human_error: shares of wrong answers in [0, 1]; or losses, as
            (mean, standard error). Train-dev are held-out examples of the training distribution; human is the error of
            people, or the best known, so of what is possible.
        target_error: the error that is wanted, in the units of the others. Without it the human error stands for it;
            without both, the train error is compared with the gap.
        n_train, n_test, n_train_dev, n_human: examples behind each error. `n_train` counts the training examples too.
            Where one is missing, 1,000 is assumed and said.
        n_classes: how many classes there are: a test error of guessing among them is a broken evaluation. With it,
            errors above 1 are refused, for they are percentages.
        curves: one number per epoch by name: "train_loss", "test_loss" (or "val_loss"), "train_error", "test_error",
            "lr"; accuracies as "train_accuracy", "val_acc" ... NaN is evidence. Errors may be in percent where the
            errors above are shares. A validation curve stands for the train-dev error where that is missing; "lr" tells
            which hyperparameter is the learning rate, and whether anything was left of it.
        hyperparameters: the user's own names and values. What each is, is told by its name and its value.
        class_table: by class "recall" and "n" (and "n_train"): a mapping, a list, or a data frame.
        suspects: training labels that are very likely wrong: their share, their number, margins of shape (N,), or what
            `mine_mistakes` returned. With a model, those that it surely contradicts and no neighbours confirm.
        learning_curve: test errors by number of training examples, or what `learning_curve` returned.
        model: a trained module, or a function of the inputs. A copy is run, in evaluation mode, without gradients.
        train_data, test_data, train_dev_data: (inputs, targets), a Dataset or a DataLoader.
        reloaded: the same model as a program that loads it gets it: both have to give the same outputs.
        train_fn: `train_fn(data, **changes)` trains on `data` with hyperparameters changed by the user's own names, and
            returns the trained model, the test error, or (train error, test error). If it takes `seed`, it gets one.
        loss_fn: `loss_fn(outputs, targets)`, for targets that are no classes and no amounts, and for experiments with
            copies of the model.
        probe: make short experiments, which tell apart what numbers cannot. Takes `train_fn` and `train_data`; or
            `model`, `loss_fn` and `train_data`, for the learning rate alone.
        probe_seconds: after which no other experiment begins; one that runs is not cut off.
        seed: of all random numbers; the caller's random states are as before.
        limits: the thresholds, with the reasons for their defaults.

    Returns:
        `.verdict`, `.evidence`, `.recommendations`, `.findings`, `.recommend_space()`; `str()` to read.

    Raises:
        GapError: a number is impossible, a curve has an unknown name, data cannot be read, the model raises, or
            `probe` lacks what it trains with.
        RunDirectoryError: `source` holds no readable run.

    Source:
        Goodfellow, Bengio & Courville, "Deep Learning", 2016, sections 11.3 to 11.5; Ng, "Machine Learning Yearning",
        2018, chapters 20 to 45, for train-dev and human error. Intervals: Wilson, 1927; Newcombe, 1998.
    """
    numbers = {
        "train_error": train_error,
        "test_error": test_error,
        "train_dev_error": train_dev_error,
        "human_error": human_error,
    }
    counts = {"train_error": n_train, "test_error": n_test, "train_dev_error": n_train_dev, "human_error": n_human}
    if limits is not None and not isinstance(limits, Limits):
        raise GapError(f"limits is a {type(limits).__name__}: give diagnose.gap.Limits(...).")
    situation = Situation(limits=limits or Limits())
    situation.curves = curves_of(curves)
    values = _values(hyperparameters, train_fn)
    situation.hyperparameters = recognised(values, situation.curves.get("lr").tolist())
    situation.n_train = None if n_train is None else examples(n_train, "n_train")
    situation.classes = _classes(n_classes)
    situation.target = None if target_error is None else number(target_error, "target_error")
    _errors(situation, numbers, counts)
    live = Live(model, reloaded, train_data, test_data, train_dev_data, loss_fn)
    situation.suspects = suspects_of(suspects, situation.n_train)
    situation.doubling = doubling_of(learning_curve)
    situation.rare, classes = rare_class_of(class_table, situation.limits.rare_recall)
    situation.classes = situation.classes or classes
    situation.train_mode = situation.train_mode or _train_mode(situation.curves)
    if source is not None:
        from diagnose.gap._recorded import history_of, read

        read(situation, history_of(source))
        situation.train_mode = situation.train_mode or _train_mode(situation.curves)
    elif live == Live() and train_fn is None and situation.train is None and situation.test is None:
        from diagnose.gap._recorded import losses_as_errors

        losses_as_errors(situation, n_test or 0)
    _look(situation, live, seed)
    if probe:
        _probe(situation, live, train_fn, values, probe_seconds, seed)
    return _concluded(situation, values)


def _look(situation: Situation, live: Live, seed: int) -> None:
    """Measures what there is to measure; torch is imported only for that."""
    if all(value is None for value in (live.model, live.reloaded, live.train, live.test, live.train_dev)):
        return
    from diagnose.gap._live import measure
    from diagnose.progress import Progress

    with Progress(None, "measuring") as bar:
        measure(situation, live, seed, bar.told)


def _values(given: Mapping[str, Any] | None, train_fn: Callable[..., Any] | None) -> dict[str, Any]:
    """The hyperparameters by name; where there is a training function, with its defaults."""
    if given is not None and not isinstance(given, Mapping):
        raise GapError(f"hyperparameters is a {type(given).__name__}: give a mapping of names to values.")
    if train_fn is None:
        return dict(given or {})
    if not callable(train_fn):
        raise GapError(f"train_fn is a {type(train_fn).__name__}: give a function train_fn(data, **changes).")
    from diagnose.gap._probes import hyperparameters_of

    return hyperparameters_of(train_fn, given)


def _probe(
    situation: Situation,
    live: Live,
    train_fn: Callable[..., Any] | None,
    values: Mapping[str, Any],
    seconds: float,
    seed: int,
) -> None:
    if live.train is None:
        raise GapError("probe=True trains, and there are no train_data.")
    from diagnose.gap._probes import Experiments, probe_copies
    from diagnose.progress import Progress

    with Progress(None, "experiments") as bar:
        if train_fn is not None:
            Experiments(situation, live, train_fn, seconds, seed).run(values, bar.told)
        elif live.model is not None and live.loss_fn is not None:
            probe_copies(situation, live, seconds, seed, bar.told)
        else:
            raise GapError("probe=True needs train_fn, or model with loss_fn: there is nothing to experiment with.")


def _classes(n_classes: int | None) -> int | None:
    if n_classes is None:
        return None
    if number(n_classes, "n_classes") < 2 or n_classes != int(n_classes):
        raise GapError(f"n_classes={n_classes!r}: there are two classes or more.")
    return int(n_classes)


def _errors(situation: Situation, numbers: dict[str, Any], counts: dict[str, int | None]) -> None:
    """Puts the errors that the user gave into the situation; those that are missing are the last ones of the curves."""
    given = {name: value for name, value in numbers.items() if value is not None}
    singles = {name: number(value, name) for name, value in given.items() if not isinstance(value, tuple | list)}
    is_share = all(0 <= value <= 1 for value in singles.values()) and len(singles) == len(given)
    above = next((name for name, value in singles.items() if value > 1), None)
    if above is not None and situation.classes is not None:
        raise GapError(
            f"{above}={singles[above]:g} is no share of wrong answers, and there are n_classes={situation.classes}: "
            "errors are between 0 and 1, so divide percentages by 100."
        )
    if is_share and given:
        situation.curves = situation.curves.with_errors_as_shares()
    for name, curve in (("train_error", "train_error"), ("test_error", "test_error")):
        if numbers[name] is None and situation.curves.last(curve) is not None and is_share:
            numbers[name] = situation.curves.last(curve)
            situation.notes.append(f"{name} is the last value of curves[{situation.curves.given[curve]!r}].")
    for name, value in numbers.items():
        key = f"n_{name.removesuffix('_error')}"
        text = name.replace("_", " ").replace("train dev", "train-dev")
        made = measured(text, value, counts[name], is_share=is_share, where=name, where_n=key)
        setattr(situation, name.removesuffix("_error"), made)
        if made is not None and made.assumed:
            _assumed(situation, name, key, made.is_share)
    if situation.target is not None and is_share and not 0 <= situation.target <= 1:
        raise GapError(f"target_error={situation.target:g} is no share of wrong answers: between 0 and 1.")


def _assumed(situation: Situation, name: str, key: str, is_share: bool) -> None:
    if is_share:
        situation.notes.append(f"{key} is not given: intervals are those of {ASSUMED:,} examples.")
    else:
        situation.notes.append(
            f"{name} is a loss without a standard error: that of squared normal residuals is assumed. Give (mean, "
            "standard error); an error in percent has to be divided by 100."
        )


def _train_mode(curves: Curves) -> float | None:
    """Training loss over test loss: dropout is on in the one and off in the other.

    The loss of the training data in evaluation mode is at most that of the test data, but for noise, so the ratio is at
    most that of training and evaluation mode.
    """
    train, test = curves.last("train_loss"), curves.last("test_loss")
    if train is None or test is None or test <= 0 or len(curves.get("train_loss")) < 2:
        return None
    return train / test


def _concluded(situation: Situation, hyperparameters: Mapping[str, Any]) -> GapDiagnosis:
    gap = situation.gap()
    train, test = situation.train, situation.test
    if gap is not None and gap.high < 0 and train is not None and test is not None and test.is_share:
        if test.value > 0.5:
            situation.notes.insert(0, "Both errors are above a half: if they are accuracies, give 1 - accuracy.")
        if not situation.measured_here:
            situation.notes.insert(
                0,
                "The train error is above the test error. One that was measured during the training, with dropout, "
                "augmentation, or as a mean over the epoch, is too high: measure it in evaluation mode.",
            )
    if gap is not None:
        situation.note("gap", f"Test error minus train error: {situation.text(gap)}.", gap)
    checkpoint = next((one for one in checkpoints(situation) if one is not None), None)
    if checkpoint is not None:
        situation.note("checkpoint", str(checkpoint).splitlines()[0])
    decision = decide(situation)
    return GapDiagnosis(
        verdict=decision.verdict,
        sentence=decision.sentence,
        evidence=dict(situation.evidence),
        recommendations=decision.recommendations,
        train_error=situation.train,
        test_error=situation.test,
        train_dev_error=situation.train_dev,
        human_error=situation.human,
        target_error=situation.target,
        checkpoint=checkpoint,
        probes=tuple(situation.probes),
        notes=tuple(dict.fromkeys(situation.notes)),
        hyperparameters=dict(hyperparameters),
    )
