"""Captioners on small models in the formats of the published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ial_bench.captions.captioners import PROMPT, CaptionLength, open_captioner, trimmed
from ial_bench.errors import ConfigError, DataError
from ial_bench.images import RGB
from support.tiny_captioners import save_tiny_blip, write_tiny_coca

LENGTH = CaptionLength(6, 9)


@pytest.fixture(scope="module")
def photos() -> list[RGB]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40, 60, 3), dtype=np.uint8) for _ in range(4)]


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_blip(tmp_path_factory.mktemp("blip") / "model")


@pytest.fixture(scope="module")
def coca(tmp_path_factory: pytest.TempPathFactory) -> str:
    config = write_tiny_coca(tmp_path_factory.mktemp("coca") / "tiny.json")
    return f"coca:{config}/random-init"


def test_blip_against_a_plain_greedy_loop(blip: Path, photos: list[RGB]) -> None:
    from transformers import BlipForConditionalGeneration, BlipProcessor

    found = open_captioner(f"blip:{blip}", "cpu", LENGTH).captions(photos)
    processor: Any = BlipProcessor.from_pretrained(blip)
    model: Any = BlipForConditionalGeneration.from_pretrained(blip)
    for photo, caption in zip(photos, found, strict=True):
        told = processor(images=photo, text=PROMPT, return_tensors="pt")
        tokens = told["input_ids"][:, :-1].clone()  # without the end
        tokens[:, 0] = model.config.text_config.bos_token_id
        least = tokens.shape[1] + LENGTH.least - len(PROMPT.split())
        with torch.no_grad():
            seen = model.vision_model(told["pixel_values"])[0]
            while tokens.shape[1] < 1 + len(PROMPT.split()) + 13:
                logits = model.text_decoder(tokens, encoder_hidden_states=seen).logits[0, -1]
                if tokens.shape[1] < least:
                    logits[model.config.text_config.sep_token_id] = -torch.inf
                following = logits.argmax().view(1, 1)
                tokens = torch.cat([tokens, following], dim=1)
                if following == model.config.text_config.sep_token_id:
                    break
        assert caption == trimmed(processor.decode(tokens[0], skip_special_tokens=True), LENGTH)
    assert len(set(found)) > 1


def test_coca_against_a_plain_greedy_loop(coca: str, photos: list[RGB]) -> None:
    captioner: Any = open_captioner(coca, "cpu", LENGTH)
    model, preprocess, tokenizer = captioner._model, captioner._preprocess, captioner._tokenizer
    tokens = captioner._generate(torch.stack([preprocess(p) for p in photos]))
    for photo, found in zip(photos, tokens.tolist(), strict=True):
        line = [tokenizer.sot_token_id, *tokenizer.encode(PROMPT)]
        start = len(line)
        with torch.no_grad():
            while len(line) < len(found) and line[-1] != tokenizer.eot_token_id:
                told = model(preprocess(photo)[None], torch.tensor([line]), output_labels=False)["logits"][0, -1]
                if len(line) - start < LENGTH.least - len(PROMPT.split()):
                    told[tokenizer.eot_token_id] = -torch.inf
                line.append(int(told.argmax()))
        assert found[: len(line)] == line
        assert set(found[len(line) :]) <= {tokenizer.eot_token_id}


@pytest.mark.parametrize("kind", ["blip", "coca"])
def test_a_caption_depends_on_its_photo_alone(kind: str, blip: Path, coca: str, photos: list[RGB]) -> None:
    captioner = open_captioner(f"blip:{blip}" if kind == "blip" else coca, "cpu", LENGTH)
    together = captioner.captions(photos)
    assert together == [captioner.captions([p])[0] for p in photos]
    assert all(c.startswith(PROMPT) and len(c.split()) <= 9 for c in together)


def test_the_identity_tells_weights_apart(blip: Path, tmp_path: Path) -> None:
    other = save_tiny_blip(tmp_path / "other", seed=1)
    identities = {open_captioner(f"blip:{folder}", "cpu", LENGTH).identity for folder in (blip, other)}
    assert len(identities) == 2


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a street view of  a red\nhouse", "A street view of a red house"),
        ("red house", "A street view of red house"),
        ("a street view of one two three four five", "A street view of one two three"),
        ("", "A street view of"),
    ],
)
def test_captions_have_one_form(text: str, wanted: str) -> None:
    assert trimmed(text, CaptionLength(1, 7)) == wanted


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("blp-large", "is no captioner"),
        ("blip:/nowhere", "no config.json"),
        ("blip-large", "HF_HUB_OFFLINE"),
        ("coca:coca_ViT-B-32/laion2b_s13b_b90k", "coca:MODEL/FILE"),
        ("coca:ViT-B-32/random-init", "writes no captions"),
        ("coca:ViT-Z/random-init", "ViT-Z"),
    ],
)
def test_what_cannot_be_had_is_said(spec: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_captioner(spec, "cpu", LENGTH)
    assert says in f"{caught.value.problem} {caught.value.fix}"


def test_a_damaged_model_is_named(blip: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(blip, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(DataError, match="damaged"):
        open_captioner(f"blip:{tmp_path / 'cut'}", "cpu", LENGTH)
