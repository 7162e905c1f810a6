"""Image towers for training: the encoder's own features, other poolings of its local features."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ial_bench.encoders.image_tower import load_image_tower
from ial_bench.encoders.load import load_encoder
from ial_bench.encoders.pooling import gem
from ial_bench.encoders.spec import PoolingSpec
from ial_bench.errors import ConfigError, SkipMethod
from ial_bench.testing import CHECK_BACKBONE
from ial_bench.training.augmentation import Augmentation
from ial_bench.training.config import AugmentationConfig
from support.published_models import SMALL

TIMM = "timm:test_vit/random-init"
CNN = "timm:test_resnet/random-init"
STREET = "openclip:tiny-street/random-init"


def pixels(size: int, n: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(n, 3, size, size)).astype(np.float32))


@pytest.mark.parametrize(
    ("spec", "size"),
    [(CHECK_BACKBONE, 32), (STREET, 64), (TIMM, 160), (CNN, 160), ("timm:test_vit+gem/random-init", 160)],
)
def test_it_is_the_encoders_own(spec: str, size: int) -> None:
    tower, encoder = load_image_tower(spec, "encoder", "cpu"), load_encoder(spec, "cpu")
    x = pixels(size)
    with torch.no_grad():
        torch.testing.assert_close(tower(x), encoder.encode_images(x), rtol=1e-5, atol=1e-5)
    assert tower.dim == encoder.card.dim


@pytest.mark.parametrize(("spec", "size"), [(CHECK_BACKBONE, 32), (STREET, 64), (TIMM, 160), (CNN, 160)])
def test_poolings_of_local_features(spec: str, size: int) -> None:
    x = pixels(size)
    average, means = load_image_tower(spec, "avg", "cpu"), load_image_tower(spec, "gem", "cpu")
    with torch.no_grad():
        local = average.local(x)
        assert local.ndim == 3
        torch.testing.assert_close(average(x), local.mean(dim=-1))
        torch.testing.assert_close(means(x), gem(local, 3.0))
        vlad = load_image_tower(spec, "netvlad:3", "cpu")
        assert vlad(x).shape == (2, 3 * local.shape[1])
        assert vlad.dim == 3 * local.shape[1]


def test_local_features_are_the_normed_patch_tokens() -> None:
    """Of a vision transformer of open_clip's own: what its pooled feature could be made of, no class token."""
    tower = load_image_tower(CHECK_BACKBONE, "avg", "cpu")
    visual = tower.visual
    x = pixels(32)
    with torch.no_grad():
        tokens = visual.ln_post(visual.transformer(visual._embeds(x)))[:, 1:]  # type: ignore[operator]
        torch.testing.assert_close(tower.local(x), tokens.transpose(1, 2))


@pytest.mark.parametrize("pooling", ["encoder", "avg", "gem", "netvlad:2"])
def test_what_the_feature_does_not_depend_on_is_neither_trained_nor_counted(pooling: str) -> None:
    tower = load_image_tower(CHECK_BACKBONE, pooling, "cpu")
    assert not any(p.requires_grad for n, p in tower.named_parameters() if n.startswith("visual"))
    tower.unfreeze()
    trained = {n for n, p in tower.named_parameters() if p.requires_grad}
    assert ("visual.proj" in trained) == (pooling == "encoder")
    assert ("head.p" in trained) == (pooling == "gem")
    assert "visual.conv1.weight" in trained
    assert set(tower.tensors()) >= trained
    with torch.no_grad():  # what is left out changes no feature
        before = tower(pixels(32))
        for n, p in tower.named_parameters():
            if n not in trained:
                p.add_(1.0)
        torch.testing.assert_close(tower(pixels(32)), before)


def test_training_sees_the_crop_of_evaluation() -> None:
    """Without random changes a view is the encoder's own preprocessing, a crop of part of the photo included."""
    tower = load_image_tower("timm:test_vit/random-init", "encoder", "cpu")
    assert tower.preprocessing["crop"] < 1
    photo = np.asarray(
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 18, 3), np.uint8)).resize((360, 240))
    )
    own = Augmentation.of(tower.preprocessing, AugmentationConfig())(photo, np.random.default_rng(0))
    theirs = tower.preprocess(photo)
    assert own.shape == theirs.shape
    assert float((own - theirs).abs().mean()) < 0.03  # they resize first and round to whole pixels


@pytest.mark.parametrize(
    ("spec", "pooling", "error", "match"),
    [
        ("timm:test_vit+avg/random-init", "gem", ConfigError, "pooled by avg already"),
        ("vpr:cosplace-resnet50-512/weights.pth", "encoder", SkipMethod, "not trained further"),
    ],
)
def test_refusals(spec: str, pooling: str, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        load_image_tower(spec, pooling, "cpu")


@pytest.mark.parametrize("text", ["", "vlad:3", "netvlad", "netvlad:", "netvlad:0", "netvlad:x", "gem:3"])
def test_unknown_poolings(text: str) -> None:
    with pytest.raises(ValueError, match="is none of"):
        PoolingSpec.parse(text)


def test_coca_is_pooled_before_its_last_norm(tmp_path: Path) -> None:
    """Its norm stands behind the attention that pools, at another width than the patches have."""
    config = {
        **SMALL, "custom_text": True,
        "vision_cfg": {**SMALL["vision_cfg"], "attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True},
        "text_cfg": {**SMALL["text_cfg"], "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }  # fmt: skip
    (tmp_path / "coca.json").write_text(json.dumps(config))
    tower = load_image_tower(f"openclip:{tmp_path}/coca.json/random-init", "gem", "cpu")
    assert tower(pixels(32)).shape == (2, 32)
