"""Synth cities: the same bytes whoever makes them, resumable, sound, with knobs that do what they say."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ial_bench.addresses import Address
from ial_bench.cli.main import main
from ial_bench.datasets.contact_sheet import contact_sheet
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.verify import verify
from ial_bench.errors import BenchError, ConfigError, DataError, StorageError, UnknownNameError
from ial_bench.geo.points import haversine_m
from ial_bench.seeds import derive_seed, generator
from ial_bench.synth import captures, write
from ial_bench.synth.captions import spelled
from ial_bench.synth.city import plan_city
from ial_bench.synth.options import PRESETS, PRETRAIN_SEEDS, CityOptions, changed, preset
from ial_bench.synth.styles import N_LINE_NAMES, line_names, neighbourhood_names
from ial_bench.synth.write import make_city, options_of

SMALL = CityOptions(
    seed=11, blocks=(2, 3), size=16, train_places=4, query_places=2, train_views=2, query_views=2, val_fraction=0.2
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Read only."""
    return make_city(tmp_path_factory.mktemp("synth") / "small", SMALL)


def tree(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def made(folder: Path, **knobs: Any) -> Dataset:
    return make_city(folder, replace(SMALL, **knobs))


def test_counts_and_columns(small: Dataset) -> None:
    assert len(small.addresses) == SMALL.n_sub_streets == 7
    assert len(small) == SMALL.n_photos == 7 * (4 * 2 + 2 * 2)
    counts = small.counts()
    assert counts["query"] == 28
    assert counts["train"] + counts["val"] == 56
    assert counts["val"] == pytest.approx(0.2 * 56, abs=2)
    assert len(small.candidates) == 7
    assert small.has_captions
    assert all(small.split("query").captions)
    assert np.isfinite(small.split("train", "query").headings).all()
    assert all(small.split("train").image(i).shape == (16, 16, 3) for i in range(3))
    assert options_of(small.folder) == SMALL


def test_it_verifies(small: Dataset) -> None:
    found = verify(small)
    assert found.problems == []
    assert found.notes == []
    assert found.decoded


def test_addresses_are_those_of_a_street_grid(small: Dataset) -> None:
    assert len({a.key for a in small.addresses}) == len(small.addresses)
    for address in small.addresses:
        assert Address.parse(address.text) == address
        assert len(address.cross_streets) == 2
        kinds = {address.street.rsplit(" ", 1)[1], *(c.rsplit(" ", 1)[1] for c in address.cross_streets)}
        assert kinds == {"Street", "Avenue"}


def test_photos_lie_on_their_sub_street_and_apart(small: Dataset) -> None:
    city = plan_city(SMALL)
    train, query = small.split("train", "val"), small.split("query")
    gaps = haversine_m(query.positions[:, None], train.positions[None])
    assert gaps.min() > 1.0  # no query was taken where a train photo was
    subs = city.sub_streets
    row_of = {address.text: i for i, address in enumerate(subs.addresses)}
    middles = city.positions((subs.start + subs.end) / 2)
    for photos in (train, query):
        own = np.array([row_of[small.addresses[r].text] for r in photos.address_rows])
        away = haversine_m(photos.positions[:, None], middles[None])
        assert (away.argmin(axis=1) == own).mean() > 0.9
        assert away[np.arange(len(own)), own].max() < 60


def test_places_keep_clear_of_crossings_unless_told() -> None:
    def nearest(crossings: str) -> float:
        city = plan_city(replace(SMALL, crossings=crossings, train_places=12))
        subs = city.sub_streets
        margins = []
        for sub in range(len(subs)):
            for place in captures.places_of(city, sub, captures.TRAIN):
                axis = int(np.argmax(np.abs(subs.end[sub] - subs.start[sub])))
                at = (place.x, place.y)[axis]
                margins += [
                    at - subs.start[sub][axis] - subs.clear[sub][0],
                    subs.end[sub][axis] - at - subs.clear[sub][1],
                ]
        return float(min(margins))

    assert nearest("exclude") >= 1.0
    assert nearest("keep") < -2.0  # within the crossing


def test_the_same_bytes_whatever_the_workers(small: Dataset, tmp_path: Path) -> None:
    done: list[int] = []
    again = make_city(tmp_path / "pool", SMALL, workers=2, progress=done.append)
    assert sum(done) == SMALL.n_photos
    assert tree(again.folder) == tree(small.folder)
    assert again.digest == small.digest


def test_another_seed_is_another_city(small: Dataset, tmp_path: Path) -> None:
    other = made(tmp_path / "other", seed=12)
    assert not {a.text for a in other.addresses} & {a.text for a in small.addresses}
    assert not set(tree(other.images_folder).values()) & set(tree(small.images_folder).values())


@pytest.mark.parametrize("lost", ["some photos", "a cut photo", "half a run", "the rows", "the tables"])
def test_resuming_gives_the_same_bytes(lost: str, small: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "city"
    shutil.copytree(small.folder, folder)
    photos = sorted((folder / "images" / "train").rglob("*.jpg"))
    kept = photos[5].stat().st_mtime_ns
    if lost == "some photos":
        for photo in photos[::7]:
            photo.unlink()
    elif lost == "a cut photo":
        photos[3].write_bytes(photos[3].read_bytes()[:100])
    elif lost == "half a run":
        for name in ("dataset.toml", "photos.parquet", "addresses.parquet"):
            (folder / name).unlink()
        shutil.rmtree(folder / "images" / "query")
        (folder / "rows" / "00002.json").unlink()
        photos[-1].with_name(f"{photos[-1].name}.part").write_bytes(b"half")  # what a kill leaves
        photos[-1].unlink()
    elif lost == "the rows":
        shutil.rmtree(folder / "rows")
    else:
        (folder / "dataset.toml").unlink()
    make_city(folder, SMALL)
    assert tree(folder) == tree(small.folder)
    assert photos[5].stat().st_mtime_ns == kept  # photos that were there are not written again


def test_a_disk_that_fills_up(small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, left = Path.write_bytes, itertools.count(40, -1)

    def full(path: Path, data: bytes) -> int:
        if path.suffix == ".part" and next(left) <= 0:
            real(path, data[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="are done are kept") as error:
        make_city(tmp_path / "city", SMALL)
    assert "same command again" in str(error.value.fix)
    assert not (tmp_path / "city" / "dataset.toml").exists()
    assert not list((tmp_path / "city").rglob("*.part"))
    assert len(list((tmp_path / "city").rglob("*.jpg"))) == 40
    monkeypatch.undo()
    make_city(tmp_path / "city", SMALL)
    assert tree(tmp_path / "city") == tree(small.folder)


def test_folders_of_others_are_never_written_to(small: Dataset, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("a file")
    for where in ("theirs", "file"):
        with pytest.raises(DataError, match="not a synth city; it is not overwritten"):
            make_city(tmp_path / where, SMALL)
    assert tree(tmp_path / "theirs").keys() == {"thesis.tex"}
    before = tree(small.folder)
    with pytest.raises(DataError, match=r"other options \(seed: 11, not 12\)"):
        make_city(small.folder, replace(SMALL, seed=12))
    with pytest.raises(DataError, match="its name is 'synth-city'"):
        make_city(small.folder, SMALL, name="other")
    assert tree(small.folder) == before
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / write.MARKER).write_text(json.dumps({"synth_city": 0}))
    with pytest.raises(DataError, match="another version"):
        make_city(tmp_path / "old", SMALL)
    with pytest.raises(DataError, match="not a synth city"):
        options_of(tmp_path)
    with pytest.raises(DataError, match="does not hold a city's options"):
        options_of(tmp_path / "old")
    make_city(tmp_path / "empty" / "new", replace(SMALL, blocks=(1, 2)))


def test_no_seed_is_shared_between_roles_and_cities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every generator a photo draws from, by its axes: train, query and pretraining have none in common."""
    drawn: dict[tuple[int, str], set[tuple[str | int, ...]]] = {}
    real, current = generator, (0, "")

    def recorded(*axes: str | int) -> np.random.Generator:
        drawn.setdefault(current, set()).add(axes)
        return real(*axes)

    monkeypatch.setattr(captures, "generator", recorded)
    seeds: list[int] = []
    for seed in (SMALL.seed, SMALL.seed + 1, PRETRAIN_SEEDS.start):
        city = plan_city(replace(SMALL, seed=seed))
        for role in captures.ROLES:
            captures.day_of.cache_clear()
            for sub in range(len(city.sub_streets)):
                current = (seed, "planning")
                places = captures.places_of(city, sub, role)  # queries are placed away from known train places
                current = (seed, role)
                for place in places:
                    seeds += [c.seed for c in captures.captures_of(city, place, 3)]
    assert len(set(seeds)) == len(seeds) == 3 * 7 * 3 * (4 + 2 + 4)
    groups = [axes for (_, role), axes in drawn.items() if role != "planning"]
    assert len(groups) == 9
    for a, b in itertools.combinations(groups, 2):
        assert not a & b
    day_axes = {axes for of in drawn.values() for axes in of if "day" in axes}
    days = {derive_seed(*axes) for axes in day_axes}
    assert len(days) == len(day_axes) > 3 * 3 * 2
    assert not days & set(seeds)


def test_pretraining_cities_are_no_datasets(tmp_path: Path) -> None:
    assert all(options.seed not in PRETRAIN_SEEDS for options in PRESETS.values())
    assert len({options.seed for options in PRESETS.values()}) == len(PRESETS)
    with pytest.raises(ConfigError, match="kept for pretraining"):
        make_city(tmp_path / "x", replace(SMALL, seed=PRETRAIN_SEEDS.start))
    assert not (tmp_path / "x").exists()


def addresses_by_place(data: Dataset, *splits: str) -> dict[str, str]:
    photos = data.split(*splits)
    places = data.texts_of("place_id", photos.rows)
    return {p: data.addresses[r].text for p, r in zip(places, photos.address_rows, strict=True)}


def test_label_noise(small: Dataset, tmp_path: Path) -> None:
    truth = addresses_by_place(small, "train", "val")
    some = addresses_by_place(made(tmp_path / "some", label_noise=0.3), "train", "val")
    more_data = made(tmp_path / "more", label_noise=0.6)
    more = addresses_by_place(more_data, "train", "val")
    wrong_some, wrong_more = ({p for p in truth if of[p] != truth[p]} for of in (some, more))
    assert wrong_some < wrong_more
    assert len(wrong_some) / len(truth) == pytest.approx(0.3, abs=0.2)
    subs = plan_city(SMALL).sub_streets
    at = {a.text: i for i, a in enumerate(subs.addresses)}
    assert all(at[more[p]] in subs.neighbours[at[truth[p]]] for p in wrong_more)
    assert addresses_by_place(more_data, "query") == addresses_by_place(small, "query")
    assert tree(more_data.images_folder) == tree(small.images_folder)  # the photos are the same


def test_position_noise(small: Dataset, tmp_path: Path) -> None:
    noisy = made(tmp_path / "noisy", position_noise=20.0, val_fraction=0.0)
    clean = made(tmp_path / "clean", val_fraction=0.0)
    off = haversine_m(noisy.split("train").positions, clean.split("train").positions)
    assert np.sqrt((off**2).mean() / 2) == pytest.approx(20.0, rel=0.3)
    per_place = [set(off[noisy.split("train").places == p].round(6)) for p in np.unique(noisy.split("train").places)]
    assert all(len(values) == 1 for values in per_place)
    assert (noisy.split("query").positions == small.split("query").positions).all()
    assert verify(noisy).problems == []


def test_coverage_is_nested(small: Dataset, tmp_path: Path) -> None:
    whole = tree(small.images_folder)
    half = tree(made(tmp_path / "half", coverage=0.5).images_folder)
    least = tree(made(tmp_path / "least", coverage=0.01).images_folder)
    assert len(half) == 7 * (2 * 2 + 4)
    assert len(least) == 7 * (1 * 2 + 4)
    assert least.items() <= half.items() <= whole.items()


def test_lot_variation() -> None:
    def spread(variation: float) -> float:
        boxes = plan_city(replace(SMALL, blocks=(4, 4), lot_variation=variation)).boxes
        rows = boxes.kind >= 0
        face = boxes.block[rows] * 4 + boxes.dressed[rows].argmax(axis=1)
        return float(np.mean([boxes.storeys[rows][face == f].std() for f in np.unique(face)]))

    assert spread(0.0) < 0.25 < spread(1.0)  # corner houses are counted with the next face


def bad(**knobs: Any) -> Iterator[Any]:
    yield pytest.param(knobs, id=" ".join(f"{k}={v}" for k, v in knobs.items()))


@pytest.mark.parametrize(
    "knobs",
    [
        *bad(seed=-1), *bad(seed=PRETRAIN_SEEDS.stop), *bad(blocks=(0, 5)), *bad(blocks=(1, 1)), *bad(blocks=(-2, 4)),
        *bad(blocks=(N_LINE_NAMES, 2)), *bad(blocks=(N_LINE_NAMES // 2, 2)), *bad(size=50), *bad(size=8),
        *bad(size=520), *bad(size=0), *bad(train_places=0), *bad(query_places=0), *bad(train_views=0),
        *bad(query_views=1001), *bad(lot_variation=1.5), *bad(lot_variation=float("nan")), *bad(occluders=-1),
        *bad(occluders=float("inf")), *bad(day_shift=9.0), *bad(label_noise=1.0), *bad(label_noise=-0.1),
        *bad(position_noise=-5), *bad(coverage=0.0), *bad(coverage=1.1), *bad(val_fraction=1.0),
        *bad(crossings="some"), *bad(image_format="gif"),
    ],
)  # fmt: skip
def test_bad_options_say_what_mends_them(knobs: dict[str, Any]) -> None:
    with pytest.raises(BenchError) as error:
        replace(SMALL, **knobs)
    assert error.value.fix
    with pytest.raises(BenchError):
        changed(SMALL, **knobs)


def test_presets_and_names() -> None:
    assert PRESETS["synth-city"].n_sub_streets == 71
    assert PRESETS["synth-city"].n_photos == 71 * 60
    assert PRESETS["synth-city-large"].n_sub_streets >= 1000
    assert CityOptions(blocks=(60, 60)).n_sub_streets == 7080
    with pytest.raises(UnknownNameError, match="synth-city"):
        preset("synth-cty")
    with pytest.raises(UnknownNameError, match="train_places"):
        changed(SMALL, train_placs=3)
    assert changed(SMALL, seed=None) == SMALL
    avenues, streets = line_names(0, 61, 61)
    assert len({n.rsplit(" ", 1)[0] for n in avenues + streets}) == 122
    assert len(set(neighbourhood_names(0, 600))) == 600
    with pytest.raises(ConfigError, match="names"):
        line_names(0, N_LINE_NAMES, 1)
    with pytest.raises(ConfigError, match="names"):
        neighbourhood_names(0, 10_000)
    assert [spelled(n) for n in (1, 12, 13)] == ["one", "twelve", "13"]


def test_png_and_one_street(tmp_path: Path) -> None:
    data = made(tmp_path / "png", blocks=(1, 2), image_format="png", train_places=1)
    assert len(data.addresses) == 1
    assert data.split("query").path(0).suffix == ".png"
    assert verify(data).problems == []


def test_contact_sheet(small: Dataset, tiny_city: Dataset) -> None:
    sheet = np.asarray(contact_sheet(small, rows=3, each=2, cell=32))
    assert sheet.shape == (3 * 32, 4 * 32 + 6, 3)
    assert (sheet[:, 64:70] == 255).all()
    train = small.split("train")
    first = train.part(np.flatnonzero(train.address_rows == train.address_rows.min()))
    np.testing.assert_array_equal(sheet[:32, :32], first.image(0).repeat(2, axis=0).repeat(2, axis=1))
    assert contact_sheet(tiny_city, rows=99, each=1, cell=20).size == (46, 120)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["--blocks", "1x2", "--size", "16", "--places", "2", "--headings", "2", "--query-places", "1"]

    def bench(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["bench", "data", *words])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    code, out, _ = bench("synth", "--name", "village", *small, "--workers", "1", "--data-home", "homes")
    assert code == 0
    assert out.startswith("village: 4 train, 3 query photos of 16 px; 1 addresses")
    assert (tmp_path / "homes" / "village" / "dataset.toml").is_file()
    assert bench("verify", "village", "--data-home", "homes")[0] == 0
    assert bench("show", "village", "--sheet", "a.png", "--rows", "2", "--data-home", "homes")[0] == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert bench("synth", "--seed", "5", *small, "--workers", "1", "--data-home", "homes")[0] == 0
    assert any("seed-5-blocks-1x2" in p.name for p in (tmp_path / "homes").iterdir())  # not taken for the preset
    for words, said in (
        (("synth", "--blocks", "6by7"), "--blocks 6x7"),
        (("synth", "--blocks", "0x7"), "no street between them"),
        (("synth", "--size", "50"), "multiple of 8"),
        (("synth", "--preset", "metropolis"), "unknown preset"),
        (("synth", "--name", "a/b"), "cannot be a dataset's name"),
        (("synth", "--out", "."), "not overwritten"),
        (("show", "village", "--sheet", "a.gif", "--data-home", "homes"), "not a PNG"),
    ):
        code, _, err = bench(*words)
        assert code != 0
        assert said in err
        assert "fix:" in err
        assert "Traceback" not in err
