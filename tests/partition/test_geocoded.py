"""Streets by a reverse geocoder, against a server of our own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ial_bench.addresses import Address
from ial_bench.errors import ConfigError
from ial_bench.geocoding.reverse import ServiceError
from ial_bench.geocoding.street_names import NameNormalizer
from ial_bench.partition.network import StreetNetwork
from ial_bench.partition.photos import SourcePhoto
from ial_bench.partition.places import (
    BY_GEOCODER,
    FAR,
    NEAREST,
    TAKEN,
    match_places,
    places_of,
    service_of,
    street_votes,
)
from support.drawn_streets import degrees, line, partition_of
from support.nominatim_server import Nominatim, serve

STREETS = [line("Main St", (-200, 0), (200, 0)), line("Oak St", (0, -200), (0, 200))]
NETWORK, PARTITION = StreetNetwork.of(STREETS), partition_of(STREETS)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nominatim]:
    """It knows Oak Street at one position, Fir Street, which is on no map, at another."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (oak, fir) = degrees((10.0, 6.0), (100.0, 100.0)).tolist()
    named = [(*oak, Address("Oak Street", "N")), (*fir, Address("Fir Street", "N"))]
    with serve(named, range_m=20.0) as nominatim:
        yield nominatim


def test_the_geocoder_tells_between_streets(server: Nominatim, tmp_path: Path) -> None:
    """Nearer to Main Street, but called Oak Street; elsewhere it knows nothing, or a street of no map."""
    points = degrees((10.0, 6.0), (100.0, 9.0), (100.0, 100.0), (12.0, 14.0)).tolist()
    photos = [SourcePhoto(f"{i}", f"{i}", lat, lon, place=f"{i}") for i, (lat, lon) in enumerate(points)]
    places = places_of(photos)
    service = service_of(f"nominatim:http://{server.domain}", 0.0, "en", tmp_path)
    votes = street_votes(service, places, NameNormalizer(), NETWORK.names.keys())
    assert [dict(v) for v in votes] == [{"oak street": 5}, {}, {}, {"oak street": 5}]
    found = match_places(places, photos, PARTITION, NETWORK.origin, votes=votes)
    assert list(found.how) == [BY_GEOCODER, NEAREST, FAR, BY_GEOCODER]
    assert [PARTITION.subs[s].street.key for s in found.subs if s >= 0] == ["oak street", "main street", "oak street"]
    alone = match_places(places, photos, PARTITION, NETWORK.origin)
    assert list(alone.how) == [TAKEN, NEAREST, FAR, TAKEN]
    asked = len(server.asked)
    service = service_of(f"nominatim:http://{server.domain}", 0.0, "en", tmp_path)
    again = street_votes(service, places, NameNormalizer(), set())
    assert not any(again)
    assert len(server.asked) - asked <= 1, "but for the first look, answers come from the cache"


def test_a_place_is_asked_about_from_five_positions(server: Nominatim) -> None:
    (place,) = places_of([SourcePhoto("a", "a", *degrees((0.0, 0.0))[0].tolist())])
    street_votes(service_of(f"nominatim:http://{server.domain}", 0.0, None, None), [place], NameNormalizer(), set())
    where = np.array([(float(q["lat"]), float(q["lon"])) for q in server.asked[1:]])
    assert len(where) == 5
    metres = (where - place.position) * np.array([111_195.0, 111_195.0 * np.cos(np.radians(40.44))])
    assert sorted(np.hypot(*metres.T).tolist()) == pytest.approx([0, 5, 5, 5, 5], abs=1.0), "cells are 1.1 m high"


@pytest.mark.parametrize("text", ["nominatim:ftp://x", "No Geocoder", "nominatim:", "moon:localhost"])
def test_geocoders_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError):
        service_of(text, 0.0, None, None)


def test_a_geocoder_that_does_not_answer(server: Nominatim) -> None:
    server.always = "500"
    with pytest.raises(ServiceError, match="does not answer"):
        service_of(f"nominatim:http://{server.domain}", 0.0, None, None)
