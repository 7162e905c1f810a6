"""CoOp and CoCoOp against zero-shot CLIP, plain loops and hand-made training steps."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - its usual name

from ial_bench.datasets.dataset import Dataset
from ial_bench.training.sampler import BatchSampler, step_candidates
from ial_methods.prompt.cocoop import CoCoOp
from ial_methods.prompt.coop import CoOp
from support.prompt_lab import (
    PHRASE,
    STREET,
    assert_near,
    fitted,
    frozen_weights,
    made,
    plain_text_features,
    query_features,
    resnet,
    same_weights,
    train_features,
    untrained,
)


def zero_shot(folder: Path, city: Dataset, template: str, backbone: str = STREET) -> Any:
    method = untrained("clip-zero-shot", folder, city, templates=(template,), backbone=backbone)
    return method.score_features(query_features(method, city))


@pytest.mark.parametrize(
    ("settings", "template"),
    [
        ({}, "a street view of {address}."),
        ({"n_context": 2}, "a street view of {address}."),
        ({"context": "class"}, "a street view of {address}."),
        ({"position": "middle"}, "a street {address} view of."),
        ({"position": "middle", "context": "class", "n_context": 3}, "a street {address} view of."),
    ],
)
def test_coop_before_training_is_zero_shot(
    tmp_path: Path, tiny_city: Dataset, settings: dict[str, Any], template: str
) -> None:
    method = untrained("coop", tmp_path, tiny_city, init=PHRASE, backbone=STREET, **settings)
    x = query_features(method, tiny_city)
    expected = zero_shot(tmp_path, tiny_city, template)
    np.testing.assert_allclose(method.score_features(x), expected, rtol=1e-5, atol=1e-5)
    in_training = method.logits(torch.from_numpy(np.array(x)), torch.tensor([1, 4])).detach().numpy()
    np.testing.assert_allclose(in_training, expected[:, [1, 4]], rtol=1e-5, atol=1e-5)


def test_cocoop_without_shifts_is_zero_shot(tmp_path: Path, tiny_city: Dataset) -> None:
    method = untrained("cocoop", tmp_path, tiny_city, backbone=STREET)
    torch.nn.init.zeros_(method.head.meta[2].weight)
    torch.nn.init.zeros_(method.head.meta[2].bias)
    expected = zero_shot(tmp_path, tiny_city, "a street view of {address}.")
    scores = method.score_features(query_features(method, tiny_city))
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


def test_cocoop_as_in_its_equations(tmp_path: Path, tiny_city: Dataset) -> None:
    """Photo by photo and candidate by candidate, with the text tower written out."""
    method = untrained("cocoop", tmp_path, tiny_city, backbone=STREET, init=None, n_context=3)
    x = torch.from_numpy(np.array(query_features(method, tiny_city)[:3]))
    model, meta = method.towers.model, method.head.meta
    tokens = method.towers.tokenize([f"{t}." for t in tiny_city.candidates.texts])
    expected = torch.empty(3, len(tokens))
    with torch.no_grad():
        for i, image in enumerate(x / x.norm(dim=1, keepdim=True)):
            hidden = (meta[0].weight @ image + meta[0].bias).clamp(min=0)
            context = method.head.context + (meta[2].weight @ hidden + meta[2].bias)
            for j, row in enumerate(tokens):
                words = model.token_embedding.weight[row]
                prompt = torch.cat([words[:1], context, words[1:-3]])
                text = plain_text_features(model, prompt, int(row.argmax()) + 3)
                expected[i, j] = model.logit_scale.exp() * image @ text / text.norm()
    np.testing.assert_allclose(method.score_features(x.numpy()), expected.numpy(), rtol=1e-4, atol=1e-4)
    in_training = method.logits(x, torch.tensor([0, 3])).detach()
    np.testing.assert_allclose(in_training.numpy(), expected[:, [0, 3]].numpy(), rtol=1e-4, atol=1e-4)


def test_a_class_has_a_context_of_its_own(tmp_path: Path, tiny_city: Dataset) -> None:
    method = untrained("coop", tmp_path, tiny_city, context="class", n_context=2)
    assert method.head.context.shape == (6, 2, 32)
    before = method.encode().detach()
    with torch.no_grad():
        method.head.context[4] += 1
    changed = (method.encode().detach() != before).any(dim=1)
    assert changed.tolist() == [False, False, False, False, True, False]
    some = torch.tensor([2, 4])
    torch.testing.assert_close(method.encode(some), method.encode()[some])


@pytest.mark.parametrize(
    ("name", "settings"),
    [("coop", {"n_context": 3}), ("coop", {"n_context": 3, "context": "class"}), ("cocoop", {})],
)
def test_chunks_change_neither_loss_nor_gradients(
    tmp_path: Path, tiny_city: Dataset, monkeypatch: pytest.MonkeyPatch, name: str, settings: dict[str, Any]
) -> None:
    method = untrained(name, tmp_path, tiny_city, **settings)
    data = train_features(method, tiny_city)
    x, y = torch.from_numpy(np.array(data.x[:5])), torch.from_numpy(data.labels[:5].astype(np.int64))
    whole = method.towers.encode_embeddings

    def step(chunk: int) -> list[torch.Tensor]:
        monkeypatch.setattr(method.towers, "encode_embeddings", partial(whole, chunk=chunk))
        method.head.zero_grad()
        loss = F.cross_entropy(method.logits(x, None), y)
        loss.backward()  # type: ignore[no-untyped-call]
        return [loss.detach(), *(p.grad.clone() for p in method.head.parameters())]

    for chunked, plain in zip(step(4), step(1000), strict=True):
        assert_near(chunked, plain)
    assert all(p.grad is None for p in method.towers.parameters())


@pytest.mark.parametrize("name", ["coop", "cocoop"])
def test_the_head_alone_is_trained(tmp_path: Path, tiny_city: Dataset, name: str) -> None:
    method = made(name, tmp_path, epochs=1, batch_size=16, backbone=STREET)
    before = frozen_weights(method)
    start = untrained(name, tmp_path, tiny_city, backbone=STREET).head.state_dict()
    method.fit(tiny_city.split("train"), tiny_city.split("val"))
    assert same_weights(before, method.towers.state_dict())
    assert not any(p.requires_grad for p in method.towers.parameters())
    assert all(not torch.equal(start[n], p) for n, p in method.head.named_parameters())
    d, hidden, width = 128, 8, 128
    m, meta = (16, 0) if name == "coop" else (4, (d * hidden + hidden) + (hidden * width + width))
    assert method.parameters().trained == m * width + meta


def test_sgd_steps_of_coop_by_hand(tmp_path: Path, tiny_city: Dataset) -> None:
    """Momentum, decay, warm-up and cosine as the formulas say, from gradients of a loss written anew."""
    rate, decay = 0.5, 0.1
    settings: dict[str, Any] = {
        "optimiser": "sgd", "learning_rate": rate, "weight_decay": decay, "epochs": 2, "batch_size": 20,
        "warm_up": 0.25, "clip_norm": None, "n_context": 2, "betas": (0.8, 0.9), "init": PHRASE,
    }  # fmt: skip
    method = untrained("coop", tmp_path, tiny_city, **settings)
    data = train_features(method, tiny_city)
    towers, model = method.towers, method.towers.model
    tokens = towers.tokenize([f"{PHRASE} {t}." for t in tiny_city.candidates.texts])
    words = model.token_embedding.weight[tokens]
    context = method.head.context.detach().clone().requires_grad_(requires_grad=True)
    order, velocity, step = BatchSampler(len(data.x), 20, 0), torch.zeros_like(context), 0
    for epoch in range(2):
        for rows in order.epoch(epoch):
            x = F.normalize(torch.from_numpy(np.array(data.x[rows])))
            texts = [
                plain_text_features(model, torch.cat([w[:1], context, w[3:]]), int(t.argmax()))
                for w, t in zip(words, tokens, strict=True)
            ]
            logits = model.logit_scale.exp() * x @ F.normalize(torch.stack(texts)).T
            chosen = torch.from_numpy(data.labels[rows].astype(np.int64))
            loss = -logits.log_softmax(dim=1)[torch.arange(len(rows)), chosen].mean()
            (gradient,) = torch.autograd.grad(loss, context)
            share = (1.0, 1.0, 0.75, 0.25)[step]  # one step of warm-up, then (1 + cos(pi k / 3)) / 2
            with torch.no_grad():
                velocity = 0.8 * velocity + gradient + decay * context
                context -= rate * share * velocity
            step += 1
    trained = made("coop", tmp_path, **settings)
    empty = tiny_city.split("val").part(slice(0, 0))  # without val the last weights are kept
    trained.fit(tiny_city.split("train"), empty)
    assert trained.facts["training"]["steps"] == step == 4
    torch.testing.assert_close(trained.head.context.detach(), context.detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["coop", "cocoop"])
def test_more_candidates_per_step_than_there_are_is_all(tmp_path: Path, tiny_city: Dataset, name: str) -> None:
    a = fitted(name, tmp_path, tiny_city, epochs=1, candidates_per_step=100)
    b = fitted(name, tmp_path, tiny_city, epochs=1)
    c = fitted(name, tmp_path, tiny_city, epochs=1, candidates_per_step=3, batch_size=2)
    assert same_weights(a.head.state_dict(), b.head.state_dict())
    assert not same_weights(a.head.state_dict(), c.head.state_dict())


def test_candidates_of_a_step() -> None:
    labels = np.array([7, 3, 7, 9])
    assert step_candidates(labels, 20, None, 0, 0) is None
    assert step_candidates(labels, 20, 20, 0, 0) is None
    drawn = [step_candidates(labels, 20, 8, 0, step) for step in range(200)]
    for some in drawn:
        assert some is not None
        assert (len(some), len(set(some.tolist()))) == (8, 8)
        assert (np.diff(some) > 0).all()
        assert {3, 7, 9} <= set(some.tolist()) <= set(range(20))
    counts = np.bincount(np.concatenate([s for s in drawn if s is not None]), minlength=20)
    others = np.delete(counts, [3, 7, 9])  # each of the 17 is drawn in 5 of 17 steps on average
    assert abs(others.mean() - 200 * 5 / 17) < 1e-9
    assert others.min() > 25
    few = step_candidates(labels, 20, 2, 0, 0)
    assert few is not None
    assert few.tolist() == [3, 7, 9]  # the batch's own are never left out


@pytest.mark.parametrize(("name", "gain"), [("coop", 0.3), ("cocoop", 0.15)])
def test_training_finds_what_zero_shot_does_not(tmp_path: Path, tiny_city: Dataset, name: str, gain: float) -> None:
    labels = tiny_city.split("query").labels
    before = (zero_shot(tmp_path, tiny_city, "a street view of {address}.").argmax(axis=1) == labels).mean()
    method = fitted(name, tmp_path, tiny_city, backbone=STREET, epochs=6, batch_size=8, learning_rate=0.02, init=PHRASE)
    after = (method.score_features(query_features(method, tiny_city)).argmax(axis=1) == labels).mean()
    assert after > before + gain, (before, after)
    losses = [epoch["losses"]["loss"] for epoch in method.facts["training"]["epochs"]]
    assert losses[-1] < losses[0] - 0.3


@pytest.mark.parametrize("name", ["coop", "cocoop"])
def test_a_resnet_will_do(tmp_path: Path, tiny_city: Dataset, name: str) -> None:
    spec = resnet(tmp_path)
    method = fitted(name, tmp_path, tiny_city, backbone=spec, epochs=1)
    scores = method.score_features(query_features(method, tiny_city))
    assert scores.shape == (24, 6)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", ["coop", "cocoop"])
def test_what_is_stored_answers_alike(tmp_path: Path, tiny_city: Dataset, name: str) -> None:
    method = fitted(name, tmp_path, tiny_city, epochs=1)
    other = made(name, tmp_path, seed=1)
    other.restore(method.state())
    x = query_features(method, tiny_city)
    np.testing.assert_array_equal(other.score_features(x), method.score_features(x))
    assert other.storage_bytes() == method.storage_bytes()
    assert other.parameters() == method.parameters()
    assert method.score_features(x[:0]).shape == (0, 6)


def test_storage_is_what_a_query_needs(tmp_path: Path, tiny_city: Dataset) -> None:
    coop, cocoop = (untrained(n, tmp_path, tiny_city, n_context=2, init=PHRASE) for n in ("coop", "cocoop"))
    photo = sum(p.numel() * 4 for p in coop.towers.model.visual.parameters())
    whole = sum(p.numel() * 4 for p in coop.towers.parameters())
    assert coop.storage_bytes() == photo + 6 * 32 * 4
    assert cocoop.storage_bytes() > whole


@pytest.mark.parametrize("method", [CoOp, CoCoOp])
def test_published_settings_are_settings(method: Any) -> None:
    config = method.Config(**method.presets["paper"])
    assert (config.optimiser, config.learning_rate, config.betas[0]) == ("sgd", 0.002, 0.9)
