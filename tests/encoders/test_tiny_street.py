"""tiny-street: its tokenizer, its weights, and pretraining it from nothing."""

from __future__ import annotations

import gzip
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file
from typer.testing import CliRunner

from ial_bench.cli.main import app
from ial_bench.datasets.synth_city import PRESETS, PRETRAIN_SEEDS
from ial_bench.encoders import bpe, load, pretrain, pretrain_photos
from ial_bench.encoders.base import remember_card, remembered_card
from ial_bench.encoders.load import load_encoder, own_model
from ial_bench.encoders.pretrain import Recipe, batches, contrast_loss, encode_trimmed, varied
from ial_bench.encoders.pretrain_photos import PhotoPlan, Photos, make_photos
from ial_bench.errors import ConfigError, DataError
from ial_bench.json_files import read_json
from ial_bench.method import NoReport

NAME = "openclip:tiny-street/synth"
FILES = Path(load.__file__).parent / "openclip_models"
PHOTO = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
PLAN = PhotoPlan(cities=2, blocks=(1, 3), places=6, views=4, seed=3)
RECIPE = Recipe(plan=PLAN, steps=6, batch=8, warm_up=2, rate=3e-4, mix=(0.6, 0.25, 0.15))


# --- the tokenizer ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return own_model("tiny-street")[1]


def slow_merges(words: Counter[tuple[str, ...]], n: int) -> list[tuple[str, str]]:
    """Counts all pairs anew for each merge."""
    cut = dict(words)
    merges = []
    for _ in range(n):
        count: Counter[tuple[str, str]] = Counter()
        for word, times in cut.items():
            for pair in pairwise(word):
                count[pair] += times
        if not count:
            break
        best = min(count, key=lambda pair: (-count[pair], pair))
        merges.append(best)
        fused: Counter[tuple[str, ...]] = Counter()
        for word, times in cut.items():
            left, done = list(word), []
            while left:
                took = 2 if tuple(left[:2]) == best else 1
                done.append("".join(left[:took]))
                left = left[took:]
            fused[tuple(done)] += times
        cut = dict(fused)
    return merges


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.text("abc", min_size=1, max_size=8), st.integers(1, 5), max_size=12), st.integers(0, 40))
def test_merges_are_those_of_counting_anew(counts: dict[str, int], n: int) -> None:
    words = Counter({(*word[:-1], f"{word[-1]}</w>"): times for word, times in counts.items()})
    assert bpe.learn_merges(words, n) == slow_merges(words, n)


def test_words_are_cut_as_the_tokenizer_does() -> None:
    words = bpe.words_of(["A b&amp;b, é2", "b"])
    assert words == {("a</w>",): 1, ("b</w>",): 3, ("&</w>",): 1, (",</w>",): 1, ("Ã", "©</w>"): 1, ("2</w>",): 1}


def test_merges_are_read_back_by_open_clip(tmp_path: Path) -> None:
    merges = bpe.learn_merges(bpe.words_of(["the old mill on the hill", "mill hill"] * 3), 12)
    bpe.write_merges(tmp_path / "m.txt.gz", merges)
    first = (tmp_path / "m.txt.gz").read_bytes()
    read = SimpleTokenizer(bpe_path=str(tmp_path / "m.txt.gz"))
    assert list(read.bpe_ranks) == merges
    assert read.vocab_size == bpe.vocabulary_size(merges)
    assert len(read.encode("mill hill")) == 2
    bpe.write_merges(tmp_path / "m.txt.gz", merges)
    assert (tmp_path / "m.txt.gz").read_bytes() == first


def test_the_model_has_a_row_for_each_token(tokenizer: Any) -> None:
    lines = gzip.decompress((FILES / "tiny-street.merges.txt.gz").read_bytes()).decode().split("\n")[1:]
    assert [" ".join(pair) for pair in tokenizer.bpe_ranks] == lines
    assert len(set(lines)) == len(lines) == pretrain.N_MERGES
    config = read_json(FILES / "tiny-street.json")["model_cfg"]["text_cfg"]
    assert config["vocab_size"] == tokenizer.vocab_size == bpe.BASE_SYMBOLS + len(lines) + bpe.SPECIAL_TOKENS
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
    model, _ = pretrain.new_model(0)
    pixels = torch.rand(2, 3, 64, 64)
    assert model.visual.trunk.patch_embed(pixels).shape == (2, 16, 192)
    assert len(model.visual.trunk.blocks) == 4
    assert model.visual.trunk.forward_features(pixels).shape == (2, 17, 192)


# --- pretraining --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    return make_photos(PLAN, tmp_path_factory.mktemp("photos"), 1, lambda _: None)


def test_pretraining_cities_are_nobody_elses() -> None:
    shipped = {options.seed for options in PRESETS.values()}
    for seed in (0, 1, 999):
        seeds = set(PhotoPlan(seed=seed, cities=1000).city_seeds)
        assert seeds <= set(PRETRAIN_SEEDS)
        assert not seeds & shipped
    assert not set(PhotoPlan(seed=0, cities=1000).city_seeds) & set(PhotoPlan(seed=1).city_seeds)
    for cities, seed in ((24, 1000), (24, -1), (0, 0), (1001, 0)):
        with pytest.raises(ConfigError):
            PhotoPlan(cities=cities, seed=seed)


def test_photos_are_kept_and_do_not_depend_on_workers(photos: Photos, tmp_path: Path) -> None:
    assert len(photos) == PLAN.n_photos == 2 * 2 * 6 * 4
    done: list[int] = []
    again = make_photos(PLAN, tmp_path, 2, done.append)
    assert sum(done) == len(photos)
    rows = np.array([0, 47, 48, 95])
    np.testing.assert_array_equal(photos.of(rows), again.of(rows))
    assert (photos.captions, photos.addresses) == (again.captions, again.addresses)
    np.testing.assert_array_equal(photos.address, again.address)
    assert photos.address.max() == len(photos.addresses) - 1
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "pretrain").iterdir()}
    make_photos(PLAN, tmp_path, 1, done.append)
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "pretrain").iterdir()}
    np.testing.assert_array_equal(photos.of(rows)[2], photos.pixels[1][0])


def test_batches_go_on_where_they_stopped() -> None:
    def taken(start: int, n: int) -> list[list[int]]:
        source = batches(5, 23, 4, start)
        return [next(source).tolist() for _ in range(n)]

    whole = taken(0, 12)
    for start in (1, 5, 7):
        assert taken(start, 12 - start) == whole[start:]
    epoch = [i for batch in whole[:5] for i in batch]
    assert len(set(epoch)) == 20
    assert whole[:5] != whole[5:10]
    with pytest.raises(ConfigError, match="fewer than a batch"):
        next(batches(0, 3, 4, 0))


def test_varied_photos_are_shifted_and_relit() -> None:
    grid = np.zeros((40, 16, 16, 3), np.uint8)
    grid[:, 8, 8] = 255
    out = varied(grid, np.random.default_rng(0), (0, 0, 0), (1, 1, 1)).numpy()
    assert out.shape == (40, 3, 16, 16)
    assert 0 <= out.min() <= out.max() <= 1
    places = [np.unravel_index(int(o[0].argmax()), (16, 16)) for o in out]
    assert {abs(r - 8) for r, _ in places} | {abs(c - 8) for _, c in places} == set(range(5))


def test_trimmed_texts_are_encoded_as_open_clip_does(tokenizer: Any) -> None:
    model, _ = pretrain.new_model(1)
    tokens = tokenizer(["", "a street", "!!! odd", "a view of " * 60, "red kerbs and a palm", "Oak Street"])
    with torch.no_grad():
        torch.testing.assert_close(encode_trimmed(model, tokens), model.encode_text(tokens), rtol=1e-4, atol=1e-5)


def test_loss_against_sums() -> None:
    rng = np.random.default_rng(1)
    images, texts = rng.normal(size=(5, 7)), rng.normal(size=(5, 7))
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, texts)]
    logits = 3 * unit[0] @ unit[1].T
    expected = 0.0
    for i in range(5):
        expected -= np.log(np.exp(logits[i, i]) / np.exp(logits[i]).sum()) / 10
        expected -= np.log(np.exp(logits[i, i]) / np.exp(logits[:, i]).sum()) / 10
    found = contrast_loss(torch.tensor(images), torch.tensor(texts), torch.tensor(3.0))
    assert float(found) == pytest.approx(expected)


class Stopped(Exception):  # noqa: N818
    pass


def test_a_stopped_run_ends_as_one_straight_through(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = pretrain.pretrain(RECIPE, photos, tmp_path / "a.safetensors", tmp_path / "a", NoReport())
    real, calls = pretrain._step, list[int]()

    def stops(*arguments: Any) -> float:
        if len(calls) == 3:
            raise Stopped
        calls.append(1)
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(pretrain, "_step", stops)
        with pytest.raises(Stopped):
            pretrain.pretrain(RECIPE, photos, tmp_path / "b.safetensors", tmp_path / "b", NoReport())
    assert not (tmp_path / "b.safetensors").exists()
    (checkpoint,) = (tmp_path / "b" / "pretrain").glob("*.safetensors")
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match="is damaged: the SHA-256 of its contents"):
        pretrain.pretrain(RECIPE, photos, tmp_path / "b.safetensors", tmp_path / "b", NoReport())
    checkpoint.write_bytes(whole)
    resumed = pretrain.pretrain(RECIPE, photos, tmp_path / "b.safetensors", tmp_path / "b", NoReport())
    first, second = load_file(tmp_path / "a.safetensors"), load_file(tmp_path / "b.safetensors")
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], rtol=0, atol=1e-6, msg=name)
    assert resumed["steps"] == straight["steps"] == 6
    assert resumed["loss"] == pytest.approx(straight["loss"], abs=1e-3)
    assert not checkpoint.exists()
    assert load_encoder(f"openclip:tiny-street/{tmp_path / 'a.safetensors'}", "cpu").card.dim == 128


def test_the_loss_falls(photos: Photos, tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=40, batch=16, rate=1e-3, mix=(1.0, 0.0, 0.0))
    losses: list[float] = []
    real = pretrain._step

    def noted(*arguments: Any) -> float:
        losses.append(real(*arguments))
        return losses[-1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pretrain, "_step", noted)
        pretrain.pretrain(recipe, photos, tmp_path / "w.safetensors", tmp_path, NoReport())
    assert np.mean(losses[-8:]) < np.mean(losses[:4]) - 0.2


def test_the_clock_ends_a_run(photos: Photos, tmp_path: Path) -> None:
    facts = pretrain.pretrain(
        replace(RECIPE, steps=None, minutes=0.02), photos, tmp_path / "w.safetensors", tmp_path, NoReport()
    )
    assert facts["steps"] >= 1
    assert facts["seconds"] < 20


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"minutes": 0}, {"minutes": float("nan")}, {"batch": 1}, {"mix": (1, 1, 0)}, {"mix": (2, -1, 0)}],
)
def test_recipes_that_train_nothing(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Recipe(**wrong)


def test_the_command_writes_weights_facts_and_merges(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small = partial(PhotoPlan, blocks=(1, 3), places=2, views=2)
    monkeypatch.setattr(pretrain_photos, "PhotoPlan", small)
    out, merges = tmp_path / "w.safetensors", tmp_path / "m.txt.gz"
    command = ["pretrain", "tiny", "--steps", "2", "--cities", "1", "--batch", "4", "--workers", "1"]
    told = CliRunner().invoke(app, [*command, "--out", str(out), "--merges", str(merges), "--cache", str(tmp_path)])
    assert told.exit_code == 0, told.output
    assert "2 steps" in told.output
    facts = read_json(tmp_path / "w.safetensors.json")
    assert (facts["steps"], facts["photos"], facts["recipe"]["plan"]["cities"]) == (2, 8, 1)
    assert SimpleTokenizer(bpe_path=str(merges)).bpe_ranks
    assert load_encoder(f"openclip:tiny-street/{out}", "cpu").card.dim == 128


@pytest.mark.parametrize(
    "arguments", [["--mix", "1,2"], ["--mix", "a,b,c"], ["--out", "w.pt"], ["--steps", "0"], ["--minutes", "-1"]]
)
def test_the_command_refuses(arguments: list[str]) -> None:
    assert isinstance(CliRunner().invoke(app, ["pretrain", "tiny", *arguments]).exception, ConfigError)
