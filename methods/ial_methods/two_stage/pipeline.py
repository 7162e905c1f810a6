"""Image -> GPS -> address: a first stage that locates the photo, and a geocoder behind it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ial_bench import (
    PHOTO,
    Address,
    Candidates,
    Effort,
    Features,
    FrozenEncoderMethod,
    Method,
    MethodConfig,
    RunContext,
    Sizes,
    TopK,
    Workload,
)
from ial_bench.geo.points import Points, haversine_m
from ial_bench.geocoding.geocoder import Geocoder, NearestPlace, PlaceIndex
from ial_bench.geocoding.reverse import ReverseGeocoder
from ial_bench.geocoding.settings import (
    GeocoderSettings,
    facts_of,
    new_geocoder,
    new_reverse_geocoder,
    restored_streets,
    streets_for,
)

if TYPE_CHECKING:
    from ial_bench.geo.lines import StreetLines

REFERENCE = (
    "Xu et al., AddressCLIP: Empowering Vision-Language Models for City-wide Image Address Localization, ECCV 2024"
)
_NETWORK_VAL = 100  # val photos asked about where a service answers: a second each on a public server
_LOOKUP_FLOPS = 1e6  # of the candidates of one position, by what it takes


@dataclass(frozen=True)
class ValByPlace:
    """SSA-1 of val photos, as located, by the nearest train place; None without val.

    Attributes:
        train: photos whose places are known.
        val: photos to locate.
        locate: features [n, d] to positions [n, 2].
    """

    train: Features
    val: Features
    locate: Callable[[npt.NDArray[np.float32]], Points]

    @cached_property
    def _places(self) -> NearestPlace:
        return NearestPlace(PlaceIndex.of(self.train.photos))

    def __call__(self) -> float | None:
        """With the first stage as it is."""
        if len(self.val) == 0:
            return None
        right = 0
        for x, labels in self.val.blocks(1024):
            right += int((self._places.rank(self.locate(x), 1).indices[:, 0] == labels).sum())
        return right / len(self.val)


class Stage1(Protocol):
    """Predicts where photos were taken."""

    def fit(self, train: Features, val: Features, log: Callable[[str], None]) -> None:
        """Learn from `train`; choose on `val`, which may be empty."""

    def index(self, parts: Sequence[Features], encoder: str) -> None:
        """Take all labelled photos as reference. `encoder`: digest of the encoder of their features."""

    def locate(self, x: npt.NDArray[np.float32]) -> Points:
        """Positions [n, 2] of features [n, d]; after `fit` alone, from train photos alone."""

    def facts(self) -> Mapping[str, Any]:
        """What is worth keeping in the record, as JSON values."""

    def storage_bytes(self) -> int:
        """Bytes needed to locate photos, without the image tower."""

    def trained_parameters(self) -> int:
        """Parameters that `fit` trains."""

    def save(self, folder: Path) -> None:
        """Store it in `folder`."""

    def load(self, folder: Path, encoder: str) -> None:
        """Read what `save` stored.

        Raises:
            DataError: it was made from features of another encoder.
        """


class Geocoded(Method):
    """A method that ends in a geocoder."""

    class Config(GeocoderSettings):
        """Settings: those of the geocoder."""

    config: Config
    geocoder: Geocoder

    def __init__(self, config: MethodConfig, context: RunContext) -> None:
        super().__init__(config, context)
        self.reverse: ReverseGeocoder | None = None

    @property
    def reads_streets(self) -> bool:
        return self.config.reads_streets

    def prepare(self) -> None:
        self.reverse = new_reverse_geocoder(self.config, self.context.cache)

    def build_geocoder(self, places: PlaceIndex, addresses: list[Address], streets: StreetLines | None) -> None:
        """Look up among these places, addresses and streets from here on."""
        self.places, self.addresses, self.streets = places, addresses, streets
        self.geocoder = new_geocoder(self.config, self.reverse, places, addresses, streets)

    def answered(self) -> None:
        """Record what the geocoder reports of its work."""
        self.facts.update(facts_of(self.geocoder))


def texts_as_array(addresses: Sequence[Address]) -> npt.NDArray[np.uint8]:
    """uint8 [n]: their texts as JSON, for states that hold arrays alone."""
    return np.frombuffer(json.dumps({"texts": [a.text for a in addresses]}).encode(), dtype=np.uint8)


def addresses_from_array(data: npt.NDArray[Any]) -> list[Address]:
    """What `texts_as_array` was given."""
    return [Address.parse(text) for text in json.loads(data.tobytes())["texts"]]


class Pipeline(Geocoded, FrozenEncoderMethod):
    """A first stage, and a geocoder behind it. Subclasses give the first stage."""

    class Config(Geocoded.Config, FrozenEncoderMethod.Config):
        """Settings."""

    config: Config
    stage1: Stage1

    def workload(self, sizes: Sizes) -> Workload:
        """That of the first stage, and looking up what it locates. A service on a network takes its own time."""
        found = self.stage1_effort(sizes)
        looked = Effort(flops=_LOOKUP_FLOPS)
        located = Effort(flops=2.0 * sizes.labelled * sizes.dim)
        gallery = 4.0 * sizes.labelled * sizes.dim
        return Workload(
            found + looked * (2 * sizes.val), PHOTO + located + looked, self.stage1_parameters(sizes),
            held=gallery, stored=gallery,
        )  # fmt: skip

    def stage1_effort(self, sizes: Sizes) -> Effort:
        """Fitting the first stage: here a search among train photos for each of val."""
        return Effort(flops=2.0 * sizes.val * sizes.train * sizes.dim)

    def stage1_parameters(self, sizes: Sizes) -> float:  # noqa: ARG002 - where nothing is trained
        """Parameters that it trains."""
        return 0.0

    def fit_features(self, train: Features, val: Features) -> None:
        """Fit the first stage, and measure on val what each stage costs."""
        streets_for(self.config, train.photos.candidates)  # skip before any work is done
        self.stage1.fit(train, val, self.context.report.log)
        self.facts["val"] = self._loss(train, val) if len(val) else {}
        self._labelled = [train, val]

    def _loss(self, train: Features, val: Features) -> dict[str, Any]:
        """What each stage costs: accuracy on val by train places, from true and from predicted positions."""
        candidates = train.photos.candidates
        geocoder = new_geocoder(
            self.config, self.reverse, PlaceIndex.of(train.photos), candidates.addresses,
            streets_for(self.config, candidates),
        )  # fmt: skip
        rows = np.arange(len(val))
        if self.config.asks_network and len(rows) > _NETWORK_VAL:
            rows = np.linspace(0, len(val) - 1, _NETWORK_VAL).astype(np.int64)
        true, labels = val.photos.positions[rows], val.labels[rows]
        located = self.stage1.locate(np.asarray(val.x[rows]))
        right = [(geocoder.rank(p, 1).indices[:, 0] == labels) & (labels >= 0) for p in (true, located)]
        return {
            "photos": len(rows),
            "median_m": float(np.median(haversine_m(located, true))),
            "ssa1_true_position": float(right[0].mean()),
            "ssa1_predicted_position": float(right[1].mean()),
        }

    def index(self, candidates: Candidates) -> None:
        """Build the gallery of all labelled photos, and the index of train places."""
        train, val = self._labelled
        database = [self.features(candidates.database)] if len(candidates.database) else []
        self.stage1.index([train, val, *database], self._encoder_digest)
        self.facts["stage1"] = dict(self.stage1.facts())
        streets = streets_for(self.config, candidates)
        self.build_geocoder(PlaceIndex.of(train.photos, val.photos), candidates.addresses, streets)
        del self._labelled

    @property
    def _encoder_digest(self) -> str:
        return self.context.features.card(self.backbone).digest

    def predict_features(self, x: npt.NDArray[np.float32], k: int) -> TopK:
        """Locate, then look up."""
        located = self.stage1.locate(x)
        return replace(self.geocoder.rank(located, k), positions=located)

    def score_features(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Scores of all candidates; those that the geocoder does not list are below all that it does."""
        top = self.predict_features(x, len(self.addresses))
        scores = np.full((len(x), len(self.addresses)), top.scores.min(initial=0) - 1, dtype=np.float32)
        rows, places = np.nonzero(top.indices >= 0)
        scores[rows, top.indices[rows, places]] = top.scores[rows, places]
        return scores

    def storage_bytes(self) -> int:
        """The first stage, the index of places or the street network, and the image tower."""
        searched = self.places if self.streets is None else self.streets
        places = sum(a.nbytes for a in searched.state().values())
        return self.stage1.storage_bytes() + places + super().storage_bytes()

    def trained_parameters(self) -> int:
        return self.stage1.trained_parameters()

    def save(self, folder: Path) -> None:
        self.stage1.save(folder)
        arrays: dict[str, Any] = {"told": texts_as_array(self.addresses), **self.places.state()}
        if self.streets is not None:
            arrays |= self.streets.state()
        np.savez(folder / "places.npz", **arrays)

    def load(self, folder: Path) -> None:
        self.stage1.load(folder, self._encoder_digest)
        with np.load(folder / "places.npz", allow_pickle=False) as stored:
            addresses = addresses_from_array(stored["told"])
            places, streets = PlaceIndex.restored(stored), restored_streets(self.config, stored)
        self.build_geocoder(places, addresses, streets)
