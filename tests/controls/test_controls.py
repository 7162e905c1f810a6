"""Control experiments on drawn cities: what must hold there if methods learn and the engine measures what it says.

    pytest -m slow -s tests/controls

The real methods on the real engine, minutes in all, so a plain `pytest` leaves them out. On development cities, never
on the shipped one: nothing is chosen there, and the bounds below are no exception. They follow from chance or from
intervals, because the numbers themselves change whenever the encoder's weights do.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.stats import binom

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.table import PHOTO_SCHEMA, write_dataset
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.plan import ConfiguredMethod, EngineOptions, plan
from ial_bench.engine.run import Engine
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.settings import config_from_text
from ial_bench.synth.options import PRESETS, changed
from ial_bench.synth.write import make_city

pytestmark = pytest.mark.slow

CITIES = tuple(f"synth-city-dev-{i}" for i in (1, 2, 3))
CITY = PRESETS[CITIES[0]]
CHANCE = 1 / CITY.n_sub_streets
TRAINED, UNTRAINED = "openclip:tiny-street/synth", "openclip:tiny-street/random-init"
LEARNERS = ("linear-probe", "retrieval")
SETTINGS = {
    "linear-probe": {"c": "0.316"},  # CLIP's own C: its search has tests of its own, and takes minutes
    "addressclip": {"epochs": "4"},
}
TEXTS = ("photo_id", "path", "split", "place_id", "caption")


class Measured(NamedTuple):
    """SSA-1 and its 95 % interval, as shares."""

    value: float
    low: float
    high: float


class Lab:
    """Development cities with a knob turned, and an engine; what was made or measured once is not done again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.report = NoReport()
        self.registry = Registry()
        self.options = EngineOptions(folder / "results", folder / "cache", workers=1, timing=False)
        self.store = FeatureStore(self.options.cache, "cpu", self.options.batch_size, self.options.workers, self.report)

    def city(self, preset: str = CITIES[0], **knobs: Any) -> Dataset:
        usual = PRESETS[preset]
        turned = (f"{knob}-{value}" for knob, value in knobs.items() if value != getattr(usual, knob))
        name = "-".join([preset, *turned])
        return make_city(self.folder / name, changed(usual, **knobs), workers=2, name=name)

    def ssa1(self, data: Dataset, method: str, backbone: str = TRAINED) -> Measured:
        cls = self.registry.get(method)
        config = config_from_text(cls, {**SETTINGS.get(method, {}), "backbone": backbone})
        (planned,) = plan(data, [ConfiguredMethod(cls, config, "tests")], (0,), self.options, self.store, self.report)
        record = planned.done or Engine(data, self.options, self.store, self.report).execute(planned)
        assert record.metrics is not None, record.reason
        found = record.metrics.accuracy["SSA-1"]
        assert found.ci95 is not None
        measured = Measured(found.value, *found.ci95)
        shown = "{:.1f} % [{:.1f}, {:.1f}]".format(*(100 * share for share in measured))
        print(f"\n{data.name}: {method} on {backbone}: SSA-1 {shown}", end="")
        return measured


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("controls"))


def shuffled(data: Dataset, folder: Path, seed: int) -> Dataset:
    """The same photos with the addresses of the train and val places dealt out anew; those of queries stay true."""
    labelled = data.rows("train", "val")
    _, first, place = np.unique(data.place_codes[labelled], return_index=True, return_inverse=True)
    address = data.numbers("address").copy()
    address[labelled] = np.random.default_rng(seed).permutation(address[labelled][first])[place]
    columns = {n: data.texts(n) if n in TEXTS else data.numbers(n) for n in PHOTO_SCHEMA.names}
    about = replace(data.description, name=folder.name, images=str(data.images_folder))
    write_dataset(folder, about, data.addresses, data.verbose_addresses, {**columns, "address": address})
    return Dataset(folder)


def assert_chance(found: list[float], guesses: int) -> None:
    """The mean lies where the share of right ones among independent guesses lies 999 times in 1,000."""
    low, high = (float(n) / guesses for n in binom.interval(0.999, guesses, CHANCE))
    mean = float(np.mean(found))
    print(f"\nmean {mean:.2%}; chance {CHANCE:.2%}, band of {guesses} guesses {low:.2%} to {high:.2%}", end="")
    assert low <= mean <= high


@pytest.mark.parametrize(("method", "shuffles"), [("linear-probe", 2), ("retrieval", 10), ("addressclip", 1)])
def test_shuffled_addresses_leave_nothing_to_learn(lab: Lab, method: str, shuffles: int) -> None:
    """Whoever is above chance without true labels has seen the answers.

    Each address has as many places after the shuffle as before, so a guess is right once in 71 times. The queries of
    a place count as one guess, and each shuffle guesses anew: 284 guesses a shuffle. Over 80 shuffles on this city,
    the answers of retrieval spread less than that; with true labels for 1 place in 20 they left the band.
    """
    data = lab.city()
    found = [lab.ssa1(shuffled(data, lab.folder / f"shuffled-{i}", i), method).value for i in range(shuffles)]
    assert_chance(found, shuffles * CITY.n_sub_streets * CITY.query_places)


@pytest.mark.parametrize("method", LEARNERS)
def test_one_place_is_not_enough(lab: Lab, method: str) -> None:
    """One place of a sub-street does not tell the rest of it: with 12, the intervals are apart."""
    one, all_places = (lab.ssa1(data, method) for data in (lab.city(train_places=1), lab.city()))
    assert one.high < all_places.low


@pytest.mark.parametrize("method", LEARNERS)
def test_more_coverage_is_never_worse(lab: Lab, method: str) -> None:
    """A step may fall by 2 points, and the intervals of the ends are apart.

    An interval over 284 places reaches 3 to 4 points to either side. The queries of all steps are the same, so the
    difference between two has less error than its ends: half as much is allowed for.
    """
    found = [lab.ssa1(lab.city(coverage=share), method) for share in (0.125, 0.25, 0.5, 1.0)]
    for less, more in pairwise(found):
        assert more.value >= less.value - 0.02
    assert found[0].high < found[-1].low


def test_the_city_is_learnable_and_not_saturated(lab: Lab) -> None:
    """A benchmark on which the best method answers nothing, or everything, ranks no methods."""
    data = lab.city()
    assert 0.5 < max(lab.ssa1(data, method).value for method in LEARNERS) < 0.9


@pytest.mark.parametrize("method", LEARNERS)
def test_training_the_encoder_pays(lab: Lab, method: str) -> None:
    data = lab.city()
    assert lab.ssa1(data, method, UNTRAINED).high < lab.ssa1(data, method).low


def test_zero_shot_is_near_chance(lab: Lab) -> None:
    """Names are drawn apart from what streets look like, so a text cannot tell which street it is of.

    One text may win on a whole sub-street, so the 12 queries of a sub-street count as one guess: 3 x 71 guesses.
    """
    found = [lab.ssa1(lab.city(preset, train_places=1), "clip-zero-shot").value for preset in CITIES]
    assert_chance(found, len(CITIES) * CITY.n_sub_streets)


def test_fine_tuning_is_far_above_zero_shot(lab: Lab) -> None:
    data = lab.city()
    assert lab.ssa1(data, "addressclip").low > 10 * lab.ssa1(data, "clip-zero-shot").high
