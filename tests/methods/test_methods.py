"""The built-in methods against independent computations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import pytest
import torch

from ial_bench import ImageBatch, Photos, RunContext, TopK
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.importing.released import ReleasedOptions, import_released
from ial_bench.engine.features import FeatureStore
from ial_bench.errors import DataError
from ial_bench.frozen import Features
from ial_bench.geo.points import haversine_m
from ial_bench.method import Method
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.settings import config_from_text
from ial_bench.testing import CHECK_BACKBONE, check_method, make_tiny_city

BUILT_IN = ("clip-zero-shot", "gps-oracle", "linear-probe", "majority", "random", "retrieval")


def make(name: str, folder: Path, seed: int = 0, **settings: str) -> Any:
    method = Registry().get(name)
    if "backbone" in method.Config.model_fields:
        settings.setdefault("backbone", CHECK_BACKBONE)
    store = FeatureStore(folder, "cpu", 8, 0, NoReport())
    return method(config_from_text(method, settings), RunContext(seed, "cpu", store, NoReport(), 8))


def fitted(name: str, folder: Path, data: Dataset, seed: int = 0, **settings: str) -> Any:
    method = make(name, folder, seed, **settings)
    method.prepare()
    method.fit(data.split("train"), data.split("val"))
    method.index(data.candidates)
    return method


def ask(method: Method, data: Dataset, k: int = 10) -> TopK:
    return method.predict(data.split("query").batch(oracle=method.info.oracle), k)


@pytest.mark.parametrize(("name", "part"), [("addressclip", "towers"), ("retrieval-tuned", "tower")])
def test_a_trained_tower_that_gives_nan_answers_nothing(
    name: str, part: str, tmp_path: Path, tiny_city: Dataset
) -> None:
    """Neither for dataset photos nor for those that are asked about; the photo is named."""
    method, queries = make(name, tmp_path), tiny_city.split("query")
    projection = next(p for n, p in getattr(method, part).named_parameters() if n.endswith("visual.proj"))
    with torch.no_grad():
        projection[0, 0] = float("nan")
    if part == "towers":
        method.index(tiny_city.candidates)
    asked = slice(2, 4)
    answers: list[Callable[[], object]] = [
        lambda: method.predict(queries.batch(asked), 3),
        lambda: photo_features(method, queries.part(asked)),
    ]
    for answer in answers:
        with pytest.raises(DataError, match=f"as {name} trained it gives features of .* that are NaN") as caught:
            answer()
        assert str(queries.path(2)) in caught.value.problem


def photo_features(method: Any, photos: Photos) -> Any:
    return method.features(photos) if hasattr(method, "features") else list(method.photo_features(photos))


class FixedFeatures(Features):
    """Features and labels given as arrays."""

    def __init__(self, x: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], n_candidates: int) -> None:
        class Held:
            candidates = range(n_candidates)

            def __init__(self) -> None:
                self.labels = labels

        held: Any = Held()
        super().__init__(x, held)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_method_keeps_the_contract(name: str) -> None:
    method = Registry().get(name)
    if name == "linear-probe":  # the search for C has tests of its own
        check_method(method, config_from_text(method, {"backbone": CHECK_BACKBONE, "c": "0.5"}))
    else:
        check_method(method)


# --- baselines, by hand and on real photographs ---------------------------------------------------------------


@pytest.fixture(scope="module")
def city(cambridge: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("cambridge")
    annotations = cambridge / "annotations"
    options = ReleasedOptions(
        annotations, cambridge, "cambridge", out, annotations / "coords.csv", "31N", val_fraction=0.1
    )
    import_released(options)
    return Dataset(out)


def test_majority_by_hand(city: Dataset, tmp_path: Path) -> None:
    tally: dict[str, int] = {}
    photos = city.split("train", "val")
    for row in photos.address_rows:
        text = city.addresses[row].text
        tally[text] = tally.get(text, 0) + 1
    expected = sorted(tally, key=lambda t: (-tally[t], t))[:5]
    assert tally["Trinity Lane, City Centre (Garret Hostel Lane)"] == 128  # counted in the annotation itself
    assert expected[0] == "Trinity Lane, City Centre (Garret Hostel Lane)"
    top = ask(fitted("majority", tmp_path, city), city, 5)
    assert {tuple(row) for row in top.indices.tolist()} == {tuple(city.candidates.texts.index(t) for t in expected)}
    queries = city.split("query")
    assert (top.indices[:, 0] == queries.labels).mean() == pytest.approx(40 / 308)


def test_gps_oracle_by_brute_force(city: Dataset, tmp_path: Path) -> None:
    top = ask(fitted("gps-oracle", tmp_path, city), city, 27)
    train, queries = city.split("train", "val"), city.split("query")
    metres = haversine_m(queries.positions[:, None, :], train.positions[None, :, :])
    nearest = np.stack([metres[:, train.labels == c].min(axis=1) for c in range(27)], axis=1)
    np.testing.assert_allclose(-top.scores, np.sort(nearest, axis=1), rtol=1e-4, atol=0.01)
    np.testing.assert_allclose(
        np.take_along_axis(nearest, top.indices.astype(np.int64), axis=1), -top.scores, rtol=1e-4, atol=0.01
    )


@pytest.mark.parametrize("k", [1, 2, 5, 6])
def test_gps_oracle_finds_the_nearest_at_any_k(tmp_path: Path, k: int) -> None:
    """Many places of one address around the query must not hide the others."""
    data = make_tiny_city(tmp_path / "city", train_places=60, views=1)
    method = fitted("gps-oracle", tmp_path, data)
    top, everything = ask(method, data, k), ask(method, data, 6)
    np.testing.assert_array_equal(top.indices, everything.indices[:, :k])


def test_random_is_uniform_and_depends_on_photo_and_seed_alone(tmp_path: Path, tiny_city: Dataset) -> None:
    method = fitted("random", tmp_path, tiny_city)
    keys = np.arange(6000, dtype=np.uint64)
    batch = ImageBatch(lambda _: np.zeros((1, 1, 3), np.uint8), keys)
    top = method.predict(batch, 6)
    counts = np.stack([np.bincount(top.indices[:, place], minlength=6) for place in range(6)])
    # 36 cells of 6000 / 6 draws: chi-squared with 25 degrees of freedom is under 60 with probability 0.9999.
    assert ((counts - 1000) ** 2 / 1000).sum() < 60
    backwards = method.predict(ImageBatch(lambda _: np.zeros((1, 1, 3), np.uint8), keys[::-1].copy()), 6)
    np.testing.assert_array_equal(backwards.indices[::-1], top.indices)
    other = fitted("random", tmp_path, tiny_city, seed=1).predict(batch, 6)
    assert (other.indices == top.indices).all(axis=1).mean() < 0.01


# --- zero-shot ------------------------------------------------------------------------------------------------


def test_zero_shot_is_clip_as_published(tiny_city: Dataset, tmp_path: Path) -> None:
    """Against open_clip used directly, photo by photo, template by template."""
    templates = ["a photo taken at {address}.", "{address}"]
    method = fitted("clip-zero-shot", tmp_path, tiny_city, templates=str(templates).replace("'", '"'))
    encoder = method.context.features.encoder(CHECK_BACKBONE)
    tokenizer = open_clip.get_tokenizer("tiny-check")
    assert tokenizer(["x"]).shape == (1, 77)
    classifier = []
    for text in tiny_city.candidates.texts:
        vectors = [encoder.encode_texts([t.format(address=text)])[0] for t in templates]
        mean = np.mean([v / np.linalg.norm(v) for v in vectors], axis=0)
        classifier.append(mean / np.linalg.norm(mean))
    queries = tiny_city.split("query")
    top = ask(method, tiny_city, 6)
    for i in range(0, len(queries), 5):
        feature = encoder.encode_images(encoder.preprocess(queries.image(i))[None])[0].numpy()
        logits = encoder.logit_scale * np.stack(classifier) @ (feature / np.linalg.norm(feature))
        np.testing.assert_allclose(top.scores[i], np.sort(logits)[::-1], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(logits[top.indices[i]], top.scores[i], rtol=1e-4, atol=1e-4)


def test_zero_shot_keeps_braces_of_an_address() -> None:
    from ial_bench.errors import ConfigError

    with pytest.raises(ConfigError, match=r"lacks \{address\}"):
        config_from_text(Registry().get("clip-zero-shot"), {"templates": '["a street"]'})


def test_zero_shot_needs_a_text_tower(tiny_city: Dataset, tmp_path: Path) -> None:
    from ial_bench import SkipMethod

    with pytest.raises(SkipMethod, match="no text tower"):
        fitted("clip-zero-shot", tmp_path, tiny_city, backbone="timm:test_vit/random-init")


# --- retrieval ------------------------------------------------------------------------------------------------


def votes_by_loop(gallery: Any, labels: Any, query: Any, k: int, temperature: float, n: int) -> Any:
    unit = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    similarity = unit @ (query / np.linalg.norm(query))
    nearest = np.argsort(-similarity)[:k]
    weights = np.exp(similarity[nearest].astype(np.float64) / temperature)
    scores = np.zeros(n)
    for row, weight in zip(nearest, weights / weights.sum(), strict=True):
        scores[labels[row]] += weight
    return scores


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.05), (7, 0.01), (50, 0.2), (1000, 0.1)])
def test_retrieval_by_brute_force(tiny_city: Dataset, tmp_path: Path, k: int, temperature: float) -> None:
    method = fitted("retrieval", tmp_path, tiny_city, k_grid=f"[{k}]", temperature_grid=f"[{temperature}]")
    labelled = tiny_city.split("train", "val")
    gallery = np.asarray(method.context.features.photos(CHECK_BACKBONE, labelled))
    queries = np.asarray(method.context.features.photos(CHECK_BACKBONE, tiny_city.split("query")))
    scores = method.score_features(queries)
    for i in range(len(queries)):
        expected = votes_by_loop(gallery, labelled.labels, queries[i], k, temperature, 6)
        voted = scores[i] > 0
        np.testing.assert_allclose(np.where(voted, scores[i], 0), expected, rtol=1e-3, atol=1e-5)
        # The others follow by their nearest photo.
        similarity = gallery @ queries[i] / np.linalg.norm(gallery, axis=1) / np.linalg.norm(queries[i])
        nearest = np.array([similarity[labelled.labels == c].max() for c in range(6)])
        np.testing.assert_allclose(scores[i][~voted], nearest[~voted] - 2, rtol=1e-4, atol=1e-5)


def test_retrieval_chooses_on_val_what_a_loop_chooses(tiny_city: Dataset, tmp_path: Path) -> None:
    method = fitted("retrieval", tmp_path, tiny_city, k_grid="[1, 3, 20]", temperature_grid="[0.01, 0.3]")
    train, val = tiny_city.split("train"), tiny_city.split("val")
    x, y = (np.asarray(method.context.features.photos(CHECK_BACKBONE, p)) for p in (train, val))
    best = max(
        ((k, t) for k in (1, 3, 20) for t in (0.01, 0.3)),
        key=lambda kt: sum(
            votes_by_loop(x, train.labels, q, kt[0], kt[1], 6).argmax() == label
            for q, label in zip(y, val.labels, strict=True)
        ),
    )
    assert (method.k, method.temperature) == best
    assert len(method.gallery) == len(train) + len(val)  # the final gallery holds both


def test_retrieval_searches_the_database_as_well(tmp_path: Path) -> None:
    """Reference photos that are not for training are part of the gallery, and their addresses are candidates."""
    data = as_database(make_tiny_city(tmp_path / "city"), 5, tmp_path / "with-database")
    method = fitted("retrieval", tmp_path, data)
    assert len(data.split("database")) == 8
    assert len(data.candidates) == 6
    assert len(method.gallery) == len(data.split("train", "val", "database"))
    top = ask(method, data, 1)
    of_it = data.split("query").labels == 5
    assert (top.indices[of_it, 0] == 5).mean() > 0.5


def as_database(data: Dataset, address: int, out: Path) -> Dataset:
    """`data` with the train photos of one address as database photos."""
    import pyarrow.parquet as pq

    from ial_bench.datasets.table import PHOTOS, Description, write_dataset

    columns = pq.read_table(data.folder / PHOTOS).to_pydict()
    columns["split"] = [
        "database" if s == "train" and a == address else s
        for s, a in zip(columns["split"], columns["address"], strict=True)
    ]
    old = data.description
    new = Description("with-database", "", str(data.images_folder), old.bounds)
    write_dataset(out, new, data.addresses, data.verbose_addresses, columns)
    return Dataset(out)


def test_methods_are_given_photos_that_hide_the_dataset(tiny_city: Dataset) -> None:
    photos = tiny_city.split("train")
    assert [n for n in dir(photos) if "dataset" in n and not n.startswith("_")] == []
    batch = tiny_city.split("query").batch()
    assert not any(n in dir(batch) for n in ("labels", "addresses", "paths", "ids", "places"))
    with pytest.raises(PermissionError):
        _ = batch.positions
    assert isinstance(photos, Photos)
