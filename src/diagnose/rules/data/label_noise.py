"""label-noise."""

from __future__ import annotations

import math
from collections.abc import Iterator

from diagnose.findings import Evidence, Finding, Location, Severity
from diagnose.history import DissentFacts, History
from diagnose.rules._base import NotRun, rule
from diagnose.rules.loss._course import opponents

_SYMPTOMS = ("overfitting", "underfitting", "loss-not-decreasing")


@rule("label-noise", explains=_SYMPTOMS)
def label_noise(
    history: History,
    *,
    min_rows: int = 150,
    least: float = 0.05,
    most: float = 0.5,
    anywhere: float = 0.65,
    sigmas: float = 1.64,
    of_one_mind: float = 0.75,
    of_one_mind_scattered: float = 0.65,
    min_classes: int = 4,
    second_guess: float = 0.5,
    kept: float = 0.95,
    min_again: int = 50,
) -> Iterator[Finding]:
    """A part of the training labels is wrong: they dissent where both near examples and the network are sure.

    ## What it does
    Keeps some 2,000 training examples of the sampled steps with their labels and the network's answers, and asks for
    each what its ten nearest neighbours say. It looks at the time when network and neighbours agree most, for then the
    network has learned and has not yet learned by heart, and at examples about which they agree. There must
    be `min_rows` = 150 different ones.

    Labels dissent in healthy data too, where classes overlap: there both are unsure. Wrong labels lie anywhere. So it
    speaks only if

    - of the half about which both are surer, in each class, more than `least` = 5 % of the labels dissent, and of all
      no more than `most` = 50 %;
    - being sure tells next to nothing: the probability that both are surer of a label that agrees than of one that
      dissents is 50 % where labels are wrong anywhere; with `sigmas` = 1.64 standard errors on top it stays below
      `anywhere` = 65 %.

    And the classes must lie apart, so that overlap cannot be the reason: network and neighbours agree by
    `of_one_mind` = 0.75 (Cohen's kappa: 0 by chance, as where both always say the most frequent class, and 1 at best).
    Of `min_classes` = 4 classes or more, `of_one_mind_scattered` = 0.65 will do, if the dissenting labels are anything:
    no more than `second_guess` = 50 % of them, beyond chance, are the network's second guess.

    If the labels of examples change from one time to the next (of `min_again` = 50 that were met again less than `kept`
    = 95 % have the label of the first time), it is a remark only: what changes cannot be learned by heart.
    ## Why it matters
    The network first learns what most labels say, then learns the wrong ones by heart, and gets worse at everything
    else. Its loss stays at what the noise leaves, and an evaluation on labels of the same source measures the noise.
    ## How to fix
    Look at the examples whose label has the lowest probability on average over the epochs, at most half of the way
    through training, and correct or drop those that are wrong; do not drop them unseen. Look for the step that spoils
    labels: a join, a sort, a mapping of names, an off-by-one in one class. If they cannot be cleaned, stop early, or
    use a robust loss: label smoothing, generalized cross-entropy, co-teaching.
    ## Limits
    The share is an estimate for the examples that were kept, and holds for those on which both agree. Needs one class
    per example and one input of floating point numbers; text, tokens and graphs are not judged, nor are images that
    look alike only to a network: where neighbours and network do not agree there is silence. Wrong labels that
    only confuse classes which are alike or only one class, or less than about 10 % of them, or in less than 150
    different examples, cannot be told from overlap. Labels that nobody could know (a coin with fixed odds in each
    of several groups that lie apart) look exactly like wrong ones, and are reported. Labels that are changed on
    purpose are reported, except mixtures (mixup, cutmix, smoothing). Silent on losses with `reduction="none"`, whose
    labels may be actions with returns, and where two optimizers play against each other.
    ## Source
    Northcutt, Jiang & Chuang, "Confident learning", 2021: wrong labels are those that dissent where a model is
    confident. Frénay & Verleysen, "Classification in the presence of label noise: a survey", 2014: noise at random
    does not depend on the input, overlap does. Angluin & Laird, "Learning from noisy examples", 1988. Arpit et al., "A
    closer look at memorization in deep networks", 2017: patterns are learned before noise. Arazo et al., 2019. The
    numbers are measured on some 20 data sets (digits, MNIST, tables, synthetic): with flipped labels the probability
    above was 46-59 % (standard error 3), on healthy overlapping ones 60-94 %, those near 60 % being tables of which the
    inputs tell little: there kappa was 0.5-0.65. Where classes lie apart it was 0.79-0.98. Second guesses were 12-42 %
    of flipped labels of ten classes, and 46-88 % of natural dissent. Cohen, "A coefficient of agreement for nominal
    scales", 1960.
    """
    if not history.dissents:
        raise NotRun("needs one class per example and one input of floating point numbers")
    for facts in history.dissents.values():
        if facts.rows < min_rows or facts.dissent > most * facts.rows or not facts.sure:
            continue
        if _interval(facts.sure_dissent, facts.sure)[0] <= least:
            continue
        if facts.rank + sigmas * facts.rank_error > anywhere:
            continue
        if opponents(history, facts.optimizer) or _is_weighted(history, facts):
            continue
        chance = 1 / max(facts.classes - 1, 1)
        scattered = facts.classes >= min_classes and facts.second - chance <= second_guess * (1 - chance)
        if facts.agreement >= of_one_mind or (scattered and facts.agreement >= of_one_mind_scattered):
            drawn_anew = _changes(history, facts.optimizer, kept, min_again)
            yield _finding(facts, anywhere=anywhere, least=least, drawn_anew=drawn_anew)


def _is_weighted(history: History, facts: DissentFacts) -> bool:
    return any(
        (other.file, other.line) == (facts.file, facts.line) and other.reduction == "none"
        for other in history.objectives.values()
    )


def _changes(history: History, optimizer: str, kept: float, min_again: int) -> bool:
    """Whether labels of rows that were met again are others than those of the first time."""
    pairs = [facts for facts in history.pairs.values() if facts.optimizer == optimizer and facts.again >= min_again]
    return any(facts.agreed < kept * facts.again for facts in pairs)


def _interval(count: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval for a share: 95 % by default."""
    share, weight = count / total, z * z / total
    middle = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / total + weight / (4 * total)) / (1 + weight)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _finding(facts: DissentFacts, *, anywhere: float, least: float, drawn_anew: bool) -> Finding:
    low, high = _interval(facts.dissent, facts.rows)
    classes = _worst_classes(facts)
    evidence: dict[str, Evidence] = {
        "wrong_share": facts.dissent / facts.rows,
        "wrong_share_low": low,
        "wrong_share_high": high,
        "where_both_are_sure": facts.sure_dissent / facts.sure,
        "where_both_are_sure_limit": least,
        "sureness_tells": facts.rank,
        "sureness_tells_error": facts.rank_error,
        "sureness_tells_limit": anywhere,
        "network_and_neighbours_agree": facts.agreement,
        "second_guesses": facts.second,
        "examples": facts.rows,
        "labels_change": drawn_anew,
        "optimizer": facts.optimizer,
    }
    if classes:
        evidence["classes"] = classes
    share = f"some {facts.dissent / facts.rows:.0%} of the labels ({low:.0%} to {high:.0%})"
    named = f", above all those of class {classes[0]}" if classes and len(classes) == 1 else ""
    return Finding(
        "label-noise",
        Severity.INFO if drawn_anew else Severity.WARNING,
        f"{share} are wrong: they dissent where near examples and the network are sure of another class{named}",
        Location(file=facts.file, line=facts.line),
        None,
        None,
        evidence,
        cause="Labels were assigned wrongly: by annotators, by a heuristic, or by a step that joined, sorted or mapped "
        "them.",
        remedy="Look at the examples whose label has the lowest probability over the first epochs, and correct them; "
        "else stop early or use a robust loss.",
    )


def _worst_classes(facts: DissentFacts) -> list[Evidence]:
    """The classes whose labels dissent clearly more than all do, with what they are labelled as, worst first."""
    overall, found = facts.dissent / facts.rows, []
    for region, rows, dissent, other, most in facts.regions:
        if rows and _interval(dissent, rows, 2.58)[0] > overall:
            labelled = f"{region} (labelled {other} in {most} of {rows})"
            found.append((dissent / rows, labelled))
    return [labelled for _, labelled in sorted(found, reverse=True)]
