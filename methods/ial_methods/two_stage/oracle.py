"""True position -> address: the ceiling of Image-GPS-Address pipelines."""

from __future__ import annotations

from ial_bench import Effort, ImageBatch, MethodInfo, Photos, Sizes, State, TopK, Workload
from ial_bench.geocoding.geocoder import PlaceIndex
from ial_bench.geocoding.settings import restored_streets, streets_for
from ial_methods.two_stage.pipeline import Geocoded, addresses_from_array, texts_as_array


class GpsOracle(Geocoded):
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

    def workload(self, sizes: Sizes) -> Workload:
        """An index of places; a query is looked up there, or on the streets."""
        return Workload(Effort(flops=1e3 * sizes.train), Effort(flops=1e6))

    def fit(self, train: Photos, val: Photos) -> None:
        streets = streets_for(self.config, train.candidates)
        self.build_geocoder(PlaceIndex.of(train, val), train.candidates.addresses, streets)

    def predict(self, images: ImageBatch, k: int) -> TopK:
        """The geocoder's answers for the true positions."""
        return self.geocoder.rank(images.positions, k)

    def state(self) -> State:
        """Positions and addresses of the labelled places; the addresses' texts where names are to be matched."""
        texts = {"texts": texts_as_array(self.addresses)} if self.config.asks_names else {}
        streets = {} if self.streets is None else self.streets.state()
        return {**self.places.state(), **texts, **streets}

    def restore(self, state: State) -> None:
        addresses = addresses_from_array(state["texts"]) if self.config.asks_names else []
        streets = restored_streets(self.config, state)
        self.build_geocoder(PlaceIndex.restored(state), addresses, streets)

    def storage_bytes(self) -> int:
        """The street network alone where that is searched; else all of the state."""
        return sum(a.nbytes for a in (self.state() if self.streets is None else self.streets.state()).values())
