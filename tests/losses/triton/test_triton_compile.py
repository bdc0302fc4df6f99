"""What the CUDA compiler makes of the kernels, without a device: registers, spills, reads of the logits."""

import os
import re
import subprocess

import pytest
import torch

from segfocal.losses.primitive.fields import FIELDS
from segfocal.losses.primitive.sums import pixel_map, pixel_sums

pytest.importorskip("triton")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("the interpreter is not compiled", allow_module_level=True)

from triton import compile as build
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

from segfocal.losses.triton import backend

KINDS = {
    torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16", torch.float64: "fp64",
    torch.uint8: "u8", torch.int8: "i8", torch.int16: "i16", torch.int32: "i32", torch.int64: "i64",
}  # fmt: skip
TRAINING = ["loss", "intersection", "prediction", "target", "count", "tp", "fp", "fn"]


@pytest.fixture
def launched(monkeypatch):
    """Catch the launches of the backend instead of running them."""
    calls = []
    monkeypatch.setattr(backend, "launch", lambda *call: calls.append(call))
    monkeypatch.setattr("segfocal.losses.primitive.backends.refusal", lambda device: "")
    return calls


def described(value, place, constants, hints, specialise=True):
    """The type of an argument, as the launcher specialises it."""
    if value is None or (specialise and type(value) is int and value == 1):
        constants[place] = value
        return "constexpr"
    if isinstance(value, torch.Tensor):
        hints[place] = [["tt.divisibility", 16]]
        return "*" + KINDS[value.dtype]
    if isinstance(value, tuple):
        return tuple(described(item, (*place, k), constants, hints) for k, item in enumerate(value))
    if specialise and value % 16 == 0:
        hints[place] = [["tt.divisibility", 16]]
    return "i32" if -(2**31) <= value < 2**31 else "i64"


def compiled(call, capability):
    """Compile a launch for a device that need not be there."""
    kernel, _, warps, fixed, tensors = call[:5]
    arguments = {**fixed, **tensors}
    signature, constants, hints = {}, {}, {}
    for place, parameter in enumerate(kernel.params):
        value = arguments[parameter.name]
        if parameter.is_constexpr:
            signature[parameter.name], constants[place,] = "constexpr", value
        else:
            specialise = not parameter.do_not_specialize
            signature[parameter.name] = described(value, (place,), constants, hints, specialise)
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=hints)
    options = {"num_warps": warps, "enable_fp_fusion": True}
    return build(source, target=GPUTarget("cuda", capability, 32), options=options)


def spilled(kernel, capability, folder):
    """Bytes that the assembler moves out of the registers and back."""
    path = folder / "kernel.ptx"
    path.write_text(kernel.asm["ptx"])
    target = re.search(r"\.target (\w+)", kernel.asm["ptx"])[1]
    command = [get_ptxas(capability).path, "-v", f"--gpu-name={target}", str(path), "-o", str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return sum(int(found) for found in re.findall(r"(\d+) bytes spill", done.stderr))


def accesses(kernel, names):
    """How often the intermediate code reads and writes through each pointer argument.

    A loop over classes counts once, and so do the classes of a loop that is unrolled.
    """
    text = kernel.asm["ttir"]
    roots = {}
    found = dict.fromkeys(names, (0, 0))
    for line in text.splitlines():
        for name in names:
            if re.search(rf"tt\.func public.*%{name}: !tt\.ptr", line):
                roots[f"%{name}"] = name
        made = re.match(
            r"\s*(%[\w]+)(?::\d+)? = (tt\.addptr|tt\.splat|tt\.broadcast|tt\.expand_dims) (%\w+)", line
        )
        if made and made[3] in roots:
            roots[made[1]] = roots[made[3]]
        read = re.search(r"tt\.load (%\w+)", line)
        written = re.search(r"tt\.store (%\w+)", line)
        if read and read[1] in roots:
            reads, writes = found[roots[read[1]]]
            found[roots[read[1]]] = (reads + 1, writes)
        if written and written[1] in roots:
            reads, writes = found[roots[written[1]]]
            found[roots[written[1]]] = (reads, writes + 1)
    return found


def training_call(classes, dtype=torch.bfloat16, space=(64, 64), **options):
    """Sums as focal + Dice and the training's counts want them, their gradient, and the map's."""
    logits = torch.zeros(2, classes, *space, dtype=dtype, requires_grad=True)
    target = torch.zeros(2, *space, dtype=torch.uint8)
    options |= {"activation": "sigmoid" if classes == 1 else "softmax", "backend": "triton"}
    options |= {"validate": False, "ignore_index": 255, "gamma": 2.0}
    sums = pixel_sums(logits, target, want=TRAINING, **options)
    torch.autograd.grad(sums.loss.sum() + sums.intersection.sum() + sums.prediction.sum(), logits)
    torch.autograd.grad(pixel_map(logits, target, **options).sum(), logits)


@pytest.mark.parametrize("classes", [1, 2, 8, pytest.param(19, marks=pytest.mark.slow)])
def test_few_classes_are_read_and_written_once(launched, classes):
    training_call(classes)
    counts = {}
    for call in launched:
        name = call[0].__name__
        if name != "finish":
            counts.setdefault(name.split("_")[1], []).append(accesses(compiled(call, 90), ["logits", "out"]))
    assert [found["logits"] for found in counts["sums"]] == [(classes, 0)]
    assert [found["logits"] for found in counts["map"]] == [(classes, 0)]
    assert all(found == {"logits": (classes, 0), "out": (0, classes)} for found in counts["gradient"])


@pytest.mark.parametrize("classes", [33, 104])
def test_many_classes_are_read_twice_and_written_once(launched, classes):
    training_call(classes)
    for call in launched:
        found = accesses(compiled(call, 90), ["logits", "out"]) if call[0].__name__ != "finish" else {}
        if call[0].__name__ == "online_sums":
            assert found["logits"] == (2, 0)
        if call[0].__name__ == "online_gradient":
            assert found == {"logits": (2, 0), "out": (0, 1)}


@pytest.mark.parametrize("classes", [1, 2, 8])
def test_nothing_spills(launched, classes, tmp_path):
    training_call(classes)
    assert {call[0].__name__: spilled(compiled(call, 90), 90, tmp_path) for call in launched} == {
        call[0].__name__: 0 for call in launched
    }


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("classes", [1, 2, 4, 8, 14, 19, 24])
def test_nothing_spills_on_any_device(launched, classes, dtype, capability, tmp_path):
    training_call(classes, dtype)
    spills = {
        call[0].__name__: spilled(compiled(call, capability), capability, tmp_path) for call in launched
    }
    assert not any(spills.values()), spills


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90, 100])
def test_32_classes_do_not_spill_either(launched, capability, tmp_path):
    training_call(32)
    spills = {
        call[0].__name__: spilled(compiled(call, capability), capability, tmp_path) for call in launched
    }
    # three sums of 32 classes are 96 registers of a thread: an older compiler puts a few constants aside
    assert spills.pop("softmax_sums") <= (128 if capability < 90 else 0)
    assert not any(spills.values()), spills


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "parameter", "capability", "classes", "options"),
    [
        ("focal", None, 75, 6, {}),
        ("focal", None, 75, 40, {"alpha": [0.5] * 40}),
        ("poly", 0.7, 75, 1, {}),
        ("poly", 0.7, 90, 6, {"weight": torch.ones(2, 33, 5)}),
        ("tail", 0.1, 80, 3, {"label_smoothing": 0.1}),
        ("knee", 0.75, 75, 6, {"label_smoothing": 0.1, "alpha": [0.5] * 6}),
        ("knee", 0.75, 100, 20, {"alpha": [0.5] * 20}),
        ("reduced", 0.4, 90, 34, {"weight": torch.ones(2, 33, 5)}),
        ("convex", torch.tensor([1.0, 0.2]), 100, 1, {"label_smoothing": 0.1, "alpha": 0.3}),
    ],
)
def test_every_form_compiles(launched, form, parameter, capability, classes, options):
    training_call(classes, torch.float16, (33, 5), form=form, parameter=parameter, **options)
    for call in launched:
        assert compiled(call, capability).asm["cubin"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("logits", "target", "options"),
    [
        # every stride of 1 becomes a constant of the compiler, every stride of 0 a multiple of 16
        (torch.zeros(2, 8, 6, 16).to(memory_format=torch.channels_last), torch.zeros(2, 6, 16).long(), {}),
        (torch.zeros(2, 40, 6, 16).to(memory_format=torch.channels_last), torch.zeros(2, 6, 16).short(), {}),
        (torch.zeros(2, 3, 6, 34)[..., ::2], torch.zeros(2, 3, 6, 17).double(), {}),
        (torch.zeros(2, 3, 6, 17), torch.zeros(17).int().expand(2, 6, 17), {"ignore_index": -1}),
        (torch.zeros(5, 7), torch.zeros(5).long(), {"weight": torch.ones(1).expand(5)}),
        (torch.zeros(2, 1, 1, 1, 1), torch.zeros(2, 1, 1, 1).bool(), {"activation": "sigmoid"}),
        (torch.zeros(2, 3, 9).half(), torch.zeros(2, 3, 9).bfloat16(), {"activation": "sigmoid"}),
        (
            torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last),
            torch.zeros(2, 4, 5).to(torch.int8),
            {"activation": "sigmoid", "weight": torch.ones(2, 1, 4, 5).expand(2, 3, 4, 5), "alpha": 0.25},
        ),
    ],
    ids=["last", "many last", "soft slice", "one row", "tokens", "voxel", "halves", "one against rest"],
)
def test_every_layout_compiles_for_the_oldest_device(launched, logits, target, options):
    dtype = logits.dtype if logits.dtype == torch.float16 else torch.bfloat16
    logits = logits.to(dtype).requires_grad_()
    options = {"activation": "softmax", "backend": "triton", "validate": False, "gamma": 0.5, **options}
    sums = pixel_sums(logits, target, want=FIELDS, **options)
    torch.autograd.grad(sums.loss.sum() + sums.prediction_squared.sum(), logits)
    torch.autograd.grad(pixel_map(logits, target, **options).sum(), logits)
    assert {call[0].__name__.split("_")[-1] for call in launched} == {"sums", "finish", "gradient", "map"}
    for call in launched:
        assert compiled(call, 75).asm["cubin"]


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "activation"), [(3, "softmax"), (40, "softmax"), (1, "sigmoid")])
def test_images_of_over_two_billion_numbers_compile(launched, classes, activation):
    space = (2**16, 2**15 + 1)
    logits = torch.zeros(1, dtype=torch.bfloat16).expand(1, classes, *space).requires_grad_()
    target = torch.zeros(1, dtype=torch.uint8).expand(1, *space)
    options = {"activation": activation, "backend": "triton", "validate": False, "gamma": 2.0}
    pixel_sums(logits, target, want=["loss", "prediction", "tp"], **options)
    kernel = compiled(launched[0], 90)
    assert launched[0][3]["LONG"]
    assert "i64" in kernel.asm["ttir"]
