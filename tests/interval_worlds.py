"""How often intervals hold the truth: simulated places whose chances of success are known.

A place's chance is beta distributed about p, so that two of its photos are correlated; its photos are right with that
chance. `python tests/interval_worlds.py` prints the table of docs/protocol.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from ial_bench.metrics.intervals import means

Floats = npt.NDArray[np.float64]
Z = 1.959964
_AT_ONCE = 1 << 20  # answers drawn together
MANY, FEW = 24, 1
UNEQUAL = 0
"""Photos a place: any number from `FEW` to `MANY` alike."""


@dataclass(frozen=True)
class Cell:
    """One simulated world.

    Attributes:
        places: how many.
        photos: of a place, or `UNEQUAL`.
        p: the true accuracy.
        correlation: of two photos of a place.
    """

    places: int
    photos: int
    p: float
    correlation: float


@dataclass(frozen=True)
class Seen:
    """What became of one world.

    Attributes:
        coverage: share of the trials whose interval holds p.
        width: mean width over that of a normal interval that knows the true variance.
        narrowest: the least width.
    """

    coverage: float
    width: float
    narrowest: float


def cells(
    places: Sequence[int], photos: Sequence[int], accuracies: Sequence[float], correlations: Sequence[float]
) -> list[Cell]:
    """All worlds; single photos have no correlation."""
    every = (Cell(*c) for c in product(places, photos, accuracies, correlations))
    return [c for c in every if c.photos != 1 or c.correlation == correlations[0]]


def simulate(cell: Cell, trials: int, seed: int = 0) -> Seen:
    """Draw so many datasets, in parts; places of unequal sizes have other sizes in each of eight parts or more."""
    rng = np.random.default_rng([seed, cell.places, cell.photos, round(1000 * cell.p), round(100 * cell.correlation)])
    photos = cell.places * (cell.photos or MANY)
    parts = max(8 if cell.photos == UNEQUAL else 1, -(-photos * trials // _AT_ONCE))
    covered, widths, nominal = [], [], []
    for _ in range(parts):
        size = np.full(cell.places, cell.photos)
        if cell.photos == UNEQUAL:
            size = rng.integers(FEW, MANY + 1, cell.places)
        place = np.repeat(np.arange(cell.places), size)
        chance = chances(rng, cell, trials // parts)
        right = (rng.random((len(place), trials // parts), dtype=np.float32) < chance[place]).astype(np.float64)
        found = means(right, place)
        covered.append((found.low <= cell.p) & (cell.p <= found.high))
        widths.append(found.high - found.low)
        n = len(place)
        variance = cell.p * (1 - cell.p) * ((1 - cell.correlation) * n + cell.correlation * (size**2).sum()) / n**2
        nominal.append(2 * Z * np.sqrt(variance))
    width = np.concatenate(widths)
    return Seen(float(np.mean(covered)), float(width.mean() / np.mean(nominal)), float(width.min()))


def chances(rng: np.random.Generator, cell: Cell, trials: int) -> Floats:
    """[places, trials]."""
    if cell.correlation == 0:
        return np.full((cell.places, trials), cell.p)
    total = 1 / cell.correlation - 1
    return np.asarray(rng.beta(cell.p * total, (1 - cell.p) * total, size=(cell.places, trials)))


PLACES = (8, 15, 30, 77, 300, 1000)
PHOTOS = (1, 4, MANY, UNEQUAL)
ACCURACIES = (0.02, 0.05, 0.2, 0.5, 0.8, 0.95, 0.98)
CORRELATIONS = (0.0, 0.1, 0.4, 0.8)


def main(trials: int = 2000) -> None:
    """Print the table, and the cells with the least coverage and the widest intervals."""
    found = {c: simulate(c, trials) for c in cells(PLACES, PHOTOS, ACCURACIES, CORRELATIONS)}
    print("| places | " + " | ".join(f"p = {p}" for p in ACCURACIES) + " |")
    print("|---" * (len(ACCURACIES) + 1) + "|")
    for places in PLACES:
        of = [[s for c, s in found.items() if (c.places, c.p) == (places, p)] for p in ACCURACIES]
        shown = (
            f"{100 * min(s.coverage for s in seen):.1f} to {100 * max(s.coverage for s in seen):.1f}" for seen in of
        )
        print(f"| {places} | " + " | ".join(shown) + " |")
    for c, s in sorted(found.items(), key=lambda pair: pair[1].coverage)[:8]:
        print(f"least coverage: {c}: {100 * s.coverage:.1f} %")
    for places in (300, 1000):
        widest = sorted(((c, s) for c, s in found.items() if c.places == places), key=lambda p: -p[1].width)[:5]
        for c, s in widest:
            print(f"widest: {c}: {s.width:.3f}")


if __name__ == "__main__":
    main()
