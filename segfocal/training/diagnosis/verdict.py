"""Whether focusing is likely to help: a rule over measured numbers, and what it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from segfocal.losses.deep import DeepSupervision
from segfocal.losses.pixelwise import PixelwiseLoss

Word = Literal["likely", "unlikely", "cannot tell"]

# Fewer foreground pixels make the share of the missed ones a matter of single pixels.
FEWEST_FOREGROUND_PX = 100
# Below this part of the way from chance to a perfect ranking the network has not learnt what foreground is:
# what carries the gradient then says how it began, not what holds it back.
LEARNT_SOMETHING = 0.1
# Above it, nothing that could be won is worth another loss.
LEARNT_ALL = 0.98
# Share of cross-entropy's gradient at which easy background overwhelms the rest. Focusing can take away no
# more than this share; with less, focal loss lost in more trainings of experiments/diagnosis than it won.
OVERWHELMING = 0.2
# Share of the foreground that is given less than .5: nearly all of it where background keeps it down ...
HELD_BACK = 0.9
# ... and where a third of it or more is found, its gradient has prevailed without help.
FOUND = 2 / 3
# Missed foreground's share of the gradient over easy background's; 1 for scores that are right.
CONTRADICTED = 1.5


@dataclass(frozen=True)
class Facts:
    """What the rule looks at, all on the validation images.

    Args:
        easy_background: Share of cross-entropy's gradient from background given more than .9.
        missed_foreground: Share from foreground whose background is given more than .9.
        held_back: Share of the foreground given less than .5.
        foreground_px: Elements of foreground.
        prevalence: Share of the elements that are foreground, mean over the classes that occur.
        aupr: Area under the precision-recall curve, mean over the same classes.
        loss: What the network was trained with.
        plain: Whether that is cross-entropy without alpha, so that its scores aim at probabilities.
    """

    easy_background: float
    missed_foreground: float
    held_back: float
    foreground_px: int
    prevalence: float
    aupr: float
    loss: str
    plain: bool

    @property
    def learnt(self) -> float:
        """How far the ranking of pixels is from chance (0) to perfect (1)."""
        return (self.aupr - self.prevalence) / (1 - self.prevalence)


@dataclass(frozen=True)
class Verdict:
    """Whether focusing (gamma above 0) is likely to help, and why.

    Args:
        word: "likely", "unlikely" or "cannot tell".
        reasons: Sentences with the numbers.
    """

    word: Word
    reasons: tuple[str, ...]


def judge(facts: Facts) -> Verdict:
    """Judge whether focal loss is likely to do better than cross-entropy.

    Focusing takes the gradient away from easy pixels, and gives pixels that are very wrong a little more. It
    can help where easy background carries so much of the gradient that foreground which the network can
    already tell apart stays below .5; taking that part away changes where the network goes. It cannot help
    where there is little to take away, or where the foreground has prevailed. And it harms where the pixels
    that are very wrong are wrong for good: errors of the labels, and foreground that nobody can see. Scores
    that are right among the pixels that look like background balance there: the sum of p over its background
    is the number of foreground pixels among them, so that easy background and missed foreground carry the
    same gradient, whatever the imbalance; where the missed carry far more, network and labels disagree.

    - likely: easy background (given more than .9) carries >= .2 of cross-entropy's gradient, and >= .9 of the
      foreground is given less than .5 although it is ranked above the background.
    - unlikely: <= 2/3 of the foreground is given less than .5; or foreground whose background is given more
      than .9 carries >= 1.5 times what easy background carries; or the ranking is almost perfect.
    - cannot tell: anything between, too little foreground, a network that has learnt nothing yet, or what
      would be likely if the loss were plain cross-entropy: focal loss and alpha leave background less
      confident by design.

    The rule was chosen on trainings of small networks for a few hundred steps, and checked on others:
    experiments/diagnosis has both. It knows nothing of optimizers; with SGD, focal loss also takes smaller
    steps (``model.match_gradient``).

    Args:
        facts: What was measured.

    Returns:
        The verdict with the numbers it rests on.

    Source:
        Ours; after Lin et al., "Focal Loss for Dense Object Detection", 2017, section 3, whose argument is
        the easy negatives' share of loss and gradient.

    Example:
        >>> judge(Facts(.33, .18, 1.0, 800, .008, .52, "CrossEntropyLoss", True)).word
        'likely'
    """
    early = _too_early(facts)
    if early is not None:
        return Verdict("cannot tell", (early,))
    numbers = (
        f"under cross-entropy easy background (given more than .9) carries {_percent(facts.easy_background)} "
        f"of the gradient, foreground that is scored like it {_percent(facts.missed_foreground)}",
        f"{_percent(facts.held_back)} of the foreground is given less than .5; AUPR {facts.aupr:.3f} at a "
        f"foreground of {_percent(facts.prevalence)}",
    )
    word, reason = _weigh(facts)
    return Verdict(word, (reason, *numbers))


def aims_at_probabilities(loss: nn.Module) -> bool:
    """Return whether a loss is cross-entropy of every pixel alike, whose minimiser is the posterior.

    Example:
        >>> from segfocal.losses import CrossEntropyLoss, FocalLoss
        >>> aims_at_probabilities(CrossEntropyLoss("binary")), aims_at_probabilities(FocalLoss("binary"))
        (True, False)
    """
    if isinstance(loss, DeepSupervision):
        return aims_at_probabilities(loss.loss)
    if isinstance(loss, PixelwiseLoss):
        plain = loss.form == "focal" and not loss.label_smoothing and not loss.wants_counts()
        return plain and loss.alpha is None and not bool(loss.gamma.any())
    return isinstance(loss, nn.CrossEntropyLoss | nn.BCEWithLogitsLoss)


def _too_early(facts: Facts) -> str | None:
    if facts.foreground_px < FEWEST_FOREGROUND_PX:
        return f"{facts.foreground_px} foreground pixels are too few: {FEWEST_FOREGROUND_PX} at least"
    if facts.learnt < LEARNT_SOMETHING:
        return (
            f"the network cannot tell foreground from background yet (AUPR {facts.aupr:.3f} at a foreground "
            f"of {_percent(facts.prevalence)}): train it longer, then ask again"
        )
    return None


def _weigh(facts: Facts) -> tuple[Word, str]:
    if facts.aupr >= LEARNT_ALL:
        return "unlikely", "the pixels are ranked almost perfectly already"
    if facts.held_back <= FOUND:
        return "unlikely", "much of the foreground is found: easy background does not keep it down"
    if facts.missed_foreground >= CONTRADICTED * facts.easy_background:
        return "unlikely", (
            "missed foreground pulls far harder than easy background: focusing would only amplify it; look "
            "at its labels first"
        )
    if facts.easy_background < OVERWHELMING or facts.held_back < HELD_BACK:
        return "cannot tell", (
            "the numbers lie between: expect a small difference, either way; `segfocal study` can measure it"
        )
    if not facts.plain:
        return "cannot tell", (
            f"{facts.loss} shapes the scores itself, so that these shares are not those of a network trained "
            "with cross-entropy: diagnose a short run with --model.loss segfocal.losses.CrossEntropyLoss"
        )
    return "likely", (
        "easy background carries much of the gradient, and keeps down foreground that the network can tell "
        "apart"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
