"""The aggregations of place recognition against loops in numpy, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import timm
import torch

from ial_bench.encoders.pooling import gem
from ial_bench.encoders.vpr import anyloc, cosplace, dinov2, mixvpr, salad

Array = npt.NDArray[np.float64]
SMALL = dinov2.Size(width=24, depth=4, heads=2, grid=5)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def unit(x: Array) -> Array:
    length = np.sqrt((x**2).sum())
    return x / length if length > 0 else x


def as64(x: torch.Tensor) -> Array:
    return x.detach().numpy().astype(np.float64)


def scrambled(module: Any, seed: int = 5) -> Any:
    """Its parameters drawn anew, so that no bias is 0 and no gain is 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return module.eval()


@pytest.mark.parametrize("p", [1.0, 3.0, 4.7])
def test_gem(p: float) -> None:
    x = drawn(2, 5, 12)
    found = gem(x, p)
    for n in range(2):
        for c in range(5):
            mean = np.mean([max(float(v), 1e-6) ** p for v in x[n, c]])
            assert float(found[n, c]) == pytest.approx(mean ** (1 / p), rel=1e-5)


def test_gem_lies_between_mean_and_maximum() -> None:
    x = drawn(1, 4, 50).abs()
    torch.testing.assert_close(gem(x, 1.0), x.mean(dim=-1))
    torch.testing.assert_close(gem(x.double(), 500.0), x.double().amax(dim=-1), rtol=0.01, atol=0)


def test_cosplace_head() -> None:
    """L2 over channels, GeM with the weights' own p, the linear layer, L2."""
    model = scrambled(cosplace.CosPlace("resnet18", 7))
    x = drawn(2, 512, 3, 4).relu()
    with torch.no_grad():
        found = model.aggregation(x).numpy()
    p, weight, bias = (as64(model.aggregation.state_dict()[k]) for k in ("1.p", "3.weight", "3.bias"))
    assert p[0] != 3.0
    for n in range(2):
        local = np.stack([unit(as64(x[n, :, i, j])) for i in range(3) for j in range(4)])
        pooled = np.mean(np.maximum(local, 1e-6) ** p[0], axis=0) ** (1 / p[0])
        np.testing.assert_allclose(found[n], unit(weight @ pooled + bias), rtol=1e-4, atol=1e-6)


def test_mixer() -> None:
    width, positions, channels, rows, depth = 6, 9, 4, 2, 3
    model = scrambled(mixvpr.Aggregator(width, positions, channels, rows, depth))
    state = {k: as64(v) for k, v in model.state_dict().items()}
    x = drawn(2, width, 3, 3)
    with torch.no_grad():
        found = model(x).numpy()
    for n in range(2):
        maps = [as64(x[n, c]).ravel() for c in range(width)]
        for block in range(depth):
            part = {k: state[f"mix.{block}.mix.{k}"] for k in ("0.weight", "0.bias", "1.weight", "1.bias", "3.weight")}
            for c in range(width):
                m = maps[c]
                normed = (m - m.mean()) / np.sqrt(m.var() + 1e-5) * part["0.weight"] + part["0.bias"]
                hidden = np.maximum(part["1.weight"] @ normed + part["1.bias"], 0)
                maps[c] = m + part["3.weight"] @ hidden + state[f"mix.{block}.mix.3.bias"]
        z = np.array(maps)  # [width, positions]
        projected = np.empty((channels, positions))
        for position in range(positions):
            projected[:, position] = state["channel_proj.weight"] @ z[:, position] + state["channel_proj.bias"]
        out = [projected[c] @ state["row_proj.weight"][r] for c in range(channels) for r in range(rows)]
        np.testing.assert_allclose(found[n], unit(np.array(out)), rtol=1e-4, atol=1e-6)


def naive_sinkhorn(scores: Array, rows: Array, columns: Array, iterations: int) -> Array:
    """Scales the kernel itself, not its logarithm."""
    plan = np.exp(scores)
    for _ in range(iterations):
        for i in range(len(rows)):
            plan[i] *= rows[i] / plan[i].sum()
        for j in range(len(columns)):
            plan[:, j] *= columns[j] / plan[:, j].sum()
    return plan


@pytest.mark.parametrize("iterations", [1, 3, 200])
def test_sinkhorn(iterations: int) -> None:
    scores = 2 * drawn(2, 4, 7)
    rows, columns = np.array([1.0, 1.0, 1.0, 4.0]), np.ones(7)
    log_rows, log_columns = torch.tensor(np.log(rows)).float(), torch.tensor(np.log(columns)).float()
    found = salad.log_sinkhorn(scores, log_rows, log_columns, iterations).exp().numpy()
    for n in range(2):
        expected = naive_sinkhorn(as64(scores[n]), rows, columns, iterations)
        np.testing.assert_allclose(found[n], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)  # columns are scaled last
    if iterations == 200:
        np.testing.assert_allclose(found.sum(axis=2), np.tile(rows, (2, 1)), rtol=1e-4)


def test_sinkhorn_of_scores_whose_exponential_overflows() -> None:
    scores = 300 * drawn(1, 4, 7)
    plan = salad.log_sinkhorn(scores, torch.zeros(4), torch.full((7,), float(np.log(4 / 7))), 3).exp()
    assert plan.isfinite().all()
    assert not scores.exp().isfinite().all()
    torch.testing.assert_close(plan.sum(dim=1), torch.full((1, 7), 4 / 7))


def test_salad_head() -> None:
    width, clusters, cluster_dim, token_dim, tokens = 6, 3, 4, 5, 8
    model = scrambled(salad.Aggregator(width, clusters, cluster_dim, token_dim))
    state = {k: as64(v) for k, v in model.state_dict().items()}
    grid, token = drawn(2, width, 2, 4), drawn(2, width, seed=1)
    with torch.no_grad():
        found = model(grid, token).numpy()

    def perceptron(name: str, last: int, x: Array) -> Array:
        first = state[f"{name}.0.weight"].reshape(512, -1) @ x + state[f"{name}.0.bias"]
        out: Array = (
            state[f"{name}.{last}.weight"].reshape(-1, 512) @ np.maximum(first, 0) + state[f"{name}.{last}.bias"]
        )
        return out

    assert found.shape == (2, token_dim + cluster_dim * clusters)
    for n in range(2):
        local = [as64(grid[n, :, i, j]) for i in range(2) for j in range(4)]
        scores = np.stack([perceptron("score", 3, t) for t in local], axis=1)
        scores = np.vstack([scores, np.full(tokens, state["dust_bin"])])
        plan = naive_sinkhorn(scores, np.array([1.0] * clusters + [tokens - clusters]), np.ones(tokens), 3)
        sums = np.zeros((cluster_dim, clusters))
        for t in range(tokens):
            feature = perceptron("cluster_features", 3, local[t])
            for m in range(clusters):
                sums[:, m] += plan[m, t] * feature
        columns = np.stack([unit(sums[:, m]) for m in range(clusters)], axis=1)
        scene = unit(perceptron("token_features", 2, as64(token[n])))
        np.testing.assert_allclose(found[n], unit(np.concatenate([scene, columns.ravel()])), rtol=2e-4, atol=1e-5)


def test_vlad() -> None:
    x = torch.nn.functional.normalize(drawn(2, 10, 6), dim=-1)
    centres = drawn(4, 6, seed=3)
    centres[2] = -100 * x.mean(dim=(0, 1))  # nobody's nearest
    centres[1] = 0.01 * x[0, 0]  # of highest cosine though it is short
    found = anyloc.vlad(x, centres).numpy()
    for n in range(2):
        sums = np.zeros((4, 6))
        for feature in as64(x[n]):
            cosines = [feature @ unit(as64(c)) for c in centres]
            nearest = int(np.argmax(cosines))
            sums[nearest] += feature - as64(centres[nearest])
        expected = unit(np.concatenate([unit(s) for s in sums]))
        np.testing.assert_allclose(found[n], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)


# --- DINOv2 ---------------------------------------------------------------------------------------------------


def cubic(t: float) -> float:
    """Keys' kernel with a = -0.75, the one of torch's bicubic."""
    a, t = -0.75, abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0


def resized(grid: Array, rows: int, columns: int) -> Array:
    """`grid` [side, side, width] by DINOv2's rule: bicubic, at a scale of (size + 0.1) / side, no antialiasing."""
    side = len(grid)
    out = np.zeros((rows, columns, grid.shape[2]))
    for i in range(rows):
        for j in range(columns):
            y, x = (i + 0.5) * side / (rows + 0.1) - 0.5, (j + 0.5) * side / (columns + 0.1) - 0.5
            for r in range(int(np.floor(y)) - 1, int(np.floor(y)) + 3):
                for c in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
                    inside = grid[min(max(r, 0), side - 1), min(max(c, 0), side - 1)]
                    out[i, j] += cubic(y - r) * cubic(x - c) * inside
    return out


@pytest.mark.parametrize(("rows", "columns"), [(5, 5), (3, 3), (4, 6), (7, 2)])
def test_positions_are_resized_as_by_dinov2(rows: int, columns: int) -> None:
    embedding = drawn(1, 26, 3)
    found = dinov2.positions(embedding, rows, columns).numpy()[0]
    np.testing.assert_array_equal(found[0], embedding[0, 0])
    grid = as64(embedding[0, 1:]).reshape(5, 5, 3)
    expected = grid if (rows, columns) == (5, 5) else resized(grid, rows, columns)
    np.testing.assert_allclose(found[1:].reshape(rows, columns, 3), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gated", [False, True])
def test_dinov2_is_timms_at_its_own_size(gated: bool) -> None:
    vit = scrambled(dinov2.build_dinov2(dinov2.Size(24, 3, 2, gated, grid=5), mask_token=True))
    pixels = drawn(2, 3, 70, 70)
    with torch.no_grad():
        found = vit.norm(vit.blocks(dinov2.embed(vit, pixels)))
        torch.testing.assert_close(found, vit.forward_features(pixels))


def test_salad_reads_the_normed_tokens() -> None:
    model = scrambled(salad.Salad(SMALL, clusters=3, cluster_dim=4, token_dim=5))
    pixels = drawn(2, 3, 70, 70)
    with torch.no_grad():
        x = model.backbone.model.forward_features(pixels)  # timm's own forward
        grid = torch.stack([x[:, 1 + i] for i in range(25)], dim=2).reshape(2, 24, 5, 5)
        torch.testing.assert_close(model(pixels), model.aggregator(grid, x[:, 0]))
        assert model(drawn(1, 3, 42, 98)).shape == (1, 17)  # 3 x 7 positions


def test_anyloc_reads_the_values_of_its_layer() -> None:
    vit = scrambled(dinov2.build_dinov2(SMALL, mask_token=False))
    pixels, heard = drawn(2, 3, 70, 70), []
    hook = vit.blocks[2].attn.qkv.register_forward_hook(lambda _, __, out: heard.append(out))
    with torch.no_grad():
        vit.forward_features(pixels)  # timm's own forward, all blocks
    hook.remove()
    expected = torch.nn.functional.normalize(heard[0][:, 1:, 48:], dim=-1)
    centres = drawn(4, 24)
    model = anyloc.AnyLoc(vit, centres, layer=2)
    assert len(model.model.blocks) == 3  # what lies behind is dropped
    with torch.no_grad():
        torch.testing.assert_close(model.values(pixels), expected)
        torch.testing.assert_close(model(pixels), anyloc.vlad(expected, centres))


def test_anylocs_blocks_are_those_of_timms_giant() -> None:
    """Shapes alone: on torch's meta device nothing is allocated."""
    with torch.device("meta"):
        theirs = timm.create_model("vit_giant_patch14_dinov2", num_classes=0).state_dict()
        ours = dinov2.build_dinov2(dinov2.SIZES["vitg14"], mask_token=False).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
