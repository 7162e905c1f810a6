"""The settings of a geocoder, including `stage2`, which selects it, and the factory that builds it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from ial_bench.addresses import Address
from ial_bench.geo.lines import MAX_RANGE_M, StreetLines
from ial_bench.geocoding.geocoder import ByName, Geocoder, NearestPlace, NearestStreet, PlaceIndex, RadiusVote
from ial_bench.geocoding.reverse import NearestTown, ReverseGeocoder, Service, ServiceOptions
from ial_bench.method import MethodConfig

if TYPE_CHECKING:
    from ial_bench.datasets.photos import Candidates

_SEARCHED: dict[str, Literal["places", "streets", "names"]] = {
    "nearest": "places", "radius": "places", "streets": "streets", "reverse-geocoder": "names",
}  # fmt: skip
"""What each value of `stage2` searches; `geopy:NAME` searches names. `new_geocoder` has a branch for each."""
_GEOPY = re.compile(r"geopy:[a-z0-9]+")


class GeocoderSettings(MethodConfig):
    """How an address is looked up for coordinates; mix it into a method's `Config`."""

    stage2: str = Field(
        "nearest",
        description="nearest train place; radius, a vote of train places; streets, the nearest street of the dataset's "
        "street network; reverse-geocoder, towns offline; or geopy:NAME, a geocoding service, such as geopy:nominatim",
    )
    radius_m: float = Field(50.0, gt=0, description="of the vote of train places, in metres")
    street_range_m: float = Field(
        100.0, gt=0, le=MAX_RANGE_M, description="farthest street of the street network that is an answer, in metres"
    )
    street_match: float = Field(
        0.9, gt=0, le=1, description="how alike a geocoder's and a candidate's street must be; 1: the same name"
    )
    geocoder_domain: str | None = Field(None, description="server of the service, such as localhost:8080")
    geocoder_scheme: Literal["https", "http"] = Field("https", description="https or http")
    geocoder_user_agent: str = Field("ial-bench", description="what to call oneself; public servers want to know")
    geocoder_language: str | None = Field(None, description="of the names the service gives, such as en")
    geocoder_timeout_s: float = Field(10.0, gt=0, description="for one answer of the service")
    geocoder_interval_s: float = Field(1.0, ge=0, description="least time between two requests")
    geocoder_retries: int = Field(4, ge=0, description="of a request that failed")
    geocoder_backoff_s: float = Field(1.0, ge=0, description="wait before the first retry, doubled for each further")

    @field_validator("stage2")
    @classmethod
    def _known(cls, stage2: str) -> str:
        if stage2 not in _SEARCHED and not _GEOPY.fullmatch(stage2):
            raise ValueError(f"one of {', '.join(_SEARCHED)} or geopy:NAME")
        return stage2

    @model_serializer(mode="wrap")
    def _serialized(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the range where no street is searched: runs that it cannot change keep their identity."""
        values: dict[str, Any] = serialize(self)
        if not self.reads_streets:
            values.pop("street_range_m", None)
        return values

    @property
    def asks_network(self) -> bool:
        """Whether positions are sent to a service."""
        return self.stage2.startswith("geopy:")

    @property
    def asks_names(self) -> bool:
        """Whether a position's name is asked for, and matched to the candidates' addresses."""
        return self._searched == "names"

    @property
    def reads_streets(self) -> bool:
        """Whether the dataset's street network is searched."""
        return self._searched == "streets"

    @property
    def _searched(self) -> str:
        return "names" if self.asks_network else _SEARCHED[self.stage2]


def new_reverse_geocoder(settings: GeocoderSettings, cache: Path | None) -> ReverseGeocoder | None:
    """What names positions, None where `stage2` needs no names. To be called in `Method.prepare`.

    Args:
        settings: which.
        cache: folder for answers of services.

    Raises:
        SkipMethod: its package is not installed, or the service cannot be reached.
        ConfigError: no such service.
    """
    if settings.stage2 == "reverse-geocoder":
        return NearestTown()
    if not settings.asks_network:
        return None
    options = ServiceOptions(
        settings.stage2.removeprefix("geopy:"), settings.geocoder_domain, settings.geocoder_scheme,
        settings.geocoder_user_agent, settings.geocoder_language, settings.geocoder_timeout_s,
        settings.geocoder_interval_s, settings.geocoder_retries, settings.geocoder_backoff_s,
    )  # fmt: skip
    service = Service(options, cache)
    service.check()
    return service


def streets_for(settings: GeocoderSettings, candidates: Candidates) -> StreetLines | None:
    """The street network to search, None where `stage2` needs none. To be called first in `Method.fit`.

    Raises:
        SkipMethod: the dataset has none.
    """
    from ial_bench.datasets.streets import needed

    return needed(candidates.streets) if settings.reads_streets else None


def restored_streets(settings: GeocoderSettings, state: Any) -> StreetLines | None:
    """The street network in the arrays of a fitted method, None where `stage2` needs none."""
    return StreetLines.restored(state) if settings.reads_streets else None


def facts_of(geocoder: Geocoder) -> dict[str, Any]:
    """Facts on a geocoder's work so far, for a run's record; none of the index of places."""
    facts = dict(geocoder.facts())
    return {"geocoder": facts} if facts else {}


def new_geocoder(
    settings: GeocoderSettings,
    reverse: ReverseGeocoder | None,
    places: PlaceIndex,
    addresses: Sequence[Address],
    streets: StreetLines | None = None,
) -> Geocoder:
    """The geocoder of given settings.

    Args:
        settings: which.
        reverse: what `new_reverse_geocoder` gave.
        places: labelled places to search, and to rank the sub-streets of a named street.
        addresses: the candidates', for reverse geocoders.
        streets: what `streets_for` gave.
    """
    if streets is not None:
        return NearestStreet(streets, places.n_candidates, settings.street_range_m)
    if reverse is not None:
        return ByName(reverse, places, addresses, settings.street_match)
    if settings.stage2 == "radius":
        return RadiusVote(places, settings.radius_m)
    if settings.stage2 == "nearest":
        return NearestPlace(places)
    raise ValueError(f"stage2={settings.stage2} makes no geocoder of places")
