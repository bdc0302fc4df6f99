import numpy as np
import pytest

from segfocal.data.sampling import EpochBatchSampler, sample_rng
from segfocal.errors import SegfocalError


def test_random_numbers_depend_on_seed_epoch_and_index():
    draws = {key: sample_rng(*key).random() for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]}
    assert len(set(draws.values())) == 4
    assert draws[0, 0, 1] == sample_rng(0, 0, 1).random()


def test_an_epoch_is_a_permutation_and_epochs_differ():
    sampler = EpochBatchSampler(12, 4, seed=3)
    first, second = [[key for batch in sampler for key in batch] for _ in range(2)]
    assert {epoch for epoch, _ in first} == {0}
    assert {epoch for epoch, _ in second} == {1}
    for keys in (first, second):
        assert sorted(index for _, index in keys) == list(range(12))
    assert [i for _, i in first] != [i for _, i in second]


def test_two_samplers_agree():
    assert list(EpochBatchSampler(9, 2, seed=1, epoch=5)) == list(EpochBatchSampler(9, 2, seed=1, epoch=5))


@pytest.mark.parametrize("start", [0, 1, 2])
def test_start_batch_gives_the_rest_of_the_epoch(start):
    whole = list(EpochBatchSampler(12, 4, seed=0, epoch=2))
    rest = EpochBatchSampler(12, 4, seed=0, epoch=2, start_batch=start)
    assert len(rest) == 3
    assert list(rest) == whole[start:]
    assert next(iter(rest))[0][0] == 3  # the next epoch begins at its beginning


def test_announcing_the_same_epoch_keeps_the_place():
    sampler = EpochBatchSampler(12, 4, seed=0, epoch=2, start_batch=1)
    sampler.set_epoch(2)
    assert len(list(sampler)) == 2
    sampler.set_epoch(7)
    assert len(list(sampler)) == 3


def test_state_continues_after_the_last_batch_handed_out():
    sampler = EpochBatchSampler(12, 4, seed=0)
    batches = iter(sampler)
    next(batches)
    other = EpochBatchSampler(12, 4, seed=0)
    other.load_state_dict(sampler.state_dict())
    assert list(other) == list(batches)


def test_ranks_share_nothing_and_together_make_the_global_batch():
    ranks = [list(EpochBatchSampler(26, 4, seed=0, rank=r, world_size=3)) for r in range(3)]
    assert [len(batches) for batches in ranks] == [2, 2, 2]
    together = [sorted(key for batches in ranks for key in batches[b]) for b in range(2)]
    whole = [sorted(batch) for batch in EpochBatchSampler(26, 12, seed=0)]
    assert together == whole


def test_an_epoch_that_fills_no_batch_is_refused():
    with pytest.raises(SegfocalError, match="patches_per_epoch"):
        EpochBatchSampler(7, 4, seed=0, world_size=2)


def test_every_sample_is_equally_likely_to_come_first():
    first = [next(iter(EpochBatchSampler(5, 1, seed=0, epoch=epoch)))[0][1] for epoch in range(500)]
    assert np.bincount(first, minlength=5).min() > 70
