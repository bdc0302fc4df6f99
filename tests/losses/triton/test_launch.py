"""A kernel is started through Triton once per kind of tensors, then as it was built."""

import pytest
import torch

pytest.importorskip("triton")

from segfocal.errors import SegfocalError
from segfocal.losses.primitive.curve import curve
from segfocal.losses.primitive.fields import Inputs, Spec
from segfocal.losses.primitive.operator import join
from segfocal.losses.primitive.sums import pixel_map, pixel_sums
from segfocal.losses.triton import backend
from segfocal.losses.triton.call import finish_arguments, plan_of
from segfocal.losses.triton.launch import MOST_PROGRAMS, launch

CPU = torch.device("cpu")


class Kernel:
    """Takes a jitted function's place."""

    arg_names = ("data", "S", "C")

    def __init__(self):
        self.compiled, self.started = [], []

    def __getitem__(self, grid):
        def compile_and_start(**arguments):
            self.compiled.append((grid, arguments))
            return Ready(self.started)

        return compile_and_start


class Ready:
    """Takes a compiled kernel's place."""

    def __init__(self, started):
        self.started = started

    def __getitem__(self, grid):
        return lambda *arguments: self.started.append((grid, arguments))


def test_the_second_start_is_direct_and_in_the_order_of_the_kernel():
    kernel, built, data = Kernel(), {}, torch.zeros(8)
    for _ in range(3):
        launch(kernel, 5, 2, {"C": 3, "S": 7}, {"data": data}, built, CPU)
    ((grid, arguments),) = kernel.compiled
    assert grid == (5,)
    assert arguments.pop("data") is data
    assert arguments == {"C": 3, "S": 7, "num_warps": 2, "enable_fp_fusion": True}
    assert [(grid, rest) for grid, (_, *rest) in kernel.started] == [((5, 1, 1), [7, 3])] * 2
    assert all(arguments[0] is data for _, arguments in kernel.started)


def test_another_dtype_another_alignment_and_none_are_built_anew():
    kernel, built, data = Kernel(), {}, torch.zeros(8)
    kinds = [data, data[1:], data[4:], data.double(), None, data[2:]]
    for tensor in kinds:
        launch(kernel, 1, 1, {"C": 3, "S": 7}, {"data": tensor}, built, CPU)
    assert len(kernel.compiled) == 4
    assert len(kernel.started) == 2  # data[4:] is as aligned as data, data[2:] no better than data[1:]


def test_the_interpreter_which_builds_nothing_is_always_asked():
    class Interpreter(Kernel):
        def __getitem__(self, grid):
            return lambda **arguments: self.compiled.append(arguments)

    kernel, built = Interpreter(), {}
    for _ in range(3):
        launch(kernel, 1, 1, {"C": 3, "S": 7}, {"data": torch.zeros(8)}, built, CPU)
    assert len(kernel.compiled) == 3


def test_kernels_on_another_device_start_there(monkeypatch):
    entered = []

    class On:
        def __init__(self, device):
            self.device = device

        def __enter__(self):
            entered.append(self.device)

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "device", On)
    for index in (0, 1):
        launch(Kernel(), 1, 1, {"C": 3, "S": 7}, {"data": None}, {}, torch.device("cuda", index))
    assert entered == [torch.device("cuda:1")]


@pytest.mark.parametrize("kind", ["few", "many", "soft", "sigmoid"])
def test_every_argument_of_every_kernel_is_given_and_plans_are_made_once(monkeypatch, kind):
    calls = []
    monkeypatch.setattr(backend, "launch", lambda *call: calls.append(call))
    monkeypatch.setattr("segfocal.losses.primitive.backends.refusal", lambda device: "")
    logits = torch.zeros(2, 33 if kind == "many" else 3, 5, requires_grad=True)
    options = {"activation": "sigmoid" if kind == "sigmoid" else "softmax", "backend": "triton"}
    options |= {"validate": False, "label_smoothing": 0.1 if kind == "soft" else 0.0}
    for _ in range(2):
        target = torch.zeros(2, 5).long()
        loss = pixel_sums(logits, target, want=["loss", "prediction"], **options).loss
        torch.autograd.grad(loss.sum(), logits)
        torch.autograd.grad(pixel_map(logits, target, **options).sum(), logits)
    assert len(calls) == 10
    for kernel, _, _, fixed, tensors, _, device in calls:
        assert sorted([*fixed, *tensors]) == sorted(kernel.arg_names)
        assert device == CPU
    assert all(one[5] is two[5] for one, two in zip(calls[:5], calls[5:], strict=True))
    assert len({id(call[5]) for call in calls}) == 5


def grids(rows, classes, activation):
    """The programs of each kernel for rows (N, C) in float32, without memory for them."""
    logits = torch.empty(rows, classes, device="meta")
    target = torch.empty(rows if activation == "softmax" else (rows, classes), device="meta").long()
    alike = Inputs(logits, target, None, curve("focal", 2.0, None, logits.device), None, None)
    inputs, spec = join(alike), Spec(activation, "focal", ("count", "loss"), None)
    found = {}
    for step in ("sums", "gradient", "map"):
        out = None if step == "sums" else inputs.logits if step == "gradient" else inputs.logits[:, 0]
        plan = plan_of(step, inputs, spec, out)
        found[step] = plan.rows * plan.programs
        # every pixel has its program, and no program is without pixels
        turns = plan.fixed.get("turns", 1)
        assert (plan.programs - 1) * turns * plan.fixed["BLOCK"] < rows
        assert plan.programs * turns * plan.fixed["BLOCK"] >= rows
        if step == "sums":
            found["finish"] = classes * sum(plan.widths)
            parts = 4 * classes * plan.programs * sum(plan.widths)
            assert parts <= max(2**24, logits.numel() * 4 // 10)  # bytes
            assert finish_arguments((1, classes, *plan.widths), plan.programs, False)["N_C"] == classes
    return found


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize(
    ("rows", "classes"), [(8192, 27), (32768, 27), (1024, 5000), (32768, 50257), (2**20, 50257), (2**30, 2)]
)
def test_rows_of_any_number_fit_into_the_grid(rows, classes, activation):
    for step, programs in grids(rows, classes, activation).items():
        assert 1 <= programs <= MOST_PROGRAMS, step


def test_more_programs_than_a_grid_holds_are_refused():
    kernel = Kernel()
    launch(kernel, MOST_PROGRAMS, 1, {"C": 3, "S": 7}, {"data": None}, {}, CPU)
    with pytest.raises(SegfocalError, match=r"at most 2147483647 programs.*need 2147483648.*Split the batch"):
        launch(kernel, MOST_PROGRAMS + 1, 1, {"C": 3, "S": 7}, {"data": None}, {}, CPU)
    assert len(kernel.compiled) == 1
