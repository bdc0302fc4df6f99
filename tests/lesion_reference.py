"""Lesions counted the slow way: flood fill, exact fractions, and every possible set of pairs."""

import itertools
from fractions import Fraction

import numpy as np


def flood(mask, *, full=True):
    """Components as sets of coordinates, in the order of their first pixel."""
    left = {tuple(int(x) for x in place) for place in np.argwhere(mask)}
    found = []
    for start in sorted(left):
        if start not in left:
            continue
        part, todo = set(), [start]
        left.discard(start)
        while todo:
            here = todo.pop()
            part.add(here)
            for step in itertools.product((-1, 0, 1), repeat=mask.ndim):
                if not full and sum(map(abs, step)) != 1:
                    continue
                there = tuple(a + b for a, b in zip(here, step, strict=True))
                if there in left:
                    left.discard(there)
                    todo.append(there)
        found.append(part)
    return found


def centre(part):
    """Mean of each coordinate, halves rounded up."""
    means = [Fraction(sum(axis), len(part)) for axis in zip(*part, strict=True)]
    return tuple((mean + Fraction(1, 2)).__floor__() for mean in means)


def good_enough(found, known):
    return Fraction(len(found & known), len(found | known)) > Fraction(1, 10) or centre(found) in known


def most_pairs(found, known):
    """Try every way to give each prediction one lesion or none."""
    if not found or not known:
        return 0
    rest = most_pairs(found[1:], known)
    for place, lesion in enumerate(known):
        if good_enough(found[0], lesion):
            rest = max(rest, 1 + most_pairs(found[1:], known[:place] + known[place + 1 :]))
    return rest


def counts(predicted, reference, *, full=True, min_size=1):
    found, known = (
        [part for part in flood(mask, full=full) if len(part) >= min_size] for mask in (predicted, reference)
    )
    tp = most_pairs(found, known)
    return tp, len(found) - tp, len(known) - tp
