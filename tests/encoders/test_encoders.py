"""Encoders: names, checkpoint formats, safety, identity, and what happens without weights."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file

from ial_bench.encoders import load, openclip_source, weights
from ial_bench.encoders.build import quiet_build
from ial_bench.encoders.encoder import remember_card, remembered_card, remembered_spec
from ial_bench.encoders.load import load_encoder
from ial_bench.encoders.openclip_source import OWN_MODELS
from ial_bench.encoders.spec import EncoderSpec
from ial_bench.encoders.weights import opening
from ial_bench.errors import ConfigError, DataError, SkipMethod
from ial_bench.json_files import read_json
from ial_bench.testing import CHECK_BACKBONE

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("text", "library", "model", "weights"),
    [
        ("openclip:ViT-B-16/openai", "openclip", "ViT-B-16", "openai"),
        ("openclip:ViT-B-16//data/w.pt", "openclip", "ViT-B-16", "/data/w.pt"),
        ("openclip:ViT-B-16/w/x.safetensors", "openclip", "ViT-B-16", "w/x.safetensors"),
        ("openclip:/my/model.json//my/w.safetensors", "openclip", "/my/model.json", "/my/w.safetensors"),
        ("openclip:ViT-B-16/random-init", "openclip", "ViT-B-16", "random-init"),
        ("timm:resnet18", "timm", "resnet18", None),
        ("timm:vit_base_patch14_dinov2.lvd142m", "timm", "vit_base_patch14_dinov2.lvd142m", None),
        ("timm:resnet18/w.pth", "timm", "resnet18", "w.pth"),
    ],
)
def test_names(text: str, library: str, model: str, weights: str | None) -> None:
    spec = EncoderSpec.parse(text)
    assert (spec.library, spec.model, spec.weights) == (library, model, weights)
    assert spec.random_init == (weights == "random-init")
    assert (spec.weights_file is not None) == bool(weights and ("/" in weights or "." in weights))


@pytest.mark.parametrize("text", ["", "ViT-B-16", "clip:ViT-B-16/openai", "openclip:ViT-B-16", "openclip:", "timm:"])
def test_names_that_name_nothing(text: str) -> None:
    with pytest.raises(ConfigError):
        EncoderSpec.parse(text)


@pytest.fixture(scope="module")
def model() -> Any:
    """A small CLIP whose weights are not those of random-init."""
    torch.manual_seed(7)
    return open_clip.CLIP(**read_json(OWN_MODELS / "tiny-check.json")).eval()


def written(model: Any, folder: Path, layout: str) -> Path:
    state = {k: v.clone() for k, v in model.state_dict().items()}
    path = folder / ("w.safetensors" if layout == "safetensors" else "w.pt")
    if layout == "safetensors":
        save_file(state, path)
    elif layout == "plain":
        torch.save(state, path)
    else:  # as open_clip's training script writes it, from several processes
        torch.save({"epoch": 3, "name": "x", "state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    return path


@pytest.mark.parametrize("layout", ["safetensors", "plain", "training"])
def test_checkpoint_layouts_give_the_same_encoder(model: Any, tmp_path: Path, layout: str) -> None:
    encoder = load_encoder(f"openclip:tiny-check/{written(model, tmp_path, layout)}", "cpu")
    pixels = encoder.preprocess(PHOTO)[None]
    with torch.no_grad():
        torch.testing.assert_close(encoder.encode_images(pixels), model.encode_image(pixels))
        tokens = open_clip.get_tokenizer("ViT-B-32")(["Oak Street, Old Town"])
        expected = model.encode_text(tokens).numpy()
    assert encoder.encode_texts is not None
    np.testing.assert_allclose(encoder.encode_texts(["Oak Street, Old Town"]), expected, rtol=1e-4, atol=1e-6)
    reference = load_encoder(f"openclip:tiny-check/{written(model, tmp_path, 'safetensors')}", "cpu")
    assert encoder.card.weights_digest == reference.card.weights_digest
    assert encoder.card.weights_digest != load_encoder(CHECK_BACKBONE, "cpu").card.weights_digest
    assert encoder.logit_scale == pytest.approx(float(model.logit_scale.detach().exp()))


def test_counts_of_the_card(model: Any) -> None:
    card = load_encoder(CHECK_BACKBONE, "cpu").card
    visual = sum(p.numel() for p in model.visual.parameters())
    assert card.image_parameters == visual
    assert card.image_bytes == 4 * visual
    assert card.text_parameters == sum(p.numel() for p in model.parameters()) - visual
    assert card.dim == 32


class Harmful:
    """Unpickling it would write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (Path.touch, (self.target,))


def test_a_checkpoint_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path, target = tmp_path / "evil.pt", tmp_path / "was-here"
    torch.save({"state_dict": Harmful(target)}, path)
    with pytest.raises(DataError, match="cannot be loaded safely"):
        load_encoder(f"openclip:tiny-check/{path}", "cpu")
    assert not target.exists()
    pickle.loads(pickle.dumps(Harmful(target)))  # it would have  # noqa: S301
    assert target.exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("damage", ["cut", "empty", "noise"])
def test_damaged_checkpoints_are_named(model: Any, tmp_path: Path, suffix: str, damage: str) -> None:
    path = written(model, tmp_path, "safetensors" if suffix == ".safetensors" else "plain")
    whole, noise = path.read_bytes(), np.random.default_rng(0).bytes(500)
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "noise": noise}[damage])
    with pytest.raises(DataError) as caught:
        load_encoder(f"openclip:tiny-check/{path}", "cpu")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("seed", [0, 21, 58, 59])
def test_noise_is_no_checkpoint(tmp_path: Path, seed: int) -> None:
    """Whatever a reader of pickles makes of it; of the last three, an error of an empty list."""
    path = tmp_path / "w.pt"
    path.write_bytes(np.random.default_rng(seed).bytes(500))
    with pytest.raises(DataError, match=r"w\.pt"), quiet_build(), opening(path, "openclip:tiny-check/w.pt"):
        torch.load(path, map_location="cpu", weights_only=True)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), tmp_path / "w.pt")
    with pytest.raises(DataError, match="does not hold weights of"):
        load_encoder(f"openclip:tiny-check/{tmp_path}/w.pt", "cpu")


def test_what_does_not_fit_is_named(model: Any, tmp_path: Path) -> None:
    state = {k: v.clone() for k, v in model.state_dict().items()}
    lost = {k: v for k, v in state.items() if k != "ln_final.bias"}
    torch.save({**lost, "head.weight": torch.zeros(3, 5)}, tmp_path / "w.pt")
    with pytest.raises(DataError) as caught:
        load_encoder(f"openclip:tiny-check/{tmp_path}/w.pt", "cpu")
    width = list(state["ln_final.bias"].shape)
    assert caught.value.problem.endswith(f"it lacks: ln_final.bias {width}; it has besides: head.weight [3, 5]")
    torch.save({**state, "visual.proj": torch.zeros(7, 32)}, tmp_path / "w.pt")
    with pytest.raises(DataError, match=r"other shapes: visual.proj is \[7, 32\], not \["):
        load_encoder(f"openclip:tiny-check/{tmp_path}/w.pt", "cpu")
    torch.save({**state, "logit_bias": torch.tensor(-10.0)}, tmp_path / "sigmoid.pt")
    with pytest.raises(DataError, match=r"does not hold weights of .*: it has a logit_bias"):
        load_encoder(f"openclip:tiny-check/{tmp_path}/sigmoid.pt", "cpu")


def test_timm_with_a_classifier_in_its_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(3)
    whole = timm.create_model("test_vit", num_classes=10).eval()
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    encoder = load_encoder(f"timm:test_vit/{tmp_path}/w.pth", "cpu")
    pixels = encoder.preprocess(PHOTO)[None]
    with torch.no_grad():
        expected = whole.forward_head(whole.forward_features(pixels), pre_logits=True)
    torch.testing.assert_close(encoder.encode_images(pixels), expected)
    assert encoder.encode_texts is None


def test_random_init_is_the_same_each_time() -> None:
    torch.manual_seed(1)
    first = load_encoder("timm:test_vit/random-init", "cpu")
    torch.manual_seed(2)
    second = load_encoder("timm:test_vit/random-init", "cpu")
    assert first.card == second.card


@pytest.mark.parametrize("offline", ["1", ""])
@pytest.mark.parametrize("text", ["openclip:ViT-B-16/openai", "openclip:ViT-B-32/laion2b_s34b_b79k", "timm:resnet18"])
def test_without_weights_the_reason_is_told(monkeypatch: pytest.MonkeyPatch, text: str, offline: str) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(weights, "reachable", lambda _: False)
    with pytest.raises(SkipMethod) as caught:
        load_encoder(text, "cpu")
    assert f"weights of {text} are not on this machine" in caught.value.reason
    assert ("HF_HUB_OFFLINE is set" if offline else "cannot be reached") in caught.value.reason


def test_a_download_that_fails_is_a_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError("connection reset\nat length")

    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.setattr(weights, "reachable", lambda _: True)
    monkeypatch.setattr(open_clip, "download_pretrained", fails)
    with pytest.raises(SkipMethod, match=r"could not be downloaded: connection reset$"):
        load_encoder("openclip:ViT-B-16/openai", "cpu")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("openclip:ViT-B-61/openai", "did you mean 'ViT-B-16'"),
        ("openclip:ViT-B-16/openia", "did you mean 'openai'"),
        ("timm:resnet81/random-init", "unknown timm model"),
        ("timm:resnet18/imagenet", "neither a file nor package nor random-init"),
        ("openclip:ViT-B-16/no/such/file.pt", "no such weights file: no/such/file.pt"),
    ],
)
def test_unknown_models_and_weights(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_encoder(text, "cpu")
    assert words in str(caught.value)


def test_openai_weights_are_run_with_their_activation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """OpenAI trained with QuickGELU; open_clip's plain configuration has GELU and would give other features."""
    for name in ("ViT-B-32", "ViT-B-32-quickgelu"):  # two blocks of each tower show it as twelve do
        config = open_clip.get_model_config(name)
        few = {part: {**config[part], "layers": 2} for part in ("vision_cfg", "text_cfg")}
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, {**config, **few})
    torch.manual_seed(0)
    reference = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None).eval()
    path = tmp_path / "w.safetensors"
    save_file({k: v.clone() for k, v in reference.state_dict().items()}, path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.setattr(openclip_source, "in_hub_cache", lambda *_: path)
    encoder = load_encoder("openclip:ViT-B-32/openai", "cpu")
    pixels = encoder.preprocess(PHOTO)[None]
    with torch.no_grad():
        torch.testing.assert_close(encoder.encode_images(pixels), reference.encode_image(pixels))


def test_the_card_is_remembered_until_the_file_changes(model: Any, tmp_path: Path) -> None:
    path = written(model, tmp_path, "plain")
    text = f"openclip:tiny-check/{path}"
    card = load_encoder(text, "cpu").card
    remember_card(card, tmp_path)
    assert remembered_card(text, tmp_path) == card
    assert remembered_card(CHECK_BACKBONE, tmp_path) is None
    os.utime(path, ns=(1, 1))
    assert remembered_card(text, tmp_path) is None


def test_a_card_that_is_damaged_inside_is_made_anew(tmp_path: Path) -> None:
    """One digit of a digest changed, and features and runs would go by the name of another encoder."""
    card = load_encoder(CHECK_BACKBONE, "cpu").card
    remember_card(card, tmp_path)
    (path,) = (tmp_path / "encoders").glob("*.json")
    whole = path.read_text()
    digit = card.weights_digest[7]
    changed = card.weights_digest[:7] + ("0" if digit != "0" else "1") + card.weights_digest[8:]
    for text in (whole.replace(card.weights_digest, changed), whole.replace('"sha256"', '"sha257"')):
        assert text != whole
        path.write_text(text)
        assert remembered_card(CHECK_BACKBONE, tmp_path) is None
        assert remembered_spec(card.digest, tmp_path) is None
    path.write_text(whole)
    assert remembered_card(CHECK_BACKBONE, tmp_path) == card


def test_a_configuration_of_ones_own(model: Any, tmp_path: Path) -> None:
    own = Path(load.__file__).parent / "openclip_models" / "tiny-check.json"
    config = tmp_path / "mine.json"
    config.write_text(own.read_text())
    weights = written(model, tmp_path, "safetensors")
    encoder = load_encoder(f"openclip:{config}/{weights}", "cpu")
    assert encoder.card.weights_digest == load_encoder(f"openclip:tiny-check/{weights}", "cpu").card.weights_digest
    config.write_text("{}")
    with pytest.raises(DataError, match="not an open_clip model configuration"):
        load_encoder(f"openclip:{config}/{weights}", "cpu")
