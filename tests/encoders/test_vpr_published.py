"""Names of pooled backbones and place-recognition encoders, and what is said where one cannot be had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ial_bench.encoders.load import load_encoder
from ial_bench.encoders.spec import EncoderSpec
from ial_bench.encoders.vpr.load import FAMILIES, transform_of
from ial_bench.encoders.vpr.published import PUBLISHED
from ial_bench.errors import ConfigError, SkipMethod


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("timm:resnet50+gem", ("timm", "resnet50", None, "gem")),
        ("timm:vit_base_patch14_dinov2.lvd142m+cls", ("timm", "vit_base_patch14_dinov2.lvd142m", None, "cls")),
        ("timm:resnet50+max//data/a+b.pth", ("timm", "resnet50", "/data/a+b.pth", "max")),
        ("timm:resnet50+avg/random-init", ("timm", "resnet50", "random-init", "avg")),
        ("vpr:cosplace-resnet50-512", ("vpr", "cosplace-resnet50-512", None, None)),
        ("vpr:salad/dino_salad.ckpt", ("vpr", "salad", "dino_salad.ckpt", None)),
        ("vpr:salad/random-init", ("vpr", "salad", "random-init", None)),
    ],
)
def test_names(text: str, expected: tuple[object, ...]) -> None:
    spec = EncoderSpec.parse(text)
    assert (spec.library, spec.model, spec.weights, spec.pooling) == expected
    assert spec.network == text.partition(":")[2].partition("/")[0]
    assert (spec.weights_file is None) == (spec.weights in {None, "random-init"})


def test_two_files() -> None:
    spec = EncoderSpec.parse("vpr:anyloc-dinov2-vitg14//v/urban/c_centers.pt::dinov2.pth")
    assert spec.weights_files == (Path("/v/urban/c_centers.pt"), Path("dinov2.pth"))
    assert spec.weights_file == spec.weights_files[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("timm:resnet50+gme", "unknown pooling 'gme'; did you mean 'gem'?"),
        ("timm:resnet50+", "unknown pooling ''"),
        ("timm:+gem", "does not say which weights"),
        ("vpr:cosplace-resnet50-521", "did you mean 'cosplace-resnet50-512'"),
        ("vpr:eigenplaces-resnet152-512/w.pth", "did you mean 'eigenplaces-resnet"),
        ("vpr:mixvpr", "mixvpr-resnet50-DIM (128, 512, 4096)"),
        ("vpr:sald/w.ckpt", "did you mean 'salad'"),
        ("vpr:", "does not say which weights"),
        ("vpr:anyloc-dinov2-vitg14/c.pt::", "vpr:anyloc-dinov2-vitg14/C_CENTERS_FILE[::DINOV2_FILE]"),
        ("tim:resnet50", "did you mean timm:resnet50?"),
    ],
)
def test_names_that_name_nothing(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        EncoderSpec.parse(text)
    assert words in str(caught.value)


def test_every_family_has_its_released_models() -> None:
    for name in (
        "cosplace-vgg16-64", "cosplace-resnet18-32", "cosplace-resnet50-512", "cosplace-resnet152-2048",
        "eigenplaces-vgg16-512", "eigenplaces-resnet18-256", "eigenplaces-resnet50-2048", "eigenplaces-resnet101-128",
        "mixvpr-resnet50-128", "mixvpr-resnet50-512", "mixvpr-resnet50-4096", "salad", "anyloc-dinov2-vitg14",
    ):  # fmt: skip
        assert name in PUBLISHED
    assert "cosplace-resnet18-1024" not in PUBLISHED  # never released
    assert "eigenplaces-resnet50-64" not in PUBLISHED


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("cosplace-resnet50-512", "github.com/gmberton/CosPlace"),
        ("eigenplaces-resnet50-2048", "github.com/gmberton/EigenPlaces"),
        ("mixvpr-resnet50-4096", "github.com/amaralibey/MixVPR"),
        ("salad", "github.com/serizba/salad"),
        ("anyloc-dinov2-vitg14", "github.com/AnyLoc/AnyLoc"),
    ],
)
def test_without_a_file_the_place_to_get_it_is_told(name: str, page: str) -> None:
    with pytest.raises(SkipMethod) as caught:
        load_encoder(f"vpr:{name}", "cpu")
    assert page in caught.value.reason
    assert f"vpr:{name}/" in caught.value.reason
    with pytest.raises(ConfigError, match="neither a file nor random-init") as refused:
        load_encoder(f"vpr:{name}/released", "cpu")
    assert page in str(refused.value)
    with pytest.raises(ConfigError, match="no such weights file"):
        load_encoder(f"vpr:{name}/no/such/file.pth", "cpu")


def test_one_file_too_many(tmp_path: Path) -> None:
    for name in ("a.pth", "b.pth"):
        torch.save({}, tmp_path / name)
    with pytest.raises(ConfigError, match="names 2 files"):
        load_encoder(f"vpr:salad/{tmp_path}/a.pth::{tmp_path}/b.pth", "cpu")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("cosplace-resnet50-512", (512, 512)),
        ("eigenplaces-resnet50-2048", (512, 512)),
        ("mixvpr-resnet50-4096", (320, 320)),
        ("salad", (322, 322)),
        ("anyloc-dinov2-vitg14", (476, 630)),
    ],
)
def test_photos_of_any_shape_come_out_alike(name: str, shape: tuple[int, int]) -> None:
    from PIL import Image

    grey = np.full((60, 100, 3), (10, 120, 250), dtype=np.uint8)
    pixels = transform_of(PUBLISHED[name])(Image.fromarray(grey))
    assert tuple(pixels.shape) == (3, *shape)
    expected = (np.array([10, 120, 250]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]  # ImageNet's
    np.testing.assert_allclose(pixels[:, 7, 9], expected, rtol=1e-5)
    if name in {"salad", "anyloc-dinov2-vitg14"}:
        assert shape[0] % 14 == shape[1] % 14 == 0


def test_each_published_encoder_is_of_a_family_and_each_family_is_published() -> None:
    assert {published.family for published in PUBLISHED.values()} == set(FAMILIES)
