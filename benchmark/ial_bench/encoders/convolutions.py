"""Convolutions made cheaper to run and to train on CPUs, without a change to what they compute.

Batch norms of towers here always keep their running statistics, so each is an affine map of channels, and the same as a
convolution with other weights: its scale and shift go into the convolution before it, step by step, so that gradients
still reach both. What lay between the two is then neither computed nor kept for the backward pass.

timm's EfficientNet class (EfficientNets and EfficientNet-Lite, MobileNetV2, MnasNet, TinyNet ...) was measured and is
what these are for; in towers that are trained also a plain convolutional stem before a vision transformer. Other
convolutional networks are left alone: with channels last, torch 2.14 crashes on CPUs in the backward pass of some.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import BatchNormAct2d
from timm.layers.padding import pad_same
from timm.models.efficientnet import EfficientNet
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

_CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.Conv2d, Conv2dSame)
_NORMS: tuple[type[nn.Module], ...] = (nn.BatchNorm2d, BatchNormAct2d)
_TOLERANCE = 1e-3
"""Of features, as a share of their largest: far above rounding, far below what a wrong pair of modules would do."""

Pair = tuple[nn.Conv2d, nn.BatchNorm2d]


def quicken(
    network: nn.Module, encode: Callable[[torch.Tensor], Any], pixels: torch.Tensor, *, stem: bool = False
) -> int:
    """Fold the batch norms of a network on the CPU, and lay its weights out with channels last.

    Parameters, their names and the state dict stay as they are; features and gradients stay equal up to rounding. A
    network without one of these, on another device, or whose features would change is left alone.

    Args:
        network: in evaluation mode.
        encode: pixels to features, by `network`.
        pixels: [n, 3, h, w], a photo of the right size.
        stem: whether a plain stem before a vision transformer is one of these networks too.

    Returns:
        How many norms were folded.
    """
    trunk = next((m for m in network.modules() if isinstance(m, EfficientNet) or (stem and _is_stem(m))), None)
    if pixels.device.type != "cpu" or trunk is None:
        return 0
    like = torch.linspace(-2, 2, pixels.numel()).view_as(pixels).sin()  # any photo that is not blank
    with torch.inference_mode():
        before = encode(like)
        pairs = _pairs(trunk, lambda: encode(like))
        if not pairs or not isinstance(before, torch.Tensor):
            return 0
        _fold(pairs)
        after = encode(like)
    if not bool((after - before).abs().max() <= _TOLERANCE * before.abs().max()):  # a convolution that others read too
        for pair in pairs:
            for module in pair:
                del module.forward
        return 0
    trunk.to(memory_format=torch.channels_last)
    if not isinstance(trunk, EfficientNet):
        trunk.register_forward_pre_hook(_channels_last)
    return len(pairs)


def _is_stem(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and {type(m) for m in module} == {nn.Conv2d, nn.BatchNorm2d, nn.GELU}


def _channels_last(_: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """A first convolution of three channels takes a fourth of the time that way."""
    return (given[0].contiguous(memory_format=torch.channels_last),)


def _pairs(network: nn.Module, run: Callable[[], Any]) -> list[Pair]:
    """Convolutions whose output goes into a batch norm, as seen in a run; names of modules do not matter."""
    made: dict[int, tuple[nn.Conv2d, torch.Tensor]] = {}
    pairs: list[Pair] = []
    calls: Counter[nn.Module] = Counter()

    def after(conv: Any, _: Any, out: torch.Tensor) -> None:
        calls[conv] += 1
        made[id(out)] = conv, out  # kept, so that no other tensor gets its id

    def before(norm: Any, given: tuple[torch.Tensor, ...]) -> None:
        calls[norm] += 1
        if id(given[0]) in made:
            pairs.append((made[id(given[0])][0], norm))

    hooks = [m.register_forward_hook(after) for m in network.modules() if type(m) in _CONVOLUTIONS]
    hooks += [m.register_forward_pre_hook(before) for m in network.modules() if _is_affine(m)]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return [(c, n) for c, n in pairs if calls[c] == calls[n] == 1 and c.padding_mode == "zeros"]


def _is_affine(module: nn.Module) -> bool:
    return type(module) in _NORMS and bool(module.affine and module.track_running_stats)


def _fold(pairs: list[Pair]) -> None:
    for conv, norm in pairs:
        conv.forward = partial(_convolve, conv, norm)  # type: ignore[method-assign]
        norm.forward = partial(_activate, norm)  # type: ignore[method-assign]


def _convolve(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    """The convolution and the affine map of the norm behind it."""
    if norm.training:
        return type(conv).forward(conv, x)
    assert norm.running_mean is not None  # noqa: S101 - as `_is_affine` has seen
    assert norm.running_var is not None  # noqa: S101
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    weight = conv.weight * scale.view(-1, 1, 1, 1)
    moved = -norm.running_mean if conv.bias is None else conv.bias - norm.running_mean
    bias = norm.bias + moved * scale
    if isinstance(conv, Conv2dSame):
        return _convolve_same(conv, x, weight, bias)
    return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def _convolve_same(conv: nn.Conv2d, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """TensorFlow's padding, without a padded copy of the photo's map.

    Where it pads one more behind than before, a kernel with a zero before its first weight reads the same with as much
    on both sides.
    """
    sides, zeros = [], []
    for size, kernel, stride, step in zip(x.shape[-2:], weight.shape[-2:], conv.stride, conv.dilation, strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + (kernel - 1) * step + 1 - size, 0)
        if total % 2 and step != 1:  # a zero before the first weight would lie further away
            padded = pad_same(x, conv.kernel_size, conv.stride, conv.dilation)
            return F.conv2d(padded, weight, bias, conv.stride, 0, conv.dilation, conv.groups)
        sides.append((total + 1) // 2)
        zeros.append(total % 2)
    if any(zeros):
        weight = F.pad(weight, (zeros[1], 0, zeros[0], 0))
    return F.conv2d(x, weight, bias, conv.stride, tuple(sides), conv.dilation, conv.groups)


def _activate(norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    """What follows a norm that is in the convolution already."""
    if norm.training:
        return type(norm).forward(norm, x)
    if not isinstance(norm, BatchNormAct2d):
        return x
    x = norm.drop(x)
    if type(norm.act) is nn.ReLU6:
        return _ReLU6.apply(x)  # type: ignore[no-any-return]
    activated: torch.Tensor = norm.act(x)
    return activated


class _ReLU6(torch.autograd.Function):
    """ReLU6 in place. torch's own (2.14) makes a copy on the way."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.mark_dirty(x)
        x.clamp_(0, 6)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(grads[0], y, 0.0, 6.0)  # type: ignore[no-any-return]
