"""Checks of a dataset folder: is all there, whole, and consistent? And are the photos still the same?"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ial_bench import images
from ial_bench.addresses import Address
from ial_bench.datasets.contents import CONTENTS, Contents, sums_of, write_contents
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.known import keeper_of
from ial_bench.datasets.photos import SPLITS, Photos
from ial_bench.datasets.shards import SHARDS
from ial_bench.datasets.streets import STREETS
from ial_bench.datasets.table import DESCRIPTION
from ial_bench.errors import AddressError, DataError, ImageError
from ial_bench.geo.lines import LineIndex
from ial_bench.geo.points import valid
from ial_bench.progress import chunks

_BLOCK = 512
_STREET_M = 100.0


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: what kind, where, and what exactly."""

    kind: str
    where: str
    detail: str


@dataclass
class Verification:
    """What was found.

    Attributes:
        counts: photos per split.
        n_addresses: addresses over all splits.
        n_places: places over all splits.
        decoded: whether photos were decoded, or only looked for.
        problems: empty for a sound dataset.
        notes: what is odd, but no problem.
    """

    counts: dict[str, int]
    n_addresses: int
    n_places: int
    decoded: bool
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(
    dataset: Dataset,
    *,
    quick: bool = False,
    workers: int = 1,
    advance: Callable[[int], object] = lambda _: None,
) -> Verification:
    """Check a dataset.

    Args:
        dataset: what to check.
        quick: do not read the photos; only that they are there and of the right size.
        workers: threads that read and decode (decoding releases the interpreter).
        advance: called with how many photos were just checked.
    """
    photos = Photos(dataset, np.arange(len(dataset)))
    found = Verification(dataset.counts(), len(dataset.addresses), len(np.unique(dataset.place_codes)), not quick)
    found.problems += _name_problems(dataset)
    found.problems += _table_problems(dataset, photos)
    found.notes += _notes(dataset)
    _check_streets(dataset, found)
    lost = _check_shards(dataset, found)
    known = _contents(dataset, found)
    contents: dict[str, list[str]] = defaultdict(list)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for block in chunks(len(photos), _BLOCK):
            part = photos.part(np.flatnonzero(~lost[block]) + block.start)
            ids = part.ids
            for photo_id, (problem, content, note) in zip(
                ids, pool.map(lambda i, p=part: _check_photo(p, i, known, quick), range(len(part))), strict=True
            ):
                if problem:
                    found.problems.append(Problem(*problem))
                if note:
                    found.notes.append(note)
                if content:
                    contents[content].append(photo_id)
            advance(block.stop - block.start)
    found.problems += _duplicates(contents, dataset)
    for name in ("train", "query"):
        if not found.counts[name]:
            found.problems.append(Problem("empty split", name, "no photos"))
    return found


def _name_problems(dataset: Dataset) -> Iterable[Problem]:
    """Is it called, or found by its folder, as a published dataset that it is not?"""
    n_candidates = len(np.unique(dataset.split("train", "database").address_rows))
    n_queries = len(dataset.split("query"))
    for name in dict.fromkeys((dataset.name, dataset.folder.name)):
        card = keeper_of(name)
        if card is not None and not card.admits(n_candidates, n_queries):
            detail = (
                f"{n_candidates:,} candidates and {n_queries:,} queries, published are {card.size}: give it another "
                f"name, in {DESCRIPTION} and as a folder"
            )
            yield Problem("not the published dataset", name, detail)


def _table_problems(dataset: Dataset, photos: Photos) -> Iterable[Problem]:
    ids = dataset.texts("photo_id").to_pylist()
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        for photo_id in ids:
            if photo_id in seen:
                yield Problem("photo id twice", photo_id, "photo ids must be unique")
            seen.add(photo_id)
    rows = dataset.numbers("address")
    for i in np.flatnonzero((rows < 0) | (rows >= len(dataset.addresses))):
        yield Problem("address out of range", ids[i], f"row {rows[i]} of {len(dataset.addresses)}")
    yield from _address_problems(dataset)
    positions = photos.positions
    fine = valid(positions)
    inside = dataset.description.bounds.contain(positions)
    for i in np.flatnonzero(~fine | ~inside):
        kind = "position outside the city" if fine[i] else "position not finite or out of range"
        yield Problem(kind, ids[i], f"{positions[i, 0]:.6f}, {positions[i, 1]:.6f}")
    headings = dataset.numbers("heading")
    for i in np.flatnonzero(~np.isnan(headings) & ~((headings >= 0) & (headings < 360))):  # NaN: not known
        yield Problem("heading not in [0, 360)", ids[i], f"{headings[i]:g} degrees")
    yield from _straddling(dataset, ("train", "val", "database"), "query", "train and query")
    yield from _straddling(dataset, ("train",), "val", "train and val")


def _address_problems(dataset: Dataset) -> Iterable[Problem]:
    seen: dict[object, str] = {}
    for address in dataset.addresses:
        try:
            if Address.parse(address.text) != address:
                yield Problem("address not canonical", address.text, "its parts do not make up its text")
        except AddressError as error:
            yield Problem("address not parsable", address.text, error.problem)
        if address.key in seen:
            yield Problem("address twice", address.text, f"means the same as {seen[address.key]}")
        seen[address.key] = address.text
    for before, after in pairwise([a.text for a in dataset.addresses]):
        if before > after:
            yield Problem("addresses not sorted", after, f"stands after {before}; the order decides ties")


def _straddling(dataset: Dataset, some: tuple[str, ...], other: str, what: str) -> Iterable[Problem]:
    shared = np.intersect1d(dataset.place_codes[dataset.rows(*some)], dataset.place_codes[dataset.rows(other)])
    if len(shared):
        places = dataset.texts("place_id")
        for code in shared:
            first = int(np.flatnonzero(dataset.place_codes == code)[0])
            yield Problem("place in two splits", str(places[first]), f"photos in {what}")


def _notes(dataset: Dataset) -> Iterable[str]:
    known = set(dataset.split("train", "database").address_rows.tolist())
    without = sum(row not in known for row in dataset.split("query").address_rows.tolist())
    if without:
        yield f"{without:,} queries have an address that is no candidate; they count as wrong"


def _check_streets(dataset: Dataset, found: Verification) -> None:
    """The street network, where there is one: is it whole, inside the city, and near the photos of its addresses?"""
    try:
        lines = dataset.streets
    except DataError as error:
        found.problems.append(Problem("street network damaged", STREETS, error.problem))
        return
    if lines is None:
        return
    inside = dataset.description.bounds.contain(lines.points)
    outside = np.unique(np.searchsorted(lines.starts, np.flatnonzero(~inside), side="right") - 1)
    for i in outside:
        text = dataset.addresses[lines.addresses[i]].text
        found.problems.append(Problem("street outside the city", text, f"line {i} of {STREETS}"))
    train = dataset.split("train")
    rows = np.flatnonzero(np.isin(train.address_rows, lines.addresses) & valid(train.positions))
    near = np.zeros(len(train), dtype=bool)
    photo, address, _ = LineIndex(lines.points, lines.starts, lines.addresses).within(train.positions[rows], _STREET_M)
    near[rows[photo[train.address_rows[rows[photo]] == address]]] = True
    if far := len(rows) - int(near.sum()):
        found.notes.append(f"{far:,} train photos are more than {_STREET_M:g} m from every line of their own street")
    if without := len(np.setdiff1d(dataset.split("train", "database").address_rows, lines.addresses)):
        found.notes.append(f"{without:,} candidate addresses have no line in the street network")


def _check_shards(dataset: Dataset, found: Verification) -> npt.NDArray[np.bool_]:
    """Are the tar shards there, and of their old sizes? [n]: the photos that are lost with them."""
    lost = np.zeros(len(dataset), dtype=np.bool_)
    try:
        shards = dataset.shards
    except DataError as error:
        found.problems.append(Problem("shard index damaged", SHARDS, error.problem))
        return ~lost
    if shards is None:
        return lost
    for i, path in enumerate(shards.paths):
        try:
            size = path.stat().st_size
        except OSError as error:
            own = shards.shard == i
            lost |= own
            detail = f"{error.strerror}; {own.sum():,} photos are lost"
            found.problems.append(Problem("shard missing", str(path), detail))
            continue
        if size != shards.bytes[i]:
            cut = (shards.shard == i) & (shards.offset + shards.size > size)
            lost |= cut
            detail = f"{size:,} bytes, {shards.bytes[i]:,} when it was written; {cut.sum():,} photos are lost"
            found.problems.append(Problem("shard changed", str(path), detail))
    return lost


def _contents(dataset: Dataset, found: Verification) -> Contents | None:
    """The content digests to compare photos with, where there are any."""
    try:
        known = dataset.contents
    except DataError as error:
        found.problems.append(Problem("content digests damaged", CONTENTS, error.problem))
        return None
    if known is None:
        found.notes.append(
            "there are no content digests: a photo that was replaced by one of its size is not noticed; "
            f"`bench data contents {dataset.folder}` takes them"
        )
    return known


_Check = tuple[tuple[str, str, str] | None, str | None, str | None]


def _check_photo(photos: Photos, i: int, known: Contents | None, quick: bool) -> _Check:
    """(problem, content hash, note) of a photo."""
    try:
        where = photos.where(i)
    except DataError as error:
        return ("unsafe path", photos.relative_path(i), error.problem), None, None
    try:
        size = photos.stored_bytes(i)
    except OSError as error:
        return ("image missing", where, str(error.strerror)), None, None
    if size != photos.file_bytes(i):
        detail = f"{size:,} bytes, {photos.file_bytes(i):,} when the dataset was made"
        return ("image changed", where, detail), None, None
    if quick:
        return None, None, None
    kind = "image changed" if photos.in_shard(i) else "image not decodable"
    try:
        data = photos.as_stored(i)
        kind = "image changed"
        if known is not None and not known.holds(int(photos.rows[i]), data):
            raise ImageError("other content than when the dataset was made")
        kind = "image not decodable"
        images.decode(data, where)
    except (DataError, ImageError) as error:
        return (kind, where, error.problem), None, None
    return None, hashlib.sha256(data).hexdigest(), _suffix_note(data, photos.relative_path(i))


def _suffix_note(data: bytes, path: str) -> str | None:
    is_png, is_jpeg = data.startswith(b"\x89PNG"), data.startswith(b"\xff\xd8")
    suffix = path.rsplit(".", 1)[-1].lower()
    if (is_png and suffix in {"jpg", "jpeg"}) or (is_jpeg and suffix == "png"):
        return f"{path} is a {'PNG' if is_png else 'JPEG'} by its content (read as such)"
    return None


def _duplicates(contents: dict[str, list[str]], dataset: Dataset) -> Iterable[Problem]:
    """Files of equal content, with the splits they are in."""
    groups = [ids for ids in contents.values() if len(ids) > 1]
    if not groups:
        return
    ids = dataset.texts("photo_id").to_pylist()
    split_of = {photo_id: SPLITS[code] for photo_id, code in zip(ids, dataset.split_codes.tolist(), strict=True)}
    for group in groups:
        splits = sorted({split_of[i] for i in group})
        yield Problem("same content", group[0], f"also {', '.join(group[1:4])} (in {', '.join(splits)})")


@dataclass(frozen=True)
class Taken:
    """What came of taking the content digests of a dataset.

    Attributes:
        contents: of the photos as they are.
        compared: whether there were some before.
        changed: int64, rows of the photos that have other content than by those.
        written: whether `contents` are those of the dataset now.
    """

    contents: Contents
    compared: bool
    changed: npt.NDArray[np.int64]
    written: bool


def take_contents(
    dataset: Dataset,
    *,
    overwrite: bool = False,
    workers: int = 1,
    advance: Callable[[int], object] = lambda _: None,
) -> Taken:
    """Give a dataset the content digests of its photos as they are; where it has some, compare.

    Args:
        dataset: whose photos are read.
        overwrite: replace those that are there, where photos have other content or the table is damaged.
        workers: threads that read.
        advance: called with how many photos were just read.

    Raises:
        DataError: the table that is there is damaged, or of other photos.
        ImageError: a photo is missing, or has another size than when the dataset was made.
        StorageError: the folder cannot be written to.
    """
    try:
        known = dataset.contents
    except DataError:
        if not overwrite:
            raise
        known = None
    photos = Photos(dataset, np.arange(len(dataset)))
    sums = sums_of(len(photos), lambda part: map(photos.as_stored, range(part.start, part.stop)), workers, advance)
    changed = np.zeros(0, np.int64) if known is None else np.flatnonzero((known.sums != sums).any(axis=1))
    written = known is None or (overwrite and len(changed) > 0)
    if written:
        write_contents(dataset.folder, sums)
    return Taken(Contents(sums), known is not None, changed, written)
