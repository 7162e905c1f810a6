"""What a reverse geocoder calls the street of each place: several answers, filtered and voted on, as the paper did."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from ial_bench.errors import ConfigError, SkipMethod
from ial_bench.geo.projections import from_local_m
from ial_bench.geocoding.reverse import ReverseGeocoder
from ial_bench.geocoding.street_names import NameNormalizer
from ial_bench.partition.photos import Place

APART_M = 5.0
"""How far from the place the other positions lie that are asked about: what positions are off, commonly."""

_AROUND = np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)], dtype=np.float64) * APART_M
_FORM = re.compile(r"(?P<name>[a-z0-9]+)(?::(?:(?P<scheme>https?)://)?(?P<domain>[^/\s]+)/?)?")


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
    from ial_bench.geocoding.service import Service, ServiceError, ServiceOptions

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
