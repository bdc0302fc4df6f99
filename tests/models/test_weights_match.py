from __future__ import annotations

import pytest
import torch
from torch import nn

from segfocal.models import SmallUNet
from segfocal.models.weights_match import match_tensors


def shapes(**named):
    return {name.replace("__", "."): torch.zeros(shape) for name, shape in named.items()}


def test_a_network_is_found_among_others():
    network = SmallUNet(1, 2, channels=(4, 8)).state_dict()
    other = SmallUNet(1, 2, channels=(8, 16)).state_dict()
    for first, second in ((network, other), (other, network)):
        file = {f"a.{k}": v for k, v in first.items()} | {f"b.net.{k}": v for k, v in second.items()}
        match = match_tensors({f"mine.{k}": v for k, v in network.items()}, file)
        assert match.pairs.keys() == {f"mine.{k}" for k in network}
        assert all(
            file[source] is network[name.removeprefix("mine.")] for name, source in match.pairs.items()
        )


def test_shapes_decide_between_names_that_fit_alike():
    own = shapes(weight=(2, 3), bias=(2,))
    file = shapes(head__weight=(5, 3), head__bias=(5,), last__weight=(2, 3), last__bias=(2,))
    assert match_tensors(own, file).prefix == "last."


def test_numbers_joined_by_an_underscore_are_the_same_names():
    own = shapes(encoder__stages_0__blocks__1__weight=(2,), encoder__stem_1__weight=(3,))
    file = shapes(stages__0__blocks__1__weight=(2,), stem__1__weight=(3,))
    match = match_tensors(own, file)
    assert match.pairs == {
        "encoder.stages_0.blocks.1.weight": "stages.0.blocks.1.weight",
        "encoder.stem_1.weight": "stem.1.weight",
    }
    both = shapes(a_1__weight=(2,), a__1__weight=(2,))
    assert match_tensors(both, both).pairs == {name: name for name in both}


@pytest.mark.parametrize("depth", [1, 30])
def test_names_that_repeat_within_themselves(depth):
    name, own = "", {}
    for _ in range(depth):
        own[f"{name}model.0.conv.weight"] = torch.zeros(2)
        name += "model.1.submodule."
    match = match_tensors(own, {f"net.{key}": value for key, value in own.items()})
    assert (match.prefix, len(match.pairs)) == ("net.", depth)


def test_nothing_in_common_is_no_match():
    assert match_tensors(shapes(a__weight=(2,)), shapes(b__gain=(2,))).pairs == {}
    assert match_tensors({}, {}).pairs == {}


def test_large_foreign_files_take_no_time():
    own = {f"a.{i}.weight": torch.zeros(1) for i in range(3000)}
    file = {f"b.{i}x.weight": torch.zeros(1) for i in range(3000)}
    assert match_tensors(own, file).pairs == {}


def test_kinds_of_numbers_do_not_mix():
    whole = {"w": torch.zeros(2, dtype=torch.int8)}
    layer = nn.ParameterDict({"w": torch.zeros(2)}).state_dict()
    assert match_tensors(layer, whole).pairs == {"w": "w"}
