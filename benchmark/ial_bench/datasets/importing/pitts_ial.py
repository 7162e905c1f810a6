"""Pitts-IAL: what the keys of an annotation on Pitts-250k mean, and the positions in its MATLAB files.

Pitts-250k has 10,586 panoramas in its database (``000/000015_pitch1_yaw1.jpg``, the folder is the number divided by
1,000) and 1,000 queries, numbered anew, below ``queries_real``. A key is a name with or without folders before it,
and one name may be two photos: it is one of ``queries_real`` where it says so, and a database photo where it does not,
unless the other of the two alone has photos of all such keys.

``pitts250k_{train,val,test}.mat`` each hold a struct with the fields ``dbImageFns`` and ``qImageFns`` (cells of file
names) and ``utmDb`` and ``utmQ`` (2 x n metres: easting, northing). Names of queries lie below ``queries_real``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ial_bench.datasets.columns import mapped, numbered
from ial_bench.datasets.importing.annotation import Records
from ial_bench.datasets.importing.photo_files import PhotoFolder, measure
from ial_bench.datasets.importing.positions import Coords, faults_of, from_utm
from ial_bench.datasets.photos import SPLITS
from ial_bench.datasets.places import PlaceRule
from ial_bench.errors import DataError
from ial_bench.files import check_regular
from ial_bench.progress import Reporter

FILES = tuple(f"pitts250k_{part}.mat" for part in ("train", "val", "test"))
QUERIES = "queries_real"
_KEY = re.compile(r"(?:(?P<above>.*)/)?(?P<name>(?P<thousand>\d{3})\d{3}_pitch\d+_yaw\d+\.\w+)")
_FOLDER = re.compile(r"\d{3}")
_GLANCE = 100  # keys that are looked at, to see whether an annotation is of Pitts-250k
_SAMPLE = 200  # keys of a file, to find the folder that the archive's content lies in
_LAST_QUERY = "001"  # no panorama of queries_real has a number of a thousand or more
_SOURCE = "pitts250k_*.mat"
_FIELDS = ("dbImageFns", "utmDb", "qImageFns", "utmQ")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_AT = (0, 512)  # a v7.3 file has a header of 512 bytes before it
_RESAVE = "in MATLAB: s = load('FILE'); save('FILE', '-struct', 's', '-v7'); or give positions as --coords CSV"


def of_pitts(paths: pa.ChunkedArray) -> bool:
    """Whether `paths` are names of Pitts-250k, going by the first of them."""
    return len(paths) > 0 and all(_KEY.fullmatch(path) for path in paths.slice(0, _GLANCE).to_pylist())


def _archive_name(path: str) -> str:
    """Of a key the name within its half of Pitts-250k, such as ``000/000015_pitch1_yaw1.jpg``; others as they are."""
    match = _KEY.fullmatch(path)
    if match is None:
        return path.rpartition(f"{QUERIES}/")[2]
    folder = (match["above"] or "").rpartition("/")[2]
    return f"{folder if _FOLDER.fullmatch(folder) else match['thousand']}/{match['name']}"


@dataclass(frozen=True)
class PittsPhotos:
    """Photos of an annotation on Pitts-250k, n of them.

    Attributes:
        root: the folder that files lie below.
        files: text [n], where each lies below it.
        names: text [n], what each is called in Pitts-250k, queries with ``queries_real/`` before it.
        sizes: int64 [n], bytes of each file, 0 where it cannot be used.
        wrong: by row, what is wrong with a file.
        readings: file of the annotation, and how its keys were read; one for each kind of key.
    """

    root: Path
    files: pa.ChunkedArray
    names: pa.ChunkedArray
    sizes: npt.NDArray[np.int64]
    wrong: dict[int, str]
    readings: list[tuple[str, str]]


def resolve(below: PhotoFolder, folder: Path, records: Records, reporter: Reporter) -> PittsPhotos:
    """Where photos lie, and what they are, by the first reading of the keys that finds all of a file's.

    Readings are: paths as they are (`below`); photos of the half of Pitts-250k that the key names; of the other half,
    where only that one has all of them. Where none finds all, the one of the first two that finds most.

    Args:
        below: how keys lie below the folder if they are paths.
        folder: that the user gave.
        records: n records.
        reporter: shows progress.
    """
    bare = mapped(records.path, _archive_name)
    says_query = np.asarray(pc.match_substring_regex(records.path, f"(^|/){QUERIES}/").to_numpy(), dtype=np.bool_)
    search = _Search(below, folder, reporter)
    files = np.empty(len(records), object)
    sizes, wrong = np.zeros(len(records), np.int64), dict[int, str]()
    in_queries = says_query.copy()
    readings: list[tuple[str, str]] = []
    for split in np.unique(records.split).tolist():
        for query in (False, True):
            rows = np.flatnonzero((records.split == split) & (says_query == query))
            if not len(rows):
                continue
            chosen = pa.array(rows)
            found = search.read(records.path.take(chosen), bare.take(chosen), query)
            files[rows], sizes[rows] = found.files.to_pylist(), found.sizes
            wrong |= {int(rows[i]): fault for i, fault in found.wrong.items()}
            in_queries[rows] = query != found.crossed
            words = found.words
            if SPLITS[split] == "query" and not (query or found.crossed) and search.also_queries(bare.take(chosen)):
                words += f" ({QUERIES} has photos of all these names, too)"
            example = f"{records.rejected(int(rows[0]), '')[1]} is {files[rows[0]]}"
            readings.append((records.sources[split], f"{len(rows):,} keys are {words}: {example}"))
    names = pc.if_else(pa.array(in_queries), pc.binary_join_element_wise(QUERIES, bare, "/"), bare)
    return PittsPhotos(search.root, pa.chunked_array([pa.array(files, pa.string())]), names, sizes, wrong, readings)


@dataclass(frozen=True)
class _Reading:
    """Keys read in one way: their files, as `measure` found them, and the way in words."""

    files: pa.ChunkedArray
    sizes: npt.NDArray[np.int64]
    wrong: dict[int, str]
    words: str
    crossed: bool = False

    @property
    def n_missing(self) -> int:
        return sum(reason.startswith("image missing") for reason in self.wrong.values())


class _Search:
    """Tries readings of keys, below one folder."""

    def __init__(self, below: PhotoFolder, folder: Path, reporter: Reporter) -> None:
        self._below, self._reporter = below, reporter
        queries_alone = below.root.resolve().name == QUERIES
        self.root = below.root.resolve().parent if queries_alone else below.root
        self._as_paths = not queries_alone and below.dropped != QUERIES
        self._above = ["", "images/"]
        if self.root.resolve() != folder.resolve():
            self._above.append(f"{folder.resolve().name}/")

    def read(self, keys: pa.ChunkedArray, names: pa.ChunkedArray, query: bool) -> _Reading:
        """The reading of keys that name queries, or do not, with these `names` in either half."""
        readings = []
        if self._as_paths:
            dropped = f", without their first folder {self._below.dropped}" if self._below.dropped else ""
            readings.append(self._measured(self._below.files(keys), f"paths below {self.root}{dropped}"))
        if all(r.n_missing for r in readings):
            words = f"names of {_HALVES[query]}, by panorama number"
            readings.append(self._measured(self._files_in(names, query), words))
        if all(r.n_missing for r in readings):
            words = f"names of {_HALVES[not query]}, which alone have all of them"
            crossed = self._measured(self._files_in(names, not query), words, crossed=True)
            if not crossed.n_missing:
                return crossed
        return min(readings, key=lambda r: r.n_missing)

    def also_queries(self, names: pa.ChunkedArray) -> bool:
        """Whether ``queries_real`` has photos of all `names`."""
        if pc.max(names).as_py() >= _LAST_QUERY:
            return False
        return not self._measured(self._files_in(names, query=True), "").n_missing

    def _measured(self, files: pa.ChunkedArray, words: str, crossed: bool = False) -> _Reading:
        return _Reading(files, *measure(self.root, files, self._reporter), words, crossed)

    def _files_in(self, names: pa.ChunkedArray, query: bool) -> pa.ChunkedArray:
        """Where `names` of a half of Pitts-250k lie: in the first folder that has most of some of them."""
        within = f"{QUERIES}/" if query else ""
        step = max(1, len(names) // _SAMPLE)
        sample = names.take(pa.array(range(0, len(names), step), pa.int64())).to_pylist()

        def held(above: str) -> int:
            return sum((self.root / f"{above}{within}{name}").is_file() for name in sample)

        return pc.binary_join_element_wise(f"{max(self._above, key=held)}{within}", names, "")


_HALVES = {False: "database photos", True: f"photos of {QUERIES}"}


def places_apart(paths: pa.ChunkedArray, names: pa.ChunkedArray, rule: PlaceRule) -> pa.ChunkedArray:
    """The place of each photo by `rule`, so that no place has photos of both halves of Pitts-250k, null for none.

    It is read from the path, as for any annotation; from the name where prefixes of paths join or part what names
    do not.

    Args:
        paths: text [n], of the annotation.
        names: text [n], as in `PittsPhotos`.
        rule: reads a place.
    """
    by_path, by_name = (mapped(column, rule.place) for column in (paths, names))
    if by_path.null_count or by_name.null_count:
        places = by_path
    else:
        codes = [numbered(column)[0] for column in (by_path, by_name)]
        pairs = len(np.unique(codes[0] * (int(codes[1].max(initial=0)) + 1) + codes[1]))
        same = all(pairs == int(c.max(initial=-1)) + 1 for c in codes)
        places = by_path if same else by_name
    query = pc.starts_with(names, f"{QUERIES}/")
    shared = pc.is_in(places, value_set=pc.unique(places.filter(query)))
    shared_with = pc.is_in(places, value_set=pc.unique(places.filter(pc.invert(query))))
    apart = pc.and_(query, pc.and_(shared, shared_with))
    return pc.if_else(apart, pc.binary_join_element_wise(QUERIES, places, "/"), places)


def read_mats(folder: Path, zone: str) -> tuple[Coords, list[str]]:
    """Positions by photo path, with and without ``images/`` before it, and the files of `FILES` that are missing.

    Raises:
        DataError: none of the files, or one that is damaged, of version 7.3, or of another layout.
    """
    there = [folder / name for name in FILES if (folder / name).is_file()]
    if not there:
        raise DataError(f"no {', '.join(FILES)} in {folder}", "give --mats DIR, or positions as --coords CSV")
    names: list[str] = []
    metres: list[npt.NDArray[np.float64]] = []
    for path in there:
        db_names, db_metres, q_names, q_metres = _read(path)
        names += db_names
        names += [name if name.startswith(f"{QUERIES}/") else f"{QUERIES}/{name}" for name in q_names]
        metres += [db_metres, q_metres]
    given = np.concatenate(metres)
    points = from_utm(given, zone)
    faults = faults_of(given, points)
    paths = pa.chunked_array([pa.array(names), pa.array([f"images/{name}" for name in names])])
    twice = [np.concatenate([column, column]) for column in (points, given, faults)]
    return Coords.of(_SOURCE, paths, *twice), [n for n in FILES if not (folder / n).is_file()]


def _read(path: Path) -> tuple[list[str], npt.NDArray[np.float64], list[str], npt.NDArray[np.float64]]:
    """Database names, their metres [n, 2], query names, their metres [m, 2]."""
    from scipy.io import loadmat

    check_regular(path)
    try:
        with path.open("rb") as file:
            head = file.read(max(_HDF5_AT) + len(_HDF5))
        if any(head.startswith(_HDF5, at) for at in _HDF5_AT):
            raise DataError(
                f"{path} is a MATLAB file of version 7.3, which is not read", _RESAVE.replace("FILE", path.name)
            )
        variables = loadmat(path, squeeze_me=True, struct_as_record=False)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", "get the file again") from error
    except DataError:
        raise
    except Exception as error:  # scipy raises any error for a damaged file
        raise DataError(f"{path} is not a MATLAB file, or a damaged one: {error}", "get the file again") from error
    for value in variables.values():
        if all(hasattr(value, name) for name in _FIELDS):
            return (*_photos(path, value, "dbImageFns", "utmDb"), *_photos(path, value, "qImageFns", "utmQ"))
    found = ", ".join(name for name in variables if not name.startswith("__"))
    raise DataError(
        f"{path} has no struct with the fields {', '.join(_FIELDS)}; it has {found or 'nothing'}",
        "take the files that come with Pitts-250k, or give positions as --coords CSV",
    )


def _photos(path: Path, struct: Any, name_field: str, utm_field: str) -> tuple[list[str], npt.NDArray[np.float64]]:
    names = [str(name) for name in np.atleast_1d(getattr(struct, name_field)).ravel()]
    try:
        metres = np.asarray(getattr(struct, utm_field), np.float64)
    except (TypeError, ValueError):
        metres = np.zeros((0, 0))
    if metres.size != 2 * len(names):
        raise DataError(
            f"{path} has {len(names):,} names in {name_field}, but {utm_field} is not 2 x {len(names)} numbers",
            "get the file again",
        )
    if metres.ndim == 2 and metres.shape[0] != 2:
        metres = metres.T
    return names, metres.reshape(2, -1).T
