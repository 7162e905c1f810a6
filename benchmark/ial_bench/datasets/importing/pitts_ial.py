"""What keys of an annotation on Pitts-250k mean: ``000015_pitch1_yaw1.jpg`` with or without folders before it.

Pitts-250k has 10,586 panoramas in its database (``000/000015_pitch1_yaw1.jpg``, the folder being the number by the
thousand) and 1,000 queries, numbered anew, below ``queries_real``. One name may thus be two photos: a key is one of
``queries_real`` where it says so, and a database photo where it does not, unless the other of the two alone has photos
of all such keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ial_bench.datasets.columns import mapped, numbered
from ial_bench.datasets.importing.annotation import Records
from ial_bench.datasets.importing.photo_files import Layout, measure
from ial_bench.datasets.matlab import QUERIES
from ial_bench.datasets.photos import SPLITS
from ial_bench.datasets.places import PlaceRule
from ial_bench.method import Reporter

_KEY = re.compile(r"(?:(?P<above>.*)/)?(?P<name>(?P<thousand>\d{3})\d{3}_pitch\d+_yaw\d+\.\w+)")
_FOLDER = re.compile(r"\d{3}")
_GLANCE = 100  # keys that tell whether an annotation is of Pitts-250k
_SAMPLE = 200  # keys of a file, to find the folder that the archive's content lies in
_LAST_QUERY = "001"  # no panorama of queries_real has a number of a thousand or more


def of_pitts(paths: pa.ChunkedArray) -> bool:
    """Whether `paths` are names of Pitts-250k, going by the first of them."""
    return len(paths) > 0 and all(_KEY.fullmatch(path) for path in paths.slice(0, _GLANCE).to_pylist())


def archive_name(path: str) -> str:
    """Of a key the name within its half of Pitts-250k, such as ``000/000015_pitch1_yaw1.jpg``; others as they are."""
    match = _KEY.fullmatch(path)
    if match is None:
        return path.rpartition(f"{QUERIES}/")[2]
    folder = (match["above"] or "").rpartition("/")[2]
    return f"{folder if _FOLDER.fullmatch(folder) else match['thousand']}/{match['name']}"


@dataclass(frozen=True)
class Resolved:
    """Photos of an annotation on Pitts-250k, n of them.

    Attributes:
        root: the folder that files lie below.
        files: text [n], where each lies below it.
        names: text [n], what each is called in Pitts-250k, queries with ``queries_real/`` before it.
        sizes: int64 [n], bytes of each file, 0 where it cannot be used.
        wrong: by row, what is wrong with a file.
        layout: file of the annotation, and how its keys were read; one for each kind of key.
    """

    root: Path
    files: pa.ChunkedArray
    names: pa.ChunkedArray
    sizes: npt.NDArray[np.int64]
    wrong: dict[int, str]
    layout: list[tuple[str, str]]


def resolve(layout: Layout, folder: Path, records: Records, reporter: Reporter) -> Resolved:
    """Where photos lie, and what they are, by the first reading of the keys that finds all of a file's.

    Readings are: paths as they are (`layout`); photos of the half of Pitts-250k that the key names; of the other half,
    where only that one has all of them. Where none finds all, the one of the first two that finds most.

    Args:
        layout: how keys lie below the folder if they are paths.
        folder: that the user gave.
        records: n records.
        reporter: shows progress.
    """
    bare = mapped(records.path, archive_name)
    says_query = np.asarray(pc.match_substring_regex(records.path, f"(^|/){QUERIES}/").to_numpy(), dtype=np.bool_)
    search = _Search(layout, folder, reporter)
    files = np.empty(len(records), object)
    sizes, wrong = np.zeros(len(records), np.int64), dict[int, str]()
    in_queries = says_query.copy()
    told: list[tuple[str, str]] = []
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
            told.append((records.sources[split], f"{len(rows):,} keys are {words}: {example}"))
    names = pc.if_else(pa.array(in_queries), pc.binary_join_element_wise(QUERIES, bare, "/"), bare)
    return Resolved(search.root, pa.chunked_array([pa.array(files, pa.string())]), names, sizes, wrong, told)


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

    def __init__(self, layout: Layout, folder: Path, reporter: Reporter) -> None:
        self._layout, self._reporter = layout, reporter
        queries_alone = layout.root.resolve().name == QUERIES
        self.root = layout.root.resolve().parent if queries_alone else layout.root
        self._as_paths = not queries_alone and layout.dropped != QUERIES
        self._above = ["", "images/"]
        if self.root.resolve() != folder.resolve():
            self._above.append(f"{folder.resolve().name}/")

    def read(self, keys: pa.ChunkedArray, names: pa.ChunkedArray, query: bool) -> _Reading:
        """The reading of keys that name queries, or do not, with these `names` in either half."""
        readings = []
        if self._as_paths:
            dropped = f", without their first folder {self._layout.dropped}" if self._layout.dropped else ""
            readings.append(self._measured(self._layout.files(keys), f"paths below {self.root}{dropped}"))
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
        names: text [n], as of `Resolved`.
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
