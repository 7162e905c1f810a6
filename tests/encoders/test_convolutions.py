"""Folded norms and channels last: features, gradients and steps as of timm's own modules; others left alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

import ial_bench.encoders.own_models  # noqa: F401 - registers it
from ial_bench.encoders.convolutions import _convolve_same, _ReLU6, quicken

SMOOTH = ["test_efficientnet", "tf_efficientnet_b0", "tinynet_e", "efficientnet_b0"]
"""With activations that have a gradient everywhere."""


def network(name: str) -> Any:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training: no norm is the identity
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.bias, 0, 0.3)
    return model


def gradients(model: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    features = model(pixels)
    model.zero_grad()
    (features * torch.linspace(-1, 1, features.numel()).view_as(features)).sum().backward()
    return features.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("side", [64, 97])
@pytest.mark.parametrize("name", SMOOTH)
def test_features_and_gradients_are_timms(name: str, side: int) -> None:
    plain = network(name)
    quick = copy.deepcopy(plain)
    pixels = torch.randn(2, 3, side, side)
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in plain.modules())
    assert quicken(quick, quick, pixels[:1]) == norms
    assert {n: t.shape for n, t in quick.state_dict().items()} == {n: t.shape for n, t in plain.state_dict().items()}
    expected, own = gradients(plain, pixels)
    found, theirs = gradients(quick, pixels)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert theirs.keys() == own.keys()
    for key, gradient in own.items():
        assert float((theirs[key] - gradient).norm() / gradient.norm()) < 1e-3, key


def test_clipped_activations_too() -> None:
    """Where an activation lies at 0 or 6 up to rounding its gradient may be there or not: equal but for a few."""
    plain = network("tf_efficientnet_lite0")
    quick = copy.deepcopy(plain)
    pixels = torch.randn(2, 3, 64, 64)
    assert quicken(quick, quick, pixels[:1]) == 49
    expected, own = gradients(plain, pixels)
    found, theirs = gradients(quick, pixels)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert max(float((theirs[k] - g).norm() / g.norm()) for k, g in own.items()) < 0.1


def test_a_step_of_training_changes_the_same_statistics_not_at_all() -> None:
    model = network("test_efficientnet")
    quicken(model, model, torch.zeros(1, 3, 64, 64))
    before = {n: b.clone() for n, b in model.named_buffers()}
    gradients(model, torch.randn(2, 3, 64, 64))
    assert all(torch.equal(b, before[n]) for n, b in model.named_buffers())


def test_in_training_mode_norms_take_their_batch_as_ever() -> None:
    plain = network("test_efficientnet")
    quick = copy.deepcopy(plain)
    pixels = torch.randn(3, 3, 64, 64)
    assert quicken(quick, quick, pixels[:1])
    torch.testing.assert_close(quick.train()(pixels), plain.train()(pixels), rtol=1e-4, atol=1e-5)
    for (name, own), other in zip(plain.named_buffers(), quick.buffers(), strict=True):
        torch.testing.assert_close(other, own, msg=name)


@pytest.mark.parametrize("size", [7, 8, 13, 16])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (2, 1), (3, 1), (5, 1), (3, 2), (4, 2)])
def test_padding_as_tensorflow_without_a_copy(size: int, stride: int, kernel: int, dilation: int) -> None:
    torch.manual_seed(0)
    conv = Conv2dSame(2, 4, kernel, stride=stride, dilation=dilation, groups=2)
    x = torch.randn(2, 2, size, size + 1)
    found = _convolve_same(conv, x, conv.weight, conv.bias)
    torch.testing.assert_close(found, conv(x))


def test_relu6_in_place_is_torchs() -> None:
    values = torch.linspace(-3, 9, 101)
    mine, theirs = (values.clone().requires_grad_() for _ in range(2))
    a, b = _ReLU6.apply(mine * 1), nn.functional.relu6(theirs)
    weights = torch.linspace(1, 2, 101)
    (a * weights).sum().backward()
    (b * weights).sum().backward()  # type: ignore[no-untyped-call]
    assert torch.equal(a, b)
    assert mine.grad is not None
    assert theirs.grad is not None
    assert torch.equal(mine.grad, theirs.grad)


@pytest.mark.parametrize("name", ["resnet18", "test_vit"])
def test_other_networks_are_left_alone(name: str) -> None:
    model = timm.create_model(name, num_classes=0).eval()
    side = model.pretrained_cfg["input_size"][1]
    assert quicken(model, model, torch.zeros(1, 3, side, side)) == 0
    assert not any("forward" in vars(m) for m in model.modules())


def test_a_convolution_that_is_read_twice_is_left_as_it_is() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = network("test_efficientnet")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen: list[torch.Tensor] = []
            hook = self.trunk.conv_stem.register_forward_hook(lambda *given: seen.append(given[2].clone()))
            y: torch.Tensor = self.trunk(x)
            hook.remove()
            return y + seen[0].mean()

    model = Twice()
    pixels = torch.randn(1, 3, 64, 64)
    before = model(pixels)
    assert quicken(model, model, pixels) == 0
    torch.testing.assert_close(model(pixels), before)


def stem_before_blocks() -> Any:
    torch.manual_seed(0)
    model = timm.create_model("ial_tiny_street_vit").eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean.normal_(0, 0.3)
    return model


def test_a_plain_stem_where_it_is_asked_for() -> None:
    plain = stem_before_blocks()
    quick = copy.deepcopy(plain)
    pixels = torch.randn(2, 3, 64, 64)
    assert quicken(quick, quick, pixels[:1]) == 0
    assert quicken(quick, quick, pixels[:1], stem=True) == 4
    expected, own = gradients(plain, pixels)
    found, theirs = gradients(quick, pixels)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert theirs.keys() == own.keys()
    for key, gradient in own.items():
        assert float((theirs[key] - gradient).norm() / gradient.norm().clamp(min=1e-6)) < 1e-3, key
