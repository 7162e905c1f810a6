"""Datasets made of others: a share of the places, and several cities as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ial_bench.cli.main import app
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.derive import join, take_places
from ial_bench.datasets.photos import Photos
from ial_bench.datasets.verify import verify
from ial_bench.errors import ConfigError
from support.paper_releases import pitts_release, sf_release


@pytest.fixture(scope="module")
def cities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset]:
    """Small releases in the layouts of Pitts-IAL and SF-IAL-Base."""
    root = tmp_path_factory.mktemp("cities")
    found = []
    for name, release in (("pitts-ial", pitts_release(root / "p")), ("sf-ial-base", sf_release(root / "s"))):
        if name == "sf-ial-base":
            for records in release.records.values():
                for value in records.values():
                    value[1:] = [text.replace("Avenue", "Boulevard").replace("Street", "Way") for text in value[1:]]
        mats = ["--mats", str(root / "p" / "mats")] if name == "pitts-ial" else []
        own = f"small-{name}"
        command = ["data", "import", name, "--name", own, *release.arguments, *mats, "--out", str(root / own)]
        CliRunner().invoke(app, command, catch_exceptions=False)
        found.append(Dataset(root / own))
    return found[0], found[1]


def photos_of(data: Dataset) -> dict[str, tuple[object, ...]]:
    """Everything about each photo but its split, by id."""
    photos = Photos(data, np.arange(len(data)))
    texts = [data.addresses[row].text for row in photos.address_rows]
    places = data.texts("place_id").to_pylist()
    files = [photos.path(i).resolve() for i in range(len(photos))]
    return {
        photo_id: (text, place, file, *position, caption)
        for photo_id, text, place, file, position, caption in zip(
            photos.ids, texts, places, files, photos.positions.tolist(), photos.captions, strict=True
        )
    }


class TestSubset:
    @pytest.mark.parametrize("coverage", [0.125, 0.5, 1.0])
    def test_keeps_whole_places_queries_and_candidates(
        self, cities: tuple[Dataset, Dataset], tmp_path: Path, coverage: float
    ) -> None:
        whole = cities[0]
        part = take_places(whole, coverage, 0, "part", tmp_path / "part")
        assert part.split("query").ids == whole.split("query").ids
        assert part.candidates.texts == whole.candidates.texts
        everything, kept = photos_of(whole), photos_of(part)
        assert kept == {photo_id: everything[photo_id] for photo_id in kept}
        for split in ("train", "val"):
            mine, all_of_it = part.split(split), whole.split(split)
            places = {everything[i][1] for i in mine.ids}
            assert mine.ids == [i for i in all_of_it.ids if everything[i][1] in places]
        n_places = len({everything[i][1] for i in whole.split("train").ids})
        n_kept = len({everything[i][1] for i in part.split("train").ids})
        assert n_kept == max(round(coverage * n_places + 0.499), len(part.candidates))
        assert verify(part, quick=True).problems == []

    def test_less_is_a_part_of_more(self, cities: tuple[Dataset, Dataset], tmp_path: Path) -> None:
        ids = [
            set(take_places(cities[0], c, 3, f"c{c}", tmp_path / f"{c}").split("train").ids) for c in (0.4, 0.6, 0.8)
        ]
        assert ids[0] < ids[1] < ids[2]

    def test_seeds(self, cities: tuple[Dataset, Dataset], tmp_path: Path) -> None:
        digests = [take_places(cities[0], 0.5, s, "x", tmp_path / "x", force=True).digest for s in (0, 0, 1, 2, 3)]
        assert digests[0] == digests[1]
        assert len(set(digests)) > 2

    def test_says_what_it_is_of(self, cities: tuple[Dataset, Dataset], tmp_path: Path) -> None:
        made_by = take_places(cities[0], 0.5, 1, "x", tmp_path / "x").description.made_by
        assert (made_by["of"], made_by["of_digest"]) == ("small-pitts-ial", cities[0].digest)
        assert (made_by["coverage"], made_by["coverage_seed"]) == (0.5, 1)

    @pytest.mark.parametrize("coverage", [0.0, -0.1, 1.1, float("nan")])
    def test_no_share(self, cities: tuple[Dataset, Dataset], tmp_path: Path, coverage: float) -> None:
        with pytest.raises(ConfigError, match="--coverage"):
            take_places(cities[0], coverage, 0, "x", tmp_path / "x")

    def test_is_not_overwritten_unasked(self, cities: tuple[Dataset, Dataset], tmp_path: Path) -> None:
        take_places(cities[0], 0.5, 0, "x", tmp_path / "x")
        with pytest.raises(ConfigError, match="is already a dataset"):
            take_places(cities[0], 0.25, 0, "x", tmp_path / "x")


class TestJoin:
    def test_every_photo_arrives(self, cities: tuple[Dataset, Dataset], tmp_path: Path) -> None:
        both = join(cities, "both", tmp_path / "both")
        expected = {}
        for data in cities:
            for photo_id, (text, place, *rest) in photos_of(data).items():
                expected[f"{data.name}/{photo_id}"] = (text, f"{data.name}/{place}", *rest)
        assert photos_of(both) == expected
        for split in ("train", "val", "query"):
            assert len(both.split(split)) == sum(len(data.split(split)) for data in cities)
        assert both.candidates.texts == sorted(t for data in cities for t in data.candidates.texts)
        assert verify(both, quick=True).problems == []

    def test_spoken_forms_follow_their_addresses(self, cities: tuple[Dataset, Dataset], tmp_path: Path) -> None:
        both = join(cities, "both", tmp_path / "both")
        for data in cities:
            for address, verbose in zip(data.addresses, data.verbose_addresses, strict=True):
                assert both.verbose_addresses[both.addresses.index(address)] == verbose

    def test_one_address_in_two_cities(self, cities: tuple[Dataset, Dataset], tmp_path: Path) -> None:
        other = take_places(cities[0], 0.5, 0, "other", tmp_path / "other")
        with pytest.raises(ConfigError, match="is an address of small-pitts-ial and of other"):
            join([cities[0], other], "both", tmp_path / "both")

    def test_too_few(self, cities: tuple[Dataset, Dataset], tmp_path: Path) -> None:
        for some in ([], cities[:1], [cities[0], cities[0]]):
            with pytest.raises(ConfigError, match="cannot join"):
                join(some, "both", tmp_path / "both")


def test_commands(cities: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    def bench(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["data", *arguments, "--data-home", str(tmp_path)], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    pitts, sf = (str(data.folder) for data in cities)
    assert "3 candidates" in bench("subset", pitts, "--coverage", "0.5", "--seed", "2")
    assert Dataset(tmp_path / "small-pitts-ial-coverage-0.5-seed-2").name == "small-pitts-ial-coverage-0.5-seed-2"
    said = bench("join", pitts, sf)
    assert "6 candidates" in said
    assert "next: bench run --methods all --dataset small-pitts-ial+small-sf-ial-base" in said
    joined = Dataset(tmp_path / "small-pitts-ial+small-sf-ial-base")
    assert joined.description.title == "small-pitts-ial + small-sf-ial-base"
