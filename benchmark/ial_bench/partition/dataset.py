"""From photos and a street map to a dataset folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ial_bench.addresses import Address
from ial_bench.datasets import columns
from ial_bench.datasets.importing.photo_files import checksums
from ial_bench.datasets.importing.report import write_report
from ial_bench.datasets.known import own_name
from ial_bench.datasets.photos import SPLITS
from ial_bench.datasets.table import Bounds, Description, new_dataset, write_dataset
from ial_bench.errors import ConfigError, DataError
from ial_bench.files import make_folder
from ial_bench.geo.lines import StreetLines
from ial_bench.geo.points import Points, haversine_m, rolled, unrolled
from ial_bench.geocoding.street_names import NameNormalizer, street_words
from ial_bench.partition.geojson import SUFFIXES as GEOJSON_SUFFIXES
from ial_bench.partition.geojson import read_geojson_streets
from ial_bench.partition.neighbourhoods import ByAttribute, ByNearestPlace, ByPolygon, Chain, Neighbourhoods
from ial_bench.partition.network import Edge, StreetNetwork, StreetSource
from ial_bench.partition.options import Build, BuildOptions
from ial_bench.partition.osm import SUFFIXES as OSM_SUFFIXES
from ial_bench.partition.osm import fetch_osm, read_osm
from ial_bench.partition.photos import REACH_M, SWAP, check_degrees, check_reach, read_photos
from ial_bench.partition.places import Match, Place, match_places, places_of, service_of, street_votes
from ial_bench.partition.report import write_build_report
from ial_bench.partition.splits import PhotoSplits, split_photos
from ial_bench.partition.substreets import Partition
from ial_bench.progress import NoReport, Reporter

SET_ASIDE = "set-aside.csv"
_MARGIN_DEG = 0.01  # about a kilometre


def build_dataset(options: BuildOptions, reporter: Reporter | None = None) -> Build:
    """Build a dataset, and write its folder with the report.

    Args:
        options: from what, and how.
        reporter: logs each step, and shows progress.

    Raises:
        DataError: photos or streets cannot be used, or do not belong together.
        ConfigError: an option is missing or contradicts another, the dataset cannot have its name, an extra is not
            installed, the output is a dataset already, or another process writes there.
        StorageError: the output cannot be written.
    """
    reporter = reporter or NoReport()
    own_name(options.name)
    with new_dataset(options.out, options.force, "bench data build", *{**vars(options), "force": None}.items()):
        return _build(options, reporter)


def _build(options: BuildOptions, reporter: Reporter) -> Build:
    normalizer = NameNormalizer(street_words(options.language, options.street_words))
    reporter.log("reading photos")
    photos = read_photos(options.photos, options.images)
    check_degrees(photos, options.photos)
    reporter.log("reading streets")
    origin = check_reach(photos)
    source = _lines_in_reach(read_streets(options), origin)
    network = StreetNetwork.of(source.segments, normalizer, options.tolerance_m, origin)
    check_overlap(photos.positions, network.edges)
    reporter.log(f"cutting {len(network.names):,} street names into sub-streets")
    first = Partition.of(network, options.min_length_m, options.beside_m)
    places = places_of(photos.photos, options.same_place_m)
    reporter.log(f"finding the sub-streets of {len(places):,} places")
    votes = None
    if options.geocoder is not None:
        reporter.log(f"asking {options.geocoder} about {len(places):,} places")
        service = service_of(options.geocoder, options.geocoder_interval_s, options.language, options.geocoder_cache)
        votes = street_votes(service, places, normalizer, network.names.keys())
    match = match_places(
        places, photos.photos, first, network.origin, max_distance_m=options.max_distance_m, tie_m=options.tie_m,
        keep_ambiguous=options.keep_ambiguous, votes=votes,
    )  # fmt: skip
    if not (match.subs >= 0).any():
        raise DataError(
            f"none of {len(places):,} places lies within {options.max_distance_m:g} m of a named street",
            "is the street map complete, and of this city? see also --max-distance",
        )
    counts = np.bincount(match.subs[match.subs >= 0], minlength=len(first.subs)).tolist()
    partition, into = first.with_places(counts, options.min_places)
    moved = Match(np.array([into[s] if s >= 0 else -1 for s in match.subs]), match.how, match.metres)
    notes = [*photos.notes, *source.notes]
    build = Build(options.out, network, source, partition, len(first.subs), photos, places, moved, notes)
    _write(build, options, _neighbourhoods(build, options, normalizer), reporter)
    return build


def read_streets(options: BuildOptions) -> StreetSource:
    """The streets, by what the file's name says it is."""
    if options.streets is None:
        return fetch_osm(options.osm_place or "")
    name = options.streets.name.lower()
    if name.endswith(OSM_SUFFIXES):
        return read_osm(options.streets, options.street_keys.name)
    if name.endswith(GEOJSON_SUFFIXES):
        return read_geojson_streets(options.streets, options.street_keys, options.streets_crs)
    raise ConfigError(
        f"{options.streets} is of no known kind of street map",
        f"its name should end in {', '.join((*GEOJSON_SUFFIXES, *OSM_SUFFIXES))}",
    )


def _lines_in_reach(source: StreetSource, origin: Points) -> StreetSource:
    """The lines with a part near enough to `origin` for metres to be true there; all lines if there is none.

    A country's map may have islands on the other side of the Earth.
    """
    lengths = np.array([len(s.points) for s in source.segments], dtype=np.int64)
    points = np.concatenate([np.zeros((0, 2)), *(s.points for s in source.segments)])
    owners = np.repeat(np.arange(len(lengths)), lengths)
    near = np.bincount(owners, haversine_m(points, origin) <= REACH_M, minlength=len(lengths)) > 0
    kept = [s for s, one in zip(source.segments, near.tolist(), strict=True) if one]
    if not any(s.name for s in kept):
        return source
    far = Counter({f"more than {REACH_M / 1e3:,.0f} km from the photos": len(near) - len(kept)})
    return replace(source, segments=kept, skipped=source.skipped + far)


def check_overlap(positions: Points, edges: Sequence[Edge]) -> None:
    """Streets and photos must be of one city.

    Raises:
        DataError: no photo lies in the box of the streets; it shows both boxes, and says so if swapping latitude and
            longitude would help.
    """
    corners = unrolled(rolled(np.concatenate([e.points for e in edges])))
    low, high = corners.min(axis=0), corners.max(axis=0)

    def inside(points: Points) -> bool:
        turned = (points + np.array([0, turn]) for turn in (-360, 0, 360))
        return any(bool(((p >= low - _MARGIN_DEG) & (p <= high + _MARGIN_DEG)).all(axis=1).any()) for p in turned)

    if inside(positions):
        return
    together = unrolled(positions)
    boxes = f"photos lie in {_box(together.min(axis=0), together.max(axis=0))}, streets in {_box(low, high)}"
    if inside(positions[:, ::-1]):
        raise DataError(f"photos and streets do not meet, but would with latitude and longitude swapped: {boxes}", SWAP)
    raise DataError(f"no photo lies near the streets: {boxes}", "give the street map of the city that the photos show")


def _box(low: Points, high: Points) -> str:
    low, high = rolled(low), rolled(high)
    return f"lat {low[0]:.5f} to {high[0]:.5f}, lon {low[1]:.5f} to {high[1]:.5f}"


def _neighbourhoods(build: Build, options: BuildOptions, normalizer: NameNormalizer) -> Chain:
    ways: list[Neighbourhoods] = []
    if options.neighbourhoods is not None:
        polygons = ByPolygon(options.neighbourhoods, options.neighbourhood_key)
        build.notes += polygons.notes
        ways.append(polygons)
    ways += [ByAttribute(), ByNearestPlace(build.source.places)]
    otherwise = normalizer.display(options.neighbourhood or "") or normalizer.display(options.title) or options.name
    return Chain(ways, otherwise, normalizer)


def _write(build: Build, options: BuildOptions, areas: Chain, reporter: Reporter) -> None:
    """Name the sub-streets with places, part the photos, write the dataset; fill in the rest of `build`."""
    photos, match = build.photos.photos, build.match
    named = {s: build.partition.address(build.partition.subs[s], areas.of(build.partition.subs[s]))
             for s in sorted(set(match.subs[match.subs >= 0].tolist()))}  # fmt: skip
    texts: dict[Any, str] = {}  # sub-streets that would be called the same are one
    for address in named.values():
        texts[address.key] = min(address.text, texts.get(address.key, address.text))
    if joined := len(named) - len(texts):
        build.notes.append(f"{joined:,} sub-streets have the address of another and were made one with it")
    number = {key: i for i, key in enumerate(sorted(texts, key=lambda k: texts[k]))}
    place_of = {k: i for i, place in enumerate(build.places) for k in place.photos}
    rows, where = [], []
    for k, photo in enumerate(photos):
        sub = int(match.subs[place_of[k]])
        if sub < 0:
            build.photos.set_aside.append((photo.photo_id, match.how[place_of[k]]))
        else:
            rows.append(k)
            where.append(number[named[sub].key])
    chosen = [photos[k] for k in rows]
    labels = np.array(where, dtype=np.int64)
    positions = np.array([build.places[place_of[k]].position for k in rows])
    splits = split_photos(options.split, chosen, [build.places[place_of[k]].name for k in rows], positions, labels)
    used = [i for i, split in enumerate(splits.splits) if split]
    build.photos.set_aside += [(p.photo_id, r) for p, r in zip(chosen, splits.reasons, strict=True) if r]
    for split, purpose in (("train", "training"), ("query", "queries: methods could not be measured")):
        if not any(splits.splits[i] == split for i in used):
            raise DataError(f"no photo is left for {purpose}", f"see the split rule: --split {options.split.kind}")
    kept = sorted({int(labels[i]) for i in used})
    row_of = {label: row for row, label in enumerate(kept)}
    by_text = sorted(texts.values())
    build.addresses = [Address.parse(by_text[label]) for label in kept]
    build.address_of = np.full(len(build.partition.subs), -1, dtype=np.int64)
    for sub, address in named.items():
        build.address_of[sub] = row_of.get(number[address.key], -1)
    build.counts = {split: sum(splits.splits[i] == split for i in used) for split in SPLITS}
    _note(build, options, splits)
    images, paths = build.photos.images, [chosen[i].path for i in used]
    sizes = np.array([(images / path).stat().st_size for path in paths], dtype=np.int64)
    contents = checksums(images, columns.texts(paths), sizes, reporter) if options.contents else None
    reporter.log(f"writing {options.out}")
    make_folder(options.out)
    write_report(
        options.out / SET_ASIDE, [(options.photos.name, key, why) for key, why in sorted(build.photos.set_aside)]
    )
    write_build_report(build, options)  # before the dataset, whose folder is whole when it is one
    lines = [(row, line) for row, sub in zip(build.address_of.tolist(), build.partition.subs, strict=True)
             for line in sub.lines if row >= 0]  # fmt: skip
    exact = build.photos.positions[[rows[i] for i in used]]
    write_dataset(
        options.out,
        Description(
            options.name, options.title or options.name, str(images.resolve()), Bounds.around(exact),
            options.licence, _made_by(build, options),
        ),
        build.addresses,
        [a.verbose for a in build.addresses],
        {
            "photo_id": [chosen[i].photo_id for i in used],
            "path": paths,
            "bytes": sizes,
            "split": [splits.splits[i] for i in used],
            "place_id": [splits.places[i] for i in used],
            "address": np.array([row_of[int(labels[i])] for i in used], dtype=np.int32),
            "lat": exact[:, 0],
            "lon": exact[:, 1],
            "heading": np.array([chosen[i].heading for i in used], dtype=np.float32),
            "caption": [""] * len(used),
        },
        streets=StreetLines.of([row for row, _ in lines], [line for _, line in lines]),
        contents=contents,
    )  # fmt: skip


def _note(build: Build, options: BuildOptions, splits: PhotoSplits) -> None:
    if splits.straddling:
        build.notes.append(
            f"{splits.straddling:,} places have photos in several splits; their parts count as places of their own"
        )
    few = Counter(build.match.subs[build.match.subs >= 0].tolist())
    if small := sum(n < options.min_places for n in few.values()):
        build.notes.append(f"{small:,} sub-streets have fewer than {options.min_places} places: no neighbour has any")
    if wide := sum(_spread_m(build, place) > options.max_distance_m for place in build.places):
        build.notes.append(
            f"{wide:,} places have photos over {options.max_distance_m:g} m from their middle; are their ids right?"
        )
    if _areas_missing(build, options):
        build.notes.append(f"no neighbourhood is known of any street; all are in {build.addresses[0].neighbourhood!r}")


def _spread_m(build: Build, place: Place) -> float:
    """Distance of a place's farthest photo from its position."""
    return float(haversine_m(build.photos.positions_of(place.photos), place.position).max())


def _areas_missing(build: Build, options: BuildOptions) -> bool:
    """Whether no neighbourhood is known, though none was given."""
    given = options.neighbourhoods or options.neighbourhood or build.source.places
    return not given and not any(e.neighbourhood for e in build.network.edges)


def _made_by(build: Build, options: BuildOptions) -> dict[str, Any]:
    return {
        "importer": "build",
        "streets": options.streets.name if options.streets else f"OpenStreetMap: {options.osm_place}",
        "crossings_by": build.network.noded,
        "language": options.language,
        "min_length_m": options.min_length_m,
        "min_places": options.min_places,
        "beside_m": options.beside_m,
        "tolerance_m": options.tolerance_m,
        "max_distance_m": options.max_distance_m,
        "tie_m": options.tie_m,
        "between_streets": "nearest" if options.keep_ambiguous else "set aside",
        **({"geocoder": options.geocoder} if options.geocoder else {}),
        "photos_set_aside": len(build.photos.set_aside),
        "split": options.split.to_json(),
    }
