"""From options to a dataset folder: photos over a process pool, resumable, the same bytes whoever makes them.

    synth-city.json         the options, written first: what the folder may be resumed with
    images/ROLE/SUB/*.jpg   the photos; a file under its own name is whole
    rows/SUB.json           captions, sizes and content digests of a sub-street whose photos are all there
    dataset.toml, ...       the dataset, written last
    .writing.lock           held by the process that writes; gone once it is done

The work is cut by sub-street. Nothing a photo depends on is shared between two, so neither the number of workers
nor an interruption can show in a photo.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.known import own_name
from ial_bench.datasets.places import cut_val
from ial_bench.datasets.streets import STREETS
from ial_bench.datasets.table import DESCRIPTION, Bounds, Description, write_dataset
from ial_bench.errors import ConfigError, DataError, StorageError
from ial_bench.files import sha256_file, storage_errors
from ial_bench.folders import LOCK, alone, inside, is_free
from ial_bench.geo.lines import StreetLines
from ial_bench.geo.points import unrolled
from ial_bench.json_files import read_json, write_json
from ial_bench.seeds import generator
from ial_bench.synth.captures import QUERY, Shot, shots_of
from ial_bench.synth.city import City, plan_city
from ial_bench.synth.options import CITY_VERSION, PRETRAIN_SEEDS, SUFFIXES, CityOptions
from ial_bench.synth.photos import IMAGES, ROWS, kept_rows, photograph
from ial_bench.synth.scene import Floats, Ints

MARKER = "synth-city.json"
ENCODER = "openclip:tiny-street/synth"
"""The small CLIP that comes with the harness, trained on other drawn cities: what fits photos of 64 pixels."""
_MARGIN_M = 2_500.0  # of the bounds around the city


def make_city(
    out: Path,
    options: CityOptions,
    workers: int = 1,
    progress: Callable[[int], object] = lambda _: None,
    name: str = "synth-city",
    say: Callable[[str], object] = lambda _: None,
    city: City | None = None,
) -> Dataset:
    """Make the city of `options` in `out`, or what is missing of it, and open it.

    Where another process is making it, this one waits and then takes over what is there.

    Args:
        out: the dataset folder. May be new, empty, or a synth city of the same options, whole or in part.
        options: of the city.
        workers: processes that render; photos do not depend on it.
        progress: called with the number of photos done since the last call.
        name: the name the dataset is reported by.
        say: called with a line for the user where it must wait for another process.
        city: of the same options, where it is drawn on a street map; None: the one that the options describe.

    Raises:
        ConfigError: the seed is one of those kept for pretraining, or `name` is no name or kept for another dataset.
        DataError: `out` holds something else, or a city of other options; nothing is touched.
        StorageError: the folder cannot be written to, or the disk is full. What is done is kept.
    """
    mark = check_folder(out, options, name, city.survey.source if city and city.survey else None)
    city = city or plan_city(options)
    subs = range(len(city.sub_streets))
    made = (out / DESCRIPTION).is_file() and all(kept_rows(out, city, sub) is not None for sub in subs)
    # A city of an earlier release lacks its streets, a killed process leaves its lock: mended where that can be.
    mended = (out / STREETS).is_file() and not (out / LOCK).exists()
    if made and (mended or not os.access(out, os.W_OK)):
        progress(city.n_photos)
        return Dataset(out)  # without a lock: the folder of a whole city may be read-only
    with _stop_cleanly(out), alone(out, say):
        if not _is_ours(out, mark):
            write_json(out / MARKER, mark)
        for folder in (IMAGES, ROWS):
            inside(out, folder)
        _sweep(out)
        missing = []
        for sub in subs:
            if kept_rows(out, city, sub) is None:
                missing.append(sub)
            else:
                progress(options.photos_each)
        if not missing and (out / DESCRIPTION).is_file() and (out / STREETS).is_file():
            return Dataset(out)
        photograph(out, city, missing, workers, progress)
        _write_tables(out, city, name, [kept_rows(out, city, sub) or {} for sub in subs])
    return Dataset(out)


def check_folder(out: Path, options: CityOptions, name: str, streets: dict[str, Any] | None = None) -> dict[str, Any]:
    """Refuse, before anything is written, what `make_city` would refuse.

    Args:
        out: as for `make_city`.
        options: as for `make_city`.
        name: as for `make_city`.
        streets: the street map that the city is drawn on, as in `Survey.source`.

    Returns:
        What marks a folder as this city.

    Raises:
        ConfigError: the seed is one of those kept for pretraining, or `name` is no name or kept for another dataset.
        DataError: `out` holds something else, or a city of other options.
    """
    own_name(name)
    if options.seed in PRETRAIN_SEEDS:
        raise ConfigError(
            f"city seed {options.seed:,} is kept for pretraining, so that no encoder has seen a measured city",
            f"give a seed below {PRETRAIN_SEEDS.start:,}",
        )
    made_from = {"options": options.to_json(blocks=streets is None), **({"streets": streets} if streets else {})}
    mark = {"synth_city": CITY_VERSION, "name": name, **made_from}
    _is_ours(out, mark)
    return mark


def _is_ours(out: Path, mark: dict[str, Any]) -> bool:
    """Whether `out` is marked as this city; False if it is free to be.

    Raises:
        DataError: it is neither.
    """
    marker = out / MARKER
    if marker.is_file():
        there = read_json(marker)
        if there != mark:
            differing = _difference(there, mark)
            raise DataError(
                f"{out} is a synth city of other options ({differing}); it is not overwritten",
                "choose another folder or --name, or delete that one first",
            )
        return True
    if not is_free(out):
        raise DataError(
            f"{out} is there and is not a synth city; it is not overwritten", "choose another folder or --name"
        )
    return False


def _difference(there: Any, mark: dict[str, Any]) -> str:
    if not isinstance(there, dict) or there.get("synth_city") != mark["synth_city"]:
        return "made by another version"
    if there.get("name") != mark["name"]:
        return f"its name is {there.get('name')!r}"
    old, new = ({**(m.get("streets") or {}), **(m.get("options") or {})} for m in (there, mark))
    differing = [k for k in {**new, **old} if old.get(k) != new.get(k)]
    return ", ".join(f"{k}: {old.get(k)}, not {new.get(k)}" for k in differing)


def _sweep(out: Path) -> None:
    """Remove the half-written files of a killed process; those of photos are written over."""
    with storage_errors(out):
        for half in (*out.glob(".*.tmp"), *(out / ROWS).glob(".*.tmp")):
            half.unlink(missing_ok=True)


@contextlib.contextmanager
def _stop_cleanly(out: Path) -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        raise StorageError(
            f"{error.problem}; the photos of {out} that are done are kept",
            f"{error.fix or 'mend that'}; then give the same command again, and it goes on from there",
        ) from error


def options_of(folder: Path) -> CityOptions:
    """The options a synth city was made from.

    Raises:
        DataError: not a synth city.
    """
    path = folder / MARKER
    if not path.is_file():
        raise DataError(f"{folder} is not a synth city: no {MARKER} in it", "make one with `bench data synth`")
    try:
        found = read_json(path)["options"]
        return CityOptions(**{**found, "blocks": tuple(found.get("blocks", CityOptions.blocks))})
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} does not hold a city's options: {error}", "make the city again") from error


def _write_tables(out: Path, city: City, name: str, rows: list[dict[str, Any]]) -> None:
    """Write the dataset's tables and description.

    Args:
        out: the dataset folder.
        city: the city.
        name: the name the dataset is reported by.
        rows: of each sub-street: photo_id, bytes, sha256, caption and heading of its photos, in the order of
            `shots_of`; an earlier release left out sha256.

    Raises:
        DataError: `rows` are not those of all photos.
        StorageError: the folder cannot be written to.
    """
    options, subs = city.options, city.sub_streets
    order = sorted(range(len(subs)), key=lambda i: subs.addresses[i].text)
    row_of = np.argsort(order)
    shots = [shot for sub in range(len(subs)) for shot in shots_of(city, sub)]
    query = np.array([shot.place.role == QUERY for shot in shots])
    places = [shot.place.place_id for shot in shots]
    labels = row_of[_labels(city)[[shot.place.sub_street for shot in shots], [_column(shot) for shot in shots]]]
    val = np.zeros(len(shots), dtype=bool)
    train = np.flatnonzero(~query)
    val[train] = cut_val([places[i] for i in train], labels[train], options.val_fraction, options.seed)
    points = city.positions(np.array([(s.place.x, s.place.y) for s in shots]) + _position_noise(options, shots))
    suffix = SUFFIXES[options.image_format]
    ids = [shot.photo_id for shot in shots]
    if ids != [i for of in rows for i in of.get("photo_id", [])]:
        raise DataError(f"photos of {out} vanished while it was made", "give the same command again")
    addresses = [subs.addresses[i] for i in order]
    survey = city.survey
    made_by: dict[str, Any] = {"maker": "synth-city", "version": CITY_VERSION, "options": options.to_json()}
    if survey is not None:
        made_by |= {"options": options.to_json(blocks=False), "streets": survey.source}
    write_dataset(
        out,
        Description(
            name, survey.title if survey else f"Synth city {options.seed} ({len(subs)} sub-streets)", IMAGES,
            _bounds(city),
            survey.licence if survey else "drawn by ial-bench: no photographs, no rights of others",
            made_by, ENCODER,
        ),
        addresses,
        [a.verbose for a in addresses],
        {
            "photo_id": ids, "path": [f"{i}.{suffix}" for i in ids], "bytes": [b for of in rows for b in of["bytes"]],
            "split": np.where(query, "query", np.where(val, "val", "train")).tolist(), "place_id": places,
            "address": labels.astype(np.int32), "lat": points[:, 0], "lon": points[:, 1],
            "heading": np.array([h for of in rows for h in of["heading"]], dtype=np.float32),
            "caption": [c for of in rows for c in of["caption"]],
        },
        _street_lines(city, row_of),
        contents=_contents(out, suffix, rows),
    )  # fmt: skip


def _contents(out: Path, suffix: str, rows: list[dict[str, Any]]) -> npt.NDArray[np.uint8]:
    """uint8 [n, 32]: what was drawn; of an earlier release's photos, what lies there."""
    texts = [
        text
        for of in rows
        for text in of.get("sha256") or (sha256_file(out / IMAGES / f"{i}.{suffix}") for i in of["photo_id"])
    ]
    return np.frombuffer(bytes.fromhex("".join(texts)), np.uint8).reshape(len(texts), -1)


def _street_lines(city: City, row_of: Ints) -> StreetLines:
    """The centre lines of each sub-street, from crossing to crossing; the label noise of photos does not touch it."""
    if city.survey is not None:
        pairs = [(row, line) for row, lines in zip(row_of, city.survey.lines, strict=True) for line in lines]
        return StreetLines.of([row for row, _ in pairs], [line for _, line in pairs])
    ends = np.stack([city.positions(city.sub_streets.start), city.positions(city.sub_streets.end)], axis=1)
    return StreetLines.of(row_of, list(ends))


def _column(shot: Shot) -> int:
    """Column of `_labels`: 0 for queries, whose labels are true; a place's number plus 1 for train places."""
    return 0 if shot.place.role == QUERY else shot.place.number + 1


def _labels(city: City) -> Ints:
    """[sub-streets, 1 + train places]: which sub-street's address a place carries."""
    options, subs = city.options, city.sub_streets
    labels = np.repeat(np.arange(len(subs))[:, None], options.train_places + 1, axis=1)
    for sub in range(len(subs)):
        rng = generator("synth-city", options.seed, "label noise", sub)
        # The draws do not depend on the share, so that more noise keeps the mistakes of less.
        wrong, which = rng.random(options.train_places), rng.random(options.train_places)
        beside = np.array(subs.neighbours[sub], dtype=np.int64)
        if len(beside):
            taken = beside[(which * len(beside)).astype(np.int64)]
            labels[sub, 1:] = np.where(wrong < options.label_noise, taken, sub)
    return labels


def _position_noise(options: CityOptions, shots: list[Shot]) -> Floats:
    """[n, 2] metres, the same for all photos of a place; none for queries, whose positions are the truth."""
    drawn: dict[str, Floats] = {}
    noise = np.zeros((len(shots), 2))
    if options.position_noise:
        for i, shot in enumerate(shots):
            if shot.place.role != QUERY:
                key = shot.place.place_id
                if key not in drawn:
                    drawn[key] = generator("synth-city", options.seed, "position noise", key).standard_normal(2)
                noise[i] = drawn[key] * options.position_noise
    return noise


def _bounds(city: City) -> Bounds:

    reach = _MARGIN_M + 6 * city.options.position_noise
    far = np.array([city.ground.xs[-1], city.ground.ys[-1]]) + reach
    corners = city.positions(np.array([(-reach, -reach), (-reach, far[1]), (far[0], -reach), far]))
    together = unrolled(corners)
    return Bounds.of(together.min(axis=0), together.max(axis=0))
