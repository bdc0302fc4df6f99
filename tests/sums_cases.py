"""Random combinations of options, and the comparison of a backend with the naive formulas."""

import torch
import torch.nn.functional as F
from sums_reference import reference_sums
from torch.testing import assert_close

from segfocal.losses.primitive.fields import FIELDS
from segfocal.losses.primitive.sums import pixel_map, pixel_sums

FORMS = [
    ("focal", None),
    ("poly", 0.7),
    ("tail", 0.1),
    ("knee", 0.75),
    ("reduced", 0.4),
    ("convex", (1.0, 0.2)),
]


# what two backends are compared by
WANT = [
    "loss",
    "modulation",
    "intersection",
    "prediction",
    "prediction_squared",
    "target",
    "count",
    "tp",
    "fn",
]
# how logits may lie in memory, (N, C, H, W) each
LAYOUTS = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "every other column": lambda x: x.repeat_interleave(2, dim=-1)[..., ::2],
    "transposed": lambda x: x.mT.contiguous().mT,
    "cut out": lambda x: torch.nn.functional.pad(x, (3, 5, 2, 1))[..., 2:-1, 3:-5],
}


def sample_case(rng, spaces=((), (7,), (5, 6), (3, 4, 5))):
    """Draw one combination of options and the tensors for it."""
    torch.manual_seed(rng.randrange(10**6))
    activation = rng.choice(["softmax", "sigmoid"])
    classes = rng.choice([2, 3, 8]) if activation == "softmax" else rng.choice([1, 3])
    n, space, kind = rng.choice([1, 2, 3]), rng.choice(spaces), rng.choice(["labels", "hard", "soft"])
    form, parameter = rng.choice(FORMS)
    ignore = rng.choice([None, 255, -1])
    dtype = rng.choice([torch.uint8, torch.int16, torch.int64])
    logits = 3 * torch.randn(n, classes, *space, dtype=torch.float64)
    if kind == "labels":
        target = torch.randint(0, max(2, classes), (n, *space)).to(dtype)
    elif activation == "softmax":
        target = F.one_hot(torch.randint(0, classes, (n, *space)), classes).movedim(-1, 1).to(dtype)
    else:
        target = torch.randint(0, 2, (n, classes, *space)).to(dtype)
    if kind == "soft":
        target = torch.rand(n, classes, *space, dtype=torch.float64)
        target = target / target.sum(1, keepdim=True) if activation == "softmax" else target
    if ignore is not None and not (ignore < 0 and dtype == torch.uint8 and kind != "soft"):
        one = (
            1
            if activation == "softmax" and kind != "labels"
            else target.shape[1]
            if kind != "labels"
            else None
        )
        shape = target.shape if one is None else (n, one, *space)
        target = torch.where(torch.rand(shape) < 0.2, torch.tensor(ignore, dtype=target.dtype), target)
    elif dtype == torch.uint8:
        ignore = None
    options = {
        "activation": activation,
        "form": form,
        "parameter": parameter,
        "gamma": 2.0 if form in ("convex", "knee") else rng.choice([0.0, 0.5, 2.0, 2 * torch.rand(classes)]),
        "alpha": rng.choice([None, torch.rand(classes)] + ([0.3] if activation == "sigmoid" else [])),
        "label_smoothing": rng.choice([0.0, 0.0, 0.1]),
        "ignore_index": ignore,
        "weight": rng.choice([None, torch.rand(n, *space)]),
    }
    return logits, target, options


def as_primitive(options):
    """The parameter of a form as the primitive takes it."""
    parameter = options["parameter"]
    return options | {
        "parameter": None if parameter is None else torch.tensor(parameter, dtype=torch.float64)
    }


def compare(logits, target, options, *, backend, rtol, atol, joined=False):
    """All fields, the map, and both gradients under random upstream gradients, against the naive formulas.

    Where images are joined, the truth is the sum of what the formulas give for each.
    """
    mine = logits.clone().requires_grad_()
    truth = logits.double().clone().requires_grad_()
    sums = pixel_sums(mine, target, want=FIELDS, backend=backend, joined=joined, **as_primitive(options))
    expected = reference_sums(truth, target, **options)
    if joined:
        fields = {name: expected[name].sum(0, keepdim=True) for name in FIELDS if name != "invalid"}
        expected = expected | fields
    upstream, upstream_true = [], []
    for name in FIELDS:
        if name == "invalid":
            assert sums.invalid.tolist() == [0] * (1 if joined else len(logits))
            continue
        found = getattr(sums, name)
        assert_close(found.double(), expected[name].double(), rtol=rtol, atol=atol, msg=f"{name} {options}")
        if found.requires_grad:
            seed = torch.randn_like(found)
            upstream.append((seed * found).sum())
            upstream_true.append((seed * expected[name]).sum())
    (grad,) = torch.autograd.grad(sum(upstream), mine)
    (grad_true,) = torch.autograd.grad(sum(upstream_true), truth, retain_graph=True)
    assert_close(grad.double(), grad_true, rtol=10 * rtol, atol=10 * atol, msg=f"gradient {options}")
    found = pixel_map(mine, target, backend=backend, joined=joined, **as_primitive(options))
    assert found.is_contiguous()
    assert_close(found.double(), expected["map"], rtol=rtol, atol=atol, msg=f"map {options}")
    seed = torch.randn_like(found)
    (grad,) = torch.autograd.grad(found, mine, seed)
    (grad_true,) = torch.autograd.grad(expected["map"], truth, seed.double())
    assert_close(grad.double(), grad_true, rtol=10 * rtol, atol=10 * atol, msg=f"map gradient {options}")


# (activation, classes, target of two pixels: hard or soft masks of one channel, else labels)
INFINITE = {
    "labels": ("softmax", 3, torch.tensor([[1, 1]])),
    "many labels": ("softmax", 40, torch.tensor([[1, 1]])),
    "binary": ("sigmoid", 1, torch.tensor([[1, 0]])),
    "soft binary": ("sigmoid", 1, torch.tensor([[[1.0, 0.0]]])),
}


def without_weight(kind, by, *, backend, device="cpu", value=-torch.inf):
    """Map and sum of the loss where one of two pixels costs infinity (or NaN) and weighs nothing."""
    activation, classes, target = INFINITE[kind]
    options = {"activation": activation, "gamma": 2.0, "backend": backend}
    logits = torch.zeros(1, classes, 2, device=device)
    logits[0, min(1, classes - 1), 0] = value
    if by == "weight":
        options["weight"] = torch.tensor([[0.0, 1.0]], device=device)
    elif activation == "softmax":
        target = torch.tensor([[1, 0]])
        options["alpha"] = torch.ones(classes, device=device)
        options["alpha"][1] = 0.0
    else:
        options["alpha"] = torch.tensor(0.0, device=device)  # negatives weigh 1
    logits.requires_grad_()
    sums = pixel_sums(logits, target.to(device), want=["loss"], **options)
    found = pixel_map(logits, target.to(device), **options)
    grads = [torch.autograd.grad(each.sum(), logits)[0] for each in (sums.loss, found)]
    return sums.loss.sum().item(), found.flatten().tolist(), torch.stack(grads)


def confident_gradients(form, parameter, gamma, *, backend, device="cpu", smoothing=0.0):
    """Gradients of confident pixels by one-hot masks and by the label map, float32, and in float64."""
    torch.manual_seed(0)
    logits = 30 * torch.randn(1, 4, 60)
    target = logits.argmax(1)
    target[:, ::5] = (target[:, ::5] + 1) % 4  # some are wrong
    masks = F.one_hot(target, 4).movedim(-1, 1)
    options = {"activation": "softmax", "form": form, "gamma": gamma, "parameter": parameter}
    options["label_smoothing"] = smoothing
    found = []
    for x, t, by in ((logits, masks, backend), (logits, target, backend), (logits.double(), target, "eager")):
        x = x.to(device).detach().requires_grad_()
        values = pixel_map(x, t.to(device), backend=by, **options)
        found.append(torch.autograd.grad(values.sum(), x)[0].double())
    return found
