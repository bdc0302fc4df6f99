"""What a pair of arms that is not resolved is told to get: more clusters, or more seeds."""

import numpy as np
import polars as pl

from segfocal.report.figures.paired import _resolved
from segfocal.report.tables.paired import Paired
from segfocal.runs.comparison import compare


def text(differences):
    return _resolved(Paired("a", "b", pl.DataFrame(), compare(differences)))


def test_seeds_are_asked_for_where_there_are_clusters_enough():
    noise = np.random.default_rng(0).normal(0, 0.001, (2, 24))
    assert text(np.array([[0.015], [0.005]]) + noise) == "Not resolved. More seeds would be needed."


def test_clusters_are_asked_for_where_they_differ():
    clusters = np.random.default_rng(1).normal(0.003, 0.02, 12)
    found = text(np.stack([clusters, clusters + 1e-4]))
    assert found.startswith("Not resolved. About ")
    assert int(found.split()[3]) > 12
