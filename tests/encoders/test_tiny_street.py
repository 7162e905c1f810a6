"""tiny-street: its tokenizer and its weights."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from ial_bench.encoders import load
from ial_bench.encoders.encoder import remember_card, remembered_card
from ial_bench.encoders.load import load_encoder
from ial_bench.encoders.openclip import own_model
from ial_bench.errors import ConfigError
from ial_bench.json_files import read_json
from ial_bench.synth.pretraining import N_MERGES, new_model, vocabulary_size

NAME = "openclip:tiny-street/synth"
FILES = Path(load.__file__).parent / "openclip_models"
PHOTO = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)


# --- the tokenizer ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return own_model("tiny-street")[1]


def test_the_model_has_a_row_for_each_token(tokenizer: Any) -> None:
    lines = gzip.decompress((FILES / "tiny-street.merges.txt.gz").read_bytes()).decode().split("\n")[1:]
    assert [" ".join(pair) for pair in tokenizer.bpe_ranks] == lines
    assert len(set(lines)) == len(lines) == N_MERGES
    config = read_json(FILES / "tiny-street.json")["model_cfg"]["text_cfg"]
    assert config["vocab_size"] == tokenizer.vocab_size == vocabulary_size(len(lines))
    assert config["context_length"] == tokenizer.context_length
    assert tokenizer.eot_token_id == tokenizer.vocab_size - 1  # the tower looks for the largest


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=60))
def test_any_text_has_tokens_and_comes_back(tokenizer: Any, text: str) -> None:
    back = tokenizer.decode(tokenizer.encode(text))
    assert "".join(back.split()) == "".join(tokenizer.clean_fn(text).split())
    assert tokenizer([text]).shape == (1, 77)


@pytest.mark.parametrize("text", ["", " ", "Ünïcode 東京 🏠", "<start_of_text>", "x" * 5000, "\x00"])
def test_odd_texts_are_encoded(text: str) -> None:
    encoder = load_encoder("openclip:tiny-street/random-init", "cpu")
    assert encoder.encode_texts is not None
    assert np.isfinite(encoder.encode_texts([text])).all()


def test_words_of_streets_are_few_tokens(tokenizer: Any) -> None:
    assert len(tokenizer.encode("a street with a three-storey red brick house on the left")) <= 14
    other = SimpleTokenizer()
    assert other.vocab_size > 30 * tokenizer.vocab_size


# --- the model ----------------------------------------------------------------------------------------------


def test_it_loads_and_is_small(tmp_path: Path) -> None:
    encoder = load_encoder(NAME, "cpu")
    card = encoder.card
    assert card.dim == 128
    assert card.image_parameters + card.text_parameters < 2.5e6
    assert card.preprocessing["size"] in (64, [64, 64])
    assert Path(card.files[0]["path"]).stat().st_size < 10e6
    pixels = encoder.preprocess(PHOTO)
    assert pixels.shape == (3, 64, 64)
    features = encoder.encode_images(torch.stack([pixels, pixels * 0]))
    assert features.shape == (2, 128)
    assert torch.isfinite(features).all()
    assert encoder.encode_texts is not None
    texts = encoder.encode_texts(["a street", "Oak Street, Old Town (Elm Avenue, Ash Avenue)"])
    assert texts.shape == (2, 128)
    assert np.isfinite(texts).all()
    assert encoder.encode_texts([]).shape == (0, 128)
    remember_card(card, tmp_path)
    assert remembered_card(NAME, tmp_path) == card == load_encoder(NAME, "cpu").card


def test_trained_and_untrained_weights_differ_and_are_stable() -> None:
    untrained = [load_encoder("openclip:tiny-street/random-init", "cpu").card for _ in range(2)]
    assert untrained[0] == untrained[1]
    assert untrained[0].weights_digest != load_encoder(NAME, "cpu").card.weights_digest
    assert [Path(f["path"]).suffix for f in untrained[0].files] == [".json"]


def test_the_shipped_file_is_that_of_the_tag() -> None:
    by_tag = load_encoder(NAME, "cpu").card
    by_path = load_encoder(f"openclip:tiny-street/{FILES / 'tiny-street.synth.safetensors'}", "cpu").card
    assert by_tag.digest == by_path.digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("openclip:tiny-street/synht", "did you mean 'synth'"),
        ("openclip:tiny-street/openai", "unknown weights of tiny-street 'openai'"),
        ("openclip:tiny-check/synth", "one of random-init"),
        ("openclip:tiny-sreet/synth", "did you mean 'tiny-street'"),
    ],
)
def test_tags_that_are_not_there(text: str, words: str) -> None:
    load_encoder("openclip:tiny-street/random-init", "cpu")
    with pytest.raises(ConfigError) as caught:
        load_encoder(text, "cpu")
    assert words in str(caught.value)


def test_the_image_tower_has_a_stem_and_a_transformer() -> None:
    model, _ = new_model(0)
    pixels = torch.rand(2, 3, 64, 64)
    assert model.visual.trunk.patch_embed(pixels).shape == (2, 16, 192)
    assert len(model.visual.trunk.blocks) == 4
    assert model.visual.trunk.forward_features(pixels).shape == (2, 17, 192)
