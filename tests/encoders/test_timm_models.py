"""Backbones of timm: one feature a photo, of the length that comes out, or a reason that names the mend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from ial_bench.encoders.build import quiet_build
from ial_bench.encoders.load import load_encoder
from ial_bench.encoders.pooling import local_features
from ial_bench.encoders.timm_backbone import build_timm
from ial_bench.encoders.weights import parsed
from ial_bench.errors import ConfigError, SkipMethod

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
SMALL_ONES = [
    "convnext_atto", "efficientvit_m0", "ghostnet_050", "hardcorenas_a", "lcnet_035", "levit_128s",
    "mobilenetv3_small_050", "mobilevit_xxs", "pit_ti_224", "regnetx_002", "repvit_m0_9", "resnet10t",
    "swin_s3_tiny_224", "tiny_vit_5m_224", "vit_tiny_patch16_224", "xcit_nano_12_p16_224",
]  # fmt: skip


@pytest.mark.parametrize("name", SMALL_ONES)
def test_features_are_timms_own(name: str) -> None:
    encoder = load_encoder(f"timm:{name}/random-init", "cpu")
    with quiet_build():
        reference = timm.create_model(name, num_classes=0).eval()
    pixels = encoder.preprocess(PHOTO)[None]
    with torch.no_grad():
        expected = reference(pixels)
    torch.testing.assert_close(encoder.encode_images(pixels), expected)
    assert encoder.card.dim == expected.shape[1]


def test_the_length_is_what_comes_out_and_not_what_is_told() -> None:
    """A MobileNetV3 has a hidden layer behind its pooling; pooled by another, its map's channels are the feature."""
    own = load_encoder("timm:mobilenetv3_small_050/random-init", "cpu").card
    pooled = load_encoder("timm:mobilenetv3_small_050+avg/random-init", "cpu").card
    assert (own.dim, pooled.dim) == (1024, 288)


@pytest.mark.parametrize("name", ["levit_128s", "efficientvit_m0", "repvit_m0_9", "mobilenetv3_small_050", "resnet10t"])
def test_a_checkpoint_with_its_whole_head_is_taken(name: str, tmp_path: Path) -> None:
    """The classifier's norm and hidden layers go with it, by whatever name."""
    torch.manual_seed(3)
    whole = timm.create_model(name, num_classes=11)
    save_file({k: v.contiguous() for k, v in whole.state_dict().items()}, tmp_path / "w.safetensors")
    encoder = load_encoder(f"timm:{name}/{tmp_path}/w.safetensors", "cpu")
    state = whole.state_dict()
    bare = timm.create_model(name, num_classes=0)
    bare.load_state_dict({k: state[k] for k in bare.state_dict()})
    pixels = encoder.preprocess(PHOTO)[None]
    with torch.no_grad():
        torch.testing.assert_close(encoder.encode_images(pixels), bare.eval()(pixels))


@pytest.mark.parametrize(("name", "prefix"), [("volo_d1_224", 1), ("coat_lite_tiny", 1), ("vit_tiny_patch16_224", 1)])
def test_class_tokens_are_no_positions(name: str, prefix: int) -> None:
    """Those of VOLO and CoaT are not told by timm."""
    built = build_timm(f"timm:{name}/random-init", parsed(f"timm:{name}/random-init"))
    pixels = torch.zeros(1, *built.preprocessing["input_size"])
    with torch.no_grad():
        tokens = built.model.forward_features(pixels)
        found = local_features(built.model, name, pixels)
    torch.testing.assert_close(found, tokens[:, prefix:].transpose(1, 2))
    assert found.shape[2] == int(found.shape[2] ** 0.5) ** 2  # a square of positions


def test_pooling_is_refused_where_there_is_nothing_local() -> None:
    with pytest.raises(ConfigError, match="pit_ti_224 gives no local features to pool"):
        load_encoder("timm:pit_ti_224+gem/random-init", "cpu")
    with pytest.raises(ConfigError, match="neither a map nor tokens to pool"):
        load_encoder("timm:crossvit_tiny_240+gem/random-init", "cpu")


def test_a_backbone_without_one_feature_names_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as timm's qwen3_vit_88m_enc, whose 100 million parameters a small network without a pooling stands for."""
    created = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: created(*a, **k, global_pool=""))
    with pytest.raises(ConfigError) as caught:
        load_encoder("timm:test_vit/random-init", "cpu")
    assert "timm:test_vit gives a tensor [1, 101, 64] for a photo, not one feature" in caught.value.problem
    assert "timm:MODEL+avg" in str(caught.value.fix)


def test_what_timm_describes_by_another_model_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    created = timm.create_model

    def described(*args: object, **kwargs: object) -> object:
        model = created(*args, **kwargs)
        model.pretrained_cfg = {**model.pretrained_cfg, "architecture": "test_vit2"}
        return model

    monkeypatch.setattr(timm, "create_model", described)
    with pytest.raises(SkipMethod, match="timm describes test_vit by the weights of test_vit2"):
        load_encoder("timm:test_vit", "cpu")


def test_a_tag_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"timm .* cannot build test_vit.no_such_tag: .*no_such_tag"):
        load_encoder("timm:test_vit.no_such_tag", "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted({n.split("_")[0] for n in timm.list_models()}))
def test_every_backbone_gives_one_feature_or_says_so(family: str) -> None:
    """All models of timm, on torch's meta device: shapes without numbers."""
    for name in (n for n in timm.list_models() if n.split("_")[0] == family):
        with quiet_build(), torch.device("meta"), torch.inference_mode():
            model = timm.create_model(name, num_classes=0).eval()
            found = model(torch.zeros(2, *model.pretrained_cfg["input_size"]))
        own = int(getattr(model, "head_hidden_size", None) or model.num_features)
        assert found.shape == (2, own) or name.endswith("_enc"), f"{name}: {tuple(found.shape)}"
