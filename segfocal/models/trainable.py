"""Whether a network can be trained as it is: the patches and batches that it takes, and what it returns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from segfocal.errors import SegfocalError
from segfocal.models.head import CONVOLUTIONS
from segfocal.models.outputs import as_supervised, described, main_output
from segfocal.models.probe import probing, try_out
from segfocal.models.stride import other_channels

_SCALES = (1.0, 100.0)  # of the inputs: what is bounded stays so
_LAYERS = 3  # how many of the last ones are made extreme


def check_training(
    network: nn.Module,
    *,
    size: Sequence[int],
    batch: int,
    in_channels: int,
    divisor: int,
    outputs: int | None,
) -> str | None:
    """See that a network takes a batch of patches in training, and that a loss can take what it returns.

    Args:
        network: Images ``(N, in_channels, *S)`` to logits.
        size: Of a patch, in pixels.
        batch: Patches in a batch.
        in_channels: Channels of the images.
        divisor: From `size_divisor`.
        outputs: How many outputs the loss takes: None any number (``DeepSupervision``), 1 for all others.

    Returns:
        A sentence about outputs of which one is scored; None where there is one only.

    Raises:
        SegfocalError: With the network's own complaint, or what it returns, and the way out.

    Example:
        >>> network = nn.Conv2d(3, 2, 3, padding=1)
        >>> check_training(network, size=(17, 17), batch=1, in_channels=3, divisor=1, outputs=1)
    """
    shape = (min(batch, 2), in_channels, *size)  # a third image changes nothing
    try:
        output = as_supervised(try_out(network, shape, training=True), axes=len(size))
    except Exception as error:  # networks of other packages raise whatever they like
        raise other_channels(str(error), in_channels) or _refusal(
            network, error, shape=shape, divisor=divisor
        ) from error
    if isinstance(output, (list, tuple)):
        _check_several(network, output, shape=shape, outputs=outputs)
    found = main_output(output).shape
    if tuple(found[2:]) != tuple(size):
        raise SegfocalError(
            f"patch_size {list(size)} does not suit {type(network).__name__}, whose logits have "
            f"{list(found[2:])} pixels then. {_other_patch(network, shape, divisor)}"
        )
    if not isinstance(output, (list, tuple)):
        return None
    sizes = ", ".join("x".join(map(str, each.shape[2:])) for each in output)
    return f"network {type(network).__name__} has {len(output)} outputs ({sizes}): the first is scored"


def check_weights(network: nn.Module) -> None:
    """Raise unless a network has weights, and some of them are trained.

    Args:
        network: Any.

    Raises:
        SegfocalError: Naming the way out.

    Example:
        >>> check_weights(nn.Conv2d(3, 1, 1))
    """
    name, weights = type(network).__name__, list(network.parameters())
    if lazy := [part for part, module in network.named_modules() if isinstance(module, LazyModuleMixin)]:
        raise SegfocalError(
            f"{name} has layers whose size is not known yet ({', '.join(lazy[:4]) or 'the whole'}). Take the "
            "layers without Lazy in their names, or call the network once in its constructor."
        )
    if not weights:
        raise SegfocalError(f"{name} has no weights, so there is nothing to train. Take another network.")
    kinds = {weight.dtype for weight in weights if weight.is_floating_point()} - {torch.float32}
    other = sorted(str(kind).removeprefix("torch.") for kind in kinds)
    if other:
        raise SegfocalError(
            f"{name} has weights of {' and '.join(other)}, but images are float32. Call .float() in its "
            "constructor; trainer.precision (16-mixed, bf16-mixed, 64-true) says how it trains."
        )
    if not any(weight.requires_grad for weight in weights):
        raise SegfocalError(
            f"All {len(weights)} tensors of {name} are frozen (requires_grad is False): there is nothing to "
            "train. Leave out what freezes them; segfocal finetune freezes parts by finetune.phases."
        )


def check_activation(network: nn.Module, *, in_channels: int, size: Sequence[int]) -> None:
    """Raise where a network returns probabilities, which the loss would squash once more.

    Its last layers are given extreme weights and its inputs extreme values for a moment: logits leave
    [0, 1] then, wherever they began, and the result of a sigmoid or softmax does not.

    Args:
        network: Images ``(N, in_channels, *S)`` to logits.
        in_channels: Channels of the images.
        size: Of an image that it takes, in pixels.

    Raises:
        SegfocalError: Naming the way out.

    Example:
        >>> check_activation(nn.Conv2d(3, 1, 1), in_channels=3, size=(8, 8))
    """
    with probing(network) as example:
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(1, in_channels, *size, generator=generator).to(example)
        found = main_output(network(noise))
        if not _bounded(found):
            return
        layers = _last_layers(network, noise)
        results = [found]
        for sign in (1, -1):
            for scale in _SCALES:
                with _extreme(layers, sign, generator):
                    results.append(main_output(network(sign * scale * noise)))
                if not _bounded(results[-1]):
                    return
    if all(torch.equal(result, found) for result in results):  # a constant says nothing
        if layers and found.shape[1] == 1 and bool((found == 1).all()):
            raise SegfocalError(
                f"{type(network).__name__} returns 1 everywhere, whatever its weights: a softmax over one "
                "channel. Take it out: for one class the loss applies its own sigmoid."
            )
        return
    ends = _activations(network)
    named = f" ({ends})" if ends else ""
    raise SegfocalError(
        f"{type(network).__name__} returns probabilities, all in [0, 1], and not logits: it ends in a "
        f"sigmoid or softmax{named}, and loss and scores apply their own. Take it out: activation: null in "
        "networks of smp, no sigmoid among the arguments of others, no nn.Sigmoid or nn.Softmax in your own."
    )


def accepts(network: nn.Module, shape: Sequence[int], *, training: bool = False) -> bool:
    """Return whether a network gives logits of the size of images of a shape."""
    try:
        output = as_supervised(try_out(network, shape, training=training), axes=len(shape) - 2)
        return tuple(main_output(output).shape[2:]) == tuple(shape[2:])
    except Exception:  # networks of other packages raise whatever they like
        return False


def _check_several(
    network: nn.Module, output: Sequence[Any], *, shape: Sequence[int], outputs: int | None
) -> None:
    name, axes = type(network).__name__, len(shape) - 2
    first = main_output(output)
    alike = all(isinstance(each, Tensor) and each.ndim == axes + 2 for each in output)
    if not alike or any(each.shape[:2] != first.shape[:2] for each in output):
        aux = " Or leave out aux_params, whose labels no mask gives." if _made_by_smp(network) else ""
        raise SegfocalError(
            f"{name} returns more than logits in training, {described(output)}, and the data give targets "
            "for the logits alone. Take them out: network.class_path segfocal.models.TakeOutput with the "
            f"network and key: 0 below init_args.{aux}"
        )
    if outputs == 1:
        raise SegfocalError(
            f"{name} returns {len(output)} outputs in training (deep supervision), and the loss takes one. "
            "Wrap the loss: loss.class_path segfocal.losses.DeepSupervision with the loss below init_args; "
            "or turn deep supervision off in the network; or train the first output alone: "
            "network.class_path segfocal.models.TakeOutput with the network and key: 0 below init_args."
        )


def _refusal(network: nn.Module, error: Exception, *, shape: Sequence[int], divisor: int) -> SegfocalError:
    name, size = type(network).__name__, list(shape[2:])
    complaint = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if shape[0] == 1 and accepts(network, (2, *shape[1:]), training=True):
        return SegfocalError(
            f"batch_size 1 does not suit {name} in training, got: {complaint[:300]}. Its normalisation sees "
            "one value per channel: set data.init_args.batch_size to 2 or more."
        )
    return SegfocalError(
        f"patch_size {size} does not suit {name} in training, got: {complaint[:300]}. "
        f"{_other_patch(network, shape, divisor)}"
    )


def _other_patch(network: nn.Module, shape: Sequence[int], divisor: int) -> str:
    """Name the next patch that the network takes."""
    for factor in (1, 2, 4):
        sizes = [math.ceil(side / divisor) * divisor * factor for side in shape[2:]]
        if sizes != list(shape[2:]) and accepts(network, (*shape[:2], *sizes), training=True):
            return f"It takes data.init_args.patch_size {sizes}."
    return f"Its sizes are multiples of {divisor}: try larger ones, or fewer levels of the network."


def _made_by_smp(network: nn.Module) -> bool:
    return any(
        type(module).__module__.startswith("segmentation_models_pytorch") for module in network.modules()
    )


def _bounded(found: Tensor) -> bool:
    return bool(torch.isfinite(found).all()) and bool((found >= 0).all()) and bool((found <= 1).all())


def _last_layers(network: nn.Module, images: Tensor) -> list[nn.Module]:
    executed: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda layer, _inputs, _output: executed.append(layer))
        for module in network.modules()
        if isinstance(module, CONVOLUTIONS)
    ]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return list(dict.fromkeys(reversed(executed)))[:_LAYERS]


@contextmanager
def _extreme(layers: Sequence[nn.Module], sign: int, generator: torch.Generator) -> Iterator[None]:
    """Let the last layer end far from zero on one side, and make those before it large."""
    tensors = [value for layer in layers for value in (layer.weight, layer.bias) if isinstance(value, Tensor)]
    kept = [value.clone() for value in tensors]
    try:
        for layer in layers:
            assert isinstance(layer.weight, Tensor)
            layer.weight.copy_(10 * torch.randn(layer.weight.shape, generator=generator))
            if isinstance(layer.bias, Tensor):
                layer.bias.fill_(sign * 5.0)
        yield
    finally:
        for value, before in zip(tensors, kept, strict=True):
            value.copy_(before)


def _activations(network: nn.Module) -> str:
    kinds = (nn.Sigmoid, nn.Softmax, nn.Softmax2d, nn.Hardsigmoid)
    found = [name for name, module in network.named_modules() if isinstance(module, kinds)]
    return found[-1] if found else ""
