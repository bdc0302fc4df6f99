"""Networks: a small default, any of smp and MONAI, their input sizes, heads and weights."""

from segfocal.models.changes import Change
from segfocal.models.dropout import Dropout
from segfocal.models.head import find_head, head_width, set_head_bias
from segfocal.models.outputs import TakeOutput, main_output
from segfocal.models.pooling import Pooling
from segfocal.models.pretrained import load_pretrained
from segfocal.models.small import SmallUNet
from segfocal.models.smp import SmpNetwork
from segfocal.models.stride import crop_to, pad_to_multiple, size_divisor
from segfocal.models.unstack import Unstack
from segfocal.models.weights_convert import convert_trusted
from segfocal.models.weights_report import LoadReport

__all__ = [
    "SmallUNet",
    "SmpNetwork",
    "TakeOutput",
    "Unstack",
    "Change",
    "Dropout",
    "Pooling",
    "find_head",
    "head_width",
    "set_head_bias",
    "main_output",
    "size_divisor",
    "pad_to_multiple",
    "crop_to",
    "load_pretrained",
    "LoadReport",
    "convert_trusted",
]
