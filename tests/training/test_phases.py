"""What the section finetune may say."""

import pytest

from segfocal.errors import SegfocalError
from segfocal.training.phases.settings import ActivePhase, Finetune, Phase, phases_of

ENDLESS = {"max_steps": -1, "max_epochs": None}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": ""}, "name and train must not be empty"),
        ({"train": []}, "train: \\[all\\] trains everything"),
        ({"layer_decay": 0.0}, "phase 'p': layer_decay"),
        ({"layer_decay": 1.5}, "phase 'p': layer_decay"),
        ({"batch_norm": "freeze"}, "Did you mean 'frozen'"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"max_steps": 0}, "phase 'p': max_steps"),
        ({"warmup_steps": -1}, "phase 'p': warmup_steps"),
        ({"learning_rate": 0.0}, "phase 'p': learning_rate must"),
        ({"learning_rate": {"all": 1.0, "head": -1.0}}, "learning_rate of head"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_wrong_phases_are_named(settings, message):
    with pytest.raises(SegfocalError, match=message):
        Phase(**({"name": "p"} | settings))


def test_only_the_last_phase_may_do_without_an_end():
    head, rest = Phase("head", max_steps=2), Phase("all")
    assert phases_of(Finetune(phases=[head, rest]), ends=True) == [head, rest]
    with pytest.raises(SegfocalError, match=r"phase 'all' has no end\. Give it .* trainer\.max_epochs"):
        phases_of(Finetune(phases=[head, rest]), ends=False)
    with pytest.raises(SegfocalError, match="phase 'all' has no end, so that none after it would begin"):
        phases_of(Finetune(phases=[rest, head]), ends=True)
    for phases in ([], [head, head]):
        with pytest.raises(SegfocalError, match="a list of phases with different names"):
            phases_of(Finetune(phases=phases), ends=True)


def test_a_phase_ends_at_its_own_end_or_with_the_whole():
    active = ActivePhase(Phase("p", max_steps=5, max_epochs=2), 2, first_step=10, first_epoch=3)
    assert active.limits(**ENDLESS) == {"max_steps": 15, "max_epochs": 5}
    assert active.limits(max_steps=12, max_epochs=4) == {"max_steps": 12, "max_epochs": 4}
    assert ActivePhase(Phase("p"), 1, 0, 0).limits(**ENDLESS) == {"max_steps": -1, "max_epochs": -1}
    assert active.reached(**ENDLESS)
    assert active.reached(max_steps=11, max_epochs=4)
    assert not active.reached(max_steps=10, max_epochs=None)
    assert not active.reached(max_steps=-1, max_epochs=3)


@pytest.mark.parametrize(
    ("step", "limits", "finished"),
    [
        (15, ENDLESS, True),
        (12, {"max_steps": 12, "max_epochs": None}, False),
        (15, {"max_steps": 15, "max_epochs": None}, True),
        (14, {"max_steps": -1, "max_epochs": 4}, False),  # four steps an epoch
        (13, {"max_steps": 15, "max_epochs": 4}, True),  # before either end: a callback stopped it
    ],
)
def test_a_phase_cut_off_by_the_whole_is_not_finished(step, limits, finished):
    active = ActivePhase(Phase("p", max_steps=5), 2, first_step=10, first_epoch=3)
    assert active.finished(step=step, steps_per_epoch=4, **limits) is finished
