"""True position -> address: the ceiling of Image-GPS-Address pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ial_bench import Address, ImageBatch, Method, MethodInfo, Photos, RunContext, State, TopK
from ial_bench.geocoding.geocoder import Geocoder, PlaceIndex
from ial_bench.geocoding.reverse import ReverseGeocoder
from ial_bench.geocoding.settings import (
    GeocoderSettings,
    facts_of,
    new_geocoder,
    new_reverse_geocoder,
    restored_streets,
    streets_for,
)
from ial_bench.training.told import told_as_array, told_from_array
from ial_bench.workload import Effort, Sizes, Workload

if TYPE_CHECKING:
    from ial_bench.geo.lines import StreetLines


class GpsOracle(Method):
    """What a two-stage pipeline would answer if its first stage located every photo perfectly.

    With `stage2=nearest` candidates are ranked by the distance from the query's true position to their nearest
    labelled photo. The score is minus that distance in metres; an address without photos comes last.
    """

    info = MethodInfo(
        name="gps-oracle",
        title="GPS oracle",
        family="baseline",
        summary="True position of the query -> address of the nearest training place. A ceiling, not a method.",
        oracle=True,
    )

    class Config(GeocoderSettings):
        """Settings: those of the geocoder of `two-stage`."""

    config: Config
    geocoder: Geocoder

    def __init__(self, config: Config, context: RunContext) -> None:
        super().__init__(config, context)
        self.reverse: ReverseGeocoder | None = None

    @property
    def reads_streets(self) -> bool:
        """As the geocoder does."""
        return self.config.reads_streets

    def prepare(self) -> None:
        """See whether the geocoder is there."""
        self.reverse = new_reverse_geocoder(self.config, self.context.cache)

    def workload(self, sizes: Sizes) -> Workload:
        """An index of places; a query is looked up there, or on the streets."""
        return Workload(Effort(flops=1e3 * sizes.train), Effort(flops=1e6))

    def fit(self, train: Photos, val: Photos) -> None:
        """Keep where each address was photographed."""
        streets = streets_for(self.config, train.candidates)
        self._build(PlaceIndex.of(train, val), train.candidates.addresses, streets)

    def _build(self, places: PlaceIndex, addresses: Sequence[Address], streets: StreetLines | None) -> None:
        self.places, self.addresses, self.streets = places, addresses, streets
        self.geocoder = new_geocoder(self.config, self.reverse, places, addresses, streets)

    def predict(self, images: ImageBatch, k: int) -> TopK:
        """Hand the true positions to the geocoder."""
        return self.geocoder.rank(images.positions, k)

    def answered(self) -> None:
        """Note what the geocoder tells of its work."""
        self.facts.update(facts_of(self.geocoder))

    def state(self) -> State:
        """Positions and addresses of the labelled places; the addresses' texts where names are to be matched."""
        texts = {"texts": told_as_array({"texts": [a.text for a in self.addresses]})} if self.config.asks_names else {}
        streets = {} if self.streets is None else self.streets.state()
        return {**self.places.state(), **texts, **streets}

    def restore(self, state: State) -> None:
        """Build the index anew."""
        texts = told_from_array(state["texts"])["texts"] if self.config.asks_names else []
        streets = restored_streets(self.config, state)
        self._build(PlaceIndex.restored(state), [Address.parse(t) for t in texts], streets)

    def storage_bytes(self) -> int:
        """The street network alone where that is searched; else all of the state."""
        return sum(a.nbytes for a in (self.state() if self.streets is None else self.streets.state()).values())
