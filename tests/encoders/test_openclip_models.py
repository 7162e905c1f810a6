"""Every model of open_clip: built, both towers run, and the features those of open_clip itself."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch

from ial_bench.encoders import openclip, weights
from ial_bench.encoders.build import libraries_of, quiet_build, structure_of
from ial_bench.encoders.load import load_encoder
from ial_bench.encoders.openclip import new_model, require_tokenizer
from ial_bench.encoders.openclip_source import Network, network_of
from ial_bench.encoders.spec import EncoderSpec
from ial_bench.errors import SkipMethod
from support.published_models import HUB, SMALL, WORDS, made, publish, weights_of, write_tokenizer

MODELS = open_clip.list_models()
PHOTO = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
TEXT_TOWERS = {"roberta": "roberta", "xlm": "xlm-roberta", "mt5": "mt5", "nllb": "m2m_100"}
"""Of transformers: what a model's name tells of it, and the kind of its configuration."""


def network(name: str) -> Network:
    return network_of(EncoderSpec("openclip", name, None))


def shallow(given: Network) -> Network:
    """The network with one block in each tower of open_clip's own."""
    config: dict[str, Any] = json.loads(json.dumps(given.config))
    for tower in (config["vision_cfg"], config["text_cfg"], config.get("multimodal_cfg", {})):
        if isinstance(tower.get("layers"), int):
            tower["layers"] = 1
    return Network(given.name, config, given.preprocessing)


@pytest.fixture
def shallow_trunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm's networks with one block, or one a stage, where they can be asked for so few."""
    create = timm.create_model

    def created(name: str, **settings: Any) -> Any:
        for few in ({"depth": 1}, {"depths": (1, 1, 1, 1)}):
            with contextlib.suppress(TypeError):
                return create(name, **settings, **few)
        return create(name, **settings)

    monkeypatch.setattr(timm, "create_model", created)


@pytest.mark.usefixtures("shallow_trunks")
@pytest.mark.parametrize("name", [n for n in MODELS if "hf_model_name" not in network(n).config["text_cfg"]])
def test_every_model_is_built_and_encodes(name: str) -> None:
    """At reduced depth, on torch's meta device: shapes without numbers."""
    given = shallow(network(name))
    with quiet_build(), torch.device("meta"), torch.inference_mode():
        model = new_model(given, {}, "meta").eval()
        size = model.visual.preprocess_cfg["size"]
        sides = size if isinstance(size, (tuple, list)) else (size, size)
        images = model.encode_image(torch.zeros(2, 3, *sides))
        texts = model.encode_text(torch.ones(2, given.config["text_cfg"].get("context_length", 77), dtype=torch.long))
    assert images.shape == texts.shape == (2, given.config["embed_dim"])


@pytest.mark.parametrize("name", [n for n in MODELS if "hf_model_name" in network(n).config["text_cfg"]])
def test_every_text_tower_of_transformers(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With small configurations, as the hub's cache would hold the large ones, beside a small image tower."""
    from transformers import AutoConfig

    def cached(asked: str, _: Any) -> Path:
        kind = next(k for part, k in TEXT_TOWERS.items() if part in asked)
        layers = {"num_hidden_layers": 1, "num_layers": 1, "encoder_layers": 1, "decoder_layers": 1}
        widths = {"hidden_size": 32, "d_model": 32, "intermediate_size": 32, "d_ff": 32, "d_kv": 8, "vocab_size": 99}
        AutoConfig.for_model(kind, **layers, **widths, num_attention_heads=4).save_pretrained(tmp_path)
        return tmp_path / "config.json"

    monkeypatch.setattr(openclip, "in_hub_cache", cached)
    given = network(name)
    coca = dict.fromkeys(("attentional_pool", "output_tokens"), "multimodal_cfg" in given.config)
    vision = {**SMALL["vision_cfg"], **coca}
    small = shallow(Network(name, {**given.config, "vision_cfg": vision}, {}))
    with quiet_build(), torch.inference_mode():
        model = new_model(small, {}).eval()
        images = model.encode_image(torch.zeros(2, 3, 32, 32))
        assert images.shape == (2, given.config["embed_dim"])
        assert model.encode_text(torch.full((2, 12), 5)).shape == images.shape
    assert libraries_of(model).keys() == {"open_clip_torch", "transformers"}
    moved = {m: m.name_or_path for m in model.modules() if hasattr(m, "name_or_path")}
    before = structure_of(model)
    for module in moved:
        module.name_or_path = "elsewhere"
    assert moved
    assert structure_of(model) == before  # where its configuration lay is no part of it


SMALL_ONES = ["ViT-S-32-alt", "RN50", "MobileCLIP2-S0"]
LARGE_ONES = [
    "coca_ViT-B-32", "convnext_base_w", "convnext_large_d", "EVA02-B-16", "MobileCLIP-S1", "MobileCLIP-B",
    "PE-Core-B-16", "swin_base_patch4_window7_224", "vit_relpos_medium_patch16_cls_224", "ViT-B-16-quickgelu",
    "ViT-B-16-SigLIP", "ViT-B-32-SigLIP2-256", "ViT-L-14-CLIPA", "ViTamin-S",
]  # fmt: skip


@pytest.mark.parametrize("name", [*SMALL_ONES, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE_ONES)])
def test_a_family_in_full_gives_the_features_of_open_clip(name: str) -> None:
    encoder = load_encoder(f"openclip:{name}/random-init", "cpu")
    with quiet_build():
        reference = open_clip.create_model(name, pretrained_text=False).eval()
    pixels = encoder.preprocess(PHOTO)[None]
    with torch.no_grad():
        found, expected = encoder.encode_images(pixels), reference.encode_image(pixels)
    assert found.shape == (1, encoder.card.dim)
    torch.testing.assert_close(found, expected)
    tokenizer = network(name).config["text_cfg"].get("hf_tokenizer_name")
    if tokenizer is None and encoder.encode_texts is not None:
        texts = ["Oak Street, Old Town", "Elm Street, Old Town (Ash Lane)"]
        with torch.no_grad():
            told = reference.encode_text(open_clip.get_tokenizer(name)(texts)).numpy()
        np.testing.assert_allclose(encoder.encode_texts(texts), told, rtol=1e-4, atol=1e-5)


# --- tokenizers that are not CLIP's -------------------------------------------------------------------------------


@pytest.fixture
def without_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.setattr(weights, "reachable", lambda _: False)


@pytest.mark.usefixtures("without_hub")
def test_without_its_tokenizer_a_model_encodes_photos_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish(monkeypatch, "small-hub", HUB, {})
    text = f"openclip:small-hub/{weights_of(HUB, tmp_path / 'w.safetensors')}"
    encoder = load_encoder(text, "cpu")
    assert encoder.encode_images(encoder.preprocess(PHOTO)[None]).shape == (1, 16)
    assert encoder.encode_texts is not None
    told = r"tokenizer of small-hub is not on this machine and .* cannot be reached: .*`hf download made/words`"
    with pytest.raises(SkipMethod, match=told):
        encoder.encode_texts(["oak street"])
    with pytest.raises(SkipMethod, match=told):
        require_tokenizer(text)


@pytest.mark.usefixtures("without_hub")
@pytest.mark.parametrize(
    "name",
    [n for n in MODELS if network(n).config["text_cfg"].get("hf_tokenizer_name")],
)
def test_every_tokenizer_of_the_hub_that_is_not_here_is_a_reason(name: str) -> None:
    wanted = network(name).config["text_cfg"]["hf_tokenizer_name"]
    with pytest.raises(SkipMethod, match=f"`hf download {wanted}`"):
        require_tokenizer(f"openclip:{name}/random-init")


@pytest.mark.usefixtures("without_hub")
@pytest.mark.parametrize("name", [n for n in MODELS if network(n).config["text_cfg"].get("hf_model_name")])
def test_every_text_tower_of_the_hub_that_is_not_here_is_a_reason(name: str) -> None:
    wanted = network(name).config["text_cfg"]["hf_model_name"]
    with pytest.raises(SkipMethod, match=f"`hf download {wanted} config.json`"):
        load_encoder(f"openclip:{name}/random-init", "cpu")


@pytest.mark.usefixtures("without_hub")
def test_a_tokenizer_beside_the_checkpoint_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish(monkeypatch, "small-hub", HUB, {})
    text = f"openclip:small-hub/{weights_of(HUB, tmp_path / 'w.safetensors')}"
    before = load_encoder(text, "cpu").card
    write_tokenizer(tmp_path)
    encoder = load_encoder(text, "cpu")
    require_tokenizer(text)
    assert encoder.card.digest != before.digest  # other tokens, other texts
    torch.manual_seed(7)
    reference = made(HUB)
    tokens = torch.tensor([[WORDS.index(w) for w in ["oak", "street", "old", "town", "</s>"]] + [0] * 11])
    with torch.no_grad():
        expected = reference.encode_text(tokens).numpy()
    assert encoder.encode_texts is not None
    np.testing.assert_allclose(encoder.encode_texts(["Oak Street, Old Town!"]), expected, rtol=1e-4, atol=1e-6)


def test_a_tokenizer_that_cannot_be_made_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    monkeypatch.setattr(openclip, "in_hub_cache", lambda *_: tmp_path / "tokenizer.json")
    with pytest.raises(SkipMethod, match="tokenizer of small-hub, made/words, cannot be made"):
        openclip.tokenizer_of(Network("small-hub", HUB, {}), None)


def test_a_coca_whose_texts_open_clip_cannot_encode_is_a_reason() -> None:
    """It takes a feature and tokens from its text tower, and rows of the batch for the two where it gives one alone."""
    config = network("coca_roberta-ViT-B-32").config
    without = {**config, "text_cfg": {**config["text_cfg"], "output_tokens": False}}
    with pytest.raises(SkipMethod, match="cannot encode texts with mine"):
        openclip.tokenizer_of(Network("mine", without, {}), None)
