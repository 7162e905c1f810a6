"""MaPLe against zero-shot CLIP and against both towers written out plainly."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - its usual name

from ial_bench import SkipMethod
from ial_bench.datasets.dataset import Dataset
from ial_methods.prompt.maple import MaPLe
from support.prompt_lab import (
    PHRASE,
    STREET,
    assert_near,
    fitted,
    frozen_weights,
    made,
    plain_photo_features,
    plain_text_features,
    resnet,
    same_weights,
    untrained,
)


def three_blocks(folder: Path) -> str:
    """A CLIP with open_clip's own vision transformer, deep enough for deep prompts."""
    path = folder / "three-blocks.json"
    config = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 3, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 4},
    }
    path.write_text(json.dumps(config))
    return f"openclip:{path}/random-init"


def answers(method: Any, city: Dataset) -> Any:
    top = method.predict(city.split("query").batch(), 6)
    scores = np.empty_like(top.scores)
    np.put_along_axis(scores, top.indices, top.scores, axis=1)
    return scores


def shaken(method: Any) -> Any:
    """The method with all that is trained moved far from where it starts."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in method.head.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return method


@pytest.mark.parametrize("n_context", [2, None])
def test_text_prompts_alone_before_training_are_zero_shot(
    tmp_path: Path, tiny_city: Dataset, n_context: int | None
) -> None:
    method = untrained("maple", tmp_path, tiny_city, backbone=STREET, depth=1, vision=False, n_context=n_context)
    template = ("a street view of {address}.",)
    expected = untrained("clip-zero-shot", tmp_path, tiny_city, backbone=STREET, templates=template)
    np.testing.assert_allclose(answers(method, tiny_city), answers(expected, tiny_city), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tower", ["timm", "open_clip"])
def test_both_towers_as_in_the_paper(tmp_path: Path, tiny_city: Dataset, tower: str) -> None:
    backbone = STREET if tower == "timm" else three_blocks(tmp_path)
    method = shaken(untrained("maple", tmp_path, tiny_city, backbone=backbone, n_context=2))
    model, head = method.towers.model, method.head
    assert len(head.texts) == len(head.couplings) == (2 if tower == "timm" else 3)
    if tower == "open_clip":  # as built it does nothing
        torch.nn.init.normal_(model.visual.ln_pre.bias, std=0.5)
        torch.nn.init.normal_(model.visual.ln_pre.weight, mean=1, std=0.5)
    pixels = torch.stack([method.towers.preprocess(tiny_city.split("query").image(i)) for i in (0, 9)])
    tokens = method.towers.tokenize([f"{PHRASE} {t}." for t in tiny_city.candidates.texts])
    with torch.no_grad():
        visual = [p @ c.weight.T + c.bias for p, c in zip(head.texts, head.couplings, strict=True)]
        photos = torch.stack([plain_photo_features(model.visual, p, visual) for p in pixels])
        texts = []
        for row in tokens:
            words = model.token_embedding.weight[row]
            prompt = torch.cat([words[:1], head.texts[0], words[3:]])
            texts.append(plain_text_features(model, prompt, int(row.argmax()), list(head.texts)[1:]))
        torch.testing.assert_close(method.encode_pixels(pixels), photos, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(method.encode_prompts(), torch.stack(texts), rtol=1e-4, atol=1e-4)


def test_chunks_change_neither_loss_nor_gradients(
    tmp_path: Path, tiny_city: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = shaken(untrained("maple", tmp_path, tiny_city, backbone=three_blocks(tmp_path)))
    pixels = torch.stack([method.towers.preprocess(tiny_city.split("train").image(i)) for i in range(4)])
    whole = method.towers.encode_embeddings

    def step(chunk: int) -> list[torch.Tensor]:
        monkeypatch.setattr(method.towers, "encode_embeddings", partial(whole, chunk=chunk))
        method.head.zero_grad()
        images = F.normalize(method.encode_pixels(pixels))
        loss = F.cross_entropy(images @ F.normalize(method.encode_prompts()).T, torch.arange(4))
        loss.backward()  # type: ignore[no-untyped-call]
        return [loss.detach(), *(p.grad.clone() for p in method.head.parameters())]

    chunked, plain = step(2), step(1000)
    assert all(bool(g.abs().max() > 0) for g in plain)
    for a, b in zip(chunked, plain, strict=True):
        assert_near(a, b)
    assert all(p.grad is None for p in method.towers.parameters())


def test_prompts_and_couplings_alone_are_trained(tmp_path: Path, tiny_city: Dataset) -> None:
    backbone = three_blocks(tmp_path)
    method = made("maple", tmp_path, backbone=backbone, epochs=1, batch_size=16, n_context=2)
    before = frozen_weights(method)
    start = untrained("maple", tmp_path, tiny_city, backbone=backbone, n_context=2).head.state_dict()
    method.fit(tiny_city.split("train"), tiny_city.split("val"))
    assert same_weights(before, method.towers.state_dict())
    assert all(not torch.equal(start[n], p) for n, p in method.head.named_parameters())
    assert method.parameters().trained == 3 * (2 * 16) + 3 * (16 * 32 + 32)


def test_depth_ends_with_the_shallower_tower(tmp_path: Path, tiny_city: Dataset) -> None:
    method = untrained("maple", tmp_path, tiny_city, backbone=three_blocks(tmp_path), depth=9)
    assert method.context.report.lines == ["maple: the shallower tower has 3 blocks; depth is 3"]
    text_alone = untrained("maple", tmp_path, tiny_city, backbone=three_blocks(tmp_path), depth=4, vision=False)
    assert (len(text_alone.head.texts), text_alone.context.report.lines) == (4, [])


def test_more_candidates_per_step_than_there_are_is_all(tmp_path: Path, tiny_city: Dataset) -> None:
    a = fitted("maple", tmp_path, tiny_city, epochs=1, candidates_per_step=100)
    b = fitted("maple", tmp_path, tiny_city, epochs=1)
    c = fitted("maple", tmp_path, tiny_city, epochs=1, candidates_per_step=3, batch_size=2)
    assert same_weights(a.head.state_dict(), b.head.state_dict())
    assert not same_weights(a.head.state_dict(), c.head.state_dict())


def test_what_is_stored_answers_alike(tmp_path: Path, tiny_city: Dataset) -> None:
    method = fitted("maple", tmp_path, tiny_city, epochs=1)
    other = made("maple", tmp_path, seed=1)
    other.prepare()
    other.restore(method.state())
    np.testing.assert_array_equal(answers(other, tiny_city), answers(method, tiny_city))
    assert other.storage_bytes() == method.storage_bytes()
    other.index(tiny_city.candidates)  # the candidates' features anew, from the trained prompts
    np.testing.assert_array_equal(answers(other, tiny_city), answers(method, tiny_city))


def test_training_finds_what_zero_shot_does_not(tmp_path: Path, tiny_city: Dataset) -> None:
    labels = tiny_city.split("query").labels
    zero_shot = untrained("clip-zero-shot", tmp_path, tiny_city, backbone=STREET)
    before = (answers(zero_shot, tiny_city).argmax(axis=1) == labels).mean()
    method = fitted("maple", tmp_path, tiny_city, backbone=STREET, epochs=5, batch_size=8, learning_rate=0.01)
    after = (answers(method, tiny_city).argmax(axis=1) == labels).mean()
    assert after > before + 0.3, (before, after)


def test_a_resnet_is_refused_unless_texts_alone_are_prompted(tmp_path: Path, tiny_city: Dataset) -> None:
    spec = resnet(tmp_path)
    with pytest.raises(SkipMethod, match="visual prompts need a vision transformer; this image tower is a Modified"):
        made("maple", tmp_path, backbone=spec).prepare()
    method = fitted("maple", tmp_path, tiny_city, backbone=spec, vision=False, epochs=1)
    assert np.isfinite(answers(method, tiny_city)).all()


def test_published_settings_are_settings() -> None:
    config = MaPLe.Config(**MaPLe.presets["paper"])
    assert (config.depth, config.n_context, config.learning_rate, config.batch_size) == (9, 2, 0.0035, 4)
