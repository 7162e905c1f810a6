"""Two sources of chance told apart: which places were asked, and which seed the method was trained with.

The accuracy of one seed varies with the places alone: its interval says what other places would have shown of *these*
weights. A claim about the method is about other seeds too. With values v of place i and seed s,

    v_is = mean + place_i + seed_s + interaction_is

the variance of one run's mean over places holds place and interaction, that of the mean over S seeds the place and
1 / S of the interaction, and the variance between the seeds' means the seed and the interaction: all three are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ial_bench.metrics.intervals import Estimate, Floats, Ints, exact_limits, means


@dataclass(frozen=True)
class SeedSpread:
    """What several seeds tell of a method.

    Attributes:
        value: mean over seeds.
        one_run: interval of a run, over places: mean of the seeds' intervals.
        with_seeds: interval of the method's accuracy, over places and seeds; None of a single seed or place.
        place_sd: standard deviation of the mean over seeds, from places.
        seed_sd: standard deviation between seeds, beyond what places explain; None of a single seed.
    """

    value: float
    one_run: tuple[float, float] | None
    with_seeds: tuple[float, float] | None
    place_sd: float | None
    seed_sd: float | None

    @property
    def as_estimate(self) -> Estimate:
        """The mean with its interval over places and seeds."""
        return Estimate(self.value, self.with_seeds)


def seed_spread(values: Floats, places: Ints) -> SeedSpread:
    """Tell the sources apart.

    Degrees of freedom are Satterthwaite's (Biometrics Bulletin 1946): three seeds that differ a lot leave a wide
    interval, three that agree add nothing.

    Args:
        values: [n, S], one row a query and one column a seed, 0 to 1.
        places: [n], any numbers; equal ones are one place.
    """
    n_seeds = values.shape[1]
    single = means(values, places)
    joint = means(values.mean(axis=1, keepdims=True), places)
    value = float(joint.values[0])
    if np.isnan(joint.low).any():
        return SeedSpread(value, None, None, None, None)
    one_run = float(single.low.mean()), float(single.high.mean())
    of_mean = float((joint.residuals**2).sum())
    if n_seeds < 2:
        return SeedSpread(value, one_run, None, float(np.sqrt(of_mean)), None)
    of_run = float((single.residuals**2).sum(axis=0).mean())
    interaction = max(0.0, of_run - of_mean) * n_seeds / (n_seeds - 1)
    between = float(single.values.var(ddof=1))
    of_seed = max(0.0, between - interaction)
    added = of_seed / n_seeds
    freedom = float(len(joint.residuals) - 1)
    effective = joint.effective
    if added:
        total = of_mean + added
        freedom = total**2 / (of_mean**2 / freedom + (between / n_seeds) ** 2 / (n_seeds - 1))
        # Both variances in the units of the interval over places, which has its own belief about the first.
        independent = value * (1 - value)
        effective = 1 / (1 / joint.effective + added / independent)
    low, high = exact_limits(joint.values, effective, max(1.0, freedom))
    return SeedSpread(
        value, one_run, (float(low[0]), float(high[0])), float(np.sqrt(of_mean)), float(np.sqrt(of_seed))
    )  # fmt: skip
