"""Pooling of timm backbones, and encoders of place recognition in the feature cache and the command line."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from ial_bench.datasets.dataset import Dataset
from ial_bench.encoders.encoder import file_fact, remember_card, remembered_card
from ial_bench.encoders.load import load_encoder
from ial_bench.encoders.pooling import PooledBackbone
from ial_bench.encoders.spec import EncoderSpec
from ial_bench.encoders.vpr.published import PUBLISHED
from ial_bench.engine.features import FeatureStore
from ial_bench.errors import ConfigError
from ial_bench.method import RunContext
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.report.groups import backbone_text
from ial_bench.settings import config_from_text

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
PLACE_NAME = "cosplace-resnet18-32"
PLACE = f"vpr:{PLACE_NAME}/random-init"


def loop(local: np.ndarray, pooling: str) -> np.ndarray:
    """One position after the other, [m, c] to [c], in float64."""
    if pooling == "max":
        return np.array([max(column) for column in local.T])
    power = 3 if pooling == "gem" else 1
    values = np.maximum(local, 1e-6) if pooling == "gem" else local
    total = np.zeros(local.shape[1])
    for row in values:
        total += row**power
    return (total / len(local)) ** (1 / power) if pooling == "gem" else total / len(local)


@pytest.mark.parametrize("pooling", ["avg", "gem", "max"])
@pytest.mark.parametrize("model", ["test_vit", "test_resnet"])
def test_pooling_of_maps_and_tokens(model: str, pooling: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    whole = timm.create_model(model, num_classes=10).eval()
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    encoder = load_encoder(f"timm:{model}+{pooling}/{tmp_path}/w.pth", "cpu")
    pixels = encoder.preprocess(PHOTO)[None]
    with torch.no_grad():
        x = whole.forward_features(pixels)[0].double().numpy()
    local = x[1:] if model == "test_vit" else x.reshape(len(x), -1).T  # without the class token
    found = encoder.encode_images(pixels)[0].numpy()
    assert found.shape == (encoder.card.dim,)
    np.testing.assert_allclose(found, loop(local, pooling), rtol=1e-4, atol=1e-5)


def test_the_class_token() -> None:
    encoder = load_encoder("timm:test_vit+cls/random-init", "cpu")
    plain = load_encoder("timm:test_vit/random-init", "cpu")  # a model that is read at its class token
    pixels = encoder.preprocess(PHOTO)[None]
    torch.testing.assert_close(encoder.encode_images(pixels), plain.encode_images(pixels))
    with pytest.raises(ConfigError, match="test_resnet has no class token") as caught:
        load_encoder("timm:test_resnet+cls/random-init", "cpu")
    assert "timm:test_resnet+gem" in str(caught.value)


def test_channels_last() -> None:
    torch.manual_seed(0)
    swin = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, img_size=64, embed_dim=24,
                             depths=(1, 1), num_heads=(1, 2)).eval()  # fmt: skip
    pixels = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        found = PooledBackbone(swin, "avg", "swin")(pixels)
        torch.testing.assert_close(found, swin(pixels))  # whose own pooling is the mean


def test_a_backbone_that_gives_nothing_to_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    vit = timm.create_model("test_vit", num_classes=0)
    monkeypatch.setattr(vit, "forward_features", lambda x: (x, x))
    with pytest.raises(ConfigError, match="test_vit gives neither a map nor tokens"):
        PooledBackbone(vit, "gem", "test_vit")(torch.zeros(1, 3, 8, 8))


def test_the_length_of_a_feature_is_the_cards() -> None:
    """A model with a layer behind its pooling has other lengths before and behind it."""
    for pooling in ("", "+avg"):
        encoder = load_encoder(f"timm:mobilenetv3_small_050{pooling}/random-init", "cpu")
        found = encoder.encode_images(torch.zeros(1, 3, 64, 64))
        assert found.shape == (1, encoder.card.dim)


def test_pooling_is_part_of_the_identity(tiny_city: Dataset, tmp_path: Path) -> None:
    photos = tiny_city.split("val")
    store = FeatureStore(tmp_path, "cpu", 4, 0, NoReport(), 8)
    specs = [f"timm:test_vit{p}/random-init" for p in ("", "+avg", "+gem", "+max", "+cls")]
    cards = [store.card(spec) for spec in specs]
    assert len({c.weights_digest for c in cards}) == 1  # the same weights
    assert len({c.digest for c in cards}) == 5
    features = [store.photos(spec, photos) for spec in specs]
    assert len(list(tmp_path.glob("features/*/*/features.f32"))) == 5
    assert not np.allclose(features[1], features[2])
    again = FeatureStore(tmp_path, "cpu", 4, 0, NoReport(), 8)
    for spec, card, rows in zip(specs, cards, features, strict=True):
        assert again.card(spec) == card  # as it was remembered
        np.testing.assert_array_equal(again.photos(spec, photos), rows)
    assert not again._encoders  # no encoder was loaded


def test_a_card_of_several_files_is_remembered_until_one_changes(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"a")
    (tmp_path / "b.pth").write_bytes(b"b")
    text = f"vpr:anyloc-dinov2-vitg14/{tmp_path}/a.pt::{tmp_path}/b.pth"
    spec = EncoderSpec.parse(text)
    card = replace(load_encoder(PLACE, "cpu").card, spec=text, files=[file_fact(f) for f in spec.weights_files])
    remember_card(card, tmp_path)
    assert remembered_card(text, tmp_path) == card
    (tmp_path / "b.pth").write_bytes(b"bb")
    assert remembered_card(text, tmp_path) is None


@pytest.fixture
def small_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos of 64 pixels, so that the network takes no time."""
    monkeypatch.setitem(PUBLISHED, PLACE_NAME, replace(PUBLISHED[PLACE_NAME], size=(64, 64), crop=(64, 64)))


@pytest.mark.usefixtures("small_photos")
@pytest.mark.parametrize("backbone", ["timm:test_resnet+gem/random-init", PLACE])
def test_methods_run_on_them(backbone: str, tiny_city: Dataset, tmp_path: Path) -> None:
    query = tiny_city.split("query")
    store = FeatureStore(tmp_path, "cpu", 8, 0, NoReport())
    for name in ("retrieval", "linear-probe"):
        cls = Registry().get(name)
        method = cls(config_from_text(cls, {"backbone": backbone}), RunContext(0, "cpu", store, NoReport(), 8))
        method.prepare()
        method.fit(tiny_city.split("train"), tiny_city.split("val"))
        method.index(tiny_city.candidates)
        top = method.predict(query.batch(), 5)
        assert (top.indices[:, 0] == query.labels).mean() > 2 / 6  # each address has colours of its own; chance is 1/6
    assert len(list(tmp_path.glob("features/*"))) == 1  # both used the same features


@pytest.mark.usefixtures("small_photos")
def test_a_place_encoder_in_the_cache(tiny_city: Dataset, tmp_path: Path) -> None:
    photos = tiny_city.split("val")
    rows = FeatureStore(tmp_path, "cpu", 4, 0, NoReport(), 8).photos(PLACE, photos)
    assert rows.shape == (len(photos), 32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    encoder = load_encoder(PLACE, "cpu")
    alone = encoder.encode_images(encoder.preprocess(photos.image(2))[None])[0]
    np.testing.assert_allclose(rows[2], alone, rtol=1e-3, atol=1e-5)
    assert encoder.card.head == {"architecture": "cosplace"}
    sent = pickle.loads(pickle.dumps(encoder.preprocess))  # to worker processes  # noqa: S301
    assert torch.equal(sent(photos.image(2)), encoder.preprocess(photos.image(2)))


def test_names_in_the_leaderboard() -> None:
    assert backbone_text("timm:resnet50+gem") == "resnet50+gem"
    assert backbone_text("vpr:salad//data/dino_salad.ckpt") == "salad (dino_salad.ckpt)"
    assert backbone_text(PLACE) == "cosplace-resnet18-32 (random-init: untrained)"
    assert backbone_text("vpr:anyloc-dinov2-vitg14/c_centers.pt::d.pth") == "anyloc-dinov2-vitg14 (c_centers.pt)"
