"""Pictures hold what the results say: read back from their artists."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure

from ial_bench.addresses import Address
from ial_bench.datasets.dataset import Dataset
from ial_bench.engine.record import RunRecord
from ial_bench.engine.records import records
from ial_bench.errors import BenchError, ConfigError, DataError
from ial_bench.metrics.confusion import Miss, Nearness
from ial_bench.plots import kinds
from ial_bench.plots.bars import pareto_front
from ial_bench.plots.scene import Scene, drawing, look, save
from ial_bench.report.breakdown import parts
from ial_bench.report.selection import Selected
from support.made_answers import a_run, noisy_scores
from support.made_city import truth_of, write_city
from support.made_records import run_baselines

Scenes = Callable[..., Scene]


@pytest.fixture(scope="module")
def runs(tiny_city: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that every picture but one can be drawn from; read only."""
    results = tmp_path_factory.mktemp("drawn")
    a_run(results, tiny_city, "linear-probe", 0.4, run=1, latency_ms=4, storage=10**7, epochs=5)
    a_run(results, tiny_city, "linear-probe", 0.4, run=2, seed=1, latency_ms=4, storage=10**7, epochs=3)
    a_run(results, tiny_city, "retrieval", 0.6, run=3, latency_ms=2, storage=10**8, neighbours=1)
    a_run(results, tiny_city, "retrieval", 0.9, run=4, latency_ms=3, storage=10**8, neighbours=9)
    a_run(results, tiny_city, "$elsewhere", 2.0, run=5, latency_ms=1, hardware="slow machine")
    return results


@pytest.fixture
def scene(runs: Path) -> Scenes:
    def made(*methods: str, results: Path = runs, **options: Any) -> Scene:
        return Scene(Selected.among(results, "tiny-city", methods, None), bool(methods), **options)

    return made


def draw(kind: str, scene: Scene) -> Figure:
    with drawing():
        return kinds.KINDS[kind](scene)


def lines(picture: Figure, axes: int = 0) -> dict[str, Any]:
    return {str(one.get_label()): one for one in picture.axes[axes].lines}


def test_ssa_k(scene: Scenes, tiny_city: Dataset) -> None:
    picture = draw("ssa-k", scene())
    truth = truth_of(tiny_city)
    order = np.argsort(-noisy_scores(truth, 0.6, 3), axis=1)
    expected = [100 * (order[:, :k] == truth.labels[:, None]).any(axis=1).mean() for k in range(1, 5)]
    line = lines(picture)["retrieval (neighbours=1)"]
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_allclose(line.get_ydata(), expected)
    assert len(lines(picture)) == 4


def test_distance_rises_to_all_queries(scene: Scenes) -> None:
    for line in draw("distance", scene()).axes[0].lines:
        y = np.asarray(line.get_ydata())
        assert len(y) == 200
        assert (np.diff(y) >= 0).all()
        assert y[-1] == 100


def test_latency(scene: Scenes) -> None:
    asked = scene()
    picture = draw("latency", asked)
    points = {
        tuple(offset)
        for c in picture.axes[0].findobj(PathCollection)
        for offset in np.asarray(c.get_offsets())
        if len(offset)
    }
    latencies = sorted(float(x) for x, y in points if np.isfinite([x, y]).all())
    assert latencies == [2.0, 3.0, 4.0]
    assert any("$elsewhere" in note and "machine" in note for note in asked.notes)
    names = [t.get_text() for t in picture.legends[0].get_texts()]
    assert {"linear-probe", "Pareto front", "100 MB"} <= set(names)


def test_pareto_front_against_all_pairs() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = [(float(a), float(b)) for a, b in rng.integers(6, size=(12, 2))]
        beaten = [any(q[0] <= p[0] and q[1] >= p[1] and q != p for q in points) for p in points]
        front = pareto_front(points)
        assert {points[i] for i in front} == {p for p, lost in zip(points, beaten, strict=True) if not lost}
        assert [points[i][0] for i in front] == sorted({points[i][0] for i in front})


def test_parts_have_a_point_for_each_method(tmp_path: Path) -> None:
    """Three addresses with 1, 2 and 5 train photos, in two neighbourhoods; a place is a photo."""
    addresses = [Address("A", "North", ("C",)), Address("B", "North", ("C",)), Address("B", "South", ("D",))]
    row = [0, 1, 1, 2, 2, 2, 2, 2, 0, 0, 1, 1, 2, 2]
    split = ["train"] * 8 + ["query"] * 6
    where = np.array(row) / 1000 + np.arange(14) / 1e5
    city = write_city(
        tmp_path / "city", addresses, split=split, place=[f"{i}" for i in range(14)], address=row, lat=where, lon=where
    )  # fmt: skip
    for run, name in enumerate(("one", "two")):
        a_run(tmp_path / "results", city, name, 0.8, run=run)
    scene = Scene(Selected.among(tmp_path / "results", None, ("one", "two"), None))
    for kind, names in (("neighbourhood", ["North\n(4)", "South\n(2)"]),
                        ("train-photos", ["1\n(2)", "2 to 3\n(2)", "4 to 7\n(2)"])):  # fmt: skip
        axes = draw(kind, scene).axes[0]
        assert [t.get_text() for t in axes.get_xticklabels()] == names
        bars = [c for c in axes.containers if isinstance(c, ErrorbarContainer)]
        assert [b.get_label() for b in bars] == ["one", "two"]
        for bar, expected in zip(
            bars, zip(*(p.estimates for p in parts(scene.selected, kind, "SSA-1")), strict=True), strict=True
        ):
            np.testing.assert_allclose(
                np.asarray(bar.lines[0].get_ydata(), dtype=float), [100 * e.value for e in expected]
            )
    with pytest.raises(DataError, match="one part by heading: N"):
        draw("heading", scene)


def test_loss_is_the_mean_over_seeds_that_got_so_far(scene: Scenes) -> None:
    picture = draw("loss", scene("linear-probe", "$elsewhere"))
    terms = lines(picture)
    assert set(terms) == {"loss", "address"}  # one method tells of a training: all its terms
    np.testing.assert_allclose(terms["loss"].get_ydata(), [2, 1, 2 / 3, 0.5, 0.4])
    np.testing.assert_allclose(lines(picture, 1)["linear-probe"].get_ydata(), [10, 20, 30, 40, 50])
    with pytest.raises(DataError, match="no record tells of a training"):
        draw("loss", scene("$elsewhere"))


def test_ablation_has_a_bar_for_each_configuration(scene: Scenes) -> None:
    picture = draw("ablation", scene())
    bars = [c for c in picture.axes[0].containers if isinstance(c, BarContainer)]
    group = [g for g in scene().groups if g.method == "retrieval"]
    values = [g.runs[0].metrics.accuracy["SSA-1"].value for g in group if g.runs[0].metrics]
    assert [b.patches[0].get_width() for b in bars] == pytest.approx([100 * v for v in values])
    assert [t.get_text() for t in picture.axes[0].get_yticklabels()] == [g.title for g in group]


def test_coverage_joins_datasets_of_the_same_queries(tiny_city: Dataset, tmp_path: Path) -> None:
    fewer = _with_fewer_photos(tiny_city, tmp_path / "fewer")
    results = tmp_path / "results"
    for dataset in (tiny_city, fewer):
        a_run(results, dataset, "retrieval", 0.5, run=1)
    asked = Scene(Selected.among(results, "tiny-city", (), None))
    picture = draw("coverage", asked)
    (bars,) = [c for c in picture.axes[0].containers if isinstance(c, ErrorbarContainer)]
    n = len(tiny_city.candidates)
    expected = sorted([len(fewer.split("train")) / n, len(tiny_city.split("train")) / n])
    np.testing.assert_allclose(np.asarray(bars.lines[0].get_xdata(), dtype=float), expected)
    assert asked.notes == ["datasets: fewer, tiny-city"]


def _with_fewer_photos(city: Dataset, folder: Path) -> Dataset:
    """Its queries, with one train photo an address."""
    parts = {name: city.split(name) for name in ("train", "database", "query")}
    split, place, address, where = [], [], [], []
    for name, photos in parts.items():
        seen: set[int] = set()
        for i in range(len(photos)):
            row = int(photos.address_rows[i])
            if name == "train" and row in seen:
                continue
            seen.add(row)
            split.append(name)
            place.append(f"{name}-{photos.places[i]}")
            address.append(row)
            where.append(photos.positions[i])
    lat, lon = np.array(where).T
    return write_city(
        folder, city.addresses, split=split, place=place, address=address, lat=lat, lon=lon, name="fewer"
    )  # fmt: skip


def test_reliability_has_two_charts_where_probabilities_are_known(scene: Scenes) -> None:
    both = draw("reliability", scene(logits=frozenset({"linear-probe"})))
    assert len(both.axes) == 2
    assert set(lines(both)) == {"_calibrated", "linear-probe"}
    assert len(lines(both, 1)) == 4
    none = scene()
    assert len(draw("reliability", none).axes) == 1
    assert any("no ECE" in note for note in none.notes)


def test_map_counts_right_near_and_wrong(runs: Path, scene: Scenes, tiny_city: Dataset) -> None:
    (nine,) = [
        r.run_id for _, r in records(runs) if isinstance(r, RunRecord) and r.method.config == {"neighbours": 9}
    ]  # fmt: skip
    asked = scene(nine, dataset=tiny_city)
    picture = draw("map", asked)
    truth = truth_of(tiny_city)
    answered = truth.candidate_rows[noisy_scores(truth, 0.9, 4).argmax(axis=1)]
    misses = Nearness.of(truth.addresses).misses(answered, truth.address_rows)
    counts = [int((misses == Miss.RIGHT).sum()), int((misses == Miss.NEXT).sum())]
    counts.append(len(truth) - sum(counts))
    labelled = {str(c.get_label()): len(np.asarray(c.get_offsets())) for c in picture.axes[0].collections}
    for word, count in zip(("right", "near", "wrong"), counts, strict=True):
        assert labelled[f"{word} ({count})"] == count
    streets = tiny_city.streets
    if streets is None:
        assert any("centroids" in note for note in asked.notes)
    without = replace(asked, dataset=None, notes=[])
    draw("map", without)
    assert any("centroids" in note for note in without.notes)


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_files_are_the_same_bytes_every_time(scene: Scenes, tmp_path: Path, form: str) -> None:
    files = [tmp_path / f"{i}.{form}" for i in (1, 2)]
    for file in files:
        save(draw("ablation", scene()), file)
    first, second = (f.read_bytes() for f in files)
    assert first == second
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert first.startswith(starts[form])
    if form == "svg":
        text = first.decode()
        assert "retrieval (neighbours=1)" in text  # text is text
        assert not re.search(r"<dc:date>", text)
    if form == "pdf":
        assert b"/CreationDate" not in first


def test_looks_differ() -> None:
    assert len({look(i)[:2] for i in range(88)}) == 88
    assert len({look(i).hatch for i in range(8)}) == 8


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"ial-bench\[plot\]"), drawing():
        pass


def test_oracles_alone_make_no_chart(tiny_city: Dataset, tmp_path: Path) -> None:
    run_baselines(tiny_city, tmp_path, ["gps-oracle"])
    with pytest.raises(BenchError, match="oracles"):
        draw("ssa-k", Scene(Selected.among(tmp_path / "results", None, (), None)))
