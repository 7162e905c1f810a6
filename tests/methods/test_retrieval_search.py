"""Retrieval's search: every kind of index against numpy, what its files hold, and what is refused."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from ial_bench import Features, unit_norm
from ial_bench.engine import fitted_methods
from ial_bench.errors import ConfigError, DataError, StorageError
from ial_bench.json_files import read_json
from ial_bench.settings import config_from_text
from ial_bench.testing import CHECK_BACKBONE, check_method
from ial_methods.retrieval import gallery, search
from ial_methods.retrieval.knn import Retrieval
from ial_methods.retrieval.search import IndexSpec, StreamedExact, build_index
from support.retrieval_lab import clustered, fitted, held, unit

N, DIM, CLASSES = 600, 16, 12
KINDS = ("flat", "ivf:16", "ivfpq:8,4", "hnsw:8")
FIXED = {"k_grid": [7], "temperature_grid": [0.05]}


def city(n: int = N, seed: int = 0, name: str = "photos") -> Features:
    x, labels = clustered(n, DIM, CLASSES, seed)
    labels[::17] = -1  # photos whose address is no candidate are not searched
    return held(x, labels, CLASSES, name=f"{name} {seed}")


def gallery_of(*parts: Features) -> tuple[Any, Any]:
    return (
        np.concatenate([unit(p.x[p.labels >= 0]) for p in parts]),
        np.concatenate([p.labels[p.labels >= 0] for p in parts]),
    )


def queries(n: int = 40) -> Any:
    return clustered(n, DIM, CLASSES, seed=77)[0]


def in_order(x: Any, vectors: Any, k: int) -> Any:
    return np.argsort(-(unit(x) @ np.asarray(vectors, np.float64).T), axis=1)[:, :k]


def scores_by_loop(found: Any, labels: Any, k: int, temperature: float) -> Any:
    """Votes and the rest of the list for neighbours [(similarity, row)] of one query, nearest first."""
    scores = np.full(CLASSES, -4.0)
    for similarity, row in reversed(found[:200]):
        scores[labels[row]] = similarity - 2
    weights = np.array([np.exp(s / temperature) for s, _ in found[:k]])
    votes = np.zeros(CLASSES)
    for (_, row), weight in zip(found[:k], weights / weights.sum(), strict=True):
        votes[labels[row]] += weight
    return np.where(votes > 0, votes, scores)


# --- neighbours -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["flat", "ivf:1", "ivf:16", "ivf:200"])
def test_exact_search_is_a_sort(kind: str) -> None:
    """IVF that looks into all its lists is exact."""
    parts, spec = [city(), city(100, 1)], IndexSpec.parse(kind)
    index = build_index(spec, parts, unit_norm)
    search.set_effort(index, spec, nprobe=10**6, ef_search=1)
    vectors, _ = gallery_of(*parts)
    similarity, rows = search.search(index, unit_norm(queries()), 20)
    np.testing.assert_array_equal(rows, in_order(queries(), vectors, 20))
    np.testing.assert_allclose(similarity, -np.sort(-(unit(queries()) @ vectors.T))[:, :20], atol=1e-5)


@pytest.mark.parametrize("nprobe", [1, 3])
def test_ivf_looks_into_the_nearest_lists_alone(nprobe: int) -> None:
    spec = IndexSpec.parse("ivf:16")
    index = build_index(spec, [city()], unit_norm)
    search.set_effort(index, spec, nprobe, 1)
    vectors, _ = gallery_of(city())
    centroids = index.quantizer.reconstruct_n(0, 16)
    home = (vectors @ centroids.T).argmax(axis=1)
    similarity, rows = search.search(index, unit_norm(queries()), 200)
    assert (rows < 0).any()  # the lists hold fewer
    for i, x in enumerate(unit(queries())):
        looked = np.isin(home, np.argsort(-(centroids @ x))[:nprobe])
        expected = [r for r in np.argsort(-(vectors @ x)) if looked[r]][:200]
        assert rows[i][rows[i] >= 0].tolist() == expected
        assert np.isneginf(similarity[i][len(expected) :]).all()


def test_ivfpq_searches_what_its_codes_say() -> None:
    spec = IndexSpec.parse("ivfpq:8,4")
    index = build_index(spec, [city()], unit_norm)
    search.set_effort(index, spec, 8, 1)
    vectors, _ = gallery_of(city())
    index.make_direct_map()
    decoded = index.reconstruct_n(0, index.ntotal).astype(np.float64)
    assert ((decoded - vectors) ** 2).sum() < 0.2 * (vectors**2).sum()
    similarity, rows = search.search(index, unit_norm(queries()), 10)
    np.testing.assert_allclose(similarity, -np.sort(-(unit(queries()) @ decoded.T))[:, :10], atol=1e-5)
    np.testing.assert_allclose(np.einsum("qd,qkd->qk", unit(queries()), decoded[rows]), similarity, atol=1e-5)


def test_hnsw_finds_nearly_all() -> None:
    spec = IndexSpec.parse("hnsw:16")
    index = build_index(spec, [city()], unit_norm)
    search.set_effort(index, spec, 1, ef_search=200)
    vectors, _ = gallery_of(city())
    _, rows = search.search(index, unit_norm(queries()), 10)
    expected = in_order(queries(), vectors, 10)
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows.tolist(), expected.tolist(), strict=True)]) > 0.98


@pytest.mark.parametrize("k", [1, 10, 2000])
def test_exact_search_without_an_index_is_a_sort(monkeypatch: pytest.MonkeyPatch, k: int) -> None:
    monkeypatch.setattr(search, "_EXACT_BLOCK", 90)
    vectors, _ = gallery_of(city())
    similarity, rows = StreamedExact(city(), unit_norm).search(unit_norm(queries()), k)
    every = unit(queries()) @ vectors.T
    np.testing.assert_allclose(similarity, -np.sort(-every)[:, :k], atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(every, rows, axis=1), similarity, atol=1e-5)
    assert all(len(set(row)) == min(k, len(vectors)) for row in rows.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_is_the_same_each_time(kind: str) -> None:
    spec = IndexSpec.parse(kind)
    threads = faiss.omp_get_max_threads()
    once = faiss.serialize_index(build_index(spec, [city()], unit_norm))
    try:
        faiss.omp_set_num_threads(2)
        again = faiss.serialize_index(build_index(spec, [city()], unit_norm))
    finally:
        faiss.omp_set_num_threads(threads)
    np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize("kind", ["ivf:16", "ivfpq:8,4"])
def test_centroids_are_learnt_from_train_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_LEAST_SAMPLE", 300)  # not all of train
    monkeypatch.setattr(search, "_SAMPLE_PER_LIST", 1)
    spec = IndexSpec.parse(kind)
    one, other = (build_index(spec, [city(), city(200, seed)], unit_norm) for seed in (1, 2))
    lists = spec.numbers[0]
    np.testing.assert_array_equal(one.quantizer.reconstruct_n(0, lists), other.quantizer.reconstruct_n(0, lists))
    if kind.startswith("ivfpq"):
        books = [faiss.vector_to_array(i.pq.centroids) for i in (one, other)]
        np.testing.assert_array_equal(*books)


def test_memory_is_taken_once() -> None:
    """Adding in blocks to what was reserved gives the same index as FAISS's own way."""
    ours = build_index(IndexSpec.parse("ivf:8"), [city()], unit_norm)
    theirs = faiss.clone_index(ours)
    theirs.reset()
    theirs.add(unit_norm(city().x[city().labels >= 0]))
    np.testing.assert_array_equal(faiss.serialize_index(ours), faiss.serialize_index(theirs))


# --- the method -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [
    {"index": "ivf:4"}, {"index": "hnsw:4", "rerank": "address"},
    {"index": "ivf:3", "nprobe": 1, "whiten": 3, "rerank": "place"},
])  # fmt: skip
def test_every_kind_keeps_the_contract(settings: dict[str, Any]) -> None:
    small = {"k_grid": "[1, 20]", "temperature_grid": "[0.05]", "backbone": CHECK_BACKBONE}
    check_method(Retrieval, config_from_text(Retrieval, {**small, **{k: str(v) for k, v in settings.items()}}))


@pytest.mark.parametrize("nprobe", [1, 2, 16])
def test_scores_where_few_neighbours_are_found(tmp_path: Path, nprobe: int) -> None:
    train, val = city(), city(100, 1)
    method = fitted(tmp_path, train, val, index="ivf:16", nprobe=nprobe, **FIXED)
    vectors, labels = gallery_of(train, val)
    centroids = method.gallery.index.quantizer.reconstruct_n(0, 16)
    home = (vectors @ centroids.T).argmax(axis=1)
    scores = method.score_features(queries())
    for i, x in enumerate(unit(queries())):
        looked = np.flatnonzero(np.isin(home, np.argsort(-(centroids @ x))[:nprobe]))
        found = sorted(((float(vectors[r] @ x), int(r)) for r in looked), reverse=True)
        np.testing.assert_allclose(scores[i], scores_by_loop(found, labels, 7, 0.05), rtol=1e-3, atol=1e-5)


def test_a_query_whose_lists_are_empty_is_answered(tmp_path: Path) -> None:
    """Nothing is near: no address is better than another."""
    method = fitted(tmp_path, city(), city(0), index="ivf:2", nprobe=1, **FIXED)
    method.gallery.index.reset()
    method.gallery.index.add(method.gallery.index.quantizer.reconstruct(0)[None])
    far = method.gallery.index.quantizer.reconstruct(1)[None]
    top = method.predict_features(far, 3)
    assert top.indices.tolist() == [[0, 1, 2]]
    assert top.scores.tolist() == [[-4.0, -4.0, -4.0]]


@pytest.mark.parametrize("kind", KINDS)
def test_k_and_temperature_do_not_depend_on_the_index(tmp_path: Path, kind: str) -> None:
    train, val = city(), city(200, 1)
    found = fitted(tmp_path, train, val, index=kind, nprobe=1, k_grid=[1, 5, 50], temperature_grid=[0.02, 0.2])
    usual = fitted(tmp_path, train, val, k_grid=[1, 5, 50], temperature_grid=[0.02, 0.2])
    assert (found.k, found.temperature) == (usual.k, usual.temperature)
    assert found.facts["val_ssa1"] == usual.facts["val_ssa1"]


@pytest.mark.parametrize("with_val", [True, False])
def test_recall_by_brute_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_val: bool) -> None:
    """Val photos search the train photos; without val, train photos search the others."""
    monkeypatch.setattr(search, "_QUERIES", 10**6)  # all of them
    train, val = city(), city(100 if with_val else 0, 1)
    method = fitted(tmp_path, train, val, index="ivf:16", nprobe=1, **FIXED)
    vectors, _ = gallery_of(train)
    centroids = method.gallery.index.quantizer.reconstruct_n(0, 16)
    home = (vectors @ centroids.T).argmax(axis=1)
    shares = []
    for own, x in enumerate(unit(val.x) if with_val else vectors):
        order = [r for r in np.argsort(-(vectors @ x)) if with_val or r != own]
        looked = [r for r in order if home[r] == (centroids @ x).argmax()]
        shares.append(len(set(order[:10]) & set(looked[:10])) / 10)
    assert method.facts["recall_at_10"] == pytest.approx(np.mean(shares), abs=1e-3)
    assert 0.2 < np.mean(shares) < 0.99
    assert fitted(tmp_path, train, val, **FIXED).facts["recall_at_10"] == 1.0


def test_recall_is_measured_on_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_QUERIES", 50)
    probes = [search.Probe.sample(city(), part, StreamedExact(city(), unit_norm), unit_norm) for part in (city(0),) * 2]
    assert len(probes[0].x) == 50
    np.testing.assert_array_equal(probes[0].nearest, probes[1].nearest)


# --- settings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ivff:3", "did you mean 'ivf'"), ("HNSW:3", "did you mean 'hnsw'"), ("flatt", "did you mean 'flat'"),
        ("annoy", "there are flat, ivf:LISTS"), ("ivf", "none of flat, ivf:lists"), ("ivf:0", "at least 1"),
        ("ivf:-3", "whole numbers"), ("ivf:1.5", "whole numbers"), ("ivf: 8", "whole numbers"), ("ivf:1,2", "none of"),
        ("ivfpq:8", "none of"), ("hnsw:1", "at least 2"), ("flat:1", "none of"), ("", "unknown kind"),
    ],
)  # fmt: skip
def test_an_index_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"setting retrieval\.index") as caught:
        config_from_text(Retrieval, {"index": text})
    assert said.lower() in str(caught.value).lower()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("ivf:1000", "1,000 lists needs as many train photos; there are 188"),
        ("ivfpq:4,5", "16 numbers cannot be cut into 5"),
        ("ivfpq:4,4", "256 centroids a byte, from as many train photos; there are 188"),
    ],
)
def test_an_index_that_these_photos_cannot_make_is_refused(tmp_path: Path, kind: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        fitted(tmp_path, city(200), city(0), index=kind, **FIXED)
    assert caught.value.fix


# --- on disk --------------------------------------------------------------------------------------------------


def saved(folder: Path, method: Retrieval) -> Path:
    folder.mkdir()
    fitted_methods.store(method, folder, {})
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_mapped_answer_alike_and_are_as_large_as_told(tmp_path: Path, kind: str) -> None:
    settings = {"index": kind, "nprobe": 2, **FIXED}
    method = fitted(tmp_path, city(), city(100, 1), **settings)
    folder = saved(tmp_path / "state", method)
    loaded = fitted(tmp_path, city(300, 5), city(0), **settings)  # whatever it was before
    fitted_methods.restored(loaded, folder)
    np.testing.assert_array_equal(loaded.score_features(queries()), method.score_features(queries()))
    assert loaded.facts == method.facts
    assert loaded.storage_bytes() == method.storage_bytes()
    told = search.index_bytes(method.gallery.index, method.spec)
    on_disk = (folder / "gallery.faiss").stat().st_size
    assert 0 < on_disk - told < 600  # FAISS's headers
    if sys.platform == "linux":
        assert str(folder / "gallery.faiss") in Path("/proc/self/maps").read_text(encoding="utf-8")


def test_a_flat_gallery_takes_its_features_and_labels(tmp_path: Path) -> None:
    method = fitted(tmp_path, city(), city(100, 1), **FIXED)
    n = len(gallery_of(city(), city(100, 1))[0])
    card = method.context.features.card(CHECK_BACKBONE)
    assert method.storage_bytes() == n * DIM * 4 + n * 4 + card.image_bytes


def test_an_index_of_other_features_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = fitted(tmp_path, city(), city(0), **FIXED)
    ours = saved(tmp_path / "ours", method)
    theirs = saved(tmp_path / "theirs", fitted(tmp_path, city(seed=3), city(0), **FIXED))
    whitened = saved(tmp_path / "whitened", fitted(tmp_path, city(), city(0), whiten=16, **FIXED))

    for other, what in ((theirs, "photos"), (whitened, "transform")):
        mixed = shutil.copytree(ours, tmp_path / f"mixed-{what}")
        for name in (gallery.INDEX, gallery.ABOUT):
            shutil.copy(other / name, mixed / name)
        with pytest.raises(DataError, match=f"made from other features: its {what} is") as caught:
            method.load(mixed)
        about = [read_json(f / gallery.ABOUT)["features"][what][:16] for f in (ours, other)]
        assert all(digest in caught.value.problem for digest in about)

    monkeypatch.setattr(Retrieval, "_encoder_digest", "another encoder's")
    with pytest.raises(DataError, match=r"its encoder is .* but another encoder"):
        method.load(ours)


def test_a_damaged_index_is_refused(tmp_path: Path) -> None:
    method = fitted(tmp_path, city(), city(0), **FIXED)
    folder = saved(tmp_path / "state", method)
    other = build_index(IndexSpec.parse("flat"), [city(50)], unit_norm)
    faiss.write_index(other, str(folder / gallery.INDEX))
    with pytest.raises(DataError, match="holds 47 photos instead of 564"):
        method.load(folder)
    (folder / gallery.INDEX).write_bytes(b"IxFI")
    with pytest.raises(DataError, match="cannot be read"):
        method.load(folder)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    method = fitted(tmp_path, city(), city(0), **FIXED)
    with pytest.raises(StorageError, match=r"nowhere.gallery\.faiss.*No such file"):
        method.save(tmp_path / "nowhere")
