"""Numbers from the test suites of five libraries, met by the adapters that carry their names.

No case differs on purpose: none of them holds a fault that we mend; ``test_compat_faults`` lists those. The
cases are a JSON file beside the real images; without it these tests are skipped.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.losses.compat import kornia, mmseg, monai, smp, torchvision

DATA = Path(os.environ.get("SEGFOCAL_DATA", Path(__file__).parents[4] / "shared" / "data"))
FILE = DATA.parent / "golden" / "peer_cases.json"
MODULES = {
    "monai": monai,
    "segmentation_models_pytorch": smp,
    "torchvision": torchvision,
    "kornia": kornia,
    "mmseg": mmseg,
}
ALL = json.loads(FILE.read_text())["cases"] if FILE.is_file() else []
CASES = [case for case in ALL if case["callable"].split(".")[0] in MODULES]

pytestmark = pytest.mark.data

# cases that raise, and the argument that the message names
RAISED = {
    "monai/DiceLoss/TEST_CASES[2]/0": "soft_label=True",
    "monai/TverskyLoss/TEST_CASES[14]/0": "other_act=",
    "monai/MaskedLoss/TEST_CASES[0][0]/0": "MaskedLoss",
}


def decode(value):
    """Rebuild a tensor, or a list of them, from JSON."""
    if isinstance(value, list):
        return [decode(each) for each in value]
    return torch.tensor(value["data"], dtype=getattr(torch, value["dtype"])).reshape(value["shape"])


def argument(value):
    """Rebuild an argument: numbers, tensors, functions, losses of the adapters."""
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return torch.tensor(value["$tensor"], dtype=getattr(torch, value["dtype"]))
    if "$callable" in value:
        return getattr(torch, value["$callable"].split(".")[-1])
    if "$class" in value:
        return ours(value["$class"])
    return ours(value["$module"])(**{name: argument(each) for name, each in value["kwargs"].items()})


def ours(path):
    """The adapter of a peer's dotted name."""
    return getattr(MODULES[path.split(".")[0]], path.split(".")[-1])


def value_and_gradient(case):
    """Our number for a case, and the gradient of its sum by the first input."""
    inputs = {name: decode(value) for name, value in case["inputs"].items()}
    settings = {name: argument(value) for name, value in case["kwargs"].items()}
    first = next(iter(inputs))
    if isinstance(inputs[first], torch.Tensor):
        inputs[first].requires_grad_()
    if case["style"] == "function":
        value = ours(case["callable"])(**inputs, **settings)
    else:
        value = ours(case["callable"])(**settings)(**inputs)
    if "mean_of_result" in case["tags"]:
        value = value.mean()
    if "expected_grad" not in case:
        return value.detach(), None
    return value.detach(), torch.autograd.grad(value.sum(), inputs[first])[0]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_peer_number_is_kept(case):
    if case["id"] in RAISED:
        with pytest.raises(SegfocalError, match=RAISED[case["id"]]):
            value_and_gradient(case)
        return
    value, gradient = value_and_gradient(case)
    expected = torch.tensor(case["expected"], dtype=torch.float64)
    tolerance = {"rtol": max(case["rtol"], 1e-5), "atol": max(case["atol"], 1e-6)}
    assert_close(value.double(), expected, **tolerance)
    if gradient is not None:
        theirs = torch.tensor(case["expected_grad"], dtype=torch.float64)
        assert_close(gradient.double(), theirs, rtol=1e-5, atol=1e-7)


def test_all_others_are_kept():
    if not CASES:
        pytest.skip(f"no peer cases at {FILE}: set SEGFOCAL_DATA to the folder of images beside them")
    assert set(RAISED) <= {case["id"] for case in CASES}
    assert len(CASES) - len(RAISED) == 163
