"""Places, which are photos that share a camera position, and the sub-street that each is on.

The nearest one, if no other street is nearly as near. Where one is, near a crossing, the first of these settles it:

1. heading: the photos of the place look one way (a camera that looks ahead), along one of the streets alone;
2. sequence: of the places before and after in the same drive, most are on one of the streets;
3. otherwise the nearest is taken, or the place is set aside, as asked.

Pieces of one street do not compete: the nearest is taken.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ial_bench.errors import ConfigError, SkipMethod
from ial_bench.geo.lines import Floats, nearest, shapely
from ial_bench.geo.points import EARTH_RADIUS_M, Points, rolled, unit_vectors, unrolled
from ial_bench.geo.projections import from_local_m, to_local_m
from ial_bench.geocoding.reverse import ReverseGeocoder, Service, ServiceError, ServiceOptions
from ial_bench.geocoding.street_names import NameNormalizer
from ial_bench.partition.network import UnionFind
from ial_bench.partition.photos import SourcePhoto
from ial_bench.partition.substreets import Partition

SAME_PLACE_M = 3.0
"""Photos without a place's id that are no farther apart are of one place: the views of a panorama share a position up
to rounding, and panoramas are taken at greater steps."""

ONE_VISIT_S = 60.0
"""Such photos of two days, either side of midnight, are of one place where no more seconds lie between them."""

MAX_DISTANCE_M = 25.0
"""From a place to its street's line: half the width of a boulevard, and ten metres of error of positions."""

TIE_M = 5.0
"""Streets whose distances differ by no more are equally near: the usual error of positions."""

_ALONG = np.cos(np.radians(30))
_ONE_WAY_SPREAD = 0.9  # mean resultant length of headings that look one way
_WINDOW = 3  # places before and after, in a sequence

NEAREST, BY_HEADING, BY_SEQUENCE = "nearest", "settled by heading", "settled by sequence"
BY_GEOCODER = "told by the geocoder"
TAKEN, AMBIGUOUS, FAR = "between streets, nearest taken", "between streets", "no named street near"

APART_M = 5.0
"""How far from the place the other positions lie that are asked about: the usual error of positions."""

_AROUND = np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)], dtype=np.float64) * APART_M
_FORM = re.compile(r"(?P<name>[a-z0-9]+)(?::(?:(?P<scheme>https?)://)?(?P<domain>[^/\s]+)/?)?")


@dataclass(frozen=True)
class Place:
    """Photos that share a camera position.

    Attributes:
        name: the place's id.
        photos: as numbers of the photos.
        position: [2], the mean of theirs, degrees.
    """

    name: str
    photos: tuple[int, ...]
    position: Points


def places_of(photos: Sequence[SourcePhoto], same_place_m: float = SAME_PLACE_M) -> list[Place]:
    """The places of photos, by name.

    Photos with a place's id are of that place. Of the others, those of one day, or of one `ONE_VISIT_S`, within
    `same_place_m` of each other are one; chains of such count as one place. It is called by its first photo.

    Args:
        photos: in order of their ids.
        same_place_m: see `SAME_PLACE_M`.
    """
    members: dict[str, list[int]] = defaultdict(list)
    loose = [i for i, p in enumerate(photos) if not p.place]
    for i, photo in enumerate(photos):
        if photo.place:
            members[photo.place].append(i)
    for group in _near(photos, loose, same_place_m):
        first = photos[group[0]].photo_id
        members[first if first not in members else f"{first} (photo)"] += group
    return [
        Place(name, tuple(which), _mean(np.array([(photos[i].lat, photos[i].lon) for i in which])))
        for name, which in sorted(members.items())
    ]


def _mean(points: Points) -> Points:
    return rolled(unrolled(points).mean(axis=0))


def _near(photos: Sequence[SourcePhoto], which: Sequence[int], same_place_m: float) -> list[list[int]]:
    from scipy.spatial import KDTree

    if not which:
        return []
    vectors = unit_vectors(np.array([(photos[i].lat, photos[i].lon) for i in which])) * EARTH_RADIUS_M
    same: UnionFind[int] = UnionFind()
    for a, b in sorted(KDTree(vectors).query_pairs(same_place_m)):
        if _of_one_visit(photos[which[a]], photos[which[b]]):
            same.join([a, b])
    groups: dict[int, list[int]] = defaultdict(list)
    for k, i in enumerate(which):
        groups[same.find(k)].append(i)
    return list(groups.values())


def _of_one_visit(a: SourcePhoto, b: SourcePhoto) -> bool:
    if a.taken is None or b.taken is None:
        return a.taken is b.taken
    return a.taken.date() == b.taken.date() or abs(a.seconds - b.seconds) <= ONE_VISIT_S


@dataclass(frozen=True)
class Match:
    """Where places are.

    Attributes:
        subs: int64 [n], the sub-street of each place, -1 where it has none.
        how: why, for each place.
        metres: float64 [n], distance to the nearest sub-street, infinite where none is near.
    """

    subs: npt.NDArray[np.int64]
    how: Sequence[str]
    metres: Floats

    def counts(self) -> Counter[str]:
        """Places by what settled them."""
        return Counter(self.how)


def match_places(
    places: Sequence[Place],
    photos: Sequence[SourcePhoto],
    partition: Partition,
    origin: Points,
    *,
    max_distance_m: float = MAX_DISTANCE_M,
    tie_m: float = TIE_M,
    keep_ambiguous: bool = True,
    votes: Sequence[Mapping[str, int]] | None = None,
) -> Match:
    """Find the sub-street of each place.

    Args:
        places: where photos were taken.
        photos: all photos.
        partition: the sub-streets.
        origin: [2], of the street network's local metres.
        max_distance_m: see `MAX_DISTANCE_M`.
        tie_m: see `TIE_M`.
        keep_ambiguous: whether to take the nearest street where nothing settles it.
        votes: of a geocoder for streets, by key, for each place. The street within the distance that has most is taken,
            however near others are; distances decide where no street has any, and among streets with as many.
    """
    lib = shapely()
    owners = [(i, piece.metres) for i, sub in enumerate(partition.subs) for piece in sub.pieces]
    tree = lib.STRtree([lib.LineString(line) for _, line in owners])
    points = to_local_m(np.array([p.position for p in places]).reshape(-1, 2), origin)
    candidates: list[list[_Candidate]] = [[] for _ in places]
    some, near = tree.query(lib.points(points), predicate="dwithin", distance=max_distance_m)
    best: dict[tuple[int, int], tuple[float, Floats]] = {}
    for i, k in sorted(zip(some.tolist(), near.tolist(), strict=True)):
        _, metres, direction = nearest(owners[k][1], points[i])
        if metres < best.get((i, owners[k][0]), (np.inf, direction))[0]:
            best[i, owners[k][0]] = metres, direction
    for (i, sub), (metres, direction) in sorted(best.items(), key=lambda b: (b[0][0], b[1][0], b[0][1])):
        candidates[i].append(_Candidate(sub, partition.subs[sub].street.key, metres, direction))
    voted = [_voted(c, votes[i]) if votes is not None else c for i, c in enumerate(candidates)]
    tied = [_tied(c, tie_m) for c in voted]
    subs, how = np.full(len(places), -1, dtype=np.int64), [FAR] * len(places)
    for i, found in enumerate(tied):
        if found:
            chosen = found[0] if len(found) == 1 else _by_heading(found, [photos[k].heading for k in places[i].photos])
            if chosen is not None:
                alone = BY_GEOCODER if voted[i] is not candidates[i] else NEAREST
                subs[i], how[i] = chosen.sub, alone if len(found) == 1 else BY_HEADING
    around = _neighbours_in_sequence(places, photos)
    sure = {i: tied[i][0].street for i in range(len(places)) if len(tied[i]) == 1}
    for i, found in enumerate(tied):
        if subs[i] >= 0 or not found:
            continue
        chosen = _by_sequence(found, [sure[k] for k in around.get(i, ()) if k in sure])
        if chosen is not None:
            subs[i], how[i] = chosen.sub, BY_SEQUENCE
        else:
            subs[i], how[i] = (found[0].sub, TAKEN) if keep_ambiguous else (-1, AMBIGUOUS)
    distances = np.array([c[0].metres if c else np.inf for c in candidates])
    return Match(subs, how, distances)


@dataclass(frozen=True)
class _Candidate:
    sub: int
    street: str
    metres: float
    direction: Floats


def _tied(candidates: Sequence[_Candidate], tie_m: float) -> list[_Candidate]:
    """The nearest sub-street of each street that is nearly as near as the nearest of all; nearest first."""
    found: dict[str, _Candidate] = {}
    for candidate in candidates:
        if candidate.metres <= candidates[0].metres + tie_m:
            found.setdefault(candidate.street, candidate)
    return list(found.values())


def _voted(candidates: list[_Candidate], votes: Mapping[str, int]) -> list[_Candidate]:
    """Those on the streets with most votes; the list itself where none has any."""
    most = max((votes.get(c.street, 0) for c in candidates), default=0)
    return [c for c in candidates if votes.get(c.street, 0) == most] if most else candidates


def _by_heading(found: Sequence[_Candidate], headings: Sequence[float]) -> _Candidate | None:
    known = np.radians([h for h in headings if np.isfinite(h)])
    if not len(known):
        return None
    mean = np.array([np.sin(known).mean(), np.cos(known).mean()])
    length = float(np.hypot(*mean))
    if length < _ONE_WAY_SPREAD:  # views in all directions do not show the street
        return None
    along = [c for c in found if abs(float(c.direction @ mean)) / length >= _ALONG]
    return along[0] if len(along) == 1 else None


def _by_sequence(found: Sequence[_Candidate], streets: Sequence[str]) -> _Candidate | None:
    votes = Counter(s for s in streets if s in {c.street for c in found})
    ranked = votes.most_common(2)
    if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
        return None
    return next(c for c in found if c.street == ranked[0][0])


def _neighbours_in_sequence(places: Sequence[Place], photos: Sequence[SourcePhoto]) -> dict[int, list[int]]:
    """The places before and after each, in its drive: by date, and by id where dates are equal or unknown."""
    drives: dict[str, list[tuple[float, str, int]]] = defaultdict(list)
    for i, place in enumerate(places):
        first = min((photos[k] for k in place.photos), key=lambda p: (p.seconds, p.photo_id))
        if first.sequence:
            drives[first.sequence].append((first.seconds, first.photo_id, i))
    around: dict[int, list[int]] = {}
    for drive in drives.values():
        order = [i for _, _, i in sorted(drive)]
        for k, i in enumerate(order):
            around[i] = order[max(0, k - _WINDOW) : k] + order[k + 1 : k + 1 + _WINDOW]
    return around


def service_of(text: str, interval_s: float, language: str | None, cache: Path | None) -> ReverseGeocoder:
    """The geocoder that ``NAME``, ``NAME:DOMAIN`` or ``NAME:http://DOMAIN`` means.

    Args:
        text: geopy's name of it, and where it runs; geopy's default server without a domain.
        interval_s: least time between two requests; public servers want a second.
        language: of the names.
        cache: folder where answers are kept for another build.

    Raises:
        ConfigError: not of that form, or geopy is not installed or knows no such service.
        ServiceError: it does not answer.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"--geocoder {text!r} is no geocoder", "write NAME:DOMAIN, such as nominatim:http://localhost:8080"
        )
    options = ServiceOptions(
        name=match["name"], domain=match["domain"], scheme=match["scheme"] or "https", user_agent="ial-bench",
        language=language, timeout_s=10.0, interval_s=interval_s, retries=4, backoff_s=1.0,
    )  # fmt: skip
    try:
        service = Service(options, cache)
        service.check()
    except SkipMethod as skip:
        if isinstance(skip.__cause__, ServiceError):  # the reason around it speaks of a method's settings
            raise skip.__cause__ from None
        raise ConfigError(skip.reason, "see --geocoder in `bench data build --help`") from skip
    return service


def street_votes(
    service: ReverseGeocoder, places: Sequence[Place], normalizer: NameNormalizer, known: Collection[str]
) -> list[Counter[str]]:
    """Votes for streets, by key, of each place.

    Asked about are the place and four positions around it. Of each answer the first street that is on the map counts.

    Args:
        service: the geocoder.
        places: n places.
        normalizer: of the street map, for its keys.
        known: keys of the streets that are on the map.

    Raises:
        ServiceError: the geocoder does not answer; what it answered is kept.
    """
    positions = np.concatenate([np.zeros((0, 2)), *(from_local_m(_AROUND, place.position) for place in places)])
    names = service.names(positions)
    votes: list[Counter[str]] = [Counter() for _ in places]
    for i, name in enumerate(names):
        keys = (normalizer.key(street) for street in (name.streets if name is not None else ()))
        first = next((key for key in keys if key in known), None)
        if first is not None:
            votes[i // len(_AROUND)][first] += 1
    return votes
