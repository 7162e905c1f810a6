"""NetVLAD against loops in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from ial_bench.encoders.pooling import NetVLAD, start_centres
from ial_bench.errors import ConfigError

Array = npt.NDArray[np.float64]


def drawn(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def unit(x: Array) -> Array:
    return np.asarray(x / np.linalg.norm(x))


def loop(x: Array, weight: Array, bias: Array, centres: Array) -> Array:
    """One photo's local features [width, m] to V, as eq. 4 is written."""
    rows = np.zeros_like(centres)
    for i in range(x.shape[1]):
        own = unit(x[:, i])
        powers = [np.exp(weight[k] @ own + bias[k]) for k in range(len(centres))]
        for k in range(len(centres)):
            for j in range(len(own)):
                rows[k, j] += powers[k] / sum(powers) * (own[j] - centres[k, j])
    return unit(np.concatenate([unit(row) for row in rows]))


def test_it_is_the_double_loop() -> None:
    pool = NetVLAD(4, 6)
    with torch.no_grad():
        for i, p in enumerate(pool.parameters()):
            p.copy_(torch.from_numpy(drawn(*p.shape, seed=i)))
    x = drawn(3, 6, 2, 5, seed=9)
    found = pool(torch.from_numpy(x)).detach().numpy()
    parts = [p.detach().numpy().astype(np.float64) for p in (pool.weight, pool.bias, pool.centres)]
    for n in range(3):
        np.testing.assert_allclose(found[n], loop(x[n].reshape(6, -1).astype(np.float64), *parts), rtol=1e-4, atol=1e-5)


def test_it_starts_as_a_softmax_of_distances() -> None:
    """exp(-alpha |x - c_k|^2) / sum: eq. 2, the nearest a hundred times the second on (geometric) average."""
    local = drawn(300, 5)
    local /= np.linalg.norm(local, axis=1, keepdims=True)
    centres, alpha = start_centres(local, 3, seed=1)
    pool = NetVLAD(3, 5)
    pool.start(centres, alpha)
    x = torch.from_numpy(local)
    found = (x @ pool.weight.T + pool.bias).softmax(dim=1)
    squared = torch.cdist(x.double(), centres.double()).square()
    torch.testing.assert_close(found.double(), (-alpha * squared).softmax(dim=1), rtol=1e-3, atol=1e-5)
    best = squared.sort(dim=1).values
    assert float((alpha * (best[:, 1] - best[:, 0])).mean()) == pytest.approx(np.log(100), rel=1e-3)


def test_centres_are_those_of_k_means() -> None:
    """Three tight bunches have their means as centres, and the seed decides the rest."""
    means = np.eye(4, dtype=np.float32)[:3]
    local = np.repeat(means, 50, axis=0) + 0.01 * drawn(150, 4)
    centres, _ = start_centres(local, 3, seed=0)
    nearest = torch.cdist(torch.from_numpy(means), centres).min(dim=1)
    assert sorted(nearest.indices.tolist()) == [0, 1, 2]
    assert float(nearest.values.max()) < 0.01
    again, _ = start_centres(local, 3, seed=0)
    assert torch.equal(centres, again)


def test_one_cluster() -> None:
    centres, alpha = start_centres(drawn(20, 4), 1, seed=0)
    assert centres.shape == (1, 4)
    assert alpha == 1.0


def test_more_clusters_than_features() -> None:
    with pytest.raises(ConfigError, match="as many local features; the sample has 3"):
        start_centres(drawn(3, 4), 4, seed=0)
