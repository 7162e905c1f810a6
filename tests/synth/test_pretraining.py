"""Pretraining tiny-street from nothing: merges of its tokenizer, photos, texts, and a run that was stopped."""

from __future__ import annotations

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
from ial_bench.encoders.load import load_encoder
from ial_bench.encoders.openclip import own_model
from ial_bench.errors import ConfigError, DataError
from ial_bench.json_files import read_json
from ial_bench.progress import NoReport
from ial_bench.synth import pretraining
from ial_bench.synth.options import PRESETS, PRETRAIN_SEEDS
from ial_bench.synth.photos import PhotoPlan, Photos, make_photos
from ial_bench.synth.pretraining import (
    Recipe,
    batches,
    contrast_loss,
    encode_trimmed,
    learn_merges,
    varied,
    vocabulary_size,
    words_of,
    write_merges,
)

PLAN = PhotoPlan(cities=2, blocks=(1, 3), places=6, views=4, seed=3)
RECIPE = Recipe(plan=PLAN, steps=6, batch=8, warm_up=2, rate=3e-4, mix=(0.6, 0.25, 0.15))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return own_model("tiny-street")[1]


# --- the tokenizer's merges ---------------------------------------------------------------------------------


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
    assert learn_merges(words, n) == slow_merges(words, n)


def test_words_are_cut_as_the_tokenizer_does() -> None:
    words = words_of(["A b&amp;b, é2", "b"])
    assert words == {("a</w>",): 1, ("b</w>",): 3, ("&</w>",): 1, (",</w>",): 1, ("Ã", "©</w>"): 1, ("2</w>",): 1}


def test_merges_are_read_back_by_open_clip(tmp_path: Path) -> None:
    merges = learn_merges(words_of(["the old mill on the hill", "mill hill"] * 3), 12)
    write_merges(tmp_path / "m.txt.gz", merges)
    first = (tmp_path / "m.txt.gz").read_bytes()
    read = SimpleTokenizer(bpe_path=str(tmp_path / "m.txt.gz"))
    assert list(read.bpe_ranks) == merges
    assert read.vocab_size == vocabulary_size(len(merges))
    assert len(read.encode("mill hill")) == 2
    write_merges(tmp_path / "m.txt.gz", merges)
    assert (tmp_path / "m.txt.gz").read_bytes() == first


# --- photos, texts and runs ----------------------------------------------------------------------------------


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
    model, _ = pretraining.new_model(1)
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
    straight = pretraining.pretrain(RECIPE, photos, tmp_path / "a.safetensors", tmp_path / "a", NoReport())
    real, calls = pretraining._step, list[int]()

    def stops(*arguments: Any) -> float:
        if len(calls) == 3:
            raise Stopped
        calls.append(1)
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(pretraining, "_step", stops)
        with pytest.raises(Stopped):
            pretraining.pretrain(RECIPE, photos, tmp_path / "b.safetensors", tmp_path / "b", NoReport())
    assert not (tmp_path / "b.safetensors").exists()
    (checkpoint,) = (tmp_path / "b" / "pretrain").glob("*.safetensors")
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match="is damaged: the SHA-256 of its contents"):
        pretraining.pretrain(RECIPE, photos, tmp_path / "b.safetensors", tmp_path / "b", NoReport())
    checkpoint.write_bytes(whole)
    resumed = pretraining.pretrain(RECIPE, photos, tmp_path / "b.safetensors", tmp_path / "b", NoReport())
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
    real = pretraining._step

    def noted(*arguments: Any) -> float:
        losses.append(real(*arguments))
        return losses[-1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pretraining, "_step", noted)
        pretraining.pretrain(recipe, photos, tmp_path / "w.safetensors", tmp_path, NoReport())
    assert np.mean(losses[-8:]) < np.mean(losses[:4]) - 0.2


def test_the_clock_ends_a_run(photos: Photos, tmp_path: Path) -> None:
    facts = pretraining.pretrain(
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
    monkeypatch.setattr("ial_bench.synth.photos.PhotoPlan", small)
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
