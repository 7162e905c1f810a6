"""An encoder is known by all that it computes with, and by nothing else: neither its name nor where its files lie."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file

from ial_bench.datasets.dataset import Dataset
from ial_bench.encoders import build as building
from ial_bench.encoders import openclip_source, weights
from ial_bench.encoders.encoder import EncoderCard, Precision, remember_card, remembered_card, remembered_spec
from ial_bench.encoders.load import load_encoder
from ial_bench.encoders.spec import EncoderSpec
from ial_bench.engine.features import FeatureStore
from ial_bench.errors import ConfigError, DataError, SkipMethod
from ial_bench.progress import NoReport
from support.published_models import OPENAI, SMALL, SQUASHED, made, publish, weights_of

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def card(text: str, precision: Precision = "float32") -> EncoderCard:
    return load_encoder(text, "cpu", precision).card


def written(config: dict[str, Any], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config))
    return path


def changed(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """`config` with keys of its towers replaced: vision__layers=2."""
    new: dict[str, Any] = json.loads(json.dumps(config))
    for key, value in changes.items():
        tower, under, name = key.partition("__")
        if under:
            new[f"{tower}_cfg"][name] = value
        else:
            new[key] = value
    return new


CHANGES: dict[str, dict[str, Any]] = {
    "activation": {"quick_gelu": True},
    "activation's form": {"vision__act_kwargs": {"approximate": "tanh"}},
    "epsilon of a norm": {"vision__norm_kwargs": {"eps": 1e-3}},
    "epsilon in the text tower": {"text__norm_kwargs": {"eps": 1e-3}},
    "pooling of the photo": {"vision__pool_type": "avg"},
    "pooling of the text": {"text__pool_type": "last"},
    "mask of the text": {"text__no_causal_mask": True},
    "heads": {"vision__head_width": 8},
    "norm after the pooling": {"vision__final_ln_after_pool": True},
    "tokens": {"text__tokenizer_kwargs": {"clean": "canonicalize"}},
}


@pytest.mark.parametrize("what", CHANGES)
def test_one_checkpoint_in_networks_that_differ(what: str, tmp_path: Path) -> None:
    file = weights_of(SMALL, tmp_path / "w.safetensors")
    plain = card(f"openclip:{written(SMALL, tmp_path / 'plain.json')}/{file}")
    other = card(f"openclip:{written(changed(SMALL, **CHANGES[what]), tmp_path / 'other.json')}/{file}")
    assert other.weights_digest == plain.weights_digest
    assert other.digest != plain.digest


def test_resolution_is_part_of_it(tmp_path: Path) -> None:
    """Of a convolutional tower, whose checkpoint fits any size."""
    trunk = {"timm_model_name": "test_resnet", "timm_pool": "avg", "timm_proj": "linear", "image_size": 32}
    config = {**SMALL, "vision_cfg": trunk}
    file = weights_of(config, tmp_path / "w.safetensors")
    cards = [
        card(f"openclip:{written(changed(config, vision__image_size=size), tmp_path / f'{size}.json')}/{file}")
        for size in (32, 64)
    ]
    assert len({c.weights_digest for c in cards}) == 1
    assert len({c.digest for c in cards}) == 2


def test_weights_are_part_of_it(tmp_path: Path) -> None:
    config = written(SMALL, tmp_path / "m.json")
    digests = {
        card(f"openclip:{config}/{weights_of(SMALL, tmp_path / f'{seed}.safetensors', seed)}").digest for seed in (1, 2)
    }
    assert len(digests) == 2


@pytest.mark.parametrize(
    "preprocessing",
    [{"mean": [0.5] * 3}, {"std": [0.5] * 3}, {"interpolation": "bilinear"}, {"resize_mode": "squash"}],
)
def test_preprocessing_is_part_of_it(preprocessing: dict[str, Any], tmp_path: Path) -> None:
    file = weights_of(SMALL, tmp_path / "w.safetensors")
    told = written({"model_cfg": SMALL, "preprocess_cfg": preprocessing}, tmp_path / "told.json")
    other, plain = card(f"openclip:{told}/{file}"), card(f"openclip:{written(SMALL, tmp_path / 'm.json')}/{file}")
    assert other.structure == plain.structure
    assert other.digest != plain.digest


def test_libraries_and_precision_are_part_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = "timm:test_vit/random-init"
    plain = card(text)
    assert set(plain.libraries) == {"timm"}
    assert card(text, "bfloat16").digest != plain.digest
    remember_card(plain, tmp_path)
    assert remembered_card(text, tmp_path) == plain
    assert remembered_card(text, tmp_path, "bfloat16") is None
    monkeypatch.setattr(building, "version", lambda _: "99.1")
    later = card(text)
    assert later.digest != plain.digest
    assert later.structure == plain.structure
    remember_card(later, tmp_path)
    assert remembered_card(text, tmp_path) is None  # 99.1 is not installed


def test_padding_is_part_of_it(tmp_path: Path) -> None:
    """TensorFlow's EfficientNets pad otherwise than timm's own; one checkpoint fits both."""
    torch.manual_seed(0)
    state = timm.create_model("efficientnet_lite0", num_classes=0).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    encoders = [
        load_encoder(f"timm:{name}/{tmp_path}/w.safetensors", "cpu")
        for name in ("efficientnet_lite0", "tf_efficientnet_lite0")
    ]
    assert len({e.card.weights_digest for e in encoders}) == 1
    assert len({e.card.structure for e in encoders}) == 2
    pixels = torch.rand(1, 3, 224, 224)
    one, other = (e.encode_images(pixels)[0] for e in encoders)
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) < 0.999


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("mobilenetv3_small_100", "tf_mobilenetv3_small_100", False),  # padding
        ("resnet18", "resnetblur18", False),  # anti-aliasing
        ("nest_tiny", "nest_tiny_jx", False),  # padding of a pooling
        ("swinv2_tiny_window8_256", "swinv2_tiny_window16_256", False),  # windows
        ("test_efficientnet_gn", "test_efficientnet_ln", False),  # norms
        ("efficientnet_es", "efficientnet_es_pruned", True),  # weights alone
    ],
)
def test_pairs_of_timm_that_take_each_others_checkpoints(one: str, other: str, equal: bool) -> None:
    models = [timm.create_model(name, num_classes=0) for name in (one, other)]
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in models]
    assert shapes[0] == shapes[1]
    assert (building.structure_of(models[0]) == building.structure_of(models[1])) == equal


def test_tables_that_no_checkpoint_holds_are_part_of_it() -> None:
    """Two of timm's Swin networks differ in nothing but these."""
    first, second = (
        timm.create_model("swinv2_base_window16_256", num_classes=0, pretrained_window_sizes=sizes)
        for sizes in ((0, 0, 0, 0), (12, 12, 12, 6))
    )
    named = [{n for n, _ in m.named_modules()} for m in (first, second)]
    assert named[0] == named[1]
    assert building.structure_of(first) != building.structure_of(second)


def test_features_of_both_stand_side_by_side(tiny_city: Dataset, tmp_path: Path) -> None:
    """The second of two networks with one checkpoint is never given the features of the first."""
    photos = tiny_city.split("val")
    file = weights_of(SMALL, tmp_path / "w.safetensors")
    specs = [
        f"openclip:{written(config, tmp_path / name)}/{file}"
        for name, config in (("a.json", SMALL), ("b.json", changed(SMALL, quick_gelu=True)))
    ]
    shared = FeatureStore(tmp_path / "shared", "cpu", 8, 0, NoReport())
    for i, spec in enumerate(specs):
        alone = FeatureStore(tmp_path / f"alone{i}", "cpu", 8, 0, NoReport())
        np.testing.assert_array_equal(shared.photos(spec, photos), alone.photos(spec, photos))
    assert not np.array_equal(shared.photos(specs[0], photos), shared.photos(specs[1], photos))


def test_an_edited_configuration_is_another_encoder(tmp_path: Path) -> None:
    config, file = written(SMALL, tmp_path / "m.json"), weights_of(SMALL, tmp_path / "w.safetensors")
    text, cache = f"openclip:{config}/{file}", tmp_path / "cache"
    before = FeatureStore(cache, "cpu", 8, 0, NoReport()).card(text)
    written(changed(SMALL, quick_gelu=True), config)
    after = FeatureStore(cache, "cpu", 8, 0, NoReport()).card(text)
    assert after.digest != before.digest


# --- one identity under several names ---------------------------------------------------------------------------


def test_paths_and_formats_are_no_part_of_it(tmp_path: Path) -> None:
    config = written(SMALL, tmp_path / "m.json")
    file = weights_of(SMALL, tmp_path / "w.safetensors")
    torch.manual_seed(7)
    torch.save(made(SMALL).state_dict(), tmp_path / "as-torch-writes.pt")
    moved = Path(shutil.copy(file, tmp_path / "moved.safetensors"))
    renamed = written(SMALL, tmp_path / "elsewhere" / "n.json")
    texts = [
        f"openclip:{c}/{w}" for c, w in ((config, file), (renamed, moved), (config, tmp_path / "as-torch-writes.pt"))
    ]
    assert len({card(text).digest for text in texts}) == 1
    assert [EncoderSpec.parse(t).shown for t in texts[:2]] == [
        "openclip:m.json/w.safetensors", "openclip:n.json/moved.safetensors",
    ]  # fmt: skip


def test_a_tag_and_its_file_are_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish(monkeypatch, "small", SMALL, {"openai": OPENAI, "squashed": SQUASHED})
    publish(monkeypatch, "small-quickgelu", {**SMALL, "quick_gelu": True}, {"openai": OPENAI})
    cached = weights_of(SMALL, tmp_path / "hub" / "w.safetensors")
    file = Path(shutil.copy(cached, tmp_path / "mine.safetensors"))
    monkeypatch.setattr(openclip_source, "in_hub_cache", lambda *_: cached)
    tag = card("openclip:small/openai")
    assert card(f"openclip:small/{file}@openai").digest == tag.digest
    assert card("openclip:small-quickgelu/openai").digest == tag.digest
    assert card(f"openclip:small-quickgelu/{file}@openai").digest == tag.digest
    assert card(f"openclip:small/{file}@squashed").digest != tag.digest
    assert card(f"openclip:small/{file}").digest != tag.digest  # GELU, for nothing told otherwise
    assert tag.notes == []


def test_timm_s_default_tag_is_its_model() -> None:
    tag = timm.create_model("test_vit").pretrained_cfg["tag"]
    assert card("timm:test_vit/random-init").digest == card(f"timm:test_vit.{tag}/random-init").digest


# --- what a checkpoint does not tell ----------------------------------------------------------------------------


def preprocessed(text: str) -> dict[str, Any]:
    told = card(text)
    return {**told.preprocessing, "notes": " ".join(told.notes)}


def test_the_settings_that_lie_beside_a_checkpoint_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish(monkeypatch, "small", SMALL, {"openai": OPENAI, "squashed": SQUASHED})
    file = weights_of(SMALL, tmp_path / "w.safetensors")
    assumed = preprocessed(f"openclip:small/{file}")
    assert "CLIP's is assumed, and GELU" in assumed["notes"]
    assert "openclip:small/w.safetensors@TAG (TAG: openai, squashed)" in assumed["notes"]
    beside = {
        "model_cfg": {**SMALL, "quick_gelu": True},
        "preprocess_cfg": {"mean": [0.5] * 3, "resize_mode": "squash"},
    }
    written(beside, tmp_path / "open_clip_config.json")
    told = card(f"openclip:small/{file}")
    assert told.preprocessing["mean"] == [0.5] * 3
    assert told.preprocessing["resize_mode"] == "squash"
    (note,) = told.notes
    assert note.endswith("goes before small, from which it differs in quick_gelu")
    assert (
        told.structure
        == card(f"openclip:{written({**SMALL, 'quick_gelu': True}, tmp_path / 'm.json')}/{file}").structure
    )


def test_a_configuration_beside_that_tells_the_network_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish(monkeypatch, "small", SMALL, {"openai": OPENAI, "squashed": SQUASHED})
    file = weights_of(SMALL, tmp_path / "w.safetensors")
    written({"model_cfg": {**SMALL, "quick_gelu": True}}, tmp_path / "open_clip_config.json")
    told = card(f"openclip:small/{file}")
    assert "differs in quick_gelu" in told.notes[0]
    assert "preprocessing CLIP's is assumed, and QuickGELU" in told.notes[1]


def test_a_configuration_that_appears_beside_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish(monkeypatch, "small", SMALL, {})
    text = f"openclip:small/{weights_of(SMALL, tmp_path / 'w.safetensors')}"
    remember_card(card(text), tmp_path)
    assert remembered_card(text, tmp_path) is not None
    written({"model_cfg": SMALL, "preprocess_cfg": {"mean": [0.5] * 3}}, tmp_path / "open_clip_config.json")
    assert remembered_card(text, tmp_path) is None


def test_what_all_published_weights_agree_on_is_assumed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish(monkeypatch, "small", SMALL, {"a": SQUASHED, "b": SQUASHED})
    told = preprocessed(f"openclip:small/{weights_of(SMALL, tmp_path / 'w.safetensors')}")
    assert (told["mean"], told["resize_mode"]) == ([0.5] * 3, "squash")
    assert "preprocessing of all its published weights is assumed" in told["notes"]


def test_a_published_file_is_known_by_its_checksum(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """open_clip's own releases have the first digits of their SHA-256 in their names."""
    from ial_bench.files import sha256_file

    file = weights_of(SMALL, tmp_path / "w.safetensors")
    url = f"https://github.com/mlfoundations/open_clip/releases/download/v0/small-{sha256_file(file)[:8]}.pt"
    publish(monkeypatch, "small", SMALL, {"squashed": SQUASHED, "openai": {**OPENAI, "url": url}})
    told = card(f"openclip:small/{file}")
    assert told.preprocessing["mean"] == list(OPENAI["mean"])  # type: ignore[call-overload]
    assert told.digest == card(f"openclip:small/{file}@openai").digest
    assert told.notes == []


def test_a_file_in_the_hub_s_cache_is_known_by_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish(monkeypatch, "small", SMALL, {"openai": OPENAI, "squashed": SQUASHED})
    file = weights_of(SMALL, tmp_path / "models--made--small-squashed" / "snapshots" / "1" / "w.safetensors")
    assert card(f"openclip:small/{file}").digest == card(f"openclip:small/{file}@squashed").digest


def test_timm_s_configuration_beside_a_checkpoint(tmp_path: Path) -> None:
    save_file(timm.create_model("test_vit", num_classes=0).state_dict(), tmp_path / "w.safetensors")
    text = f"timm:test_vit/{tmp_path}/w.safetensors"
    (note,) = card(text).notes
    assert "as for timm's weights test_vit.r160_in1k is assumed" in note
    assert list(card(text.replace("test_vit", "test_vit.r160_in1k")).notes) == []
    config = {"architecture": "test_vit", "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "crop_pct": 1.0}}
    written(config, tmp_path / "config.json")
    told = card(text)
    assert (told.preprocessing["mean"], told.preprocessing["crop_pct"], list(told.notes)) == ([0.1, 0.2, 0.3], 1.0, [])
    written({**config, "architecture": "test_resnet"}, tmp_path / "config.json")
    with pytest.raises(DataError, match="the weights beside it are of test_resnet, not of test_vit"):
        card(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("openclip:small/{file}@opnai", "did you mean 'openai'"),
        ("openclip:{folder}/absent.json/{file}", "no such model configuration"),
        ("openclip:small/{folder}/absent.pt@openai", "no such weights file"),
        ("openclip:small/openai@openai", "'openai' is no file"),
        ("openclip:small/random-init@openai", "'random-init' is no file"),
    ],
)
def test_what_is_not_there(text: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish(monkeypatch, "small", SMALL, {"openai": OPENAI})
    file = weights_of(SMALL, tmp_path / "w.safetensors")
    with pytest.raises(ConfigError) as caught:
        card(text.format(file=file, folder=tmp_path))
    assert words in str(caught.value)


def test_the_reason_to_skip_a_tag_names_the_right_spelling(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(weights, "reachable", lambda _: False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    with pytest.raises(SkipMethod, match=r"with a checkpoint at hand, write openclip:ViT-B-16-SigLIP/FILE@webli$"):
        card("openclip:ViT-B-16-SigLIP/webli")


def test_a_configuration_of_ones_own_hides_no_published_model(tmp_path: Path) -> None:
    """Named like one of open_clip's, it stays what it is, and so does open_clip's."""
    file = weights_of(SMALL, tmp_path / "w.safetensors")
    assert card(f"openclip:{written(SMALL, tmp_path / 'ViT-B-32.json')}/{file}").dim == 16
    assert open_clip.get_model_config("ViT-B-32")["embed_dim"] == 512


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = {k: v.clone() for k, v in made(SMALL).state_dict().items()}
    state["visual.proj"].view(-1)[0] = float("nan")
    save_file(state, tmp_path / "w.safetensors")
    config = written(SMALL, tmp_path / "m.json")
    with pytest.raises(DataError, match=r"1 of 512 values of visual.proj are NaN or infinite"):
        card(f"openclip:{config}/{tmp_path}/w.safetensors")


def test_an_encoder_is_found_again_by_its_identity(tmp_path: Path) -> None:
    """Records have base names alone; the cache knows where the files lie."""
    text = f"openclip:{written(SMALL, tmp_path / 'm.json')}/{weights_of(SMALL, tmp_path / 'w.safetensors')}"
    told = card(text)
    assert remembered_spec(told.digest, tmp_path / "cache") is None
    remember_card(told, tmp_path / "cache")
    assert remembered_spec(told.digest, tmp_path / "cache") == text
    (tmp_path / "w.safetensors").unlink()
    assert remembered_spec(told.digest, tmp_path / "cache") is None


@pytest.mark.parametrize("build", [lambda: timm.create_model("test_efficientnet"), lambda: made(SMALL)])
def test_the_structure_repeats_itself_and_knows_no_weights(build: Callable[[], Any]) -> None:
    torch.manual_seed(1)
    one = building.structure_of(build().eval())
    torch.manual_seed(2)
    assert building.structure_of(build().train()) == one
