"""AddressCLIP: what is encoded, what is trained, and what it does with odd datasets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ial_bench.datasets.dataset import Dataset
from ial_bench.encoders.towers import ClipTowers
from ial_bench.engine.features import FeatureStore
from ial_bench.errors import ConfigError, SkipMethod
from ial_bench.method import RunContext
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.settings import config_from_text
from ial_bench.testing import CHECK_BACKBONE, check_method, make_tiny_city
from ial_bench.training.sampler import BatchSampler
from ial_methods.addressclip import task as addressclip_task
from ial_methods.addressclip.losses import info_nce
from ial_methods.addressclip.method import AddressClip, ClipAddress
from ial_methods.addressclip.task import AddressClipTask, TokenRows

SHORT = {"backbone": CHECK_BACKBONE, "epochs": "2", "batch_size": "8"}


def make(folder: Path, seed: int = 0, cls: type[AddressClip] = AddressClip, **settings: str) -> AddressClip:
    report = NoReport()
    store = FeatureStore(folder / "cache", "cpu", 8, 0, report)
    context = RunContext(seed, "cpu", store, report, 8)
    return cls(config_from_text(cls, {**SHORT, **settings}), context)


def lines(method: AddressClip) -> list[str]:
    report: Any = method.context.report
    return list(report.lines)


def fit(method: AddressClip, data: Dataset) -> AddressClip:
    method.prepare()
    method.fit(data.split("train"), data.split("val"))
    method.index(data.candidates)
    return method


def task_of(method: AddressClip, data: Dataset) -> AddressClipTask:
    return method.task(data.split("train"), data.split("val"))


def change(data: Dataset, folder: Path, column: str, values: list[Any]) -> Dataset:
    """A copy of the dataset's tables with another column, over the same images."""
    folder.mkdir()
    for file in data.folder.iterdir():
        (folder / file.name).symlink_to(file) if file.is_dir() else (folder / file.name).write_bytes(file.read_bytes())
    table = pq.read_table(folder / "photos.parquet")
    place = table.schema.get_field_index(column)
    field = table.schema.field(column)
    pq.write_table(table.set_column(place, field, pa.array(values, field.type)), folder / "photos.parquet")
    return Dataset(folder)


@pytest.mark.parametrize("cls", [AddressClip, ClipAddress])
def test_the_contract_is_kept(cls: type[AddressClip]) -> None:
    check_method(cls, cls.Config(backbone=CHECK_BACKBONE, epochs=2, batch_size=8))


def test_losses_are_those_of_the_naive_form(tiny_city: Dataset, tmp_path: Path) -> None:
    """Each text is encoded once and cut to its length; here every one is, in full, for every photo."""
    method = make(tmp_path, batch_size="12")
    task = task_of(method, tiny_city)
    train, model = tiny_city.split("train"), method.towers.model
    rows = np.array([0, 1, 5, 9, 12, 20, 21, 30, 33, 40, 41, 47])
    pixels = next(task.inputs([rows], 0))
    parts = task.losses(rows, pixels)

    texts = [tiny_city.candidates.texts[train.labels[r]] for r in rows]
    images = model.encode_image(pixels)
    scale = model.logit_scale.exp()
    address = info_nce(images, model.encode_text(method.towers.tokenize(texts)), scale)
    joined = [f"{train.captions[r]}, {text}" for r, text in zip(rows, texts, strict=True)]
    caption = info_nce(images, model.encode_text(method.towers.tokenize(joined)), scale)
    torch.testing.assert_close(parts["address"], address, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(parts["caption"], caption, rtol=1e-5, atol=1e-6)
    total = 1.0 * parts["address"] + 0.2 * parts["caption"] + 0.8 * parts["geography"]
    torch.testing.assert_close(parts["loss"], total)

    naive = torch.autograd.grad(address + 0.2 * caption, list(model.visual.parameters()), retain_graph=True)
    ours = torch.autograd.grad(parts["address"] + 0.2 * parts["caption"], list(model.visual.parameters()))
    for a, b in zip(ours, naive, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("train", "image", "text"), [("both", 1, 1), ("image", 1, 0), ("text", 0, 1), ("none", 0, 0)])
def test_only_the_chosen_towers_change(tiny_city: Dataset, tmp_path: Path, train: str, image: int, text: int) -> None:
    method = make(tmp_path, train=train)
    before = {n: p.detach().clone() for n, p in method.towers.named_parameters()}
    fit(method, tiny_city)
    moved = {n for n, p in method.towers.named_parameters() if not torch.equal(p, before[n])}
    assert any("visual" in n for n in moved) == bool(image)
    assert any("visual" not in n and "logit_scale" not in n for n in moved) == bool(text)
    assert bool(moved) == (train != "none")
    assert method.parameters().trained == sum(
        before[n].numel() for n, p in before.items() if n in method.trained_state()
    )


def test_neither_tower_trained_is_zero_shot(tiny_city: Dataset, tmp_path: Path) -> None:
    from ial_methods.clip.zero_shot import ClipZeroShot

    method = fit(make(tmp_path, train="none"), tiny_city)
    settings = {"backbone": CHECK_BACKBONE, "templates": '["{address}"]'}
    zero = ClipZeroShot(config_from_text(ClipZeroShot, settings), method.context)
    zero.index(tiny_city.candidates)
    queries = tiny_city.split("query").batch()
    ours, theirs = method.predict(queries, 6), zero.predict(queries, 6)
    np.testing.assert_array_equal(ours.indices, theirs.indices)
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-4, atol=1e-4)


def test_training_is_learning(tiny_city: Dataset, tmp_path: Path) -> None:
    method = fit(make(tmp_path, epochs="12", learning_rate="3e-3", min_scale="1.0"), tiny_city)
    queries = tiny_city.split("query")
    right = (method.predict(queries.batch(), 1).indices[:, 0] == queries.labels).mean()
    assert right > 0.6  # chance is 1 in 6
    losses = [e["losses"]["loss"] for e in method.facts["training"]["epochs"]]
    assert losses[-1] < losses[0]


def test_a_dataset_without_captions_trains_without_their_loss(tiny_city: Dataset, tmp_path: Path) -> None:
    plain = change(tiny_city, tmp_path / "plain", "caption", [""] * len(tiny_city))
    method = fit(make(tmp_path), plain)
    assert any("without L_caption" in line for line in lines(method))
    assert set(method.facts["training"]["epochs"][0]["losses"]) == {"loss", "address", "geography"}
    with pytest.raises(SkipMethod, match="no captions"):
        fit(make(tmp_path, losses="caption"), plain)


def test_captions_that_are_too_long_lose_words_and_not_their_address(tiny_city: Dataset, tmp_path: Path) -> None:
    wordy = change(tiny_city, tmp_path / "wordy", "caption", ["a very long street " * 40] * len(tiny_city))
    method = fit(make(tmp_path), wordy)
    assert method.facts["captions_cut"] == len(wordy.split("train"))
    tokens, cut = method.towers.tokenize_joined(["a very long street " * 40], [wordy.candidates.texts[0]])
    tail = method.towers.tokenize([f", {wordy.candidates.texts[0]}"])
    inner = tail[0, 1 : int(method.towers.ends(tail)[0]) + 1]
    assert cut == 1
    torch.testing.assert_close(tokens[0, -len(inner) :], inner)


def test_captions_become_tokens_once(tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not anew in each step."""
    whole, seen = ClipTowers.tokenize_joined, list[str]()

    def counted(towers: ClipTowers, heads: Sequence[str], tails: Sequence[str]) -> tuple[torch.Tensor, int]:
        seen.extend(heads)
        return whole(towers, heads, tails)

    monkeypatch.setattr(ClipTowers, "tokenize_joined", counted)
    fit(make(tmp_path, epochs="3"), tiny_city)
    assert seen == tiny_city.split("train").captions


@pytest.mark.parametrize("filling", [0, 5])
def test_tokens_are_given_back_as_they_were_made(filling: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts of all lengths, up to those that fill their row; also where what fills a row stands in a text."""
    rng = np.random.default_rng(filling)
    made = np.full((23, 9), filling)
    for i, row in enumerate(made):
        row[: i % 10] = rng.integers(0, 8, i % 10)
    given = torch.from_numpy(made)

    class Towers:
        context_length = 9

        def tokenize_joined(self, heads: list[str], tails: list[str]) -> tuple[torch.Tensor, int]:
            assert tails == [h.upper() for h in heads]
            return given[[int(h[1:]) for h in heads]], sum(int(h[1:]) % 2 for h in heads)

    monkeypatch.setattr(addressclip_task, "_BLOCK", 5)
    towers: Any = Towers()
    heads = [f"h{i}" for i in range(23)]
    rows, cut = TokenRows.joined(towers, heads, [h.upper() for h in heads])
    assert cut == 11
    some = [3, 22, 0, 3, 9, 10]
    assert torch.equal(rows.of(some), given[some])
    assert len(rows.body) < made.size
    assert TokenRows.joined(towers, [], [])[1] == 0


def test_photos_of_one_spot_teach_no_geography(tiny_city: Dataset, tmp_path: Path) -> None:
    spot = change(tiny_city, tmp_path / "spot", "lat", [40.0] * len(tiny_city))
    spot = change(spot, tmp_path / "spot2", "lon", [-80.0] * len(tiny_city))
    for extent in ("batch", "dataset"):
        method = fit(make(tmp_path, geography_extent=extent), spot)
        assert method.facts["training"]["epochs"][-1]["losses"]["geography"] == 0.0
        assert np.isfinite(method.texts).all()


def test_one_address_one_photo_and_addresses_without_photos(tmp_path: Path) -> None:
    one = make_tiny_city(tmp_path / "one", n_addresses=1)
    assert fit(make(tmp_path), one).predict(one.split("query").batch(), 5).indices.shape == (4, 1)
    single = make_tiny_city(tmp_path / "single", train_places=1, views=1, val=False)
    assert len(single.split("train")) == 6
    assert fit(make(tmp_path), single).facts["training"]["best_epoch"] == 2  # without val: the last
    city = make_tiny_city(tmp_path / "city")
    rows = pq.read_table(city.folder / "photos.parquet").to_pydict()
    moved = ["database" if s == "train" and a == 5 else s for s, a in zip(rows["split"], rows["address"], strict=True)]
    unseen = change(city, tmp_path / "unseen", "split", moved)
    assert unseen.split("train").address_counts()[5] == 0
    assert fit(make(tmp_path), unseen).predict(unseen.split("query").batch(), 6).indices.shape[1] == 6


def test_options_reach_the_training(tiny_city: Dataset, tmp_path: Path) -> None:
    verbose = make(tmp_path, address_text="verbose")
    assert verbose.config.address_texts(tiny_city.candidates)[0] == tiny_city.candidates.addresses[0].verbose
    apart = task_of(make(tmp_path, batches="distinct-places"), tiny_city)
    train = tiny_city.split("train")
    for rows in apart.trainer.sampler.epoch(0):
        assert len(np.unique(train.places[rows])) == len(rows)
    assert isinstance(apart.trainer.sampler, BatchSampler)


def test_all_positives_matter_to_captions_alone(tiny_city: Dataset, tmp_path: Path) -> None:
    """Photos of one address have one address text: sharing it out among them changes nothing in L_address."""
    rows = np.array([0, 1, 2, 8, 9, 16, 24, 32])
    train = tiny_city.split("train")
    captions = [f"a house with {i} windows" for i in range(len(tiny_city))]
    city = change(tiny_city, tmp_path / "varied", "caption", captions)
    assert len(np.unique(train.labels[rows])) < len(rows)
    every, one = (task_of(make(tmp_path, positives=p), city) for p in ("all", "one"))
    pixels = next(every.inputs([rows], 0))
    shared, own = every.losses(rows, pixels), one.losses(rows, pixels)
    torch.testing.assert_close(shared["address"], own["address"])
    assert not torch.isclose(shared["caption"], own["caption"])


def test_names_of_losses(tmp_path: Path) -> None:
    assert make(tmp_path, losses="all").config.losses == ("address", "caption", "geography")
    assert make(tmp_path, losses="geography+address").config.losses == ("address", "geography")
    assert make(tmp_path, cls=ClipAddress).config.losses == ("address",)
    with pytest.raises(ConfigError, match="losses"):
        make(tmp_path, losses="address+beauty")
    with pytest.raises(SkipMethod, match="text tower"):
        make(tmp_path, backbone="timm:resnet18").prepare()


@pytest.mark.parametrize("name", ["addressclip", "clip-adapter", "clip-zero-shot", "coop", "maple", "tip-adapter"])
@pytest.mark.parametrize("backbone", ["timm:resnet18", "vpr:cosplace-resnet50-512/random-init"])
def test_encoders_without_texts_are_refused_before_anything_is_encoded(
    name: str, backbone: str, tmp_path: Path
) -> None:
    report = NoReport()
    context = RunContext(0, "cpu", FeatureStore(tmp_path, "cpu", 8, 0, report), report, 8)
    method = Registry().get(name)
    with pytest.raises(SkipMethod, match="text tower"):
        method(config_from_text(method, {"backbone": backbone}), context).prepare()
    assert list(tmp_path.iterdir()) == []
