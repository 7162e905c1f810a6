"""What a city's dataset says of its photos: which there are, labels, positions, splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ial_bench.datasets.places import cut_val
from ial_bench.datasets.synth_city.captures import QUERY, TRAIN, Place, covered, places_of
from ial_bench.datasets.synth_city.layout import City
from ial_bench.datasets.synth_city.options import SUFFIXES, CityOptions
from ial_bench.datasets.synth_city.tables import Floats, Ints
from ial_bench.errors import DataError
from ial_bench.files import sha256_file
from ial_bench.geo.points import unrolled
from ial_bench.seeds import generator
from ial_bench.synth.captures import QUERY, TRAIN, Place, covered, places_of
from ial_bench.synth.layout import City
from ial_bench.synth.options import SUFFIXES, CityOptions
from ial_bench.synth.scene import Floats, Ints

IMAGES = "images"
ENCODER = "openclip:tiny-street/synth"
"""The small CLIP that comes with the harness, trained on other drawn cities: what fits photos of 64 pixels."""
CITY_VERSION = 1
"""Raised when the same options give other photos than before."""
_MARGIN_M = 2_500.0  # of the bounds around the city


@dataclass(frozen=True)
class Shot:
    """A photo that the dataset will hold: its id, and the place and view it is of."""

    photo_id: str
    place: Place
    view: int


def shots_of(city: City, sub_street: int) -> list[Shot]:
    """The photos of a sub-street, train before query; without rendering any."""
    options = city.options
    visited = set(covered(options, sub_street))
    return [
        Shot(f"{role}/{sub_street:05d}/{place.number:03d}_{view:02d}", place, view)
        for role, views in ((TRAIN, options.train_views), (QUERY, options.query_views))
        for place in places_of(city, sub_street, role)
        if role == QUERY or place.number in visited
        for view in range(views)
    ]


def write_tables(out: Path, city: City, name: str, rows: list[dict[str, Any]]) -> None:
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
    from ial_bench.datasets.table import Description, write_dataset

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


def _contents(out: Path, suffix: str, rows: list[dict[str, Any]]) -> Any:
    """uint8 [n, 32]: what was drawn; of an earlier release's photos, what lies there."""
    texts = [
        text
        for of in rows
        for text in of.get("sha256") or (sha256_file(out / IMAGES / f"{i}.{suffix}") for i in of["photo_id"])
    ]
    return np.frombuffer(bytes.fromhex("".join(texts)), np.uint8).reshape(len(texts), -1)


def _street_lines(city: City, row_of: Ints) -> Any:
    """The centre lines of each sub-street, from crossing to crossing; the label noise of photos does not touch it."""
    from ial_bench.datasets.streets import StreetLines

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
        # The same draws whatever the share, so that more noise is the same mistakes and others.
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


def _bounds(city: City) -> Any:
    from ial_bench.datasets.table import Bounds

    reach = _MARGIN_M + 6 * city.options.position_noise
    far = np.array([city.ground.xs[-1], city.ground.ys[-1]]) + reach
    corners = city.positions(np.array([(-reach, -reach), (-reach, far[1]), (far[0], -reach), far]))
    together = unrolled(corners)
    return Bounds.of(together.min(axis=0), together.max(axis=0))
