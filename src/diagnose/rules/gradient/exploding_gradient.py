"""exploding-gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnose.findings import Finding, Location, Severity
from diagnose.history import Floats, History, Ints
from diagnose.rules._base import rule
from diagnose.rules.loss._course import Course, horizon, learned, main_course, opponents
from diagnose.rules.optimizer._weights import Weights, weights
from diagnose.stats.ratios import decades_lost, elasticity


@rule(
    "exploding-gradient",
    needs=("grad_norm",),
    explains=("loss-diverging", "loss-not-decreasing", "constant-output"),
)
def exploding_gradient(
    history: History,
    *,
    growth: float = 100.0,
    growth_alone: float = 1e4,
    large_update: float = 0.1,
    most_elastic: float = 1e4,
    decades: float = 3.0,
    samples: int = 3,
    opening: int = 10,
    runaway: float = 1e3,
) -> Iterator[Finding]:
    """The gradient is orders of magnitude too large, and training suffers.

    ## What it does
    Looks at the norm of the gradient over all parameters of an optimizer, as clipping found it if it is
    clipped, in two ways.

    - It *grew*: in `samples` = 3 samples or more (one is enough right before something became
      non-finite) it is `growth` = 100 times the median of all samples before, while the weights are
      changed by `large_update` = 10 % of their size in a step, or become non-finite; `growth_alone` =
      10,000 times needs no large update.
    - It *is* too large from the start, up to the step that changed some weight by more than its own size,
      if there is one in the first `opening` = 10 samples: |gradient| * |weights| / loss exceeds
      `most_elastic` = 10,000, or the gradient of the layers' outputs gains `decades` = 3 powers of ten
      from the last hidden layer to the first. If clipping prevents such a step, the median of the former
      over the whole run counts.

    Either counts only if the loss became non-finite or learned nothing (it is not a tenth below its
    start at the end). Of optimizers that train against each other, whose losses say little, one thing is asked: whether
    they *ran away*, the norm to `runaway` = 1,000 times its median over the first `opening` samples, and the loss to a
    tenth of that, in size.
    ## Why it matters
    The gradient is the slope of the loss; a step along it is sensible as long as the slope does not
    change much. At a cliff it is huge and points nowhere useful: one step throws the parameters far away
    from all that was learned.
    ## How to fix
    Clip the norm (`torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)`) between `backward()` and
    `step()`; lower the learning rate; initialise for the activation (`kaiming_normal_`, `orthogonal_`
    for recurrent weights); scale inputs and regression targets to about 1; normalise between the layers.
    ## Limits
    A norm that grows while the loss falls is healthy: networks that leave a plateau do that. Summed
    losses have large norms; all measures are relative, so that is not counted. Steps with a closure
    (LBFGS) are left out. Growth within fewer than 5 samples is seen only if something becomes
    non-finite.
    ## Source
    Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks", 2013;
    Goodfellow, Bengio & Courville, *Deep Learning*, sec. 8.2.4 (cliffs) and 10.11 (clipping). 10,000: an
    ordinary update of 1e-3 of the weights would, if the slope held, change the loss by ten times itself.
    Three powers of ten between layers mirror the limit of `vanishing-gradient`: no learning rate suits
    both ends (Glorot & Bengio, 2010, sec. 4.2, for the variance of back-propagated gradients). 100 times
    one's own median is beyond the spikes of a stable run, which stay within one order of magnitude mostly
    and within two nearly always. Arjovsky, Chintala & Bottou, "Wasserstein GAN", 2017: the critic has to be Lipschitz,
    else its values and gradients have no bound.
    """
    for optimizer, facts in history.optimizers.items():
        if facts.closures:
            continue
        until = horizon(history, optimizer)
        steps, norms, clipped = _norms(history, optimizer, until)
        course = main_course(history, optimizer)
        if not len(steps) or course is None or not len(course):
            continue
        broke = until < math.inf
        if not broke and opponents(history, optimizer):
            found = _ran_away(course, steps, norms, runaway, opening)
            if found is not None:
                yield _finding(history, optimizer, course, found, clipped=clipped)
            continue
        if not broke and learned(history, optimizer) is not False and course.keeps():
            continue
        own = weights(history, optimizer, before=until)
        found = _grew(own, steps, norms, growth, growth_alone, large_update, samples, broke=broke) or _opened_too_large(
            history, own, course, steps, norms, most_elastic, decades, opening, clipped=clipped
        )
        if found is not None:
            yield _finding(history, optimizer, course, found, clipped=clipped)


@dataclass(frozen=True)
class _Explosion:
    first: int
    last: int
    how: str
    value: float
    limit: float
    norm: float


def _norms(history: History, optimizer: str, until: float) -> tuple[Ints, Floats, bool]:
    """Norms before clipping, if they were seen; else those that the step used. Finite ones before `until`.

    Where clipping came before GradScaler divided by its factor, the norm before it is that of the scaled gradients.
    """
    scaled = history.count("clipped-while-scaled", optimizer) > 0
    series = history.series("grad_norm" if scaled else "grad_norm_before_clip", optimizer)
    clipped = len(series) > 0 and not scaled
    if not clipped:
        series = history.series("grad_norm", optimizer)
    usable = np.isfinite(series.values) & (series.steps < until)
    return series.steps[usable], series.values[usable], clipped


def _grew(
    own: Weights,
    steps: Ints,
    norms: Floats,
    growth: float,
    growth_alone: float,
    large_update: float,
    samples: int,
    *,
    broke: bool,
) -> _Explosion | None:
    if len(norms) < 2:
        return None
    baselines = np.array([np.median(norms[:index]) for index in range(1, len(norms))])
    times = norms[1:] / np.maximum(baselines, np.finfo(float).tiny)
    judged = baselines > 0
    if not broke:
        # A median of fewer than 5 is none; with less before, the first step sets the measure by chance.
        judged[:4] = False
    above = judged & (times >= growth)
    far_above = judged & (times >= growth_alone)
    at = np.flatnonzero(above)
    if not len(at):
        return None
    first = int(steps[1:][at[0]])
    jolt = own.bulk(own.grown)
    jolted = bool((jolt[(own.steps >= first) & np.isfinite(jolt)] >= large_update).any())
    ends_above = broke and bool(above[-1])
    many = len(at) >= samples and (jolted or int(far_above.sum()) >= samples)
    if not (ends_above or many):
        return None
    worst = int(at[np.argmax(times[at])])
    return _Explosion(first, int(steps[1:][at[-1]]), "grew", float(times[worst]), growth, float(norms[1:][worst]))


def _ran_away(course: Course, steps: Ints, norms: Floats, runaway: float, opening: int) -> _Explosion | None:
    """Two players whose losses and gradients grow without bound: no balance, as of a critic that nothing holds."""
    if len(norms) < 2 * opening or len(course) < 2 * opening:
        return None
    first, late = float(np.median(norms[:opening])), float(np.median(norms[-opening // 2 :]))
    size = np.abs(course.values)
    grew = late >= runaway * first > 0 and np.median(size[-opening:]) >= 0.1 * runaway * np.median(size[:opening])
    if not grew:
        return None
    return _Explosion(int(steps[0]), int(steps[-1]), "grew", late / first, runaway, late)


def _opened_too_large(
    history: History,
    own: Weights,
    course: Course,
    steps: Ints,
    norms: Floats,
    most_elastic: float,
    decades: float,
    opening: int,
    *,
    clipped: bool,
) -> _Explosion | None:
    thrown = np.flatnonzero((np.nan_to_num(own.ratios[:opening]) >= 1).any(axis=1))
    # Clipping keeps the weights safe; what is left to ask is whether it has to do so all the time.
    if not len(own.steps) or not (len(thrown) or (clipped and len(norms) > opening)):
        return None
    # What comes after the weights have moved by their own size is a consequence, whatever brought that about.
    replaced = np.flatnonzero((np.nan_to_num(own.ratios).cumsum(axis=0) >= 1).any(axis=1))
    judged = own.steps[: int(replaced[0]) + 1] if len(replaced) else own.steps
    first, last = int(judged[0]), int(judged[-1])
    within = (steps >= first) & (steps <= last)
    if not within.any():
        return None
    summary = np.max if len(thrown) else np.median
    norm = float(summary(norms[within]))
    sizes = np.interp(steps[within], own.steps, _norm_of_weights(own))
    elastic = float(summary(elasticity(norms[within], sizes, course.start)))
    if elastic >= most_elastic:
        return _Explosion(first, last, "elastic", elastic, most_elastic, norm)
    gained = _decades_gained(history, last)
    if gained >= decades:
        return _Explosion(first, last, "deep", gained, decades, norm)
    return None


def _decades_gained(history: History, until: int) -> float:
    """How many powers of ten the gradient of the layers' outputs gains from the last hidden layer to the first.

    The largest over the samples up to the step `until`; 0 if it is not known.
    """
    hidden = {
        name: facts
        for name, facts in history.layers.items()
        if facts.role == "hidden" and len(history.series("output_grad_rms", name))
    }
    names = sorted(hidden, key=lambda name: (hidden[name].order, name))
    series = [history.series("output_grad_rms", name) for name in names]
    gained = [0.0]
    for step in sorted({int(step) for one in series for step in one.steps if step <= until}):
        profile = [float(one.values[one.steps == step][0]) if step in one.steps else math.nan for one in series]
        gained.append(-decades_lost(np.array(profile)))
    return float(np.nanmax(gained))


def _norm_of_weights(own: Weights) -> Floats:
    """L2 norm over all weights before each sampled step: shape (T,)."""
    with np.errstate(over="ignore"):
        squares = np.where(np.isfinite(own.rms), own.rms, 0.0) ** 2 * own.sizes
        norm: Floats = np.sqrt(squares.sum(axis=1))
    return norm


def _finding(history: History, optimizer: str, course: Course, found: _Explosion, *, clipped: bool) -> Finding:
    facts = history.optimizers[optimizer]
    before = " before clipping" if clipped else ""
    message = {
        "grew": f"the gradient norm{before} grew to {found.norm:.3g}, {found.value:.2g} times what it was before",
        "elastic": f"the gradient norm{before} is {found.norm:.3g}: by its slope, changing the weights by 0.1 % would "
        f"change the loss {found.value / 1000:.2g} times",
        "deep": f"the gradient grows 10^{found.value:.1f} times from the last hidden layer to the first",
    }[found.how]
    return Finding(
        "exploding-gradient",
        Severity.ERROR,
        f"{message}; the loss went from {course.start:.3g} to {course.late:.3g}",
        Location(file=facts.file, line=facts.line),
        found.first,
        found.last,
        {
            "gradient_norm": found.norm,
            {"grew": "times_its_median", "elastic": "elasticity", "deep": "decades_gained"}[found.how]: found.value,
            "limit": found.limit,
            "loss_at_start": course.start,
            "loss_at_end": course.late,
            "optimizer": optimizer,
        },
        cause="Layers or time steps that each enlarge the gradient: too large an initialisation, unscaled inputs or "
        "targets; or a learning rate that has driven the weights up."
        if found.how != "grew"
        else "A learning rate that is too high has driven the weights up, or a recurrent network met a cliff.",
        remedy="Clip the norm between backward() and step() (torch.nn.utils.clip_grad_norm_ with 1.0), and lower the "
        "learning rate; scale inputs and targets, and initialise for the activation.",
    )
