"""Intervals over places and seeds: against closed forms, plain twins, a public library, and truth in simulations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from ial_bench.metrics.intervals import Estimate, clustered_means, clustered_median, means, seed_spread
from interval_worlds import UNEQUAL, Cell, chances, simulate

Floats = npt.NDArray[np.float64]


def some_city(seed: int = 0) -> tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Values, places of 1 to 5 queries with numbers that are not 0 to n - 1, and classes across places."""
    rng = np.random.default_rng(seed)
    places = np.repeat(np.array([7, 3, 90, 41, 12, 5, 66, 8]), [1, 2, 3, 4, 5, 1, 2, 3])
    values = np.stack([rng.integers(0, 2, len(places)), rng.random(len(places))], axis=1).astype(np.float64)
    return values, places, rng.integers(0, 4, len(places)) * 10


def interval_of(estimate: Estimate) -> tuple[float, float]:
    assert estimate.ci95 is not None
    return estimate.ci95


def test_point_estimates_are_plain_means() -> None:
    values, places, classes = some_city()
    found = clustered_means(values, places, classes, class_columns=2)
    macro = [np.mean([values[classes == c, column].mean() for c in set(classes.tolist())]) for column in (0, 1)]
    assert [e.value for e in found] == pytest.approx([*values.mean(axis=0), *macro], rel=1e-12)


def twin(values: list[float], places: list[int]) -> tuple[float, float]:
    """The interval as its definition reads, one place after another."""
    n, names = len(values), sorted(set(places))
    of = {name: [v for v, p in zip(values, places, strict=True) if p == name] for name in names}
    mean = sum(values) / n
    variance = len(names) / (len(names) - 1) * sum((sum(v) - mean * len(v)) ** 2 for v in of.values()) / n**2
    deff = variance / (mean * (1 - mean) / n)
    as_one = sum(len(v) ** 2 for v in of.values()) / n
    counts = [sum(v) for v in of.values()], [len(v) - sum(v) for v in of.values()]
    events = [sum(count) ** 2 / sum(c * c for c in count) for count in counts]
    belief = (3 / (3 + min(events))) ** 2
    t = stats.t.ppf(0.975, len(names) - 1) / stats.norm.ppf(0.975)
    effective = max(1.0, n / ((1 - belief) * deff + belief * as_one) / t**2)
    right = mean * effective
    low = stats.beta.ppf(0.025, right, effective - right + 1)
    high = stats.beta.ppf(0.975, right + 1, effective - right)
    return float(low), float(high)


@pytest.mark.parametrize("seed", range(5))
def test_intervals_are_those_of_a_plain_twin(seed: int) -> None:
    values, places, _ = some_city(seed)
    found = clustered_means(values, places)
    expected = [twin(column.tolist(), places.tolist()) for column in values.T]
    assert [interval_of(e) for e in found] == [pytest.approx(e, rel=1e-9) for e in expected]


@pytest.mark.parametrize("right", [150, 420])
def test_single_photos_have_nearly_the_exact_interval_of_a_library(right: int) -> None:
    n = 600
    values = np.zeros((n, 1))
    values[:right] = 1
    low, high = interval_of(clustered_means(values, np.arange(n))[0])
    exact = stats.binomtest(right, n).proportion_ci(method="exact")
    # Photos that stand alone have no design effect, but the variance is one of n - 1 degrees of freedom.
    assert (low, high) == pytest.approx((exact.low, exact.high), abs=2e-4)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("n_places", [2, 8, 300])
def test_what_never_varies_has_the_interval_of_as_many_queries_as_places(value: float, n_places: int) -> None:
    places = np.repeat(np.arange(n_places), 4)
    plain, macro = clustered_means(np.full((len(places), 1), value), places, places % 2, class_columns=1)
    t = stats.t.ppf(0.975, n_places - 1) / stats.norm.ppf(0.975)
    reach = 0.025 ** (1 / max(1, n_places / t**2))  # the closed form of no mistake in so many
    expected = (reach, 1.0) if value else (0.0, 1 - reach)
    for found in (plain, macro):
        assert found.value == value
        assert found.ci95 == pytest.approx(expected, abs=1e-9)


def test_a_single_place_gives_no_interval() -> None:
    found = clustered_means(np.array([[0.0], [1.0]]), np.array([4, 4]), np.array([0, 1]), class_columns=1)
    assert found == [Estimate(0.5, None), Estimate(0.5, None)]
    assert clustered_median(np.array([1.0, 3.0]), np.array([4, 4])) == Estimate(2.0, None)


def test_no_queries_give_no_numbers() -> None:
    empty = np.zeros(0, dtype=np.int64)
    found = [*clustered_means(np.zeros((0, 2)), empty, empty, class_columns=1), clustered_median(np.zeros(0), empty)]
    assert len(found) == 4
    assert all(np.isnan(e.value) and e.ci95 is None for e in found)


def test_the_order_of_the_queries_does_not_matter() -> None:
    values, places, classes = some_city()
    order = np.random.default_rng(4).permutation(len(places))
    once = clustered_means(values, places, classes, class_columns=2)
    again = clustered_means(values[order], places[order], classes[order], class_columns=2)
    for a, b in zip(once, again, strict=True):
        assert (a.value, *interval_of(a)) == pytest.approx((b.value, *interval_of(b)), rel=1e-12)


def test_classes_of_one_size_and_one_place_each_are_the_plain_mean() -> None:
    rng = np.random.default_rng(5)
    places = np.repeat(np.arange(40), 3)
    values = (rng.random((120, 1)) < 0.6).astype(np.float64)
    plain, macro = clustered_means(values, places, places, class_columns=1)
    assert macro.value == pytest.approx(plain.value, rel=1e-12)
    # Each class lies as far from the mean as its place does; the factor P / (P - 1) is the plain mean's alone.
    assert interval_of(macro) == pytest.approx(interval_of(plain), abs=2e-3)


HARD = (
    Cell(8, 4, 0.95, 0.4), Cell(8, 24, 0.98, 0.8), Cell(8, UNEQUAL, 0.02, 0.4), Cell(8, 1, 0.5, 0.0),
    Cell(15, 4, 0.95, 0.4), Cell(15, 24, 0.8, 0.8), Cell(30, UNEQUAL, 0.3, 0.4), Cell(77, UNEQUAL, 0.1, 0.8),
    Cell(77, 24, 0.95, 0.4), Cell(300, 4, 0.95, 0.4), Cell(300, UNEQUAL, 0.98, 0.8), Cell(300, UNEQUAL, 0.02, 0.8),
    Cell(1000, UNEQUAL, 0.98, 0.8), Cell(1000, 24, 0.02, 0.1),
)  # fmt: skip


@pytest.mark.parametrize("cell", HARD, ids=str)
def test_intervals_cover_the_truth(cell: Cell) -> None:
    """The worlds of the whole table that were hardest; `python tests/interval_worlds.py` goes through all of them."""
    seen = simulate(cell, 2000)
    # Three standard errors of a share of 2000 trials at 0.93: 0.017.
    assert seen.coverage > 0.93 - 0.017
    assert seen.narrowest > 0
    if cell.places == 300 and cell.photos == 4:
        assert seen.width < 1.15


def test_ignoring_places_covers_the_truth_half_the_time() -> None:
    """Panoramas of 24 crops, intra-class correlation 0.3: 1.96 / sqrt(1 + 23 * 0.3) = 0.70 standard errors, 51 %."""
    cell, trials = Cell(120, 24, 0.5, 0.3), 1000
    rng = np.random.default_rng(6)
    right = rng.random((24, 120, trials)) < chances(rng, cell, trials)
    mean = right.mean(axis=(0, 1))
    naive = np.abs(mean - 0.5) <= 1.96 * np.sqrt(mean * (1 - mean) / (24 * 120))
    # Four standard errors of a share of 1000 trials at one half: 0.063.
    assert naive.mean() == pytest.approx(2 * stats.norm.cdf(1.96 / np.sqrt(7.9)) - 1, abs=0.063)
    assert simulate(cell, trials).coverage > 0.93


@pytest.mark.parametrize(("classes", "a_class"), [(20, 4), (60, 2)])
def test_macro_means_cover_the_mean_of_the_classes(classes: int, a_class: int) -> None:
    rng = np.random.default_rng([8, classes])
    chance_of_class = rng.beta(4, 1.5, classes)
    places = np.repeat(np.arange(classes * a_class), 4)
    cls = places // a_class
    trials = 1000
    total = 1 / 0.4 - 1
    of_place = np.repeat(chance_of_class, a_class)[:, None]
    chance = rng.beta(of_place * total, (1 - of_place) * total, size=(classes * a_class, trials))
    values = (rng.random((len(places), trials)) < chance[places]).astype(np.float64)
    found = means(values, places, cls)
    truth = chance_of_class.mean()
    covered = float(np.mean((found.low <= truth) & (truth <= found.high)))
    assert covered > 0.93 - 0.02  # two and a half standard errors
    assert covered < 0.99  # and not because it is wide


@pytest.mark.parametrize(("n_places", "photos"), [(8, 4), (30, 24), (300, 4)])
def test_the_median_is_covered(n_places: int, photos: int) -> None:
    """Distances that are log-normal by place and by photo: the median is 1."""
    rng = np.random.default_rng([9, n_places])
    places = np.repeat(np.arange(n_places), photos)
    trials, covered = 400, 0
    for _ in range(trials):
        metres = np.exp(rng.standard_normal(n_places)[places] + rng.standard_normal(len(places)))
        found = clustered_median(metres, places)
        low, high = interval_of(found)
        assert low <= found.value <= high
        covered += low <= 1 <= high
    assert covered / trials > 0.93 - 0.035  # three standard errors


def test_the_median_of_single_photos_is_that_of_the_sign_test() -> None:
    values = np.random.default_rng(10).permutation(np.arange(1.0, 202.0))
    found = clustered_median(values, np.arange(201))
    assert found.value == 101
    # The closed form: the order statistics at the quantiles of binomial (201, 1/2).
    low, high = (float(stats.binom.ppf(q, 201, 0.5)) for q in (0.025, 0.975))
    assert interval_of(found) == pytest.approx((low, high + 1), abs=2)


def test_distances_that_are_all_alike_are_their_own_median() -> None:
    assert clustered_median(np.full(40, 7.0), np.repeat(np.arange(10), 4)) == Estimate(7.0, (7.0, 7.0))


def world(
    rng: np.random.Generator, n_places: int, n_seeds: int, of_seed: float, photos: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Right or wrong by place, seed, and both together; the accuracy over places and seeds is 0.6."""
    place = rng.normal(0, 0.2, (n_places, 1))
    seed = rng.normal(0, of_seed, (1, n_seeds))
    both = rng.normal(0, 0.1, (n_places, n_seeds))
    chance = np.clip(0.6 + place + seed + both, 0, 1)
    places = np.repeat(np.arange(n_places), photos)
    return (rng.random((len(places), n_seeds)) < chance[places]).astype(np.float64), places


@pytest.mark.parametrize("of_seed", [0.0, 0.02, 0.06])
def test_the_interval_with_seeds_covers_the_method(of_seed: float) -> None:
    rng = np.random.default_rng(round(1000 * of_seed))
    trials, with_seeds, one_run = 500, 0, 0
    for _ in range(trials):
        values, places = world(rng, 77, 3, of_seed)
        found = seed_spread(values, places)
        assert found.with_seeds is not None
        assert found.one_run is not None
        with_seeds += found.with_seeds[0] <= 0.6 <= found.with_seeds[1]
        one_run += found.one_run[0] <= 0.6 <= found.one_run[1]
    assert with_seeds / trials > 0.93 - 0.03
    if of_seed == 0.06:
        assert one_run / trials < with_seeds / trials - 0.03  # what leaves seeds out


def test_both_standard_deviations_are_found() -> None:
    rng = np.random.default_rng(2)
    found = [seed_spread(*world(rng, 200, 8, 0.05)) for _ in range(150)]
    squares = np.array([(s.place_sd or 0.0, s.seed_sd or 0.0) for s in found]) ** 2
    # Places: 0.2^2 of chance, an eighth of 0.1^2 and of what a photo adds; 200 of them.
    photo = 0.24 - 0.2**2 - 0.1**2 - 0.05**2
    expected = (0.2**2 + (0.1**2 + photo / 4) / 8) / 200
    assert squares[:, 0].mean() == pytest.approx(expected, rel=0.1)
    assert squares[:, 1].mean() == pytest.approx(0.05**2, rel=0.15)


def test_one_seed_is_a_run_and_equal_seeds_add_nothing() -> None:
    values, places = world(np.random.default_rng(3), 40, 1, 0.0)
    alone = seed_spread(values, places)
    assert (alone.with_seeds, alone.seed_sd) == (None, None)
    assert alone.one_run == clustered_means(values, places)[0].ci95
    same = seed_spread(np.repeat(values, 3, axis=1), places)
    assert same.seed_sd == 0
    assert same.with_seeds == pytest.approx(alone.one_run)


def test_a_single_place_tells_nothing() -> None:
    found = seed_spread(np.ones((4, 2)), np.zeros(4, np.int64))
    assert (found.value, found.one_run, found.with_seeds, found.place_sd) == (1.0, None, None, None)
