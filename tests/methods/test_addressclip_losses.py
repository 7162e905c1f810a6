"""AddressCLIP's losses against open_clip, naive loops in float64, and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from open_clip.loss import ClipLoss
from torch.nn import functional as F  # noqa: N812 - its usual name

from ial_methods.addressclip.losses import Target, geography_loss, info_nce, multi_positive_nce, position_range

Floats = npt.NDArray[np.float64]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
LABELS = (3, 0, 3, 3, 7, 0)  # shares of a third, a half and one
UTM = np.array([585_000.0, 4_477_000.0])  # metres, of Pittsburgh


def features(n: int = 6, d: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(0, 2, (n, d))), torch.tensor(rng.normal(0, 3, (n, d)))


def unit(x: torch.Tensor) -> Floats:
    rows = x.detach().double().numpy()
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def nce_by_loops(images: torch.Tensor, texts: torch.Tensor, labels: Any, scale: float) -> float:
    """Each photo over the texts, then each text over the photos; the mean of -log p over the right answers."""
    v, t = unit(images), unit(texts)
    total = 0.0
    for a, b in ((v, t), (t, v)):
        for i in range(len(a)):
            logits = np.array([scale * float(a[i] @ b[j]) for j in range(len(b))])
            log_p = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
            right = [j for j in range(len(b)) if labels[j] == labels[i]]
            total += -sum(log_p[j] for j in right) / len(right)
    return total / (2 * len(v))


def geography_by_loops(
    images: torch.Tensor, positions: Floats, target: Target, extent: tuple[Floats, Floats] | None = None
) -> float:
    v, n = unit(images), len(images)
    low, high = (positions.min(axis=0), positions.max(axis=0)) if extent is None else extent
    total = 0.0
    for i in range(n):
        for j in range(n):
            on_map = sum(
                abs((positions[i, a] - low[a]) - (positions[j, a] - low[a])) / (high[a] - low[a])
                for a in range(2)
                if high[a] > low[a]
            )
            cosine = float(v[i] @ v[j])
            total += ((1 - cosine if target == "distance" else cosine) - on_map) ** 2
    return total / n**2


def check_gradients(loss: Loss, images: torch.Tensor, texts: torch.Tensor) -> None:
    """Of both arguments: torch's own check, and central differences of ours at every number."""
    inputs = tuple(x.clone().requires_grad_() for x in (images, texts))
    assert torch.autograd.gradcheck(loss, inputs)
    gradients = torch.autograd.grad(loss(*inputs), inputs)
    step = 1e-5
    for which, gradient in enumerate(gradients):
        for cell in np.ndindex(*gradient.shape):
            sides = []
            for way in (step, -step):
                moved = [images.clone(), texts.clone()]
                moved[which][cell] += way
                sides.append(loss(*moved).item())
            assert float(gradient[cell]) == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-4, abs=1e-8)


# --- contrastive losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
def test_info_nce_is_open_clips_and_that_of_loops(scale: float) -> None:
    images, texts = features()
    loss = float(info_nce(images, texts, scale))
    theirs = ClipLoss()(
        F.normalize(images, dim=-1), F.normalize(texts, dim=-1), torch.tensor(scale, dtype=torch.float64)
    )
    assert loss == pytest.approx(float(theirs), rel=1e-12)
    assert loss == pytest.approx(nce_by_loops(images, texts, range(6), scale), rel=1e-10)
    assert float(info_nce(images.float(), texts.float(), scale)) == pytest.approx(loss, rel=1e-4)


def test_info_nce_of_one_pair_is_zero() -> None:
    images, texts = (x[:1].requires_grad_() for x in features())
    loss = info_nce(images, texts, 100.0)
    assert loss.item() == 0
    assert all((g == 0).all() for g in torch.autograd.grad(loss, (images, texts)))


def test_info_nce_does_not_see_norms() -> None:
    images, texts = features()
    factors = torch.linspace(0.1, 50, 6, dtype=torch.float64)[:, None]
    torch.testing.assert_close(info_nce(images * factors, texts / factors, 20.0), info_nce(images, texts, 20.0))


@pytest.mark.parametrize("scale", [1.0, 14.3])
def test_gradients_of_contrastive_losses(scale: float) -> None:
    labels = torch.tensor(LABELS)
    check_gradients(lambda v, t: info_nce(v, t, scale), *features())
    check_gradients(lambda v, t: multi_positive_nce(v, t, labels, scale), *features())


@pytest.mark.parametrize("labels", [tuple(range(6)), LABELS])
def test_gradient_of_the_scale(labels: tuple[int, ...]) -> None:
    images, texts = features()
    scale = torch.tensor(7.0, dtype=torch.float64, requires_grad=True)
    loss = multi_positive_nce(images, texts, torch.tensor(labels), scale)
    (gradient,) = torch.autograd.grad(loss, scale)
    above, below = (nce_by_loops(images, texts, labels, at) for at in (7.0 + 1e-5, 7.0 - 1e-5))
    assert float(gradient) == pytest.approx((above - below) / 2e-5, rel=1e-6)


def test_multi_positive_is_info_nce_where_labels_differ() -> None:
    images, texts = features()
    labels = torch.tensor([5, 2, 9, 0, 7, 1])
    torch.testing.assert_close(multi_positive_nce(images, texts, labels, 20.0), info_nce(images, texts, 20.0))


@pytest.mark.parametrize("labels", [LABELS, (1,) * 6, (0, 0, 0, 0, 0, 1), (0, 1, 0, 1, 0, 1)])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_multi_positive_is_that_of_loops(labels: tuple[int, ...], scale: float) -> None:
    """Also where addresses have different numbers of photos: each row's shares are those of its own address."""
    images, texts = features(seed=3)
    loss = multi_positive_nce(images, texts, torch.tensor(labels), scale)
    assert loss.item() == pytest.approx(nce_by_loops(images, texts, labels, scale), rel=1e-10)


def test_multi_positive_directions_are_right_each() -> None:
    """The loss is a mean of two directions, and swapping photos and texts swaps them: it must not change the loss.

    An error in the shares of one direction would, for labels with different counts.
    """
    images, texts = features(seed=4)
    labels = torch.tensor(LABELS)
    torch.testing.assert_close(
        multi_positive_nce(images, texts, labels, 9.0), multi_positive_nce(texts, images, labels, 9.0)
    )
    same = (labels[:, None] == labels[None, :]).double()
    shares = same / same.sum(dim=1, keepdim=True)
    torch.testing.assert_close(shares, shares.T, rtol=0, atol=0)  # rows of one label have one sum
    torch.testing.assert_close(shares.sum(dim=0), torch.ones(6, dtype=torch.float64))


# --- geography ------------------------------------------------------------------------------------------------


def spots(n: int = 6, seed: int = 0, spread: float = 300.0) -> Floats:
    return UTM + np.random.default_rng(seed).uniform(0, spread, (n, 2))


@pytest.mark.parametrize("target", ["distance", "literal"])
@pytest.mark.parametrize("given", [False, True])
def test_geography_is_that_of_loops(target: Target, given: bool) -> None:
    images, positions = features()[0], spots()
    extent = (UTM - 50, UTM + np.array([400.0, 900.0])) if given else None
    tensors = None if extent is None else (torch.tensor(extent[0]), torch.tensor(extent[1]))
    loss = float(geography_loss(images, torch.tensor(positions), target, tensors))
    assert loss == pytest.approx(geography_by_loops(images, positions, target, extent), rel=1e-10)


def test_extent_of_the_batch_is_the_default() -> None:
    images, positions = features()[0], torch.tensor(spots())
    low, high = position_range(positions)
    assert low.tolist() == spots().min(axis=0).tolist()
    assert high.tolist() == spots().max(axis=0).tolist()
    assert geography_loss(images, positions, extent=(low, high)) == geography_loss(images, positions)


@pytest.mark.parametrize("target", ["distance", "literal"])
def test_geography_gradients(target: Target) -> None:
    positions = torch.tensor(spots())
    images, _ = features()
    unused = torch.zeros((1, 1), dtype=torch.float64)
    check_gradients(lambda v, zero: geography_loss(v, positions, target) + zero.sum(), images, unused)


@pytest.mark.parametrize("n", [1, 5])
def test_nothing_to_learn_where_all_positions_are_equal(n: int) -> None:
    images = features(n)[0].requires_grad_()
    loss = geography_loss(images, torch.tensor(UTM).expand(n, 2))
    assert loss.item() == 0
    (gradient,) = torch.autograd.grad(loss, images)
    assert (gradient == 0).all()


@pytest.mark.parametrize("target", ["distance", "literal"])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_constant_axis_counts_as_0(target: Target, axis: int) -> None:
    images, positions = features()[0].requires_grad_(), spots()
    positions[:, axis] = UTM[axis]
    loss = geography_loss(images, torch.tensor(positions), target)
    assert loss.item() == pytest.approx(geography_by_loops(images, positions, target), rel=1e-10)
    (gradient,) = torch.autograd.grad(loss, images)
    assert torch.isfinite(gradient).all()
    assert (gradient != 0).any()


def test_one_photo_with_an_extent() -> None:
    """A photo is at no distance from itself, in either space."""
    extent = torch.tensor(UTM), torch.tensor(UTM + 100)
    images = features(1)[0].requires_grad_()
    loss = geography_loss(images, torch.tensor(UTM[None] + 30), extent=extent)
    assert loss.item() == pytest.approx(0, abs=1e-20)
    assert torch.isfinite(torch.autograd.grad(loss, images)[0]).all()


def test_metres_are_not_lost_in_float32_features() -> None:
    """Photos within 2 m, features in float32: positions must be scaled in float64, for float32 knows half metres."""
    images, positions = features()[0].float(), spots(spread=2.0)
    expected = geography_by_loops(images, positions, "distance")
    assert float(geography_loss(images, torch.tensor(positions))) == pytest.approx(expected, rel=1e-5)
    rounded = positions.astype(np.float32).astype(np.float64)
    assert geography_by_loops(images, rounded, "distance") != pytest.approx(expected, rel=1e-2)


def test_shift_and_scale_of_the_map_do_not_matter() -> None:
    images, positions = features()[0], torch.tensor(spots())
    moved = (positions - torch.tensor(UTM)) * torch.tensor([0.01, 7.0]) + torch.tensor([-3.0, 1e5])
    torch.testing.assert_close(geography_loss(images, moved), geography_loss(images, positions), rtol=1e-8, atol=0)


def test_order_of_photos_does_not_matter() -> None:
    images, texts = features()
    positions, labels, order = torch.tensor(spots()), torch.tensor(LABELS), torch.tensor([4, 0, 5, 2, 1, 3])
    torch.testing.assert_close(geography_loss(images[order], positions[order]), geography_loss(images, positions))
    torch.testing.assert_close(info_nce(images[order], texts[order], 9.0), info_nce(images, texts, 9.0))
    torch.testing.assert_close(
        multi_positive_nce(images[order], texts[order], labels[order], 9.0),
        multi_positive_nce(images, texts, labels, 9.0),
    )


def test_features_that_match_the_map_cost_nothing() -> None:
    """On a line with features at angles whose cosine distance is the distance on the map."""
    share = np.linspace(0, 1, 2)  # two photos: at 0 and at right angles
    images = torch.tensor(np.stack([np.cos(share * np.pi / 2), np.sin(share * np.pi / 2)], axis=1))
    positions = torch.tensor(np.stack([UTM[0] + 50 * share, np.full(2, UTM[1])], axis=1))
    assert float(geography_loss(images, positions)) == pytest.approx(0, abs=1e-12)
    assert float(geography_loss(images, positions, "literal")) == pytest.approx(1.0)
