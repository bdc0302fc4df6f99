from __future__ import annotations

import pytest
import torch
from torch import nn

from segfocal.errors import SegfocalError
from segfocal.models import TakeOutput, main_output


class Named(nn.Module):
    def forward(self, images):
        return {"out": images, "aux": images[..., ::2]}


def test_the_first_of_several_resolutions_is_taken():
    full, half = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2)
    assert main_output((full, half)) is full
    assert main_output(full) is full


def test_a_dict_is_refused_and_the_wrapper_takes_its_entry():
    image = torch.zeros(1, 1, 4, 4)
    with pytest.raises(SegfocalError, match=r"keys \['aux', 'out'\].*TakeOutput"):
        main_output(Named()(image))
    assert TakeOutput(Named())(image) is image
    with pytest.raises(SegfocalError, match="'logits'"):
        TakeOutput(Named(), key="logits")(image)


@pytest.mark.parametrize("output", [[], None, 3.0])
def test_anything_else_is_refused(output):
    with pytest.raises(SegfocalError, match="must return a tensor"):
        main_output(output)
